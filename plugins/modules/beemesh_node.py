#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take machines of a mesh out of use and back, wait for their health, and change their labels."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_node
short_description: Take a machine of a mesh out of use and back, wait for its health, and change its labels
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Cordons, drains and uncordons a machine, waits until it is ready, and sets and removes labels. The orders are
    kept by the machine itself, over restarts too.
  - Labels that have to be believed stand in the certificate (O(beemesh.mesh.beemesh_certificate#module:labels)) and
    cannot be changed here. The others are the machine's own word. They begin as C(beemeshd.yaml) has them, which the
    role P(beemesh.mesh.node#role) writes; what is ordered here goes before that file.
    M(beemesh.mesh.beemesh_node_info) shows the labels in force.
extends_documentation_fragment:
  - beemesh.mesh.connection
attributes:
  check_mode:
    description:
      - Can run in check mode and tell what would change, and which pods would move, without changing anything.
    support: full
  diff_mode:
    description: Shows whether the machine takes work, the pods that are moved away, and the labels that are named.
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
      - Without it only O(labels) are changed.
    type: str
    choices: [cordoned, drained, uncordoned, ready]
  labels:
    description:
      - Labels that the machine is to have. One without a value (V(null)) it is not to have, also if C(beemeshd.yaml)
        gives it that label; what is not named stays as it is.
      - Values are strings as Kubernetes allows them. Whole numbers are taken too; put V(true) and the like in quotes.
      - A label gets the new value whatever it had. All are changed or none.
      - What is placed from then on follows them; what runs already stays.
      - They are changed before O(state) is, but for O(state=ready), which is waited for first.
    type: dict
  wait:
    description:
      - Whether to wait until the mesh has heard of it, with O(state=uncordoned) also until the machine is ready.
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

- name: Say that it has a fast disk now, and is no more meant for tests
  beemesh.mesh.beemesh_node:
    name: oak
    labels:
      disk: nvme
      example.com/purpose: null
    wait: true
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
labels:
  description: All labels of the machine, as they are now; in check mode as they would be.
  returned: if labels are given
  type: dict
  sample: {disk: nvme, kubernetes.io/arch: amd64, kubernetes.io/hostname: oak, kubernetes.io/os: linux}
diff:
  description: Whether the machine takes work and what it runs, before and after; of O(labels) those that are named.
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
    "state": {"type": "str", "choices": ["cordoned", "drained", "uncordoned", "ready"]},
    "labels": {"type": "dict"},
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
        """Do what labels and state say; return the answer. Raises `BeectlError`."""
        if not self.params["labels"]:
            return self._set_state()
        if self.params["state"] == "ready":
            answer = self._set_state()
            return self._with_labels(answer, self._label())
        labelled = self._label()
        return self._with_labels(self._set_state(), labelled)

    def _set_state(self) -> Facts:
        state = self.params["state"]
        if state is None:
            node = self.known()
            return self._answer(node, closed(node), [], [])
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

    def _label(self) -> Facts:
        """Have the machine take the labels, or in check mode only say what would be; return what it told."""
        words = ["--overwrite", *(["--dry-run"] if self.module.check_mode else []), "-o", "json"]
        pairs = [change(str(key), value) for key, value in self.params["labels"].items()]
        told: Facts = self.beectl.json("label", *words, "--", f"machine/{self.name}", *pairs, formatted=True)
        machine: Facts = told["machines"][0]
        return machine

    def _with_labels(self, answer: Facts, told: Facts) -> Facts:
        """Join what was done about the state with what was done about the labels."""
        before, after = told["before"], told["labels"]
        named = sorted(str(key) for key in self.params["labels"])
        if not self.module.check_mode:
            if self.params["wait"]:
                answer["node"] = self.wait("labelled so", lambda node: of(named, labels_of(node)) == of(named, after))
            answer["node"] = relabel(answer["node"], named, after)
        answer["diff"]["before"]["labels"] = of(named, before)
        answer["diff"]["after"]["labels"] = of(named, after)
        return {**answer, "changed": answer["changed"] or told["changed"], "labels": after}

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


def change(key: str, value: t.Any) -> str:
    """A label as beectl takes it. Raises `BeectlError` for what is none, as YAML may have made one of it."""
    if not key or "=" in key:
        raise BeectlError(f"labels: {key!r} is not the key of a label", "invalid")
    if value is None:
        return f"{key}-"
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BeectlError(f"labels: the value of {key} is {value!r}, which is no string: put it in quotes", "invalid")
    return f"{key}={value}"


def labels_of(node: Facts) -> Facts:
    """What a machine is labelled with, as the mesh knows it."""
    return dict(node["metadata"].get("labels", {}))


def of(named: list[str], labels: Facts) -> Facts:
    """Those labels that are named."""
    return {key: labels[key] for key in named if key in labels}


def relabel(node: Facts, named: list[str], after: Facts) -> Facts:
    """The machine with the labels that it has answered that it has now; its next presence will tell the same."""
    others = {key: value for key, value in labels_of(node).items() if key not in named}
    return {**node, "metadata": {**node["metadata"], "labels": {**others, **of(named, after)}}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**OPTIONS, **CONNECTION},
        mutually_exclusive=EXCLUSIVE,
        required_one_of=[("state", "labels")],
        supports_check_mode=True,
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
