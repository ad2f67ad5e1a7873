"""The mesh on the lab's machines, looked at from outside as an operator does: through beectl and over HTTP."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from labs.machines import Machine, find, playbook, read_machines
from labs.paths import HELLO_MANIFEST, INVENTORY, JOIN_PLAYBOOK, JOINED, MESH, ROOT
from labs.run import LabError, hand_over, run

T = TypeVar("T")
_POLL = 0.3


def join() -> str:
    """Make a mesh of the machines with the playbook; return in words what that changed.

    Where neither the playbook, the roles, the node nor the inventory has changed since, and every daemon runs, the
    playbook has nothing to do and is not run.
    """
    sources = _digest(
        JOIN_PLAYBOOK.parent, ROOT / "roles", ROOT / "beemesh_node", ROOT / "requirements.lock", INVENTORY
    )
    running = all(unit_state(machine) == "active" for machine in read_machines())
    if running and JOINED.exists() and JOINED.read_text() == sources:
        return "nothing has changed since they joined"
    JOINED.unlink(missing_ok=True)
    said = playbook(JOIN_PLAYBOOK, "join-mesh")
    JOINED.write_text(sources)
    changed = [line.split()[0] for line in said.splitlines() if " changed=" in line and " changed=0 " not in line]
    return f"changed on {', '.join(changed)}" if changed else "nothing to change"


def beectl(*arguments: str, timeout: float = 120) -> str:
    """Run the operator's command against the lab's mesh and return what it printed.

    Raises:
        LabError: it failed; its own message is in the text.
    """
    return run(["beectl", *arguments], env={"BEEMESH_DIR": str(MESH)}, timeout=timeout)


def beectl_interactive(arguments: Sequence[str]) -> int:
    """Run the operator's command in the user's terminal; return its exit code."""
    if not MESH.is_dir():
        raise LabError("there is no mesh: run ./lab up first")
    return hand_over(["beectl", *arguments], env={"BEEMESH_DIR": str(MESH)})


def items(*arguments: str) -> list[dict[str, Any]]:
    """Return the items of a `beectl get`."""
    found: list[dict[str, Any]] = json.loads(beectl("get", *arguments, "-o", "json"))["items"]
    return found


def until(seconds: float, what: str, look: Callable[[], tuple[T, str | None]]) -> T:
    """Look again and again until nothing is missing; return what was seen then.

    `look` returns what it saw, and what is missing or None. It may raise `LabError`, which counts as missing.

    Raises:
        LabError: something is missing still after `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            seen, missing = look()
            if missing is None:
                return seen
        except LabError as error:
            missing = str(error)
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds:.0f} s: {missing}")
        time.sleep(_POLL)


def wait_for_machines(names: Sequence[str], seconds: float = 60) -> None:
    """Wait until the mesh shows exactly these machines as ready."""

    def look() -> tuple[None, str | None]:
        lacking = sorted(set(names) - {item["metadata"]["name"] for item in items("machines") if ready(item)})
        return None, f"{', '.join(lacking)} not ready" if lacking else None

    until(seconds, "machines of the mesh", look)


@dataclass(frozen=True)
class Pod:
    """A pod as `beectl get pods` shows it."""

    name: str
    machine: str
    address: str
    ready: bool


def pods(label: str) -> list[Pod]:
    """Return the pods with a label, "app=hello"."""
    return [
        Pod(
            item["metadata"]["name"],
            item["spec"].get("nodeName", ""),
            item.get("status", {}).get("podIP", ""),
            ready(item),
        )
        for item in items("pods", "-l", label)
    ]


def ask(pod: Pod, port: int = 8080) -> str:
    """Return what a pod answers over HTTP, asked from the machine on which it runs.

    Raises:
        LabError: no answer, or another than 200.
    """
    machine = find(pod.machine)
    url = f"http://{pod.address}:{port}/"
    return run(["podman", "exec", machine.container, "curl", "--fail", "--silent", "--show-error", "-m", "3", url])


def apply_hello() -> None:
    """Declare `examples/hello.yml`."""
    beectl("apply", "-f", str(HELLO_MANIFEST))


def wait_for_hello(name: str = "hello", replicas: int = 2, seconds: float = 60) -> list[Pod]:
    """Wait until so many copies of the web server truly answer over HTTP; return them.

    `name` is the name of the Deployment, and of its pods' label `app`.
    """

    def look() -> tuple[list[Pod], str | None]:
        ready = [pod for pod in pods(f"app={name}") if pod.ready and pod.address]
        if len(ready) != replicas:
            return [], f"{len(ready)} of {replicas} pods are ready (./lab beectl describe deployment {name} tells why)"
        for pod in ready:
            if "Hello from" not in (answer := ask(pod)):
                return [], f"{pod.name} answers {answer[:200]!r}"
        return ready, None

    return until(seconds, f"the web servers of {name}", look)


def unit_state(machine: Machine) -> str:
    """Return what systemd says of the daemon on a machine: "active", "failed", "inactive" and so on."""
    return run(
        ["podman", "exec", machine.container, "sh", "-c", "systemctl is-active beemeshd.service || true"]
    ).strip()


def names() -> list[str]:
    """Return the names of the lab's machines."""
    return [machine.name for machine in read_machines()]


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def ready(item: dict[str, Any]) -> bool:
    """Whether a machine or a pod, as `beectl get -o json` shows it, is ready."""
    conditions = item.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
