"""What passes the network, and what a relay is given: nothing of what operators declare can be read in it."""

from __future__ import annotations

from pathlib import Path

from tests.node.integration.manifests import IDLE, deployment
from tests.node.integration.mesh import Operator
from tests.node.integration.segment import Segment
from tests.node.integration.shared import SECRET_IMAGE, SharedMesh
from tests.node.integration.wire import encodings, found_in, streams

NAMESPACE, WORKLOAD = "obsidian-ledger-ns", "mangrove-turbine"
PASSWORD, SETTING, TYPED = "hunter2-kraken-passphrase", "feature-marmalade-enabled", "whispered-through-exec"
PRINTED = "logline-from-the-pangolin"
WORDS = ["zephyrquartz-imagename", NAMESPACE, WORKLOAD, PASSWORD, SETTING, TYPED, PRINTED]
SHOWN_TO_BIDDERS = "zephyrquartz-imagename"
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


def live_through_everything(admin: Operator) -> None:
    """Apply, get, logs, exec, scale, delete; each shows the operator what nobody else may see."""
    place = ("-n", NAMESPACE)
    admin.apply(*documents())
    assert WORKLOAD in admin.run("get", "pods", *place).out
    assert PRINTED in admin.run("logs", *place, f"deployment/{WORKLOAD}").out
    shown = admin.run("exec", *place, f"deployment/{WORKLOAD}", "-i", "--", "sh", "-c", "cat; env", stdin=TYPED).out
    assert TYPED in shown
    assert PASSWORD in shown
    assert SETTING in shown
    admin.run("scale", *place, f"deployment/{WORKLOAD}", "--replicas", "1")
    admin.delete(*place, f"deployment/{WORKLOAD}")


def test_nothing_declared_can_be_read_on_the_network(mesh: SharedMesh, segment: Segment, tmp_path: Path) -> None:
    admin = mesh.admin.enter_by(mesh.relay)
    with segment.capture(tmp_path / "packets.pcap") as capture:
        controls = [*encodings("control-" + WORKLOAD).values()]
        for control in controls:
            segment.shout(control)
        live_through_everything(admin)
        captured = capture.flush(b"the end of the capture")
    assert {how for _, how in found_in(captured, ["control-" + WORKLOAD])} == set(encodings("x" * 8)), "would be found"

    seen = captured
    for control in controls:
        seen = seen.replace(control, b"")
    connections = streams(captured)
    assert sum(map(len, connections.values())) > _LEAST
    assert found_in(seen, WORDS) == []
    assert [found_in(data, WORDS) for data in connections.values() if found_in(data, WORDS)] == []


def test_nothing_declared_can_be_read_by_a_relay(mesh: SharedMesh) -> None:
    live_through_everything(mesh.admin.enter_by(mesh.relay))
    tape = mesh.tape()
    assert len(tape) > _LEAST
    assert found_in(tape, WORDS) == []


def test_a_relay_has_no_secret_anywhere_in_its_memory(mesh: SharedMesh) -> None:
    """Not only in the messages: it is no guardian and runs nothing, so it never had what opens them."""
    live_through_everything(mesh.admin.enter_by(mesh.relay))
    assert found_in(memory_of(mesh.alpha.pid), [PASSWORD]) != [], "a guardian has it, so it would be found"
    assert found_in(memory_of(mesh.relay.pid), [PASSWORD, SETTING, TYPED, PRINTED]) == []


def memory_of(pid: int) -> bytes:
    """The writable memory of a process."""
    pieces = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            ends, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(each, 16) for each in ends.split("-"))
            memory.seek(begin)
            pieces.append(memory.read(end - begin))
    return b"".join(pieces)
