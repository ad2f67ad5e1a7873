"""Key files by their path: what is made is for its owner alone, and what is shown is never private."""

import os
import stat

import pytest

from beemesh_node.cli import passphrase
from beemesh_node.cli.errors import ExitCode
from beemesh_node.crypto.armour import KeyKind
from beemesh_node.crypto.keystore import load_identity, load_root

KINDS = ["machine", "operator", "mesh-root"]


@pytest.fixture
def secret(tmp_path):
    """The environment that names a passphrase."""

    def make(text):
        path = tmp_path / f"passphrase-{text}"
        path.write_text(text + "\n")
        return {"BEEMESH_PASSPHRASE_FILE": str(path)}

    return make


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "a.key"


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_made_and_can_be_used(beectl, path, kind):
    made = beectl.json("keys", "generate", path, "--kind", kind)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (made["changed"], made["kind"], made["encrypted"]) == (True, kind, False)
    if kind == "mesh-root":
        assert load_root(path).public_key.hex() == made["public_key"]
        assert "peer_id" not in made
    else:
        identity = load_identity(path, KeyKind(kind))
        assert (identity.signing.public_key.hex(), identity.peer.peer_id) == (made["public_key"], made["peer_id"])
    shown = beectl.json("keys", "inspect", path)
    assert shown == {key: value for key, value in made.items() if key != "changed"}


def test_a_key_that_is_there_stays(beectl, path):
    made = beectl.json("keys", "generate", path, "--kind", "machine")
    refused = beectl("keys", "generate", path, "--kind", "machine", code=ExitCode.FAILURE)
    assert f"{path}: exists already" in refused.stderr
    assert beectl.json("keys", "inspect", path)["fingerprint"] == made["fingerprint"]
    again = beectl.json("keys", "generate", path, "--kind", "operator", "--replace")
    assert (again["kind"], again["fingerprint"] != made["fingerprint"]) == ("operator", True)


def test_an_encrypted_key_says_what_it_is_and_only_with_its_passphrase_its_public_halves(beectl, path, secret):
    made = beectl.json("keys", "generate", path, "--kind", "mesh-root", "--encrypt", env=secret("right"))
    locked = beectl.json("keys", "inspect", path)
    assert locked == {key: made[key] for key in ("file", "kind", "fingerprint", "encrypted")}
    assert locked["encrypted"]
    unlocked = beectl.json("keys", "inspect", path, "--unlock", env=secret("right"))
    assert unlocked["public_key"] == made["public_key"]
    wrong = beectl("keys", "inspect", path, "--unlock", code=ExitCode.AUTHENTICATION, env=secret("wrong"))
    assert "wrong passphrase" in wrong.stderr
    nobody = beectl("keys", "inspect", path, "--unlock", code=ExitCode.AUTHENTICATION)
    assert "BEEMESH_PASSPHRASE_FILE" in nobody.stderr


def test_a_passphrase_may_come_through_a_pipe(beectl, path):
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe\n")
    os.close(writing)
    try:
        beectl(
            "keys",
            "generate",
            path,
            "--kind",
            "operator",
            "--encrypt",
            env={"BEEMESH_PASSPHRASE_FILE": f"/dev/fd/{reading}"},
        )
    finally:
        os.close(reading)
    assert load_identity(path, KeyKind.OPERATOR, "through a pipe").peer.peer_id


def test_a_damaged_key_is_no_key(beectl, path):
    beectl("keys", "generate", path, "--kind", "machine")
    lines = path.read_text().splitlines()
    lines[-3], lines[-2] = lines[-2], lines[-3]
    path.write_text("\n".join(lines) + "\n")
    assert "altered" in beectl("keys", "inspect", path, code=ExitCode.FAILURE).stderr


def test_nothing_private_is_shown(beectl, path):
    beectl("keys", "generate", path, "--kind", "machine")
    body = path.read_text().split("\n\n")[1].splitlines()[0]
    for form in ("table", "json", "yaml"):
        assert body not in beectl("keys", "inspect", path, "-o", form).output


def test_a_pipe_gives_its_passphrase_to_every_key_that_a_command_opens(monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, b"quiet bees\n")
    os.close(writer)
    monkeypatch.setenv("BEEMESH_PASSPHRASE_FILE", f"/dev/fd/{reader}")
    assert [passphrase.from_file(), passphrase.from_file()] == ["quiet bees", "quiet bees"]
    os.close(reader)
