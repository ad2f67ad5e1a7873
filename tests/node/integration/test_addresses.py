"""Machines that listen everywhere, as the role sets them up: where others find them, with IPv4 or without."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from beemesh_node.network.addresses import parse
from tests.node.integration.machine import PORT, Machine
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment, ip

EVERYWHERE = [f"/ip4/0.0.0.0/tcp/{PORT}", f"/ip6/::/tcp/{PORT}"]


def moved_to(family: str, machine: Machine, number: int) -> str:
    """Give the machine the address of a family and take that of the other; return how it is dialled."""
    if family == "ip4":
        return machine.multiaddr
    ip("-n", machine.namespace, "address", "flush", "dev", "eth0", "scope", "global")
    ip("-n", machine.namespace, "address", "add", f"fd00:bee::{number}/64", "dev", "eth0", "nodad")
    return f"/ip6/fd00:bee::{number}/tcp/{PORT}/p2p/{machine.peer}"


@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_machines_find_each_other_again_without_the_one_by_which_they_met(
    segment: Segment, tmp_path: Path, family: str
) -> None:
    with Mesh(tmp_path, segment) as mesh:
        hub, one, other = machines = [mesh.add(f"{family}{name}", podman=False) for name in ("hub", "one", "other")]
        ways = [moved_to(family, machine, number) for number, machine in enumerate(machines, start=1)]
        for machine in machines:
            know(machine, ways[:1])
            machine.start()
        for machine, way in zip(machines, ways, strict=True):
            status = machine.until(lambda status: status["detection"]["datagrams"] == 2, "hears both others")
            told = [parse(text).host for text in status["addresses"]]
            assert told == [parse(way).host]

        hub.stop(signal.SIGKILL)
        one.stop()
        one.start()
        for machine in (one, other):
            machine.until(lambda status: status["peers"] == 1, "has found the other again")

        one.stop()
        other.stop()
        for machine in (one, other):
            machine.start()
        for machine in (one, other):
            machine.until(lambda status: status["peers"] == 1, "has found the other after both were off")


def know(machine: Machine, bootstrap: list[str]) -> None:
    """Have the machine know no other way into the mesh, neither by its configuration nor by its bundle."""
    path = machine.state / "membership.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bootstrap": bootstrap}))
    machine.configure(listen=EVERYWHERE, bootstrap=[])
