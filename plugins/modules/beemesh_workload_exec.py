#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command in a container of a mesh."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_workload_exec
short_description: Run a command in a container of a mesh
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Runs a command in a pod, or in one pod of a workload. What goes in and comes out is sealed between the operator
    and the pod's machine.
  - A command that ends with another code than 0 fails the task; C(failed_when) can say otherwise.
extends_documentation_fragment:
  - beemesh.mesh.connection
  - beemesh.mesh.connection.namespace
attributes:
  check_mode:
    description: Nobody knows what a command changes, so it is not run.
    support: none
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
    aliases: [pod]
  container:
    description: The container, the first one if not given.
    type: str
  command:
    description:
      - The command, taken apart at spaces and quotes. No shell reads it.
      - One of O(command) and O(argv) is needed.
    type: str
  argv:
    description: The command as a list of words.
    type: list
    elements: str
  stdin:
    description: What the command reads. It is masked wherever Ansible would show it.
    type: str
  exec_timeout:
    description: Seconds that the command may take.
    type: int
    default: 60
seealso:
  - module: beemesh.mesh.beemesh_workload_log
"""

EXAMPLES = r"""
- name: Ask a web server of itself
  beemesh.mesh.beemesh_workload_exec:
    kind: Deployment
    name: web
    command: wget -q -O - http://127.0.0.1:8080/hostname
  register: answer
  changed_when: false

- name: Hand something in that nobody else is to see
  beemesh.mesh.beemesh_workload_exec:
    name: web
    container: web
    argv: [sh, -c, cat > /tmp/settings]
    stdin: "token = {{ lookup('ansible.builtin.password', '/dev/null', length=24) }}"
"""

RETURN = r"""
stdout:
  description: What the command wrote.
  returned: when the command ran
  type: str
stdout_lines:
  description: The same, as a list of lines.
  returned: when the command ran
  type: list
  elements: str
stderr:
  description: What the command wrote of errors.
  returned: when the command ran
  type: str
stderr_lines:
  description: The same, as a list of lines.
  returned: when the command ran
  type: list
  elements: str
rc:
  description: Exit code of the command.
  returned: when the command ran
  type: int
pod:
  description: Name of the pod.
  returned: when the command ran
  type: str
container:
  description: Name of the container.
  returned: when the command ran
  type: str
machine:
  description: Name of the machine.
  returned: when the command ran
  type: str
"""

import shlex
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import (
    CONNECTION,
    EXCLUSIVE,
    NAMESPACE,
    Beectl,
    BeectlError,
)

OPTIONS: dict[str, t.Any] = {
    "kind": {"type": "str", "choices": ["Pod", "Deployment", "StatefulSet"], "default": "Pod"},
    "name": {"type": "str", "required": True, "aliases": ["pod"]},
    "container": {"type": "str"},
    "command": {"type": "str"},
    "argv": {"type": "list", "elements": "str"},
    "stdin": {"type": "str", "no_log": True},
    "exec_timeout": {"type": "int", "default": 60},
}


def execute(module: AnsibleModule, command: list[str]) -> dict[str, t.Any]:
    """Run the command; return what it wrote, and how it ended. Raises `BeectlError` when it was not run."""
    params = module.params
    words = ["-n", params["namespace"]] if params["namespace"] else []
    words += ["exec", "-o", "json"]
    if params["container"]:
        words += ["--container", params["container"]]
    if params["stdin"] is not None:
        words.append("--stdin")
    words += [f"{params['kind'].lower()}/{params['name']}", "--", *command]
    facts = Beectl(module).json(*words, stdin=params["stdin"], waiting=params["exec_timeout"], formatted=True)
    return {name: facts[name] for name in ("stdout", "stderr", "rc", "pod", "container", "machine")}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**OPTIONS, **CONNECTION, **NAMESPACE},
        mutually_exclusive=[*EXCLUSIVE, ("command", "argv")],
        required_one_of=[("command", "argv")],
    )
    try:
        command = module.params["argv"] or shlex.split(module.params["command"] or "")
    except ValueError as error:
        module.fail_json(msg=f"command: {error}", reason="invalid", rc=None)
    if not command:
        module.fail_json(msg="command is empty: say what to run", reason="invalid", rc=None)
    try:
        ran = execute(module, command)
    except BeectlError as error:
        module.fail_json(**error.told)
    if ran["rc"] != 0:
        module.fail_json(msg=f"{command[0]} ended with {ran['rc']} in pod/{ran['pod']}", changed=True, **ran)
    module.exit_json(changed=True, **ran)


if __name__ == "__main__":
    main()
