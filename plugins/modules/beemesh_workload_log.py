#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a container of a mesh wrote."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_workload_log
short_description: Read what a container of a mesh wrote
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Reads the log of a pod, or of one pod of a workload. The pod's machine seals it for the operator who asks.
extends_documentation_fragment:
  - beemesh.mesh.connection
  - beemesh.mesh.connection.namespace
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
options:
  kind:
    description: Kind of what O(name) names. V(Pod) also finds a workload of the name.
    type: str
    choices: [Pod, Deployment, StatefulSet]
    default: Pod
  name:
    description: Name of a pod or of a workload. Of a workload's pods a ready one is taken, that of the lowest slot.
    type: str
    required: true
  container:
    description: The container, the first one if not given.
    type: str
  tail_lines:
    description: Only so many lines of its end.
    type: int
  since_seconds:
    description: Only what was written within the last so many seconds.
    type: int
  previous:
    description: Whether to read the log of the container before its last restart.
    type: bool
    default: false
  timestamps:
    description: Whether each line begins with its time.
    type: bool
    default: false
seealso:
  - module: beemesh.mesh.beemesh_workload_exec
"""

EXAMPLES = r"""
- name: Read the last lines that a Deployment wrote
  beemesh.mesh.beemesh_workload_log:
    kind: Deployment
    name: web
    container: web
    tail_lines: 20
    since_seconds: 3600
  register: said

- name: Show them
  ansible.builtin.debug:
    var: said.log_lines
"""

RETURN = r"""
log:
  description: What was written.
  returned: success
  type: str
log_lines:
  description: The same, as a list of lines.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import (
    CONNECTION,
    EXCLUSIVE,
    NAMESPACE,
    Beectl,
    BeectlError,
    seconds,
)

OPTIONS: dict[str, t.Any] = {
    "kind": {"type": "str", "choices": ["Pod", "Deployment", "StatefulSet"], "default": "Pod"},
    "name": {"type": "str", "required": True},
    "container": {"type": "str"},
    "tail_lines": {"type": "int"},
    "since_seconds": {"type": "int"},
    "previous": {"type": "bool", "default": False},
    "timestamps": {"type": "bool", "default": False},
}


def words(params: dict[str, t.Any]) -> list[str]:
    """The command that the options mean."""
    found = ["-n", params["namespace"]] if params["namespace"] else []
    found += ["logs", f"{params['kind'].lower()}/{params['name']}"]
    for option, flag in (("container", "--container"), ("tail_lines", "--tail")):
        if params[option] is not None:
            found += [flag, str(params[option])]
    if params["since_seconds"] is not None:
        found += ["--since", seconds(params["since_seconds"])]
    return found + [f"--{option}" for option in ("previous", "timestamps") if params[option]]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**OPTIONS, **CONNECTION, **NAMESPACE}, mutually_exclusive=EXCLUSIVE, supports_check_mode=True
    )
    try:
        log = Beectl(module).text(*words(module.params))
    except BeectlError as error:
        module.fail_json(**error.told)
    module.exit_json(changed=False, log=log, log_lines=log.splitlines())


if __name__ == "__main__":
    main()
