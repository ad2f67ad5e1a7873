#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at workloads and pods of a mesh."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_workload_info
short_description: Look at the workloads and pods of a mesh
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Tells how declared workloads and their pods are, in Kubernetes' own shapes.
extends_documentation_fragment:
  - beemesh.mesh.connection
  - beemesh.mesh.connection.namespace
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
  kind:
    description:
      - What to look at. V(Workload) is everything that was declared, V(Pod) every pod, whichever workload it belongs
        to; the machine of a pod is its C(spec.nodeName). V(Event) is what happened lately.
    type: str
    choices: [Workload, Deployment, StatefulSet, Pod, Event]
    default: Workload
  name:
    description: Only what has this name, or for V(Event) what is about it.
    type: str
  label_selectors:
    description: Only what fulfils all of these, V(app=web) for example. Mutually exclusive with O(name).
    type: list
    elements: str
    default: []
  all_namespaces:
    description: Whether to look into all namespaces that the operator may see, instead of one.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until something is found, and all that is found fulfils O(wait_condition), or without it has
        all its replicas ready.
    type: bool
    default: false
seealso:
  - module: beemesh.mesh.beemesh_workload
"""

EXAMPLES = r"""
- name: Look at a Deployment, once all its replicas are ready
  beemesh.mesh.beemesh_workload_info:
    kind: Deployment
    name: web
    wait: true
    wait_timeout: 60
  register: web

- name: Look at the pods of an application
  beemesh.mesh.beemesh_workload_info:
    kind: Pod
    label_selectors:
      - app=web
  register: pods

- name: Tell where they are
  ansible.builtin.debug:
    msg: "{{ pods.resources | map(attribute='spec.nodeName') | sort }}"
"""

RETURN = r"""
resources:
  description: What was found, as Kubernetes objects. Of Secrets nothing but their names appears.
  returned: success
  type: list
  elements: dict
  sample:
    - {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2}, status: {readyReplicas: 2}}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import (
    CONNECTION,
    EXCLUSIVE,
    NAMESPACE,
    Beectl,
    BeectlError,
)
from ansible_collections.beemesh.mesh.plugins.module_utils.conditions import CONDITION, WAIT, holds, ready, wait_until

OPTIONS: dict[str, t.Any] = {
    "kind": {
        "type": "str",
        "choices": ["Workload", "Deployment", "StatefulSet", "Pod", "Event"],
        "default": "Workload",
    },
    "name": {"type": "str"},
    "label_selectors": {"type": "list", "elements": "str", "default": []},
    "all_namespaces": {"type": "bool", "default": False},
}


def find(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """What the options mean. Raises `BeectlError`."""
    params = module.params
    beectl = Beectl(module)
    words = [params["name"]] if params["name"] else []
    if params["label_selectors"]:
        words += ["-l", ",".join(params["label_selectors"])]
    if params["all_namespaces"]:
        words.append("-A")

    def look() -> list[dict[str, t.Any]]:
        namespace = None if params["all_namespaces"] else params["namespace"]
        return beectl.get(params["kind"].lower(), *words, namespace=namespace)

    if not params["wait"]:
        return look()
    condition = params["wait_condition"]
    what = f"{condition['type']}={condition['status']}" if condition else "ready"

    def fulfilled(shape: dict[str, t.Any]) -> bool:
        return holds(shape, condition) if condition else ready(shape)

    return wait_until(look, fulfilled, what, params["wait_timeout"], params["wait_sleep"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**OPTIONS, **CONNECTION, **NAMESPACE, **WAIT, **CONDITION},
        mutually_exclusive=[*EXCLUSIVE, ("name", "label_selectors")],
        supports_check_mode=True,
    )
    if module.params["wait"] and module.params["kind"] == "Event":
        module.fail_json(msg="wait: events do not become ready; leave it out", reason="invalid", rc=None)
    try:
        module.exit_json(changed=False, resources=find(module))
    except BeectlError as error:
        module.fail_json(**error.told, resources=error.facts.get("found", []))


if __name__ == "__main__":
    main()
