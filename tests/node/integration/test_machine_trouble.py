"""A machine that lives but cannot start anything: what runs there stays, what died there runs elsewhere."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.node.integration.grove import Grove, roaming
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
