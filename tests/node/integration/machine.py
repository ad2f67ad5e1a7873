"""One machine of a test's mesh: a network namespace, a Podman and a `beemeshd`, all real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.node.integration.segment import inside
from tests.node.integration.waiting import DEADLINE, until
from tests.node.runtime.podman_service import IMAGE, PodmanService, busybox_image, drop_service

ROOT = Path(__file__).resolve().parents[3]
PORT = 33001
BEEMESHD = (str(Path(sys.executable).with_name("beemeshd")),)

Status = dict[str, Any]


class NamespacedPodman(PodmanService):
    """A Podman whose bridge and firewall are those of a machine."""

    def __init__(self, directory: Path, namespace: str) -> None:
        self._namespace = namespace
        super().__init__(directory)

    def _command(self, *arguments: str) -> list[str]:
        return inside(self._namespace, *super()._command(*arguments))


class Machine:
    """A machine with keys; it has joined once `Mesh.add` returns. `program` is what is run as beemeshd."""

    def __init__(
        self, name: str, directory: Path, namespace: str, address: str, program: Sequence[str], *, podman: bool
    ) -> None:
        self.name, self.namespace, self.address = name, namespace, address
        self.directory = directory
        self.state = directory / "state"
        self.state.mkdir(parents=True, mode=0o700)
        self.log_path = directory / "beemeshd.log"
        self.peer = ""
        self.id = ""
        self.environment: dict[str, str] = {}
        self._program = program
        self._memory = Path(tempfile.mkdtemp(prefix="bmit-", dir="/dev/shm"))  # Secrets need a tmpfs
        self.local_socket = self._memory / "beemeshd.sock"
        self._process: subprocess.Popen[bytes] | None = None
        # Podman refuses a long path; it is removed with all that it holds.
        self.podman: PodmanService | None = (
            NamespacedPodman(Path(tempfile.mkdtemp(prefix="bmit-")), namespace) if podman else None
        )

    @property
    def listen(self) -> str:
        return f"/ip4/{self.address}/tcp/{PORT}"

    @property
    def multiaddr(self) -> str:
        return f"{self.listen}/p2p/{self.peer}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def configure(self, **settings: object) -> None:
        values = {
            "state": str(self.state),
            "listen": [self.listen],
            "runtime_socket": str(self.podman.socket if self.podman else self.directory / "podman.sock"),
            "local_socket": str(self.local_socket),
            "log": {"level": "info", "format": "json"},
            **settings,
        }
        (self.directory / "beemeshd.yaml").write_text(json.dumps(values))

    def start_podman(self, *images: str) -> None:
        """Have the tests' image there, under more names if given, and start the service."""
        assert self.podman is not None
        self.podman.run("import", "-", IMAGE, stdin=busybox_image())
        for image in images:
            self.podman.run("tag", IMAGE, image)
        self.podman.start()

    def start(self) -> None:
        """Start beemeshd; it serves once `status` answers."""
        assert self._process is None, f"{self.name} runs already"
        command = inside(self.namespace, *self._program, "run", "--config", str(self.directory / "beemeshd.yaml"))
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **self.environment}, stdout=log, stderr=log
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal beemeshd and return its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        return process.wait(timeout=DEADLINE)

    def restart(self, number: signal.Signals) -> Status:
        """End and start beemeshd, and wait until it serves."""
        self.stop(number)
        self.start()
        return self.until(lambda status: status["runtime"]["ready"], "serves again")

    def status(self) -> Status | None:
        """What the local socket tells, None while it is not served."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            try:
                client.connect(str(self.local_socket))
                data = b"".join(iter(lambda: client.recv(65536), b""))
            except OSError:
                return None
        return json.loads(data) if data else None

    def until(self, condition: Callable[[Status], object], what: str, seconds: float = DEADLINE) -> Status:
        """The first status for which `condition` holds. Fails at once if beemeshd ends."""
        last: Status | None = None

        def holds() -> Status | None:
            nonlocal last
            assert self._process is None or self._process.poll() is None, f"{self.name} ended: {self.log[-3000:]}"
            last = self.status()
            return last if last is not None and condition(last) else None

        return until(holds, f"{self.name}: {what}", seconds, lambda: f"last status {last}")

    def counted(self) -> Counted:
        """Note the counters of refusals as they are now."""
        return Counted(self)

    def containers(self) -> dict[str, tuple[str, str]]:
        """By name: id and time of start of the pods' containers that run."""
        assert self.podman is not None
        form = "{{.Names}} {{.ID}} {{.StartedAt}}"
        lines = self.podman.run("ps", "--no-trunc", "--format", form, "--filter", "name=beemesh-").splitlines()
        return {name: (identity, began) for name, identity, began in (line.split(" ", 2) for line in lines)}

    def remove(self) -> None:
        """End everything of this machine and remove what it left, in whatever state it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        try:
            if self.podman is not None:
                drop_service(self.podman)
        finally:
            _unmount_below(self.directory)
            shutil.rmtree(self._memory, ignore_errors=True)


class Counted:
    """Counters of a machine, compared with what they were."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._before = self._now()

    def grown(self) -> dict[str, int]:
        """Every counter of refusals that has grown, and by how much."""
        now = self._now()
        return {
            name: count - self._before.get(name, 0) for name, count in now.items() if count > self._before.get(name, 0)
        }

    def _now(self) -> Mapping[str, int]:
        status = self._machine.until(lambda status: True, "serves")
        # Of the network only what it refused after looking: hellos that a busy machine does not finish come by chance.
        hellos = status["network"].get("refused.hello", 0)
        return {**status["refused"], "refused.hello": hellos}


def _unmount_below(directory: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
