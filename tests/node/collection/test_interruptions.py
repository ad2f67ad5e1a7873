"""Ctrl-C in the playbooks, wherever something is half done: the next run goes on, and at the end nothing is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.node.collection.stage import INTERRUPTED, MACHINE, Stage

pytestmark = pytest.mark.long

KEPT = "machine.cert machine.key membership.json network.key revocations.list trust.bundle"
"""What a member has in its state directory as long as its daemon has not run, and nothing more."""


@pytest.fixture
def bare() -> Iterator[Stage]:
    """A machine on which nothing was done yet."""
    with Stage() as stage:
        stage.want("one")
        yield stage


@pytest.fixture(scope="module")
def joined() -> Iterator[Stage]:
    with Stage() as stage:
        stage.want("one")
        stage.play("join-mesh", code=0)
        yield stage


@pytest.fixture
def member(joined: Stage) -> Iterator[Stage]:
    """A machine of its own that has joined."""
    with Stage(joined) as stage:
        yield stage


def serves(stage: Stage, release: str) -> None:
    """The machine is a member with all that belongs to one, and nothing lies about."""
    assert (stage.machine["ready"], stage.machine["cordoned"], stage.machine["release"]) == (True, False, release)
    assert stage.on("cat /opt/beemesh/venv/release") == release
    assert {*stage.on("ls -A /opt/beemesh").split()} <= {"prepare", "started", "venv"}
    kept = {*stage.on("ls -A /var/lib/beemesh").split()}
    assert kept - {"state.cred"} == {*KEPT.split()}, "and a sealed key where systemd-creds works"
    assert stage.on("systemctl is-enabled beemeshd") == "enabled"
    assert stage.on("/opt/beemesh/venv/bin/beemeshd pretend") == stage.machine["peer"]


def test_joining(bare: Stage) -> None:
    seen = bare.interrupt_everywhere("join-mesh")
    assert {"Make the mesh's root and the first operator", "Make the keys on the machine", "Sign it", "Join"} <= {*seen}
    serves(bare, "one")
    assert bare.play("join-mesh", code=0).changed == 0


@pytest.mark.parametrize("point", ["tar -xzf incoming/one.tar.gz", "mv venv.new venv"])
def test_joining_while_it_is_unpacked(bare: Stage, point: str) -> None:
    bare.play("join-mesh", trap=point, code=INTERRUPTED)
    bare.play("join-mesh", code=0)
    serves(bare, "one")


def test_upgrading(member: Stage) -> None:
    member.want("two")
    seen = member.interrupt_everywhere("upgrade-mesh")
    assert {"Note that on the machine too", "Move its work to others", "Take the machine into use again"} <= {*seen}
    serves(member, "two")
    assert member.play("upgrade-mesh", code=0).changed == 0


@pytest.mark.parametrize("point", ["drain", "mv venv venv.old", "mv venv.new venv"])
def test_a_release_that_does_not_run_after_an_interruption(member: Stage, point: str) -> None:
    member.want("broken")
    member.play("upgrade-mesh", trap=point, code=INTERRUPTED)
    failed = member.play("upgrade-mesh")
    assert failed.code != 0
    assert failed.tells(f"{MACHINE} was not upgraded and has its former release back"), failed.said
    serves(member, "one")
    member.want("three")
    member.play("upgrade-mesh", code=0)
    serves(member, "three")


@pytest.mark.parametrize("point", ["mv venv venv.bad", "mv venv.old venv", "rm -rf venv.bad"])
def test_going_back_to_the_former_release(member: Stage, point: str) -> None:
    member.want("broken")
    member.play("upgrade-mesh", trap=point, code=INTERRUPTED)
    member.want("three")
    # Its daemon does not run, so that it cannot be emptied; the former release is had back for that.
    failed = member.play("upgrade-mesh", code=2)
    assert failed.tells(f"{MACHINE} was not upgraded", "run the playbook again: it goes on here"), failed.said
    serves(member, "one")
    member.play("upgrade-mesh", code=0)
    serves(member, "three")


def test_a_machine_that_was_not_in_use_is_not_afterwards(member: Stage) -> None:
    beectl = f"{member.place}/bin/beectl --dir {member.mesh_dir}"
    member.on(f"{beectl} drain {MACHINE}")
    member.want("two")
    member.play("upgrade-mesh", interrupt="after Restart the daemon", code=INTERRUPTED)
    member.play("upgrade-mesh", code=0)
    assert member.machine["cordoned"]
    member.on(f"{beectl} uncordon {MACHINE}")
    serves(member, "two")


def test_rotating_keys(member: Stage) -> None:
    before = member.machine["peer"]
    # Named, since a run after one that was ended at its very end begins another rotation.
    told = {"beemesh_rotate": "machines,epoch", "beemesh_rotation": "spring"}
    seen = member.interrupt_everywhere("rotate-keys", **told)
    assert {"Make other keys beside the present ones", "Sign it", "Join", "Go on with them"} <= {*seen}
    assert member.machine["peer"] != before
    serves(member, "one")
    (rotation,) = (member.mesh_dir / "rotations").iterdir()
    assert {path.name for path in rotation.iterdir()} == {"complete", "epoch", "turns"}
    assert member.mesh["superseded"] >= 1
    assert member.play("rotate-keys", code=0, **told).changed == 0


def gone(stage: Stage) -> None:
    """Nothing makes the machine a member any more."""
    assert not stage.machine["ready"]
    assert stage.on("ls -d /var/lib/beemesh* /run/beemesh 2>/dev/null || true") == ""


def test_leaving(member: Stage) -> None:
    told = {"beemesh_leaving": MACHINE, "beemesh_uninstall": True}
    seen = member.interrupt_everywhere("leave-mesh", **told)
    assert {"Move everything that runs there to other machines", "Revoke the certificate"} <= {*seen}
    assert {"Erase keys and state", "Remove its files"} <= {*seen}
    gone(member)
    assert member.machine["revoked"]
    assert member.on("ls -d /opt/beemesh /etc/beemesh /usr/local/bin/bee* 2>/dev/null || true") == ""
    assert member.play("leave-mesh", code=0, **told).changed == 0


def leave(stage: Stage, **how: str) -> int:
    return stage.play("leave-mesh", beemesh_leaving=MACHINE, **how).code


def reset(stage: Stage, **how: str) -> int:
    return stage.play("reset", beemesh_confirm="mesh", **how).code


@pytest.mark.parametrize("erase", [leave, reset])
@pytest.mark.parametrize("first", ["leaving machine.key", "trust.bundle membership.json", ""])
def test_a_state_that_is_half_erased(member: Stage, erase: Callable[..., int], first: str) -> None:
    item = "/var/lib/beemesh/machine.cert"
    assert erase(member, interrupt=f"item Erase keys and state: {item}") == INTERRUPTED
    # In which order the rest goes is for the file system to say.
    for name in first.split():
        member.on(f"rm -f /var/lib/beemesh/{name}")
    assert erase(member) == 0
    gone(member)


def test_a_machine_that_did_not_leave_after_all_is_enabled(member: Stage) -> None:
    assert leave(member, interrupt="after leave : Stop the daemon") == INTERRUPTED
    assert leave(member, trap="drain") == INTERRUPTED
    assert member.on("systemctl is-enabled beemeshd") == "enabled"


def test_a_reset(member: Stage) -> None:
    told = {"beemesh_confirm": "mesh", "beemesh_forget_root": True, "beemesh_uninstall": True}
    seen = member.interrupt_everywhere("reset", **told)
    assert {"Stop the daemon for good", "Erase keys and state", "Remove the controller's directory of the mesh"} <= {
        *seen
    }
    gone(member)
    assert not member.mesh_dir.exists()
    assert member.play("reset", code=0, **told).changed == 0


def test_an_image(bare: Stage) -> None:
    archive = bare.place / "hello.tar"
    archive.write_text("an image")
    told = {"beemesh_images": [str(archive)]}
    bare.play("bake-image", trap="podman load", code=INTERRUPTED, **told)
    bare.interrupt_everywhere("bake-image", **told)
    assert bare.on("podman images") == "hello.tar"
    assert bare.on("ls -A /opt/beemesh /var/lib/beemesh").split() == ["/opt/beemesh:", "venv", "/var/lib/beemesh:"]
    assert bare.mesh["machines"] == {}
    assert bare.play("bake-image", code=0, **told).changed == 0
