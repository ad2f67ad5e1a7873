# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until objects of the mesh are as wanted, by looking at their conditions."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import Beectl, BeectlError, Facts

WAIT: Facts = {
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 120},
}
"""Options of every module that waits; the fragment `wait` documents them."""

CONDITION: Facts = {
    "wait_sleep": {"type": "int", "default": 5},
    "wait_condition": {
        "type": "dict",
        "options": {
            "type": {"type": "str", "required": True},
            "status": {"type": "str", "choices": ["True", "False", "Unknown"], "default": "True"},
            "reason": {"type": "str"},
        },
    },
}
"""Options of modules that wait for a condition; the fragment `wait_condition` documents them."""


def holds(shape: Facts, condition: Facts) -> bool:
    """Whether an object has a condition."""
    for each in shape.get("status", {}).get("conditions", []):
        if each.get("type") == condition["type"]:
            reason = condition.get("reason")
            return each.get("status") == condition["status"] and (not reason or each.get("reason") == reason)
    return False


def ready(shape: Facts) -> bool:
    """Whether an object is all that it should be: a machine that is ready, a workload with all its replicas."""
    kind, status = shape.get("kind"), shape.get("status", {})
    if kind == "Pod" and status.get("phase") == "Succeeded":
        return True
    if kind in ("Pod", "Node"):
        return holds(shape, {"type": "Ready", "status": "True"})
    wanted = shape.get("spec", {}).get("replicas", 1)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return all(count == wanted for count in counts)


def why(shape: Facts) -> str:
    """What an object tells of itself, for a message that it did not become as wanted."""
    told = [
        f"{each.get('type')} is {each.get('status')}" + (f" ({each['message'].strip()})" if each.get("message") else "")
        for each in shape.get("status", {}).get("conditions", [])
    ]
    phase = shape.get("status", {}).get("phase")
    return "; ".join([f"phase {phase}", *told] if phase else told) or "nothing is known of it"


def check_standing(told: Facts) -> None:
    """See that what is as declared already does not stand as failed, as beectl told it. Raises `BeectlError`."""
    if not told["changed"] and told.get("failure"):
        subject = f"{told['kind']} {told['namespace']}/{told['name']}"
        raise BeectlError(
            f"{subject} is as declared and stands as failed: {told['failure']}. `beectl describe` of it shows more; "
            "change the manifest, or mend what it needs",
            "failed",
            None,
            {"results": [told]},
        )


def wait_until(
    look: t.Callable[[], list[Facts]],
    fulfilled: t.Callable[[Facts], bool],
    what: str,
    within: float,
    pause: float,
) -> list[Facts]:
    """Look until there is something and all of it is as wanted; return it. Raises `BeectlError` when time is over."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        lacking = [shape for shape in found if not fulfilled(shape)]
        if found and not lacking:
            return found
        left = deadline - time.monotonic()
        if left <= 0:
            names = "; ".join(f"{shape['metadata']['name']}: {why(shape)}" for shape in lacking[:5])
            raise BeectlError(
                f"after {within:g} s not {what}: {names or 'there is no such object'}", "timeout", 4, {"found": found}
            )
        time.sleep(min(pause, left))


def wait_for_condition(beectl: Beectl, result: Facts, condition: Facts, within: float, pause: float) -> None:
    """Wait until a workload has a condition, and note in what is returned of it how it stands then.

    Raises `BeectlError` when it has not in time, and when it stands as failed although it has: earlier replicas, which
    still serve, fulfil most conditions. Whoever waits for another status than `True` may wait for a failure.
    """
    kind, name, namespace = result["kind"].lower(), result["name"], result["namespace"]
    found = wait_until(
        lambda: beectl.get(kind, name, namespace=namespace),
        lambda shape: holds(shape, condition),
        f"{condition['type']}={condition['status']}",
        within,
        pause,
    )
    result["result"] = found[0]
    # To try a patch that changes nothing tells how many replicas are ready on what is declared now.
    nothing = ("patch", f"{kind}/{name}", "--type", "merge", "--patch", "{}", "--dry-run=server")
    for told in beectl.json("-n", namespace, *nothing).get("results", []):
        result["placement"] = told.get("placement", result["placement"])
        result["replicas_ready"] = told.get("readyReplicas", result["replicas_ready"])
        if condition["status"] == "True":
            check_standing(told)
