"""A mesh of real machines for tests: daemons in namespaces of their own, enrolled and asked as people do it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner

from beemesh_node.cli.main import cli as beectl_cli
from beemesh_node.daemon.main import cli as beemeshd_cli
from tests.node.integration import beectl
from tests.node.integration.machine import BEEMESHD, ROOT, Machine
from tests.node.integration.segment import Segment

NONCE = "5b" * 32
_COMMAND_SECONDS = 60.0
BEECTL = str(Path(sys.executable).with_name("beectl"))


@dataclass(frozen=True)
class Ran:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


class Operator:
    """Somebody with a context, who types `beectl`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def enter_by(self, *machines: Machine) -> Operator:
        """Know no other way into the mesh than these machines. Returns self."""
        path = self.directory / "context.json"
        settings = json.loads(path.read_text())
        path.write_text(json.dumps({**settings, "bootstrap": [machine.multiaddr for machine in machines]}))
        return self

    def command(self, *words: object) -> list[str]:
        """The command line."""
        return [BEECTL, "--dir", str(self.directory), *map(str, words)]

    def run(self, *words: object, code: int | None = 0, stdin: str = "") -> Ran:
        """Run beectl to its end. `code` is the exit code it must have, None for any."""
        ran = Ran(*beectl.run(self.command(*words)[1:], stdin, _COMMAND_SECONDS))
        assert code is None or ran.code == code, f"beectl {' '.join(map(str, words))}: {ran}"
        return ran

    def begin(self, *words: object, stdin: str) -> subprocess.Popen[bytes]:
        """Start beectl and go on; what it says is not kept."""
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(self.command(*words), cwd=ROOT, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(stdin.encode())
        return process

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.run(*words, "-o", "json", code=code).out)

    def apply(self, *documents: object, wait: bool = True, code: int = 0) -> Ran:
        """Apply manifests given as data."""
        text = "\n---\n".join(json.dumps(document) for document in documents)
        return self.run("apply", "-f", "-", *(("--wait", "--timeout", "40s") if wait else ()), code=code, stdin=text)

    def delete(self, *words: object) -> None:
        self.run("delete", *words, "--wait", "--timeout", "40s")


class Mesh:
    """Use as a context manager; leaving it ends and removes everything."""

    def __init__(self, directory: Path, segment: Segment, name: str = "mesh") -> None:
        """`name` is a prefix of its machines' names, which are unique on a segment."""
        self.directory, self.segment, self.name = directory, segment, name
        self.machines: list[Machine] = []
        self._stack = ExitStack()
        self.root = directory / "root"

    def __enter__(self) -> Self:
        self.id: str = in_process(beectl_cli, "mesh", "init", "--dir", self.root, "--name", self.name)["mesh_id"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def admin(self) -> Operator:
        """Who made the mesh and may do everything."""
        return Operator(self.root)

    def add(
        self, name: str, *sign_options: str, program: Sequence[str] = BEEMESHD, podman: bool = True, run: bool = True
    ) -> Machine:
        """Make a machine with keys and request; with `run` it also has a place on the network."""
        namespace, address = self.segment.plug_in(name) if run else ("", "127.0.0.1")
        machine = Machine(name, self.directory / name, namespace, address, program, podman=podman and run)
        self._stack.callback(machine.remove)
        machine.peer = in_process(beemeshd_cli, "keys", "generate", "--state", machine.state)["peer_id"]
        request = machine.directory / "request"
        in_process(
            beemeshd_cli,
            *("keys", "request", "--state", machine.state, "--mesh", self.id, "--nonce", NONCE, "--out", request),
        )
        self.machines.append(machine)
        machine.configure(bootstrap=[known.multiaddr for known in self.machines if known.namespace])
        bundle = machine.directory / "bundle"
        signed = in_process(
            beectl_cli,
            *("cert", "sign", "--dir", self.root, "--request", request, "--name", name, "--nonce", NONCE),
            *("--bootstrap", self.machines[0].multiaddr, "--out", bundle, *sign_options),
        )
        in_process(beemeshd_cli, "join", "--state", machine.state, "--bundle", bundle)
        machine.id = signed["machine_id"]
        return machine

    def operator(self, name: str, namespaces: Sequence[str], verbs: Sequence[str]) -> Operator:
        """An operator with a certificate of its own."""
        directory = self.directory / f"operator-{name}"
        request, bundle = self.directory / f"{name}.request", self.directory / f"{name}.bundle"
        in_process(
            beectl_cli,
            *("keys", "request", "--dir", directory, "--mesh", self.id, "--nonce", NONCE, "--out", request),
        )
        in_process(
            beectl_cli,
            *("cert", "operator", "--dir", self.root, "--request", request, "--name", name, "--nonce", NONCE),
            *(word for namespace in namespaces for word in ("--namespace", namespace)),
            *(word for verb in verbs for word in ("--verb", verb)),
            *("--bootstrap", self.machines[0].multiaddr, "--out", bundle),
        )
        in_process(beectl_cli, "mesh", "join", "--dir", directory, "--bundle", bundle)
        return Operator(directory)

    def settle(self, *machines: Machine) -> None:
        """Wait until each of the machines (by default all) can run pods and knows the others."""
        chosen = machines or tuple(machine for machine in self.machines if machine.namespace)
        names = {machine.name for machine in chosen}
        for machine in chosen:
            machine.until(
                lambda status: names - {status["name"]} <= set(status["members"]) and status["runtime"]["ready"],
                f"knows {', '.join(sorted(names))}",
            )

    def clear(self) -> None:
        """Delete every workload of every namespace."""
        admin = self.admin
        for item in admin.json("get", "workloads", "-A")["items"]:
            meta = item["metadata"]
            admin.delete("-n", meta["namespace"], f"{item['kind'].lower()}/{meta['name']}", "--ignore-not-found")

    def pods(self, operator: Operator, *words: object) -> list[dict[str, Any]]:
        """Pods as `beectl get` shows them."""
        items: list[dict[str, Any]] = operator.json("get", "pods", *words)["items"]
        return items


def in_process(command: Any, *words: object) -> dict[str, Any]:
    """Run a command of ours that needs no mesh, in this process; return the facts it prints."""
    result = CliRunner().invoke(command, [*map(str, words), "-o", "json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout) if result.stdout.strip().startswith("{") else {}
    return facts
