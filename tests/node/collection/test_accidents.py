"""What happens to those who run the playbooks of a fleet: each time one message with a name and the next step in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.collection.stage import MACHINE, Stage

pytestmark = pytest.mark.long

BEECTL = Path(sys.executable).with_name("beectl")
PLAYBOOKS: dict[str, dict[str, object]] = {
    "upgrade-mesh": {},
    "rotate-keys": {"beemesh_rotate": "machines,epoch"},
    "leave-mesh": {"beemesh_leaving": MACHINE, "beemesh_uninstall": True},
    "reset": {"beemesh_confirm": "mesh", "beemesh_forget_root": True, "beemesh_uninstall": True},
}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A machine that has joined, and nothing of what happens here changes it; a newer release is there for it."""
    with Stage() as stage:
        stage.want("one")
        stage.play("join-mesh", code=0)
        stage.want("two")
        yield stage


@pytest.fixture
def unchanged(stage: Stage) -> Iterator[Stage]:
    before = stage.everything()
    yield stage
    after = stage.everything()
    assert [path for path in {**before, **after} if before.get(path) != after.get(path)] == []


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_check_changes_nothing_and_says_what_would_be(unchanged: Stage, name: str) -> None:
    assert unchanged.play(name, "--check", code=0, **PLAYBOOKS[name]).changed > 0


def test_a_check_of_an_image_changes_nothing() -> None:
    with Stage() as bare:
        bare.want("one")
        before = bare.everything()
        image = bare.place / "image.tar"
        image.touch()
        assert bare.play("bake-image", "--check", code=0, beemesh_images=[str(image)]).changed > 0
        assert bare.everything() == before


def test_no_image_is_made_of_a_member(unchanged: Stage) -> None:
    played = unchanged.play("bake-image", code=2)
    assert played.tells(f"{MACHINE} has keys of its own", "playbooks leave-mesh or reset"), played.said


def test_an_image_of_no_machine(unchanged: Stage) -> None:
    played = unchanged.play("bake-image", code=2, beemesh_bake="golden")
    assert played.tells("No image was prepared: golden is no machine", "-e beemesh_bake=NAME"), played.said


def test_a_reset_wants_the_name(unchanged: Stage) -> None:
    wrong, none = unchanged.play("reset", code=2, beemesh_confirm="home"), unchanged.play("reset", code=2)
    for played in (wrong, none):
        assert played.tells("Nothing was changed", "which is mesh", "-e beemesh_confirm=NAME"), played.said


@pytest.mark.parametrize("name", ["upgrade-mesh", "rotate-keys", "leave-mesh"])
def test_a_wrong_passphrase(guarded: Stage, name: str) -> None:
    before = guarded.everything()
    played = guarded.play(name, code=2, beemesh_passphrase="loud bees", **PLAYBOOKS[name])
    assert played.tells("Nothing was changed:", "wrong passphrase", "Give the passphrase as beemesh_passphrase")
    assert "loud bees" not in played.said
    assert guarded.everything() == before


@pytest.fixture(scope="module")
def guarded(stage: Stage) -> Iterator[Stage]:
    """The same with a passphrase, and a mesh that has never heard of the machine."""
    with Stage(stage) as copy:
        secret = copy.place / "secret"
        secret.write_text("quiet bees\n")
        subprocess.run(
            [BEECTL, "--dir", copy.mesh_dir, "keys", "passphrase"],
            env={**os.environ, "BEEMESH_NEW_PASSPHRASE_FILE": str(secret)},
            check=True,
        )
        (copy.place / "mesh.json").write_text('{"machines": {}}')
        yield copy


def test_what_goes_wrong_is_said_also_with_a_passphrase(guarded: Stage) -> None:
    played = guarded.play("upgrade-mesh", code=2, beemesh_passphrase="quiet bees")
    assert played.tells(f"{MACHINE} was left alone: error: there is no machine {MACHINE}", "join-mesh.yml"), played.said
    assert "quiet bees" not in played.said


def test_a_limit_that_leaves_out_who_leaves(unchanged: Stage) -> None:
    with Stage(unchanged) as copy:
        copy.add_lost("web2")
        played = copy.play("leave-mesh", "--limit", MACHINE, code=2, beemesh_leaving="web2")
        assert played.tells("web2 would leave, but --limit leaves it out"), played.said


@pytest.mark.parametrize("name", ["leave-mesh", "rotate-keys", "reset"])
def test_a_machine_that_cannot_be_reached(stage: Stage, name: str) -> None:
    with Stage(stage) as copy:
        copy.add_lost("web2")
        limit = ("--limit", "web2") if name == "rotate-keys" else ()
        told = {**PLAYBOOKS[name], "beemesh_leaving": "web2", "beemesh_forget_root": False}
        played = copy.play(name, *limit, **told)
        assert played.code != 0
        said = {
            "leave-mesh": ["web2 cannot be reached, and stays a member", "-e beemesh_lost=true"],
            "rotate-keys": ["web2 cannot be reached, and has the keys that it had", "--limit 'mesh:!web2'"],
            "reset": ["web2 did not forget the mesh", "Run the playbook again"],
        }
        assert played.tells(*said[name]), played.said
        assert (copy.on("ls -d /var/lib/beemesh || true") == "") == (name == "reset")


def test_no_room_for_a_release(stage: Stage) -> None:
    with Stage(stage) as copy:
        df = copy.place / "bin" / "df"
        df.write_text("#!/bin/sh\necho 'fs 9 9 9 9% /'\n")
        df.chmod(0o755)
        played = copy.play("upgrade-mesh", code=2)
        assert played.tells(f"{MACHINE} was not upgraded", "0 MiB free for /opt/beemesh", "run the playbook again")
        assert (copy.machine["release"], copy.machine["cordoned"], copy.machine["ready"]) == ("one", False, True)
        df.unlink()
        copy.play("upgrade-mesh", code=0)
        assert copy.machine["release"] == "two"
        assert copy.on("ls -A /opt/beemesh") == "venv"
