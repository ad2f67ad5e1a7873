"""Key files: what was stored comes back, only with its passphrase, and nothing hostile costs work."""

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beemesh_node import crypto
from beemesh_node.crypto.armour import Argon2Cost, KeyFile, KeyKind
from beemesh_node.crypto.errors import AuthenticationError, KeyExistsError, KeyStoreError, MalformedKeyFileError
from beemesh_node.crypto.identity import Identity
from beemesh_node.crypto.keystore import (
    inspect,
    load_identity,
    load_kem_key,
    load_root,
    save_identity,
    save_kem_key,
    save_root,
)
from tests.node.crypto.support import flip, run

PASSPHRASE = "correct horse battery staple"
CHEAP = Argon2Cost(memory=8192, passes=1)
SECRET = bytes(range(100, 132))
LOCKED = KeyFile.lock(KeyKind.MESH_ROOT, bytes(32), SECRET, PASSPHRASE, CHEAP).dump()
OPEN = KeyFile.lock(KeyKind.MACHINE, bytes(32), SECRET, None, CHEAP).dump()


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_what_was_saved_is_loaded(tmp_path: Path, passphrase: str | None) -> None:
    folder = tmp_path / "keys"
    root, identity, kem = crypto.generate_signing_key(), Identity.generate(), crypto.generate_kem_key()
    save_root(folder / "root", root, passphrase)
    save_identity(folder / "operator", KeyKind.OPERATOR, identity, passphrase)
    save_kem_key(folder / "kem", kem, passphrase)
    assert load_root(folder / "root", passphrase).public_key == root.public_key
    loaded = load_identity(folder / "operator", KeyKind.OPERATOR, passphrase)
    assert loaded.signing.public_key == identity.signing.public_key
    assert loaded.peer.peer_id == identity.peer.peer_id
    assert load_kem_key(folder / "kem", passphrase).public_key == kem.public_key


def test_a_file_says_without_its_passphrase_what_it_holds(tmp_path: Path) -> None:
    root, machine = crypto.generate_signing_key(), Identity.generate()
    save_root(tmp_path / "keys" / "root", root, PASSPHRASE)
    save_identity(tmp_path / "keys" / "machine", KeyKind.MACHINE, machine)
    summary = inspect(tmp_path / "keys" / "root")
    assert (summary.kind, summary.encrypted) == (KeyKind.MESH_ROOT, True)
    assert summary.fingerprint == hashlib.sha256(root.public_key).digest()
    summary = inspect(tmp_path / "keys" / "machine")
    assert (summary.kind, summary.encrypted) == (KeyKind.MACHINE, False)


def test_every_refusal_names_the_file_and_is_its_own_error(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "root"
    root = crypto.generate_signing_key()
    save_root(path, root, PASSPHRASE)
    with pytest.raises(KeyExistsError, match=str(path)):
        save_root(path, root)
    with pytest.raises(AuthenticationError, match=f"{path}: this mesh-root key is encrypted"):
        load_root(path)
    with pytest.raises(AuthenticationError, match=f"{path}: wrong passphrase") as refusal:
        load_root(path, "correct horse")
    assert "correct horse" not in str(refusal.value)
    with pytest.raises(MalformedKeyFileError, match=f"{path}: holds a mesh-root key, not a machine key"):
        load_identity(path, KeyKind.MACHINE, PASSPHRASE)
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    for read in (load_root, inspect):
        with pytest.raises(MalformedKeyFileError, match=f"{path}: not a Beemesh key file"):
            read(path)


def test_a_damaged_seed_is_noticed_without_a_passphrase(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    save_root(folder / "root", crypto.generate_signing_key())
    save_identity(folder / "machine", KeyKind.MACHINE, Identity.generate())
    save_kem_key(folder / "kem", crypto.generate_kem_key())
    loads: dict[str, Callable[[Path], object]] = {
        "root": load_root,
        "machine": lambda path: load_identity(path, KeyKind.MACHINE),
        "kem": load_kem_key,
    }
    for name, load in loads.items():
        path = folder / name
        file = KeyFile.parse(path.read_bytes())
        for body, hint in ((flip(file.body, -1), "fingerprint"), (file.body[:-1], "seed of 31 bytes")):
            path.write_bytes(KeyFile(file.kind, file.fingerprint, None, b"", body).dump())
            with pytest.raises(MalformedKeyFileError, match=f"{path}: .*{hint}"):
                load(path)


def test_default_cost_is_what_the_design_asks_for(tmp_path: Path) -> None:
    save_kem_key(tmp_path / "keys" / "kem", crypto.generate_kem_key(), PASSPHRASE)
    text = (tmp_path / "keys" / "kem").read_text()
    assert re.search(r"^Encryption: argon2id m=65536 t=3 p=1 salt=[0-9a-f]{32}$", text, re.MULTILINE)


@given(secret=st.binary(min_size=1, max_size=100), kind=st.sampled_from(KeyKind))
def test_text_form_is_read_back_exactly(secret: bytes, kind: KeyKind) -> None:
    file = KeyFile.lock(kind, hashlib.sha256(secret).digest(), secret, None, CHEAP)
    assert KeyFile.parse(file.dump()) == file
    assert file.unlock(None) == file.unlock("not needed") == secret


@settings(max_examples=80, deadline=None)
@given(bit=st.integers(0, 8 * len(LOCKED) - 1))
def test_one_flipped_bit_in_an_encrypted_file_never_gives_a_key(bit: int) -> None:
    with pytest.raises((MalformedKeyFileError, AuthenticationError)):
        KeyFile.parse(flip(LOCKED, bit)).unlock(PASSPHRASE)


@given(keep=st.integers(0, len(LOCKED) - 1), more=st.binary(min_size=1, max_size=30))
def test_cut_short_or_continued_is_malformed(keep: int, more: bytes) -> None:
    for text in (LOCKED[:keep], LOCKED + more, OPEN[:keep], OPEN + more):
        if text != OPEN:
            with pytest.raises(MalformedKeyFileError):
                KeyFile.parse(text)


@given(st.binary(max_size=300))
def test_anything_else_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedKeyFileError):
        KeyFile.parse(text)


@pytest.mark.parametrize(
    "cost", ["m=104857600 t=3 p=1", "m=65536 t=999999999 p=1", "m=65536 t=3 p=99", "m=8 t=1 p=1", "m=65536 t=0 p=1"]
)
def test_a_hostile_file_cannot_ask_for_much_work(cost: str) -> None:
    text = LOCKED.replace(b"m=8192 t=1 p=1", cost.encode())
    started = time.process_time()
    with pytest.raises(MalformedKeyFileError, match="asks for"):
        KeyFile.parse(text)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize("body", [b"====\n", b"A\n", b"AAA=AAAA\n", b"\n", b"AAAA", b"AA==\n"])
def test_what_is_not_canonical_base64_or_too_short_is_malformed(body: bytes) -> None:
    head, tail = LOCKED.split(b"\n\n")[0], b"-----END BEEMESH KEY-----\n"
    with pytest.raises(MalformedKeyFileError):
        KeyFile.parse(head + b"\n\n" + body + tail)


def test_only_the_one_way_of_writing_a_file_is_read() -> None:
    head, rest = OPEN.split(b"\n\n")
    body, tail = rest[:44], rest[44:]
    assert KeyFile.parse(head + b"\n\n" + body + tail).unlock(None) == SECRET
    # 32 bytes end in "=" with two unused bits before it; base64 decoders ignore those, and line breaks too.
    unused = body[:-2] + bytes([body[-2] + 1]) + b"="
    for other in (unused, body[:20] + b"\n" + body[20:], b"\n" + body):
        with pytest.raises(MalformedKeyFileError, match="altered"):
            KeyFile.parse(head + b"\n\n" + other + tail)


@pytest.mark.parametrize("passphrase", ["", "x" * 1025, "é" * 513])
def test_empty_and_endless_passphrases_are_refused(passphrase: str) -> None:
    with pytest.raises(KeyStoreError, match="1 to 1024 bytes"):
        KeyFile.lock(KeyKind.KEM, bytes(32), SECRET, passphrase, CHEAP)


def test_too_little_memory_for_a_passphrase_is_an_error_of_the_key_store() -> None:
    program = """
import resource
from beemesh_node.crypto.armour import Argon2Cost, KeyFile, KeyKind
from beemesh_node.crypto.errors import KeyStoreError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), used + (32 << 20)))
try:
    KeyFile.lock(KeyKind.KEM, bytes(32), bytes(32), "passphrase", Argon2Cost())
except KeyStoreError as error:
    print(error)
"""
    assert run(program).stdout == "a passphrase needs 64 MiB of memory for a moment: free some\n"


def test_a_passphrase_typed_in_another_unicode_form_is_the_same() -> None:
    file = KeyFile.lock(KeyKind.KEM, bytes(32), SECRET, "caf\u00e9", CHEAP)
    assert file.unlock("cafe\u0301") == SECRET
    with pytest.raises(AuthenticationError):
        file.unlock("cafe")


def test_nothing_shows_secret_or_passphrase() -> None:
    for text in (LOCKED, OPEN):
        file = KeyFile.parse(text)
        assert repr(SECRET) not in repr(file)
        assert repr(file.body) not in repr(file)
    with pytest.raises(AuthenticationError) as refusal:
        KeyFile.parse(LOCKED).unlock("a wrong secret word")
    assert "secret word" not in repr(refusal.value) + str(refusal.value) + repr(refusal.value.__cause__)
