"""A machine that lives but cannot start anything: what runs there stays, what died there runs elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.machine import Machine
from tests.node.integration.waiting import until


def test_what_a_silent_podman_cannot_start_again_runs_elsewhere(grove: Grove) -> None:
    admin = grove.admin
    admin.apply(roaming("stays"), roaming("dies"))

    def pods(app: str) -> list[dict[str, Any]]:
        return grove.pods(admin, "-l", f"app={app}")

    def ready(app: str) -> list[dict[str, Any]]:
        # A pod that has just been placed has no statuses yet.
        found = [(pod, pod["status"].get("containerStatuses")) for pod in pods(app)]
        return [pod for pod, statuses in found if statuses and all(one["ready"] for one in statuses)]

    (dying,) = pods("dies")
    stricken = next(machine for machine in grove.machines if machine.name == dying["spec"]["nodeName"])
    admin.enter_by(*(machine for machine in grove.machines if machine is not stricken))
    assert stricken.podman is not None
    label = f"label=io.beemesh.pod-uid={dying['metadata']['uid']}"
    container = stricken.podman.run("ps", "-q", "--filter", label)
    process = int(stricken.podman.run("inspect", container, "--format", "{{.State.Pid}}"))
    (before,) = pods("stays")
    stricken.podman.freeze()
    try:
        stricken.until(lambda status: not status["runtime"]["ready"], "notices that Podman does not answer")
        assert [pod["metadata"]["uid"] for pod in ready("stays")] == [before["metadata"]["uid"]]
        os.kill(process, signal.SIGKILL)
        moved = until(
            lambda: [pod for pod in ready("dies") if pod["spec"]["nodeName"] != stricken.name],
            "the pod runs on another machine",
        )
        assert moved
    finally:
        stricken.podman.thaw()
    stricken.until(lambda status: bool(status["runtime"]["ready"]), "has its Podman back")
    until(lambda: len(pods("dies")) == 1 and len(ready("dies")) == 1, "one pod is left")
    assert [pod["metadata"]["uid"] for pod in ready("stays")] == [before["metadata"]["uid"]]
    admin.delete("deployment/stays", "deployment/dies")


def test_a_machine_with_a_full_disk_keeps_what_runs_takes_nothing_and_ends_what_is_deleted(grove: Grove) -> None:
    admin = grove.admin.enter_by(*grove.machines)
    admin.apply(roaming("stays"), roaming("ends"))
    (placed,) = machines_of(grove.pods(admin, "-l", "app=ends"))
    stricken = next(machine for machine in grove.machines if machine.name == placed)
    admin.enter_by(*(machine for machine in grove.machines if machine is not stricken))
    with _small_disk(stricken) as filler:
        grove.settle()
        before = grove.containers()
        with filler.open("wb", buffering=0) as full, suppress(OSError):
            while True:
                full.write(bytes(4096))
        admin.apply(roaming("comes", 4))
        assert placed not in machines_of(grove.pods(admin, "-l", "app=comes"))
        assert {name: grove.containers()[name] for name in before} == before
        admin.delete("deployment/ends")
        until(lambda: not grove.running("ends"), "what is deleted ends all the same")
        filler.unlink()
    grove.settle()
    assert len(grove.running("stays")) == 1
    until(lambda: len(grove.running("comes")) == 4, "nothing came twice")
    assert grove.running("ends") == [], "and does not return"
    admin.delete("deployment/stays", "deployment/comes")


@contextmanager
def _small_disk(machine: Machine) -> Iterator[Path]:
    """Give a machine's state a file system of its own for the length of the block; gives a file to fill it with."""
    kept = machine.directory / "kept"
    machine.stop()
    machine.state.rename(kept)
    machine.state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "bmit-state", str(machine.state)], check=True)
    shutil.copytree(kept, machine.state, dirs_exist_ok=True)
    machine.start()
    filler = machine.state / "filler"
    try:
        yield filler
    finally:
        filler.unlink(missing_ok=True)
        machine.stop()
        _move_back(machine, kept)
        machine.start()


def _move_back(machine: Machine, kept: Path) -> None:
    shutil.rmtree(kept)
    shutil.copytree(machine.state, kept)
    subprocess.run(["umount", str(machine.state)], check=True)
    machine.state.rmdir()
    kept.rename(machine.state)
