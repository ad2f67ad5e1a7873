"""The generated layout is that of the schemas, and what the codec writes and reads is FlatBuffers as flatc knows it."""

import importlib.util
import json
import subprocess
from dataclasses import fields, is_dataclass
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.generated import layout
from beemesh_node.protocol.messages import (
    AssignmentReply,
    Bid,
    ClaimRef,
    Expression,
    NoReason,
    PodTerm,
    Presence,
    Refusal,
    Release,
    Requirements,
    SlotRefusal,
    Taint,
    Task,
    Term,
    Toleration,
)
from tests.node.protocol.strategies import MESSAGE_CLASSES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "schemas" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_layout_is_what_the_schemas_give(generate: ModuleType) -> None:
    """Slots and types do not depend on the version of flatc, unlike the code that it would emit."""
    tables, enums = generate.read_schemas()
    assert tables == layout.TABLES, "run schemas/generate.py"
    assert enums == layout.ENUMS, "run schemas/generate.py"
    assert Path(layout.__file__).read_text() == generate.render((tables, enums))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("namespace other; table A { x: int; }", "belongs to the namespace"),
        ("namespace beemesh; struct A { x: int; }", "structs are not supported"),
        ("namespace beemesh; table A { x: int; } union U { A } table B { u: U; }", "unions"),
    ],
)
def test_what_the_codec_does_not_speak_is_refused(
    generate: ModuleType, tmp_path: Path, schema: str, words: str
) -> None:
    (tmp_path / "probe.fbs").write_text(schema)
    subprocess.run(["flatc", "-b", "--schema", "-o", str(tmp_path), str(tmp_path / "probe.fbs")], check=True)
    with pytest.raises(generate.SchemaError, match=words):
        generate.read_reflection((tmp_path / "probe.bfbs").read_bytes())


PRESENCE = Presence(
    statement=b"\x00\xff" * 9,
    addresses=("/ip4/192.0.2.1/tcp/4001", ""),
    labels={"zone": "north", "äöü": "☃"},
    taints=(Taint("a", "b"), Taint("c")),
    unschedulable=True,
    cpu_allocatable=4000,
    memory_allocatable=2**40,
    cpu_reserved=0,
    memory_reserved=2**63 - 1,
    host_ports=(80, 65535),
    pods=3,
    architecture="amd64",
    operating_system="linux",
    kernel="",
    runtime_version="4.3.1",
    node_version="0.1.0",
    started_at=1,
    sequence=2,
    period_ms=3,
    ready=False,
    reason="",
)
ANSWER = AssignmentReply(
    accepted=(0, 7),
    refused=(SlotRefusal(2, (Refusal(NoReason.HOST_PORT, "80"), Refusal(NoReason.CPU))), SlotRefusal(3, ())),
)


TASK = Task(
    task_id=b"0123456789abcdef",
    uid="5f1c",
    sequence=7,
    count=3,
    requirements=Requirements(
        cpu_millis=250,
        memory_bytes=2**30,
        node_selector={"disk": "ssd"},
        node_terms=(Term((Expression("zone", "In", ("north", "south")), Expression("gpu", "Exists"))),),
        preferred_terms=(Term((Expression("class", "NotIn", ("iot",)),), 100),),
        tolerations=(Toleration("edge", "Exists"),),
        pod_terms=(PodTerm((), ("default",), "kubernetes.io/hostname", True, 1),),
        images=("localhost/web:1",),
        priority=-1,
    ),
    labels={"app": "web"},
)
CLAIM = ClaimRef("5f1c", 7, 2, 1, "0" * 32, "revision")


@pytest.mark.parametrize(
    "value",
    [PRESENCE, ANSWER, TASK, Bid(b"id", 0, 1000, 2), Release(CLAIM, b"record", CLAIM), Release(CLAIM, b"")],
    ids=lambda value: type(value).__name__,
)
def test_flatc_reads_what_we_write_and_we_read_what_flatc_writes(value: Any, tmp_path: Path) -> None:
    name = type(value).__name__
    schema = str(ROOT / "schemas" / "messages.fbs")
    flatc = ["flatc", "--root-type", f"beemesh.{name}", "-o", str(tmp_path)]
    (tmp_path / "ours.bin").write_bytes(encode(value))
    options = ["--json", "--raw-binary", "--strict-json", "--defaults-json", schema, "--", str(tmp_path / "ours.bin")]
    subprocess.run([*flatc, *options], check=True)
    read = json.loads((tmp_path / "ours.json").read_text())
    assert read == _as_json(value)

    (tmp_path / "theirs.json").write_text(json.dumps(read))
    subprocess.run([*flatc, "--binary", schema, str(tmp_path / "theirs.json")], check=True)
    assert decode(type(value), (tmp_path / "theirs.bin").read_bytes()) == value


def _as_json(value: Any) -> Any:
    """A message as flatc prints it."""
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return [{"key": key, "value": value[key]} for key in sorted(value)]
    if is_dataclass(value):
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _as_json(item) for name, item in values.items() if item is not None}
    return value


def test_every_table_of_the_messages_has_its_class() -> None:
    """No table is left behind when a message goes."""
    used: set[str] = {"Bytes", "KeyValue"}
    to_visit = [cls.__name__ for cls in MESSAGE_CLASSES]
    while to_visit:
        name = to_visit.pop()
        if name not in used:
            used.add(name)
            to_visit += [kind.strip("[]") for _, kind in layout.TABLES[name] if kind.strip("[]") in layout.TABLES]
    assert used <= set(layout.TABLES)
    assert _tables_of("messages.fbs") | _tables_of("record.fbs") <= used


def _tables_of(schema: str) -> set[str]:
    lines = (ROOT / "schemas" / schema).read_text().splitlines()
    return {line.split()[1] for line in lines if line.startswith("table ")}
