"""A network for one mesh: a switch, and a cable to each machine's own network namespace.

Everything lies in namespaces of its own but one cable, the one to this computer: here sits whoever types `beectl`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tests.node.integration.waiting import until

_MARKER_PORT = 33999
_NOBODY = "02:00:00:00:00:01"


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def inside(namespace: str, *command: str) -> list[str]:
    """The command line that runs `command` there. Only the network is another: mounts and processes are the same."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


class Segment:
    """Use as a context manager; leaving it removes all of it, whatever still runs there."""

    def __init__(self) -> None:
        self.name = f"bmit{os.getpid()}"
        # Another run of these tests on the same computer has a network of its own.
        self._prefix = ""
        self._namespaces: list[str] = []

    def __enter__(self) -> Segment:
        for program in ("ip", "nsenter", "tcpdump"):
            assert shutil.which(program), f"these tests need {program}: apt-get install iproute2 util-linux tcpdump"
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def plug_in(self, name: str) -> tuple[str, str]:
        """Make a namespace with a cable to the switch; return its name and address."""
        namespace, address = f"{self.name}-{name}", f"{self._prefix}.{len(self._namespaces)}"
        self._add(namespace)
        ip("link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", name, "netns", self.name)
        ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        self._attach(name)
        return namespace, address

    def plugged(self, name: str, plugged: bool) -> None:
        """Pull a machine's cable out, or put it in again."""
        ip("-n", self.name, "link", "set", name, "up" if plugged else "down")

    def carries(self, source: str, address: str, carries: bool) -> None:
        """Have what the namespace `source` sends to an address arrive, or get lost: nobody has the card it goes to."""
        if carries:
            ip("-n", source, "neighbour", "delete", address, "dev", "eth0")
        else:
            ip("-n", source, "neighbour", "replace", address, "lladdr", _NOBODY, "nud", "permanent", "dev", "eth0")

    @contextmanager
    def capture(self, path: Path) -> Iterator[Capture]:
        """Write every packet that passes the switch into `path`."""
        capture = Capture(self, path)
        try:
            capture.start()
            yield capture
        finally:
            capture.stop()

    def shout(self, text: bytes) -> None:
        """Send a datagram that passes the switch unencrypted, to nobody."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.bind((self._operator, 0))
            sender.sendto(text, (f"{self._prefix}.255", _MARKER_PORT))

    @property
    def _operator(self) -> str:
        return f"{self._prefix}.254"

    def _make(self) -> None:
        self._add(self.name)
        ip("-n", self.name, "link", "add", "switch", "type", "bridge")
        ip("-n", self.name, "link", "set", "switch", "up")
        ip("link", "add", self.name, "type", "veth", "peer", "name", "operator", "netns", self.name)
        self._prefix = _free_prefix()
        ip("address", "add", f"{self._operator}/24", "broadcast", "+", "dev", self.name)
        ip("link", "set", self.name, "up")
        self._attach("operator")

    def _add(self, namespace: str) -> None:
        ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        ip("-n", namespace, "link", "set", "lo", "up")

    def _attach(self, port: str) -> None:
        ip("-n", self.name, "link", "set", port, "master", "switch", "up")

    def _remove(self) -> None:
        for namespace in reversed(self._namespaces):
            ip("netns", "delete", namespace)
        self._namespaces.clear()
        # A namespace lives on while a process is in it; the cable that ends here must not.
        if Path(f"/sys/class/net/{self.name}").exists():
            subprocess.run(["ip", "link", "delete", self.name], capture_output=True, check=False)


def _free_prefix() -> str:
    """The first three numbers of a network that this computer has no way to yet: tests may run side by side."""
    routes = subprocess.run(["ip", "route", "show", "table", "all"], capture_output=True, text=True, check=True).stdout
    own = os.getpid() % 256
    prefixes = (f"10.233.{(own + step) % 256}" for step in range(256))
    return next(prefix for prefix in prefixes if f"{prefix}.0/24" not in routes)


class Capture:
    """tcpdump on the switch."""

    def __init__(self, segment: Segment, path: Path) -> None:
        self._segment, self.path = segment, path
        self._log = path.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = inside(
            self._segment.name,
            *("tcpdump", "-i", "switch", "-U", "--immediate-mode", "-B", "65536", "-s", "0", "-Z", "root"),
            *("-w", str(self.path)),
        )
        with self._log.open("wb") as log:
            process = self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: b"listening on" in self._log.read_bytes() or process.poll() is not None, "tcpdump listens")
        assert process.poll() is None, self._log.read_text()

    def flush(self, marker: bytes) -> bytes:
        """Return everything captured so far, up to the marker that is shouted now."""
        self._segment.shout(marker)
        until(lambda: marker in self.path.read_bytes(), "the capture has the marker")
        return self.path.read_bytes()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        assert "0 packets dropped by kernel" in self._log.read_text(), self._log.read_text()
