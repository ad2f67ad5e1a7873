"""What passes the network, and what a relay is given: nothing of what operators declare can be read in it."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.node.integration.manifests import IDLE, deployment
from tests.node.integration.segment import Segment
from tests.node.integration.shared import SECRET_IMAGE, SharedMesh
from tests.node.integration.wire import encodings, found_in, streams

NAMESPACE, WORKLOAD = "obsidian-ledger-ns", "mangrove-turbine"
PASSWORD, SETTING, TYPED = "hunter2-kraken-passphrase", "feature-marmalade-enabled", "whispered-through-exec"
PRINTED = "logline-from-the-pangolin"
WORDS = ["zephyrquartz-imagename", NAMESPACE, WORKLOAD, PASSWORD, SETTING, TYPED, PRINTED]
CONTROL = f"control-{WORKLOAD}"
_LEAST = 200_000
"""Bytes that a mesh with this to do cannot stay below."""


def documents() -> list[dict[str, object]]:
    meta = {"namespace": NAMESPACE}
    workload = deployment(
        WORKLOAD,
        2,
        namespace=NAMESPACE,
        image=SECRET_IMAGE,
        script=f"echo {PRINTED}; {IDLE}",
        env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "credentials", "key": "password"}}}],
        envFrom=[{"configMapRef": {"name": "settings"}}],
    )
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credentials", **meta}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", **meta}}
    return [workload, {**secret, "stringData": {"password": PASSWORD}}, {**config, "data": {"SETTING": SETTING}}]


@dataclass(frozen=True)
class Seen:
    """What could be seen while an operator did everything, entering by the relay."""

    packets: bytes
    """All that passed the switch; `controls` among it, unencrypted."""
    controls: list[bytes]
    relayed: bytes
    relay_memory: bytes
    guardian_memory: bytes


@pytest.fixture(scope="module")
def seen(mesh: SharedMesh, segment: Segment, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Apply, get, logs, exec, scale, delete: each shows the operator what nobody else may see."""
    admin, place = mesh.admin.enter_by(mesh.relay), ("-n", NAMESPACE)
    controls = list(encodings(CONTROL).values())
    with segment.capture(tmp_path_factory.mktemp("capture") / "packets.pcap") as capture:
        for control in controls:
            segment.shout(control)
        admin.apply(*documents())
        assert WORKLOAD in admin.run("get", "pods", *place).out
        assert PRINTED in admin.run("logs", *place, f"deployment/{WORKLOAD}").out
        shown = admin.run("exec", *place, f"deployment/{WORKLOAD}", "-i", "--", "sh", "-c", "cat; env", stdin=TYPED)
        assert [word for word in (TYPED, PASSWORD, SETTING) if word not in shown.out] == []
        admin.run("scale", *place, f"deployment/{WORKLOAD}", "--replicas", "1")
        memories = memory_of(mesh.relay.pid), memory_of(mesh.alpha.pid)
        admin.delete(*place, f"deployment/{WORKLOAD}")
        packets = capture.flush(b"the end of the capture")
    return Seen(packets, controls, mesh.tape(), *memories)


def test_nothing_declared_can_be_read_on_the_network(seen: Seen) -> None:
    assert {how for _, how in found_in(seen.packets, [CONTROL])} == set(encodings(CONTROL)), "it would be found"
    packets = seen.packets
    for control in seen.controls:
        packets = packets.replace(control, b"")
    connections = streams(seen.packets)
    assert sum(map(len, connections.values())) > _LEAST
    assert found_in(packets, WORDS) == []
    assert [found for data in connections.values() for found in found_in(data, WORDS)] == []


def test_nothing_declared_can_be_read_by_a_relay(seen: Seen) -> None:
    assert len(seen.relayed) > _LEAST
    assert found_in(seen.relayed, WORDS) == []


def test_a_relay_has_no_secret_anywhere_in_its_memory(seen: Seen) -> None:
    """Not only in the messages: it is no guardian and runs nothing, so it never had what opens them."""
    assert found_in(seen.guardian_memory, [PASSWORD]) != [], "a guardian has it, so it would be found"
    assert found_in(seen.relay_memory, [PASSWORD, SETTING, TYPED, PRINTED]) == []


def memory_of(pid: int) -> bytes:
    """The writable memory of a process, but for pages that it gives back meanwhile."""
    pieces = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            ends, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            at, end = (int(each, 16) for each in ends.split("-"))
            while at < end:
                try:
                    piece = os.pread(memory.fileno(), end - at, at)
                except OSError:
                    at += mmap.PAGESIZE
                else:
                    pieces.append(piece)
                    at += len(piece) or mmap.PAGESIZE
    return b"".join(pieces)
