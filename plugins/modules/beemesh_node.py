#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take machines of a mesh out of use and back, and wait for their health."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_node
short_description: Take a machine of a mesh out of use and back, and wait for its health
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Cordons, drains and uncordons a machine, or only waits until it is ready. The order is kept by the machine
    itself, over restarts too.
  - It does not change labels, since no operator can do so over the mesh. They stand in the certificate
    (O(beemesh.mesh.beemesh_certificate#module:labels)) and in C(beemeshd.yaml), which the roles
    P(beemesh.mesh.join#role) and P(beemesh.mesh.node#role) write, and M(beemesh.mesh.beemesh_node_info) shows them.
extends_documentation_fragment:
  - beemesh.mesh.connection
attributes:
  check_mode:
    description:
      - Can run in check mode and tell what would change, and which pods would move, without changing anything.
    support: full
  diff_mode:
    description: Shows whether the machine takes work, and the pods that are moved away.
    support: full
options:
  name:
    description: Name or id of the machine.
    type: str
    required: true
  state:
    description:
      - V(cordoned) has it take no new work; what runs there goes on.
      - V(drained) also moves everything that runs there to other machines, and waits until it is gone. Each replica
        is ready elsewhere before it ends, as in a rollout.
      - V(uncordoned) has it take work again.
      - V(ready) changes nothing and waits until it is a member that can run pods.
    type: str
    choices: [cordoned, drained, uncordoned, ready]
    required: true
  wait:
    description:
      - Whether to wait until the whole mesh has heard of it, with O(state=uncordoned) also until the machine is ready.
      - V(drained) and V(ready) always wait.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait. A drain that is not over by then fails the task, and goes on.
    type: int
    default: 300
  wait_sleep:
    description: Seconds between two looks while waiting.
    type: int
    default: 2
  drain_options:
    description: How to drain.
    type: dict
    suboptions:
      grace_period:
        description: Seconds that each pod has to end, instead of what its manifest says.
        type: int
      force:
        description: Whether to end what no other machine can take. It waits until one can.
        type: bool
        default: false
seealso:
  - module: beemesh.mesh.beemesh_node_info
"""

EXAMPLES = r"""
- name: Have a machine take no new work
  beemesh.mesh.beemesh_node:
    name: oak
    state: cordoned

- name: Move everything away from it
  beemesh.mesh.beemesh_node:
    name: oak
    state: drained
    wait_timeout: 120
    drain_options:
      grace_period: 5
  register: drained

- name: Tell where its pods went
  ansible.builtin.debug:
    var: drained.pods

- name: Take it into use again, and go on once it can run pods
  beemesh.mesh.beemesh_node:
    name: oak
    state: uncordoned
    wait: true

- name: Go on only if it is well
  beemesh.mesh.beemesh_node:
    name: oak
    state: ready
    wait_timeout: 30
"""

RETURN = r"""
node:
  description: The machine as Kubernetes' Node, as it was when the task ended; in check mode as it is.
  returned: success
  type: dict
pods:
  description: With O(state=drained) the pods that were or would be moved.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the pod.
      type: str
    pod:
      description: Name of the pod.
      type: str
    workload:
      description: Name of its workload.
      type: str
    now:
      description: Machines that run its replica now; not in check mode.
      type: list
      elements: str
diff:
  description: Whether the machine takes work and what it runs, before and after.
  returned: success
  type: dict
duration:
  description: Seconds that it took.
  returned: always
  type: float
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import (
    CONNECTION,
    EXCLUSIVE,
    Beectl,
    BeectlError,
    Facts,
    seconds,
)
from ansible_collections.beemesh.mesh.plugins.module_utils.conditions import ready, wait_until

OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["cordoned", "drained", "uncordoned", "ready"], "required": True},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 300},
    "wait_sleep": {"type": "int", "default": 2},
    "drain_options": {
        "type": "dict",
        "options": {"grace_period": {"type": "int"}, "force": {"type": "bool", "default": False}},
    },
}


class Machine:
    """The machine that the task is about."""

    def __init__(self, module: AnsibleModule) -> None:
        """Nothing is asked yet."""
        self.module = module
        self.params: Facts = module.params
        self.beectl = Beectl(module)
        self.name: str = module.params["name"]

    def look(self) -> list[Facts]:
        """The machine, if it is a member. Raises `BeectlError`."""
        return self.beectl.get("machines", self.name)

    def known(self) -> Facts:
        """The machine. Raises `BeectlError` if there is none."""
        found = self.look()
        if not found:
            raise BeectlError(f"machine {self.name} is no member of the mesh: see `beectl get machines`", "failed", 1)
        return found[0]

    def wait(self, what: str, fulfilled: t.Callable[[Facts], bool]) -> Facts:
        """Wait until it is so, by what the mesh knows of it. Raises `BeectlError` when it is not in time."""
        return wait_until(
            self.look,
            fulfilled,
            f"{what}: machine {self.name}",
            self.params["wait_timeout"],
            self.params["wait_sleep"],
        )[0]

    def run(self) -> Facts:
        """Do what the state says; return the answer. Raises `BeectlError`."""
        state = self.params["state"]
        if state == "ready":
            node = self.known() if self.module.check_mode else self.wait("ready", ready)
            return self._answer(node, closed(node), [], [])
        before = self.known()
        if state == "drained":
            return self._drain(before)
        close = state == "cordoned"
        changed = closed(before) is not close
        node = before
        if not self.module.check_mode:
            self.beectl.json("cordon" if close else "uncordon", self.name)
            if changed:
                node = mark(before, close)
            if self.params["wait"]:
                node = self.wait(state, closed if close else in_use)
        return self._answer(node, closed(before), [], [], close=close)

    def _drain(self, before: Facts) -> Facts:
        held = self.beectl.json("drain", self.name, "--dry-run")["pods"]
        options = self.params["drain_options"] or {}
        if self.module.check_mode:
            return self._answer(before, closed(before), held, [], close=True)
        words = ["drain", self.name, "--timeout", seconds(self.params["wait_timeout"])]
        if options.get("grace_period") is not None:
            words += ["--grace-period", str(options["grace_period"])]
        if options.get("force"):
            words.append("--force")
        # With force it also waits for the grace of what is ended.
        facts = self.beectl.json(*words, waiting=2 * self.params["wait_timeout"] + 60)
        return self._answer(mark(before, True), closed(before), held, facts["pods"], close=True)

    def _answer(
        self, node: Facts, was_closed: bool, held: list[Facts], moved: list[Facts], *, close: bool | None = None
    ) -> Facts:
        pods = moved or held
        names = sorted(f"{each['namespace']}/{each['pod']}" for each in pods)
        before = {"unschedulable": was_closed, "pods": names}
        after = {"unschedulable": was_closed if close is None else close, "pods": []}
        return {"changed": before != after, "node": node, "pods": pods, "diff": {"before": before, "after": after}}


def closed(node: Facts) -> bool:
    """Whether a machine takes no new work."""
    return bool(node.get("spec", {}).get("unschedulable", False))


def in_use(node: Facts) -> bool:
    """Whether a machine takes new work and can run it."""
    return ready(node) and not closed(node)


def mark(node: Facts, close: bool) -> Facts:
    """The machine as it has answered that it is now; its next presence will tell the same."""
    return {**node, "spec": {**node.get("spec", {}), "unschedulable": close}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**OPTIONS, **CONNECTION}, mutually_exclusive=EXCLUSIVE, supports_check_mode=True
    )
    began = time.monotonic()
    if module.params["drain_options"] and module.params["state"] != "drained":
        module.fail_json(
            msg="drain_options say how to drain: leave them out, or set state to drained", reason="invalid"
        )
    try:
        answer = Machine(module).run()
    except BeectlError as error:
        module.fail_json(**error.told, duration=round(time.monotonic() - began, 3))
    module.exit_json(**answer, duration=round(time.monotonic() - began, 3))


if __name__ == "__main__":
    main()
