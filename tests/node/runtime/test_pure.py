"""What needs neither Podman nor time: specifications, codecs, readers of hostile bytes."""

from __future__ import annotations

import json
import os
import stat
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.runtime import RuntimeConfig, StartError
from beemesh_node.runtime.container_spec import Mount, Surroundings, container_spec, expand, needs_sandbox, sandbox_spec
from beemesh_node.runtime.firewall import nft_rules
from beemesh_node.runtime.frames import read_frames
from beemesh_node.runtime.host_path import check_host_path
from beemesh_node.runtime.http_response import HttpError, HttpResponse
from beemesh_node.runtime.images import check_reference
from beemesh_node.runtime.info import read_info
from beemesh_node.runtime.inspection import read_inspection, unix_ms
from beemesh_node.runtime.labels import Role, container_labels, read_labels
from beemesh_node.runtime.resources import oom_score_adj, resource_limits
from beemesh_node.runtime.spec_codec import decode_spec, encode_spec
from beemesh_node.runtime.sub_paths import check_mounted, inside_volume
from beemesh_node.workloads.pod import (
    Container,
    ContainerPort,
    EmptyDir,
    EnvVar,
    ExecAction,
    Files,
    HostPath,
    HttpGetAction,
    PodSpec,
    PodTemplate,
    Probe,
    Resources,
    SecurityContext,
    TcpSocketAction,
    Volume,
    VolumeMount,
)
from tests.node.runtime.pods import bridged, idle, pod

CONFIG = RuntimeConfig("mesh", Path("/state"), Path("/run/x"), "node")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def full_spec() -> PodSpec:
    """One of everything."""
    container = idle(
        env=(EnvVar("A", "b", secret=True), EnvVar("C", field_path="metadata.name")),
        ports=(ContainerPort(80, 8080, "127.0.0.1", "UDP", "web"),),
        mounts=(VolumeMount("v", "/v", True, "sub"),),
        requests=Resources(100, 1 << 20),
        limits=Resources(200, 1 << 21),
        liveness_probe=Probe(HttpGetAction(80, headers=(("A", "b"),))),
        readiness_probe=Probe(TcpSocketAction(80)),
        startup_probe=Probe(ExecAction(("true",)), period_seconds=1.5),
        security=SecurityContext(run_as_user=1, add_capabilities=("X",)),
    )
    return pod(
        container,
        init_containers=(replace(container, name="init"),),
        volumes=(
            Volume("v", EmptyDir(True, 5)),
            Volume("h", HostPath("/x", "File")),
            Volume("f", Files({"k": bytes(range(256))}, True, 0o400)),
        ),
        labels={"a": "b"},
        sysctls={"x": "y"},
        fs_group=7,
        dns_servers=("1.1.1.1",),
    )


def test_a_specification_comes_back_as_it_was() -> None:
    for spec in (full_spec(), pod(idle())):
        assert decode_spec(encode_spec(spec)) == spec


def test_a_field_with_its_default_may_be_written_or_not() -> None:
    """So a specification outlives an upgrade that adds a field, and a downgrade if the pod does not use it."""
    spec = full_spec()
    tree = json.loads(encode_spec(spec))
    (container,) = tree["template"]["containers"]
    assert "tty" not in container
    container |= {"stdin": False, "tty": False}
    assert decode_spec(json.dumps(tree).encode()) == spec


def test_a_specification_that_uses_what_is_not_known_here_is_refused_by_name() -> None:
    tree = json.loads(encode_spec(full_spec()))
    tree["template"]["containers"][0]["security"]["landlock"] = "strict"
    with pytest.raises(ValueError, match="SecurityContext has landlock"):
        decode_spec(json.dumps(tree).encode())


@pytest.mark.parametrize("name", ["identity", "template"])
def test_a_specification_without_what_has_no_default_is_refused(name: str) -> None:
    tree = json.loads(encode_spec(full_spec()))
    del tree[name]
    with pytest.raises(ValueError, match="pod specification"):
        decode_spec(json.dumps(tree).encode())


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_other_bytes_are_no_specification(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_spec(data)


@given(st.data())
def test_a_damaged_specification_is_refused_or_typed(data: st.DataObject) -> None:
    tree = json.loads(encode_spec(full_spec()))
    node: Any = tree
    while isinstance(node, dict | list) and node:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if data.draw(st.booleans()) or not isinstance(node[key], dict | list) or not node[key]:
            node[key] = data.draw(JSON)
            break
        node = node[key]
    try:
        spec = decode_spec(json.dumps(tree).encode())
    except ValueError:
        return
    assert decode_spec(encode_spec(spec)) == spec


def test_labels_come_back_and_strangers_labels_do_not() -> None:
    identity = pod(idle()).identity
    labels = container_labels("mesh", identity, Role.INIT, "main", 3)
    read = read_labels(labels)
    assert read is not None
    assert (read.identity, read.role, read.container, read.restart) == (identity, Role.INIT, "main", 3)
    for name in labels:
        assert read_labels({**labels, name: "../x"}) is None or name not in (
            "io.beemesh.pod-uid",
            "io.beemesh.slot",
            "io.beemesh.restart",
            "io.beemesh.role",
        )
    assert read_labels({}) is None


@given(st.binary(max_size=400), st.integers(1, 50))
def test_an_http_answer_never_raises_anything_else(data: bytes, size: int) -> None:
    async def read() -> None:
        send, receive = trio.testing.memory_stream_one_way_pair()
        await send.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        await send.aclose()
        response = HttpResponse(receive)
        await response.receive()
        try:
            async for line in response.lines(size):
                assert len(line) <= len(data)
        except HttpError:
            return

    trio.run(read)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 7))
def test_a_chunked_body_comes_back_however_it_is_cut(pieces: list[bytes], cut: int) -> None:
    body = b"".join(b"%x;x=y\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    wire = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + body

    async def read() -> bytes:
        send, receive = trio.testing.memory_stream_one_way_pair()
        for start in range(0, len(wire), cut):
            await send.send_all(wire[start : start + cut])
        response = HttpResponse(receive)
        await response.receive()
        return await response.read(1000)

    assert trio.run(read) == b"".join(pieces)


@given(st.lists(st.tuples(st.integers(1, 2), st.binary(max_size=40)), max_size=6), st.integers(1, 9))
def test_frames_come_back_however_they_are_cut(frames: list[tuple[int, bytes]], cut: int) -> None:
    wire = b"".join(bytes((number, 0, 0, 0)) + len(data).to_bytes(4, "big") + data for number, data in frames)
    found = trio.run(split, wire, cut)
    for stream in (1, 2):
        expected = b"".join(data for number, data in frames if number == stream)
        assert b"".join(data for number, data in found if number == stream) == expected


@given(st.binary(max_size=100), st.integers(1, 9))
def test_what_is_no_frame_is_refused(wire: bytes, cut: int) -> None:
    try:
        for number, _ in trio.run(split, wire, cut):
            assert number <= 3
    except HttpError:
        return


async def split(wire: bytes, cut: int) -> list[tuple[int, bytes]]:
    pieces = [wire[start : start + cut] for start in range(0, len(wire), cut)]

    async def receive() -> bytes:
        return pieces.pop(0) if pieces else b""

    return [frame async for frame in read_frames(receive)]


@given(JSON)
def test_what_is_no_inspection_is_refused(value: Any) -> None:
    for read in (read_info, lambda data: read_inspection(data, "net")):
        with pytest.raises(ValueError):
            read({"host": value, "State": value, "Id": value} if isinstance(value, list) else value)


def test_times_of_both_podmans() -> None:
    assert unix_ms("2026-11-22T22:32:31.214294632Z") == unix_ms("2026-11-22T23:32:31.214+01:00")
    assert unix_ms("2026-11-22T22:32:31Z") == 1_795_386_751_000
    assert [unix_ms(value) for value in ("0001-01-01T00:00:00Z", "soon", None, 5)] == [0, 0, 0, 0]


def test_signals_of_both_podmans() -> None:
    base = {"Id": "x", "State": {"Status": "running"}}
    for value, name in ((3, "SIGQUIT"), ("SIGQUIT", "SIGQUIT"), (0, "SIGTERM"), (None, "SIGTERM"), (37, "37")):
        assert read_inspection({**base, "Config": {"StopSignal": value}}, "net").stop_signal == name


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "localhost/busybox:latest",
        "localhost:5000/a/b__c.d-e:V1_2",
        "[::1]:5000/a",
        "Docker.io/library/x@sha256:" + "0" * 64,
    ],
)
def test_images_that_may_be(image: str) -> None:
    check_reference(image)


@pytest.mark.parametrize("image", ["", "Busybox", "a b", "x:", "-x", "x@sha256:0", "a//b", "x" * 600, "x\n", "../x"])
def test_images_that_cannot_be(image: str) -> None:
    with pytest.raises(StartError) as failed:
        check_reference(image)
    assert failed.value.reason == "InvalidImageName"


def test_references_in_arguments() -> None:
    env = {"A": "1", "B.c": "$(A)"}
    assert expand("$(A) $(B.c) $$(A) $(NONE) $A $", env) == "1 $(A) $(A) $(NONE) $A $"


def test_resources_as_kubernetes_counts_them() -> None:
    container = Container("c", "i", requests=Resources(500, 1 << 30), limits=Resources(1500, 2 << 30))
    assert resource_limits(container) == {
        "cpu": {"shares": 512, "period": 100_000, "quota": 150_000},
        "memory": {"limit": 2 << 30, "swap": 2 << 30},
    }
    assert resource_limits(Container("c", "i")) == {"cpu": {"shares": 102}}
    assert [oom_score_adj(container, memory) for memory in (4 << 30, 1 << 30, 0)] == [750, 2, 1000]


def test_when_a_pod_needs_a_sandbox() -> None:
    alone, two, init = pod(idle()), pod(idle("a"), idle("b")), pod(idle(), init_containers=(idle("i"),))
    own_ip = bridged(idle(env=(EnvVar("IP", field_path="status.podIP"),)))
    on_host = replace(own_ip, template=replace(own_ip.template, host_network=True))
    assert [needs_sandbox(spec) for spec in (alone, two, init, own_ip, on_host)] == [False, True, True, True, False]


def test_host_ports_of_all_containers_are_the_sandboxs() -> None:
    spec = bridged(
        idle("a", ports=(ContainerPort(80, 8080),)), idle("b", ports=(ContainerPort(53, 5353, protocol="UDP"),))
    )
    ports = [
        (port["container_port"], port["host_port"], port["protocol"])
        for port in sandbox_spec(spec, CONFIG)["portmappings"]
    ]
    assert ports == [(80, 8080, "tcp"), (53, 5353, "udp")]
    joined = container_spec(spec, spec.template.containers[0], Role.MAIN, 0, [], Surroundings(CONFIG, 0, sandbox="x"))
    assert "portmappings" not in joined
    assert joined["pod"] == "x"


def test_a_pod_name_that_is_too_long_for_a_host_is_cut() -> None:
    spec = bridged(idle())
    spec = replace(spec, identity=replace(spec.identity, pod_name="a" * 62 + ".b"))
    assert sandbox_spec(spec, CONFIG)["hostname"] == "a" * 62


def test_a_sub_path_stays_in_its_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    assert inside_volume(volume, "a/b", "v").is_dir()
    (volume / "a" / "file").write_text("x")
    assert inside_volume(volume, "a/file", "v").is_file()
    os.symlink("/etc", volume / "out")
    os.symlink("/etc/passwd", volume / "a" / "out")
    for wrong in ("../x", "/etc", "out", "out/x", "a/out", "a/file/x"):
        with pytest.raises(StartError) as failed:
            inside_volume(volume, wrong, "v")
        assert failed.value.reason == "FailedMount"
    assert not (tmp_path / "x").exists()


def test_what_was_mounted_is_checked_without_making_anything(tmp_path: Path) -> None:
    """A container that removes its subPath before the check must not find a directory of the daemon's there."""
    volume = tmp_path / "volume"
    volume.mkdir()
    with pytest.raises(StartError, match="subPath at /part cannot be checked"):
        check_mounted(os.getpid(), [Mount(str(volume), "/part", sub_path="part")])
    assert not (volume / "part").exists()


def test_a_host_path_is_made_where_nothing_is(tmp_path: Path) -> None:
    check_host_path("v", HostPath(str(tmp_path / "a" / "b"), "DirectoryOrCreate"))
    check_host_path("v", HostPath(str(tmp_path / "a" / "c" / "file"), "FileOrCreate"))
    for made, mode in (("a", 0o755), ("a/b", 0o755), ("a/c", 0o755), ("a/c/file", 0o644)):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == mode, made
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    check_host_path("v", HostPath(str(tmp_path / "linked" / "d"), ""))
    assert (tmp_path / "a" / "d").is_dir()


@pytest.mark.parametrize("kind", ["", "DirectoryOrCreate", "FileOrCreate"])
def test_a_link_that_leads_nowhere_is_not_followed_to_make_something(tmp_path: Path, kind: str) -> None:
    (tmp_path / "planted").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="File exists"):
        check_host_path("v", HostPath(str(tmp_path / "planted"), kind))
    assert not (tmp_path / "elsewhere").exists()


def test_rules_are_replaced_in_one_transaction() -> None:
    rules = nft_rules("beemesh0", (7400, 7401))
    assert rules.index("delete table inet beemesh_beemesh0") < rules.index("chain input")
    assert rules.count("7400, 7401") == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"mesh": ""},
        {"mesh": "a=b"},
        {"network": "../x"},
        {"network_interface": "an-interface-that-is-long"},
        {"name_prefix": "-"},
        {"concurrent_starts": 0},
        {"concurrent_starts": 17},
        {"protected_ports": (0,)},
    ],
)
def test_a_configuration_that_cannot_work_names_its_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(CONFIG, **wrong)


def test_templates_can_be_empty_of_labels() -> None:
    spec = PodSpec(replace(pod(idle()).identity, pod_uid=str(uuid.uuid4())), PodTemplate((idle(),)))
    made = container_spec(spec, spec.template.containers[0], Role.MAIN, 0, [], Surroundings(CONFIG, 0))
    assert set(made["labels"]) == set(container_labels("mesh", spec.identity, Role.MAIN, "main", 0))
