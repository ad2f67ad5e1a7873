"""A Podman of the tests' own: its storage, network configuration, locks and socket are apart from the machine's."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path

IMAGE = "localhost/bmrt-busybox:latest"
USER_IMAGE = "localhost/bmrt-user:latest"
"""The same image, asking to run as user 1234."""
# Another run of these tests on the same computer has a network of its own.
INTERFACE = f"bmrt{os.getpid()}"
SUBNET = f"10.213.{os.getpid() % 256}.0/24"


class PodmanService:
    """`podman system service`, which tests may kill, stop and start again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "podman.sock"
        self._environment = {**os.environ, "CONTAINERS_CONF": str(directory / "containers.conf")}
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "containers.conf").write_text(_containers_conf())

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = self._command("system", "service", "--time=0", f"unix://{self.socket}")
        log = (self.directory / "service.log").open("ab")
        # conmon 2.1.6 leaves a file `oom` where its Podman runs.
        self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log, cwd=self.directory)
        deadline = time.monotonic() + 20
        while not self.socket.is_socket():
            assert self._process.poll() is None, (self.directory / "service.log").read_text()
            assert time.monotonic() < deadline, "Podman's service did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL: the service has no chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Kill it if it runs, whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        done = self._done(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def clear(self) -> None:
        """Remove all pods, containers and volumes; of what died with its monitors Podman refuses that at first."""
        for _ in range(3):
            self._done("pod", "rm", "--all", "--force", "--time", "0")
            self._done("rm", "--all", "--force", "--time", "0")
        self.run("volume", "prune", "--force")

    def _done(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._command(*arguments), env=self._environment, input=stdin, capture_output=True, check=False, timeout=60
        )

    def names(self) -> str:
        """Everything that a pod may leave behind: containers, pods, volumes."""
        return "\n".join(
            (
                self.run("ps", "-a", "--external", "--format", "{{.Names}}"),
                self.run("pod", "ls", "--format", "{{.Name}}"),
                self.run("volume", "ls", "--format", "{{.Name}}"),
            )
        )

    def end_monitors(self) -> None:
        """End what Podman left to look after commands of `exec`: minutes later it would make its directories again."""
        for pid, program in self.processes().items():
            if program.endswith("conmon"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def processes(self) -> dict[int, str]:
        """Processes of Podman's that work on this storage, and their programs."""
        found = {}
        for process in Path("/proc").iterdir():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except (OSError, ValueError):
                continue
            if str(self.directory / "root").encode() in words:
                found[int(process.name)] = words[0].decode(errors="replace")
        return found

    def _command(self, *arguments: str) -> list[str]:
        own = {
            "--root": "root",
            "--runroot": "runroot",
            "--tmpdir": "tmp",
            "--network-config-dir": "networks",
        }
        places = [word for option, name in own.items() for word in (option, str(self.directory / name))]
        return ["podman", *places, *arguments]


def make_service(directory: Path | None = None) -> PodmanService:
    for program in ("podman", "busybox"):
        assert shutil.which(program), f"these tests need {program}: apt-get install podman busybox-static"
    service = PodmanService(directory or Path(tempfile.mkdtemp(prefix="bmrt-")))
    service.run("import", "-", IMAGE, stdin=busybox_image())
    service.run("import", "--change", "USER 1234", "-", USER_IMAGE, stdin=busybox_image())
    service.start()
    return service


def drop_service(service: PodmanService) -> None:
    service.end()
    service.clear()
    service.run("network", "prune", "-f")
    service.run("rmi", "-af")
    service.end_monitors()
    storage = service.directory / "root"
    # conmon's clean-up of the last containers may still write beside us, and mount.
    for _ in range(50):
        for mounted in (storage / "overlay", storage):
            if os.path.ismount(mounted):
                subprocess.run(["umount", "-l", str(mounted)], check=True)
        shutil.rmtree(service.directory, ignore_errors=True)
        if not service.directory.exists() and not service.processes():
            return
        time.sleep(0.1)
    raise AssertionError(f"{service.directory} cannot be removed")


def _containers_conf() -> str:
    """For the machine at hand: crun refuses cgroup v1, and a lowered hard limit must be named to start anything."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    engine = ['lock_type="file"', 'events_logger="file"', "exit_command_delay=10"]
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        engine.append('runtime="runc"')
    if not Path("/run/systemd/system").exists():
        engine.append('cgroup_manager="cgroupfs"')
    limits = f'default_ulimits=["nofile={files}:{files}","nproc=4096:4096"]'
    return "\n".join(["[engine]", *engine, "[containers]", limits, ""])


def busybox_image() -> bytes:
    """A tar of busybox and a link for each of its programs."""
    path = shutil.which("busybox")
    assert path is not None
    links = subprocess.run([path, "--list"], capture_output=True, check=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(os.path.realpath(path), "bin/busybox")
        for name in links:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for name in ("tmp", "etc", "root", "var"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(directory)
        passwd = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        archive.addfile(entry, io.BytesIO(passwd))
    return buffer.getvalue()
