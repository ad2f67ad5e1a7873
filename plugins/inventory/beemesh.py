# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, groups and variables from a live mesh."""

from __future__ import annotations

DOCUMENTATION = r"""
name: beemesh
short_description: The machines of a live mesh as an inventory
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Every member of a mesh becomes a host. What the mesh knows of it becomes its variables, and the groups below.
  - Whatever machine the operator's directory names first is asked with C(beectl). Nothing has to be reachable by SSH.
  - The name of the configuration file must end in C(beemesh.yml) or C(beemesh.yaml).
  - "Groups that are always made: C(beemesh) (all members); C(beemesh_ready), C(beemesh_not_ready), C(beemesh_unknown)
    (as C(beectl get machines) has it); C(beemesh_cordoned); C(beemesh_guardian); C(beemesh_arch_ARCHITECTURE), and
    C(beemesh_workload_NAMESPACE_NAME) for the machines that run a replica of a workload."
  - "Variables of a host: C(beemesh_id), C(beemesh_name), C(beemesh_state) (V(ready), V(not_ready) or V(unknown)) with
    C(beemesh_message), C(beemesh_cordoned), C(beemesh_guardian), C(beemesh_labels) (those in force), C(beemesh_taints),
    C(beemesh_addresses), C(beemesh_arch), C(beemesh_os), C(beemesh_kernel), C(beemesh_version),
    C(beemesh_podman_version), C(beemesh_cpu) and C(beemesh_memory) (what pods may use), and C(beemesh_pods), of which
    each has C(namespace), C(name), C(kind) and C(workload) (what it belongs to), C(phase), C(ready) and C(labels)."
  - Not for C(join_mesh) and C(rotate_keys) beside the inventory of these, which refuse it. Their C(beemesh_labels) and
    C(beemesh_guardian) are what is certified, here they are what the mesh shows, partly the machines' own word.
  - Of several members with one name the one that is ready keeps the name; the others get the beginning of their id
    behind it.
requirements:
  - C(beectl) on the controller, with the directory of an operator.
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Says that the file is meant for this plugin.
    type: str
    required: true
    choices:
      - beemesh.mesh.beemesh
  beectl:
    description: The C(beectl) to run; a name is looked for on the path and beside the Python that runs Ansible.
    type: str
    default: beectl
    env:
      - name: BEEMESH_BEECTL
  dir:
    description:
      - Directory of the operator, as C(beectl mesh init) made it. A relative one is relative to the inventory file.
      - Without it and O(context) the mesh is asked that E(BEEMESH_DIR), E(BEEMESH_CONTEXT) or C(beectl context use)
        chose.
    type: str
  context:
    description: Name of the operator's context, as C(beectl context list) shows it. O(dir) goes before it.
    type: str
  passphrase_file:
    description:
      - File whose first line is the passphrase of the operator's key, if it has one. A relative one is relative to the
        inventory file. Without it E(BEEMESH_PASSPHRASE_FILE) names it.
    type: str
  timeout:
    description: Seconds that C(beectl) has for an answer.
    type: int
    default: 60
    env:
      - name: BEEMESH_TIMEOUT
  selector:
    description: Only members with these labels, as V(class=edge,zone!=attic).
    type: str
  workloads:
    description:
      - Whether to ask which machine runs what. The operator needs the verb C(get) for it.
      - Without it C(beemesh_pods) is empty and no groups of workloads are made.
    type: bool
    default: true
  namespaces:
    description: Only workloads of these namespaces. If it is empty, those of all.
    type: list
    elements: str
    default: []
  host_address:
    description:
      - Which address of a member becomes C(ansible_host); V(none) leaves it to O(compose) or to name resolution.
      - These are the addresses at which machines reach each other.
    type: str
    choices:
      - any
      - internal
      - external
      - none
    default: any
"""

EXAMPLES = r"""
---
# home.beemesh.yml: everything that is known of the mesh in this directory
plugin: beemesh.mesh.beemesh
dir: ~/.config/beemesh/home

---
# edge.beemesh.yml: machines at the edge, grouped by their region; asked anew every five minutes
plugin: beemesh.mesh.beemesh
context: home
selector: class=edge
strict: true
keyed_groups:
  - key: beemesh_labels['topology.kubernetes.io/region'] | default('nowhere')
    prefix: region
groups:
  small: beemesh_cpu is match('[0-9]+m$') or (beemesh_cpu | int) < 2
  runs_shop: beemesh_pods | selectattr('namespace', 'equalto', 'shop') | list | length > 0
compose:
  ansible_user: "'pi' if beemesh_arch == 'arm64' else 'admin'"
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_timeout: 300
cache_connection: ~/.cache/beemesh-inventory
"""

import hashlib
import json
import os
import typing as t

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import Beectl, BeectlError
from ansible_collections.beemesh.mesh.plugins.plugin_utils.members import address_of, groups_of, members

Shape = dict[str, t.Any]


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """See DOCUMENTATION."""

    NAME = "beemesh.mesh.beemesh"

    def verify_file(self, path: str) -> bool:
        """Tell by its name whether a file may be meant for this plugin."""
        return super().verify_file(path) and path.endswith(("beemesh.yml", "beemesh.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Fill the inventory. Raises `AnsibleParserError` with what beectl said, or what the configuration lacks."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        key = self._key(path)
        found: dict[str, Shape] | None = None
        if cache and self.get_option("cache"):
            found = self._cache.get(key)
        if found is None:
            found = self._ask(os.path.dirname(os.path.abspath(path)))
            if self.get_option("cache"):
                self._cache[key] = found
        for host, variables in found.items():
            self._add(host, variables)

    def _add(self, host: str, variables: Shape) -> None:
        strict, kind = self.get_option("strict"), self.get_option("host_address")
        self.inventory.add_host(host)
        for name in groups_of(variables):
            self.inventory.add_child(self.inventory.add_group(self._sanitize_group_name(name)), host)
        for name, value in variables.items():
            self.inventory.set_variable(host, name, value)
        address = None if kind == "none" else address_of(variables, kind)
        if address is not None:
            self.inventory.set_variable(host, "ansible_host", address)
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict)

    def _key(self, path: str) -> str:
        """The cache's key: what was learned of one mesh, or for one question, is no answer for another."""
        asked = [self.get_option(name) for name in ("dir", "context", "selector", "workloads", "namespaces")]
        asked += [os.environ.get("BEEMESH_DIR"), os.environ.get("BEEMESH_CONTEXT")]
        return f"{self.get_cache_key(path)}_{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}"

    def _ask(self, base: str) -> dict[str, Shape]:
        """What the mesh says now. A relative directory is below `base`."""
        beectl = Beectl(_Asker(self, base))
        selector = self.get_option("selector")
        try:
            nodes = beectl.get("machines", *(["-l", selector] if selector else []))
            pods: list[Shape] = []
            if self.get_option("workloads"):
                namespaces = self.get_option("namespaces")
                for namespace in namespaces:
                    pods += beectl.get("pods", namespace=namespace)
                if not namespaces:
                    pods = beectl.get("pods", "-A")
        except BeectlError as error:
            raise AnsibleParserError(error.message) from error
        return members(nodes, pods)


class _Asker:
    """The plugin as the client of beectl sees a module."""

    def __init__(self, plugin: InventoryModule, base: str) -> None:
        self.warn = plugin.display.warning
        self.no_log_values: set[str] = set()
        """Nothing: what it is given of secrets is the name of a file."""
        self.params = {name: plugin.get_option(name) for name in ("beectl", "context", "timeout")}
        for name in ("dir", "passphrase_file"):
            value = plugin.get_option(name)
            self.params[name] = os.path.join(base, os.path.expanduser(value)) if value else None
