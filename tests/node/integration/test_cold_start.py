"""Every machine is off, and on again: what is declared comes back, once, and what was deleted does not."""

from __future__ import annotations

from typing import Any

from tests.node.integration.dying import power_off
from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.manifests import claims, stateful_set
from tests.node.integration.mesh import Operator
from tests.node.integration.waiting import until

_BOUND = 90.0


def test_all_comes_back_but_what_was_deleted_while_a_machine_was_off(grove: Grove) -> None:
    admin = grove.admin.enter_by(*grove.machines)
    grove.watch()
    admin.apply(roaming("web", 2), roaming("gone"), stateful_set("db", 1, volumeClaimTemplates=claims()))
    (home,) = machines_of(grove.pods(admin, "-l", "app=gone"))
    first = next(machine for machine in grove.machines if machine.name == home)
    others = [machine for machine in grove.machines if machine is not first]
    before = admin.json("get", "deployment/web")["metadata"]
    (slot,) = admin.json("lease", "statefulset/db")["slots"]

    power_off(first)
    admin.enter_by(*others).delete("deployment/gone")
    for machine in others:
        power_off(machine)

    first.start()  # it alone believes that `gone` is declared
    first.until(lambda status: status["runtime"]["ready"], "is on again")
    for machine in others:
        machine.start()
    grove.settle()
    grove.watch()
    admin.enter_by(*grove.machines)
    until(lambda: len(grove.running("web")) == 2 and not grove.running("gone"), "web runs, gone does not", _BOUND)
    # What is left of its old lease the pod may still use: then it ends, since every voter is silent after its restart.
    again = until(lambda: _leased_anew(admin, slot["term"]), "the slot has its lease again", _BOUND)
    assert again["volumesOn"] == slot["volumesOn"]
    until(lambda: len(grove.running("db")) == 1, "its pod runs", _BOUND)
    assert admin.run("exec", "db-0", "--", "cat", "/data/lives").out.split().count("life") >= 2
    assert admin.run("get", "deployment/gone", code=1).err
    after = admin.json("get", "deployment/web")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    admin.delete("deployment/web", "statefulset/db")


def _leased_anew(admin: Operator, term: int) -> dict[str, Any] | None:
    """The lease of db's slot if it is held in a later term."""
    (slot,) = admin.json("lease", "statefulset/db")["slots"]
    return slot if slot["term"] > term and slot["holder"] else None
