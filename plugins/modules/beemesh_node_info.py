#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at machines of a mesh."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_node_info
short_description: Look at the machines of a mesh
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Tells how machines are, as Kubernetes has its nodes. Labels in force, taints, capacity and addresses are among it.
extends_documentation_fragment:
  - beemesh.mesh.connection
  - beemesh.mesh.connection.wait
  - beemesh.mesh.connection.wait_condition
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
options:
  name:
    description: Only the machine of this name or id.
    type: str
  label_selectors:
    description: Only machines that fulfil all of these. Mutually exclusive with O(name).
    type: list
    elements: str
    default: []
  wait:
    description:
      - Whether to wait until a machine is found, and all that are found are ready, or fulfil O(wait_condition).
    type: bool
    default: false
seealso:
  - module: beemesh.mesh.beemesh_node
"""

EXAMPLES = r"""
- name: Wait until every machine of a class is ready
  beemesh.mesh.beemesh_node_info:
    label_selectors:
      - kubernetes.io/os=linux
    wait: true
    wait_timeout: 60
  register: machines

- name: Tell their names and architectures
  ansible.builtin.debug:
    msg: "{{ item.metadata.name }}: {{ item.status.nodeInfo.architecture }}"
  loop: "{{ machines.resources }}"
  loop_control:
    label: "{{ item.metadata.name }}"
"""

RETURN = r"""
resources:
  description: The machines, as Kubernetes' nodes.
  returned: success
  type: list
  elements: dict
  sample:
    - {apiVersion: v1, kind: Node, metadata: {name: web1}, status: {conditions: [{type: Ready, status: "True"}]}}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import CONNECTION, EXCLUSIVE, Beectl, BeectlError
from ansible_collections.beemesh.mesh.plugins.module_utils.conditions import CONDITION, WAIT, holds, ready, wait_until

OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str"},
    "label_selectors": {"type": "list", "elements": "str", "default": []},
}


def find(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """What the options mean. Raises `BeectlError`."""
    params, beectl = module.params, Beectl(module)
    words = [params["name"]] if params["name"] else []
    if params["label_selectors"]:
        words += ["-l", ",".join(params["label_selectors"])]
    if not params["wait"]:
        return beectl.get("machines", *words)
    condition = params["wait_condition"]
    what = f"{condition['type']}={condition['status']}" if condition else "ready"
    return wait_until(
        lambda: beectl.get("machines", *words),
        lambda shape: holds(shape, condition) if condition else ready(shape),
        what,
        params["wait_timeout"],
        params["wait_sleep"],
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**OPTIONS, **CONNECTION, **WAIT, **CONDITION},
        mutually_exclusive=[*EXCLUSIVE, ("name", "label_selectors")],
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, resources=find(module))
    except BeectlError as error:
        module.fail_json(**error.told, resources=error.facts.get("found", []))


if __name__ == "__main__":
    main()
