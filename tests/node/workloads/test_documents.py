"""Reading bytes: as kubectl reads them, and nothing but ManifestError within bounded time for all the rest."""

from __future__ import annotations

import json
import re
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beemesh_node.workloads.documents import MAX_MANIFEST, check_size, read_documents
from beemesh_node.workloads.manifest import ManifestError, load
from beemesh_node.workloads.values import MAX_DEPTH, MAX_VALUES
from tests.node.workloads.manifests import deployment, encode, refusal


def read(text: str | bytes) -> list[object]:
    data = text.encode() if isinstance(text, str) else text
    return [document for _, document in read_documents(data, "file.yml")]


# What `kubectl annotate --local -o json` (1.32) printed for the same scalars.
KUBECTL = {
    "0644": 420, "0o17": 15, "0x1F": 31, "0b11": 3, "-0b11": -3, "08": 8, "0_7": 7, "1_000": 1000, "+1": 1, "-0": 0,
    "1e3": 1000, "12e03": 12000, ".5": 0.5, "1.": 1, "1.0": 1, "1_0.5": 10.5, "1e400": "1e400",
    "99999999999999999999": 1e20, "12:30": "12:30", "2020-01-01": "2020-01-01", "=": "=",
    "y": True, "NO": False, "on": True, "Off": False, "True": True, "~": None, "null": None,
    '"x"': "x", '"1"': "1", "'yes'": "yes", "!!str 1": "1", '!!int "3"': 3,
}  # fmt: skip


@pytest.mark.parametrize(("scalar", "expected"), KUBECTL.items())
def test_scalars_are_what_kubectl_makes_of_them(scalar: str, expected: object) -> None:
    (document,) = read(f"a: {scalar}\n")
    assert document == {"a": expected}
    assert type(document["a"]) is type(expected)


@pytest.mark.parametrize(("key", "expected"), [("1", "1"), ("true", "true"), ("2.50", "2.5"), ("n", "false")])
def test_keys_become_text_as_with_kubectl(key: str, expected: str) -> None:
    assert read(f"{key}: a\n") == [{expected: "a"}]


def test_documents_keep_their_numbers_and_empty_ones_are_left_out() -> None:
    found = read_documents(b"# nothing\n---\na: 1\n---\n---\n- b\n", "f")
    assert found == [(1, {"a": 1}), (3, ["b"])]


def test_json_documents_one_after_another_and_a_byte_order_mark() -> None:
    assert read(b'\xef\xbb\xbf{"a": 1.0}\n\t{"b": [true, null, 0.5]}') == [{"a": 1}, {"b": [True, None, 0.5]}]


def test_a_yaml_flow_mapping_may_look_like_json() -> None:
    assert read("{a: 1, b: [x]}") == [{"a": 1, "b": ["x"]}]


def test_merge_keys_and_aliases() -> None:
    text = "base: &b {j: 1, k: 2}\nmore: {<<: *b, k: 3}\nlist: {k: 4, <<: [{z: 5, k: 6}, *b]}\nsame: *b\n"
    assert read(text) == [
        {
            "base": {"j": 1, "k": 2},
            "more": {"j": 1, "k": 3},
            "list": {"j": 1, "k": 4, "z": 5},
            "same": {"j": 1, "k": 2},
        }
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty"),
        (b"# only a comment\n", "empty"),
        (b"---\n...\n---\n", "empty"),
        (b"\xff\xfea", "not UTF-8"),
        (b"a: [", "not YAML"),
        (b"a: b: c", "not YAML.*line 1"),
        (b"\ta: 1", "not YAML"),
        (b"a: \x00", "not YAML"),
        (b"a: 1\nb: 2\na: 3", 'line 3.*"a" stands twice'),
        (b"1: a\n'1': b", '"1" stands twice'),
        (b'{"a": 1, "b": 2, "b": 3}', '"b" stands twice'),
        (b"[a]: b", "a key must be a string, not a list"),
        (b"null: b", "a key must be a string, not null"),
        (b"a: *nobody", "nobody"),
        (b"a: &a [*a]", "refers to no complete value"),
        (b"a: .inf", "finite"),
        (b"a: .NaN", "finite"),
        (b'{"a": NaN}', "finite"),
        (b'{"a": 1e999}', "finite"),
        (b"a: !!python/object/apply:os.getcwd []", "tag|expected"),
        (b"a: !!binary aGk=", "tag .* is not supported"),
        (b"a: !mine x", "tag .* is not supported"),
        (b'a: !!int "x"', "is no int"),
        (b"a: {<<: 1}", "needs a mapping"),
        (b"a: {<<: [1]}", "needs a mapping"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_reason(text: bytes, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(text, "file.yml")
    assert str(caught.value).startswith("file.yml: ")
    assert re.search(message, str(caught.value))


def test_the_document_of_a_fault_is_named() -> None:
    with pytest.raises(ManifestError, match=r"^f: document 2: line 4: "):
        read_documents(b"a: 1\n---\nb: 1\nb: 2\n", "f")


def test_a_large_file_is_refused_from_its_size() -> None:
    with pytest.raises(ManifestError, match=r"big\.yml: larger than 4,194,304 bytes"):
        check_size(100 * 1024 * 1024, "big.yml")
    with pytest.raises(ManifestError, match="larger than"):
        read_documents(b" " * (MAX_MANIFEST + 1), "big.yml")
    check_size(MAX_MANIFEST, "big.yml")


def _laughs() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    return "\n".join(lines).encode()


def _alias_tower() -> bytes:
    return "\n".join(["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 2000)]).encode()


BOMBS = {
    "laughs": _laughs(),
    "alias tower": _alias_tower(),
    "merges": b"a: &a {x: 1}\n" + b"b:\n" + b"- {<<: [" + b"*a, " * 400_000 + b"*a]}\n",
    "open brackets": b"[" * (MAX_MANIFEST - 1),
    "open json": b'{"a":' * 800_000,
    "json arrays": b'{"a":' + b"[" * 4_000_000,
    "dashes": b"- " * 2_000_000,
    "question marks": b"? " * 2_000_000,
    "deep blocks": b"\n".join(b" " * depth + b"a:" for depth in range(2000)),
    "many items": b"- a\n" * 1_000_000,
    "many flow items": b"[" + b"a," * 2_000_000 + b"]",
    "many documents": b"---\n" * 1_000_000,
    "json documents": b"{}" * 2_000_000,
    "json items": b'{"a":[' + b"1," * 2_000_000 + b"1]}",
    "late duplicate": b"{" + b",".join(b'"%d":1' % n for n in range(350_000)) + b',"349999":1}',
    "long number": b'{"a":' + b"9" * 4_000_000 + b"}",
    "long plain number": b"a: " + b"9" * 4_000_000,
    "colons": b"a:" * 2_000_000,
    "anchors": b"&a " * 1_000_000,
    "directives": b"%TAG ! x\n" * 400_000,
    "unknown fields": b'{"apiVersion":"v1","kind":"Secret",'
    + b",".join(b'"dat%d":1' % n for n in range(190_000))
    + b"}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_within_bounded_time(name: str) -> None:
    assert len(BOMBS[name]) <= MAX_MANIFEST
    start = time.process_time()
    with pytest.raises(ManifestError) as caught:
        load(BOMBS[name], "bomb.yml")
    assert time.process_time() - start < 10
    assert len(str(caught.value)) < 20_000


def test_a_merge_key_may_have_an_anchor() -> None:
    assert read("? &m <<\n: {j: 1}\nk: *m\n") == [{"j": 1, "k": "<<"}]


def test_depth_and_number_of_values_count_aliases() -> None:
    tower = "\n".join(["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, MAX_DEPTH - 2)])
    assert read(tower)
    with pytest.raises(ManifestError, match="nested deeper"):
        read(tower + f"\nb: [[[*a{MAX_DEPTH - 3}]]]")
    deep = MAX_DEPTH * 2
    with pytest.raises(ManifestError, match="nested deeper"):
        read('{"a":' * deep + "1" + "}" * deep)
    with pytest.raises(ManifestError, match="nested deeper"):
        read("[" * deep + "]" * deep)
    many = f"a: &a [{', '.join(['x'] * 999)}]\nb: [{', '.join(['*a'] * (MAX_VALUES // 1000 + 1))}]"
    with pytest.raises(ManifestError, match=f"more than {MAX_VALUES:,} values"):
        read(many)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=6), json_values, max_size=4))
def test_json_is_read_as_it_was_written(value: dict[str, object]) -> None:
    try:
        data = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        data = json.dumps(value).encode()
    assert read(data) == [value]


@given(st.dictionaries(st.text("abcyn019-:_ #'\"\n", max_size=6), json_values, min_size=1, max_size=4))
def test_yaml_is_read_as_a_kubernetes_client_wrote_it(value: dict[str, object]) -> None:
    # Quoting everything, as it is the scalars without quotes on which YAML's dialects differ.
    text = yaml.dump(value, Dumper=yaml.SafeDumper, default_style='"', allow_unicode=False)
    assert read(text) == [value]


MUTATED = encode(deployment())
YAML_ISH = st.text("ab:-?[]{}&*!|>%@`'\"#,\n\t 01.~<=", max_size=60).map(str.encode)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200) | YAML_ISH)
def test_arbitrary_bytes_give_objects_or_a_manifest_error(data: bytes) -> None:
    said = refusal(lambda: load(data, "fuzz"))
    assert not said or said.startswith("fuzz")


@given(st.integers(0, len(MUTATED)), st.integers(0, 20), st.binary(max_size=12) | YAML_ISH)
def test_a_damaged_manifest_gives_objects_or_a_manifest_error(position: int, gone: int, inserted: bytes) -> None:
    said = refusal(lambda: load(MUTATED[:position] + inserted + MUTATED[position + gone :], "fuzz"))
    assert not said or said.startswith("fuzz")
