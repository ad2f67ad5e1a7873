"""Two meshes on one network do not hear each other, even when their machines are told to meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.integration.machine import Machine, Status
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment
from tests.node.integration.shared import SharedMesh

_ATTEMPTS = 2


@pytest.mark.parametrize(
    ("same_key", "seen"),
    [
        (True, lambda status: status["network"].get("refused.hello", 0) >= 1),
        (False, lambda status: status["network"].get("dials.failed", 0) >= _ATTEMPTS),
    ],
    ids=["same network key, other root", "other network key, other root"],
)
def test_two_meshes_on_one_network_do_not_hear_each_other(
    mesh: SharedMesh, segment: Segment, tmp_path: Path, same_key: bool, seen: Callable[[Status], bool]
) -> None:
    name = "other-key" if not same_key else "same-key"
    with Mesh(tmp_path, segment, name) as other:
        if same_key:
            (other.root / "network.key").write_text((mesh.root / "network.key").read_text())
        stranger = other.add(name, podman=False)
        # Both are told that the other's machine is one of theirs, and dial it for ever.
        stranger.configure(bootstrap=[mesh.alpha.multiaddr])
        _also_dial(mesh.beta, stranger)
        stranger.start()
        stranger.until(seen, "has tried to meet the other mesh")
        mesh.beta.until(seen, "has tried to meet the other mesh")

        assert set((stranger.status() or {})["members"]) <= {stranger.name}
        assert (stranger.status() or {})["peers"] == 0
        assert stranger.name not in (mesh.beta.status() or {})["members"]
        ran = mesh.operator(f"visitor-{name}", ["*"], ["*"]).enter_by(stranger).run("get", "machines", code=None)
        assert ran.code == (3 if same_key else 1)
        assert stranger.name not in ran.out
    mesh.settle(mesh.alpha, mesh.beta)


def _also_dial(machine: Machine, other: Machine) -> None:
    machine.stop()
    machine.configure(bootstrap=[other.multiaddr])
    machine.start()
