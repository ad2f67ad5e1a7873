"""The guard alone, with the real kernel."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from beemesh_node.runtime import GuardError, boottime
from beemesh_node.runtime.errors import StartError
from beemesh_node.runtime.guard import Guard, Guards, program, refuse_first_process
from beemesh_node.runtime.guard.client import RENEW_TIMEOUT, nanoseconds
from beemesh_node.runtime.guard.launch import ask
from beemesh_node.runtime.processes import process_end
from tests.node.runtime.pods import DEADLINE

LATE = 0.25
"""Seconds after the deadline by which nothing may be left, also on a busy machine."""
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="bmrt-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def guards(directory: Path) -> Guards:
    return Guards(directory)


async def ends_at(guard: Guard, deadline: float) -> None:
    """Wait for a guard's end, which has to be at the deadline."""
    with trio.fail_after(DEADLINE):
        await guard.ended()
    late = boottime() - deadline
    guard.close()
    print(f"late by {late * 1000:.1f} ms")
    assert 0 <= late < LATE


def left(directory: Path) -> list[Path]:
    """The files of guards."""
    return list(directory.iterdir())


async def test_a_stopped_guard_ends_at_its_deadline(guards: Guards) -> None:
    deadline = boottime() + 1.5
    guard = await guards.start("one", deadline)
    for process in (guard.timer, guard.first):
        os.kill(process, signal.SIGSTOP)
    await ends_at(guard, deadline)
    assert guards.find("one") is None


@pytest.fixture
def door(directory: Path) -> Iterator[Path]:
    """Where guards are started one by one, as services are by a service manager."""
    door = directory / "door"
    listen = (sys.executable, "-I", "-S", ROOT / "roles/node/files/listen.py", "--accept", door)
    with subprocess.Popen([*listen, sys.executable, "-I", "-S", program.__file__]) as process:
        give_up = time.monotonic() + DEADLINE
        while not door.exists():
            assert time.monotonic() < give_up
            time.sleep(0.01)
        yield door
        process.terminate()


def capabilities(process: int) -> set[str]:
    """All that a process has or may take up, as masks."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return {line.split()[1] for line in status if line.startswith(("CapPrm", "CapEff", "CapInh", "CapAmb"))}


async def test_one_that_is_asked_for_at_a_door_has_no_capability_left(directory: Path, door: Path) -> None:
    """As a daemon that is no root has guards started."""
    deadline = boottime() + 1.5
    await ask(door, directory, "one", nanoseconds(deadline))
    guard = Guards(directory).find("one")
    assert guard is not None
    assert [capabilities(process) for process in (guard.timer, guard.first)] == [{"0" * 16}] * 2
    await ends_at(guard, deadline)


async def test_a_door_where_nobody_listens_is_named(directory: Path) -> None:
    with pytest.raises(GuardError, match=r"nobody starts it at .*door .*systemctl status beemesh-guard\.socket"):
        await ask(directory / "door", directory, "one", nanoseconds(boottime() + 1))


async def test_a_renewal_moves_the_end_and_nothing_else_does(guards: Guards, directory: Path) -> None:
    first = boottime() + 1.5
    guard = await guards.start("one", first)
    deadline = first + 1
    assert await guard.renew(deadline) == pytest.approx(deadline, abs=1e-6)
    # What came late, what is rubbish, and what would keep the pod for ever.
    assert await guard.renew(first) == pytest.approx(deadline, abs=1e-6)
    for rubbish in (b"", b"x", b"\xff" * 8, b"\0" * 8, b"x" * 4000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(directory / "one.sock"))
            client.send(rubbish)
    for wrong in (boottime() + 500, 0.0, -5.0, float("nan"), float("inf")):
        with pytest.raises(GuardError, match="deadline"):
            await guard.renew(wrong)
    assert (directory / "one.sock").stat().st_mode & 0o777 == 0o600
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(guard.timer, number)
        os.kill(guard.first, number)
    await ends_at(guard, deadline)


async def test_a_guard_that_hangs_is_told_of_and_keeps_its_deadline(guards: Guards) -> None:
    deadline = boottime() + 2 + RENEW_TIMEOUT
    guard = await guards.start("one", deadline)
    os.kill(guard.timer, signal.SIGSTOP)
    with pytest.raises(GuardError, match="no answer"):
        await guard.renew(deadline + 5)
    await ends_at(guard, deadline)
    with pytest.raises(GuardError, match="not reached"):
        await guard.renew(boottime() + 5)


@pytest.mark.parametrize("victim", [lambda guard: guard.timer, lambda guard: guard.first], ids=["timer", "first"])
async def test_the_end_of_either_process_is_the_end_of_both(guards: Guards, victim: Callable[[Guard], int]) -> None:
    guard = await guards.start("one", boottime() + 60)
    os.kill(victim(guard), signal.SIGKILL)
    with trio.fail_after(DEADLINE):
        await guard.ended()
        assert await process_end(guard.timer)
    assert not guard.alive
    await guards.end("one")
    guard.close()


async def test_an_ended_guard_leaves_nothing(guards: Guards, directory: Path) -> None:
    guard = await guards.start("one", boottime() + 60)
    again = await guards.start("one", boottime() + 60)
    assert not guard.alive
    (await guards.start("other", boottime() + 60)).close()
    await guards.end_others(["one"])
    assert guards.find("other") is None
    assert again.alive
    for _ in range(2):
        await guards.end("one")
    assert left(directory) == []
    for process in (guard.timer, guard.first, again.timer, again.first):
        assert await process_end(process)
    for one in (guard, again):
        one.close()


async def test_a_guard_whose_deadline_has_passed_does_not_start(guards: Guards, directory: Path) -> None:
    with pytest.raises(GuardError, match="deadline came before"):
        await guards.start("one", boottime() - 1)
    with pytest.raises(GuardError, match="is not between"):
        await guards.start("one", boottime() + 500)
    assert left(directory) == []


async def test_a_reused_process_id_is_not_taken_for_a_guard(guards: Guards, directory: Path) -> None:
    guard = await guards.start("one", boottime() + 60)
    state = (directory / "one.json").read_text()
    for wrong in (
        state.replace(str(guard.timer), str(os.getpid())),
        state.replace('"start": ', '"start": 1'),
        "{",
        "[]",
        "{}",
        '{"pid": 0, "start": 0, "first": -1, "first_start": 0}',
    ):
        (directory / "one.json").write_text(wrong)
        assert guards.find("one") is None
    (directory / "one.json").write_text(state)
    await guards.end("one")
    guard.close()


async def test_it_is_tried_once_whether_guards_work_here(directory: Path) -> None:
    began = trio.current_time()
    assert await Guards(directory).fault() == ""
    assert trio.current_time() - began > 0.2
    began = trio.current_time()
    assert await Guards(directory).fault() == ""
    assert trio.current_time() - began < 0.1


def test_where_no_guard_can_be_made_the_reason_is_told(directory: Path) -> None:
    """Without CAP_SYS_ADMIN nobody makes a namespace."""
    look = "import sys, trio; from pathlib import Path; from beemesh_node.runtime.guard import Guards; "
    look += "print(trio.run(Guards(Path(sys.argv[1])).fault))"
    done = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-c", look, str(directory)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "unshare(CLONE_NEWPID): Operation not permitted" in done.stdout


def test_a_guard_leaves_the_control_groups_in_which_its_daemon_can_be_frozen(directory: Path) -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2" or "freezer" in mount[3].split(",")]
    groups = [root / f"bmrt-{os.getpid()}" for root in roots]
    for group in groups:
        group.mkdir()
    look = "import os, sys, trio; from pathlib import Path; from beemesh_node.runtime.guard import Guards, boottime\n"
    look += "for group in sys.argv[2:]: open(group + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
    look += "print(trio.run(Guards(Path(sys.argv[1])).start, 'one', boottime() + 60).timer)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", look, str(directory), *map(str, groups)],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert groups
        assert groups[0].name not in Path(f"/proc/{done.stdout.strip()}/cgroup").read_text()
        trio.run(Guards(directory).end, "one")
    finally:
        for group in groups:
            group.rmdir()


@pytest.mark.parametrize(
    ("words", "stop_signal", "refused"),
    [
        (("/sbin/init",), "", True),
        (("/usr/lib/systemd/systemd", "--unit=multi-user.target"), "", True),
        (("/init",), "", True),
        (("busybox", "init"), "", True),
        (("/entrypoint.sh",), "37", True),
        (("/entrypoint.sh",), "SIGRTMIN+3", True),
        (("/usr/bin/tini", "--", "server"), "", False),
        (("sh", "-c", "init"), "SIGTERM", False),
        (("server", "init"), "", False),
        ((), "", False),
    ],
)
def test_init_systems_are_refused(words: tuple[str, ...], stop_signal: str, refused: bool) -> None:
    if refused:
        with pytest.raises(StartError, match=r"container c: .* must be process 1"):
            refuse_first_process("c", words, stop_signal)
    else:
        refuse_first_process("c", words, stop_signal)
