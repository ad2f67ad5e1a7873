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


def test_a_clock_that_went_back(stage: Stage) -> None:
    with Stage(stage) as copy:
        # What is installed from now on is older than the daemon, if one believes the clock.
        copy.on("touch -d '1 hour' /run/beemesh/beemeshd.sock")
        copy.play("upgrade-mesh", code=0)
        assert (copy.machine["release"], copy.machine["starts"]) == ("two", 2)
        copy.on("touch -d '1 hour' /run/beemesh/beemeshd.sock")
        copy.play("join-mesh", code=0, node_log_level="debug")
        assert copy.machine["starts"] == 3
        # A release from before there were notes is started anew once.
        copy.on("rm -r /run/beemesh-started")
        copy.play("join-mesh", code=0, node_log_level="debug")
        assert copy.machine["starts"] == 4
        assert copy.play("join-mesh", code=0, node_log_level="debug").changed == 0


def test_a_daemon_that_goes_on_with_the_former_release(stage: Stage) -> None:
    with Stage(stage) as copy:
        (copy.place / "stuck").touch()
        played = copy.play("upgrade-mesh", code=2)
        assert played.tells(f"{MACHINE} was not upgraded", "it runs one, and two is installed for 3 s"), played.said
        assert copy.on("cat /opt/beemesh/venv/release") == "one"


def test_what_the_daemon_needs_is_started_anew_when_it_changes(stage: Stage) -> None:
    units = "cat /etc/systemd/system/beemesh*"
    with Stage(stage) as copy:
        before = copy.on(units)
        copy.want("broken")
        played = copy.play("upgrade-mesh", code=2, node_podman_socket="/run/other.sock")
        assert played.tells(f"{MACHINE} was not upgraded and has its former release back"), played.said
        assert copy.on(units) == before
        assert copy.on("sh /opt/beemesh/started") == ""
        copy.want("one")
        copy.on("cd /run/pretend-active; truncate --size 0 *")
        copy.play("join-mesh", code=0, node_podman_socket="/run/other.sock")
        copy.play("join-mesh", code=0)
        assert copy.on("cd /run/pretend-active; cat beemesh-podman.socket") == "restart restart"
        assert copy.on("cd /run/pretend-active; cat beemesh-guard.socket") == ""


def test_a_machine_that_was_let_go_comes_back(stage: Stage) -> None:
    with Stage(stage) as copy:
        copy.want("one")
        copy.play("leave-mesh", code=0, beemesh_leaving=MACHINE, beemesh_lost=True)
        played = copy.play("join-mesh", code=2)
        assert played.tells("the mesh does not see it ready within 3 s (nothing is known of it). Open port 7400")
        assert played.tells(f"reset.yml --limit {MACHINE}. Then run the playbook again."), played.said
        copy.play("reset", "--limit", MACHINE, code=0, beemesh_confirm="mesh")
        copy.play("join-mesh", code=0)
        assert not copy.machine["revoked"]


def test_a_check_of_a_mesh_that_is_still_to_be_made() -> None:
    with Stage() as bare:
        bare.want("one")
        assert bare.play("join-mesh", "--check", code=0).changed > 0


def test_what_an_earlier_run_still_unpacks_is_left_to_it(stage: Stage) -> None:
    with Stage(stage) as copy:
        # It goes on after its connection was ended, until somebody waits for it: its files are to be there until then.
        flock = copy.place / "bin" / "flock"
        flock.write_text(f'#!/bin/sh\ntouch {copy.place}/waits\nexec /usr/bin/flock "$@"\n')
        flock.chmod(0o755)
        earlier = "cd /opt/beemesh; mkdir venv.new; exec 9<.; /usr/bin/flock 9; n=0; "
        earlier += f"until [ -e {copy.place}/waits ] || [ $((n += 1)) -gt 1200 ]; do sleep 0.1; done; ls -d venv.new"
        with copy.begin(earlier) as process:
            copy.play("upgrade-mesh", code=0)
            assert process.communicate(timeout=10)[0].strip() == "venv.new"
        assert copy.machine["release"] == "two"


@pytest.mark.parametrize("cordoned", [True, False], ids=["cordoned", "in use"])
def test_a_machine_that_stays_is_in_use_if_it_was(stage: Stage, *, cordoned: bool) -> None:
    with Stage(stage) as copy:
        (copy.place / "alone").touch()
        if cordoned:
            copy.on(f"{copy.place}/bin/beectl --dir {copy.mesh_dir} drain {MACHINE}")
        played = copy.play("leave-mesh", code=2, beemesh_leaving=MACHINE)
        said = ", cordoned: only it knows of hello" if cordoned else " and is in use as before: only it knows of hello"
        assert played.tells(f"{MACHINE} stays in the mesh{said}"), played.said
        assert (copy.machine["ready"], copy.machine["cordoned"]) == (True, cordoned)


FIREWALL = """#!/bin/sh
cd {place}
case "$*" in
*--query-port*) grep -qxe "$*" open ;;
*--add-port*) echo "$*" | sed s/add/query/ >>open ;;
allow*) echo "$2                   ALLOW       Anywhere" >>open ;;
status) echo "Status: active"; cat open ;;
esac
"""


def test_a_check_says_that_the_port_would_be_opened(stage: Stage) -> None:
    with Stage(stage) as copy:
        copy.want("one")
        copy.play("join-mesh", code=0)
        (copy.place / "open").touch()
        for program in ("firewall-cmd", "ufw"):
            (copy.place / "bin" / program).write_text(FIREWALL.format(place=copy.place))
        # Firewalld for now and for good, TCP and UDP; ufw TCP and UDP.
        assert copy.play("join-mesh", "--check", code=0).changed == 2
        assert (copy.place / "open").read_text() == ""
        copy.play("join-mesh", code=0)
        assert len((copy.place / "open").read_text().splitlines()) == 6
        assert copy.play("join-mesh", code=0).changed == 0


def test_a_wrong_password_of_a_vault(guarded: Stage) -> None:
    before = guarded.everything()
    secrets, password, wrong = (guarded.place / name for name in ("secrets.yml", "password", "wrong"))
    secrets.write_text("beemesh_passphrase: quiet bees\n")
    password.write_text("of the vault\n")
    wrong.write_text("of another\n")
    vault = [sys.executable, "-m", "ansible", "vault", "encrypt", "--vault-password-file", password, secrets]
    subprocess.run(vault, check=True, capture_output=True)
    words = ("-e", f"@{secrets}", "--vault-password-file")
    for name in PLAYBOOKS:
        played = guarded.play(name, *words, str(wrong), **PLAYBOOKS[name])
        assert played.code != 0
        assert played.tells("Decryption failed", str(secrets)), played.said
        assert "PLAY" not in played.said
    assert guarded.everything() == before
    # With the right one the same command goes on to where the mesh is asked.
    assert guarded.play("upgrade-mesh", *words, str(password), code=2).tells(f"there is no machine {MACHINE}")
