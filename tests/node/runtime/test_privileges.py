"""A process that is no root and was given capabilities, with the real kernel."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beemesh_node.runtime import RuntimeConfig, privileges
from beemesh_node.runtime.host_path import check_host_path
from beemesh_node.runtime.pod_files import PodFiles
from beemesh_node.runtime.privileges import CHILDREN, PROCESSES, SIGNALS, VOLUMES, held
from beemesh_node.workloads.pod import EmptyDir, Files, HostPath, LocalVolume, Volume, VolumeMount
from tests.node.runtime.pods import idle, pod

_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
ALL = {*VOLUMES, *PROCESSES, *SIGNALS, *CHILDREN}
ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534


def as_a_system_user() -> None:
    """Be nobody, with what a unit's AmbientCapabilities= gives."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    mask = sum(1 << each for each in ALL)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    assert libc.capset(ctypes.byref(header), ctypes.byref(sets)) == 0
    for each in ALL:
        assert libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, int(each), 0, 0) == 0


def in_force() -> set[int]:
    """What this thread has."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    (mask,) = (int(line.split()[1], 16) for line in lines if line.startswith("CapEff"))
    return {number for number in range(64) if mask >> number & 1}


def laid_down_and_taken_up(place: Path) -> None:
    secret = place / "secret"
    privileges.rest()
    assert in_force() == set()
    with pytest.raises(PermissionError):
        secret.read_text()
    elsewhere: list[set[int]] = []
    with held(*VOLUMES):
        assert in_force() == set(VOLUMES)
        assert secret.read_text() == "root's"
        thread = threading.Thread(target=lambda: elsewhere.append(in_force()))
    thread.start()
    thread.join()
    assert in_force() == set()
    assert elsewhere == [set()]
    with pytest.raises(ZeroDivisionError), held(*VOLUMES):
        1 / 0  # noqa: B018
    assert in_force() == set()
    child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    (mask,) = (int(line.split()[1], 16) for line in child.splitlines() if line.startswith("CapEff"))
    assert mask == sum(1 << each for each in CHILDREN)


def volumes(place: Path) -> None:
    privileges.rest()
    config = RuntimeConfig("mesh", place / "state", place / "memory", "node")
    container = idle(mounts=(VolumeMount("data", "/sub", sub_path="a/b"),))
    spec = pod(
        container,
        fs_group=2000,
        volumes=(
            Volume("data", EmptyDir(size_limit_bytes=1000)),
            Volume("token", Files({"key": b"s"}, secret=True, default_mode=0o600)),
            Volume("db", LocalVolume()),
        ),
    )
    files = PodFiles(config, spec.identity.pod_uid)
    files.create(spec)
    data = config.state_dir / "pods" / spec.identity.pod_uid / "volumes" / "data"
    token = config.secret_dir / "pods" / spec.identity.pod_uid / "volumes" / "token" / "key"
    files.mounts(spec, container)
    with held(*VOLUMES):
        for path, mode in ((data, 0o2777), (data / "a", 0o2777), (data / "a" / "b", 0o2777), (token, 0o640)):
            found = path.stat()
            assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 2000, mode), path
        # What a container may do: close a directory to everybody else, and fill it.
        closed = data / "closed"
        closed.mkdir()
        (closed / "much").write_bytes(b"x" * 10_000)
        os.chown(closed, 1000, 1000)
        closed.chmod(0o700)
    over = files.over_limit(spec)
    assert over is not None
    assert over.name == "data"
    files.remove()
    assert not data.exists()
    assert not token.exists()
    assert next((config.state_dir / "local").glob("*/*")).is_dir()


def host_paths(place: Path) -> None:
    privileges.rest()
    with held(*VOLUMES):
        check_host_path("v", HostPath(str(place / "roots" / "made" / "deep"), "DirectoryOrCreate"))
    for made in (place / "roots" / "made", place / "roots" / "made" / "deep"):
        assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode)) == (0, 0o755)


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        place = Path(name)
        os.chown(place, NOBODY, NOBODY)
        (place / "secret").write_text("root's")
        (place / "secret").chmod(0o600)
        (place / "roots").mkdir(mode=0o755)
        yield place


@pytest.mark.parametrize("act", [laid_down_and_taken_up, volumes, host_paths])
def test_as_a_system_user(act: Callable[[Path], None], place: Path) -> None:
    """In a process of its own, which cannot become root again; with the umask of the unit."""
    program = f"""if True:
        import os, sys
        from pathlib import Path
        from {__name__} import as_a_system_user, {act.__name__}
        os.umask(0o077)
        as_a_system_user()
        {act.__name__}(Path(sys.argv[1]))
    """
    done = subprocess.run(
        [sys.executable, "-c", program, place], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_nothing_changes_for_root() -> None:
    before = in_force()
    privileges.rest()
    with held(*VOLUMES):
        assert in_force() == before
    assert in_force() == before
