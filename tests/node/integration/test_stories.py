"""What happened, and why, can be learned while it happens and afterwards, also of machines that are gone."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.node.integration.grove import Grove, roaming
from tests.node.integration.waiting import until


def test_the_story_of_a_replica_outlives_the_machines_it_ran_on(grove: Grove, tmp_path: Path) -> None:
    admin = grove.admin
    seen = tmp_path / "watched"
    with seen.open("wb") as out:
        watch = subprocess.Popen(admin.command("get", "events", "-w"), stdout=out, stderr=subprocess.DEVNULL)
    try:
        admin.apply(roaming("tale", 1))
        (first,) = grove.pods(admin, "-l", "app=tale")
        left = next(machine for machine in grove.machines if machine.name == first["spec"]["nodeName"])
        name = first["metadata"]["name"]
        admin.run("drain", left.name, "--timeout", "40s")
        (second,) = grove.pods(admin, "-l", "app=tale")
        there = second["spec"]["nodeName"]
        moved = f"replica 0 on {there}: {name} on {left.name} is to leave (its machine is drained)"
        ended = f"{name}: its machine is drained, and {there} runs it now"
        until(
            lambda: all(text in seen.read_text() for text in (moved, ended, f"{name}: replica 0 runs")),
            "whoever watches sees each step with its cause",
            why=seen.read_text,
        )
    finally:
        watch.terminate()
        watch.wait(timeout=20)

    assert "an operator drains it" in admin.run("describe", "machine", left.name).out
    left.stop(signal.SIGKILL)
    others = grove.operator("reader", ["*"], ["get"])
    others.enter_by(*(machine for machine in grove.machines if machine is not left))
    described = others.run("describe", "pod", second["metadata"]["name"]).out
    told = [line for line in described[described.index("Events:") :].splitlines() if name in line]
    assert any(f" {left.name} " in line and "Started" in line for line in told), described
    assert any(f" {left.name} " in line and "Killing" in line for line in told), described
    assert moved in described
    left.start()
    grove.settle()
    admin.run("uncordon", left.name)
    admin.delete("deployment/tale")
