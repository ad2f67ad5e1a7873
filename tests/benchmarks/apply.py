"""Time from `apply` to running, against the same containers started by a bare loop over the same Podmans.

python -m tests.benchmarks.apply [--machines 3] [--rounds 7,7,3] [REPLICAS ...]

Needs root, Podman, busybox and tcpdump, as the integration tests do. The mesh is real: each machine is a network
namespace with a Podman and a `beemeshd`. A round applies, takes the floor and runs the command, one after the other:
what else this computer does meanwhile meets all three alike, and their ratio is taken within the round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import trio

from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.mesh import Mesh as Joined
from beemesh_node.cli.mesh import connect
from beemesh_node.cli.operator import load_operator
from beemesh_node.cli.session import Session
from beemesh_node.cli.waiting import wait_for_end, wait_for_rollout
from beemesh_node.cli.workload_client import Outcome, WorkloadClient
from beemesh_node.protocol.messages import Commit
from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.container_spec import Surroundings, container_spec
from beemesh_node.runtime.labels import MESH, Role
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.workloads.manifest import load
from beemesh_node.workloads.pod import PodIdentity, PodSpec
from beemesh_node.workloads.spec import WorkloadSpec, bundles
from tests.benchmarks.counted import OPERATIONS, TOTALS, Totals, count_into
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Mesh, Operator
from tests.node.integration.segment import Segment

T = TypeVar("T")

_NAMES = ("alpha", "beta", "gamma", "delta", "epsilon")
_FLOOR = "floor"
"""The mesh that the floor's containers name, so that no daemon takes them for its own."""
_WITHIN = 180.0
_REST = 1.0
"""Seconds in which the mesh finishes what the last round left to do."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Round:
    """One measurement; times in seconds."""

    running: float
    """From the Commit being sent until Podman started the last container's program."""
    told: float
    """From the Commit being sent until the operator knows that all are ready, asking as `--wait` does."""
    command: float = 0.0
    """The whole process `beectl apply --wait`."""
    floor: float = 0.0
    """From the first request of the bare loop until Podman started the last container's program."""
    returned: float = 0.0
    """And until its last request has returned."""
    quantum: Totals = field(default_factory=Totals)
    """Of all daemons and the operator's process, from the Commit until the operator is told."""
    daemons: float = 0.0
    """Processor time of all daemons meanwhile."""
    excess: int = 0
    """Containers that ran beyond what was declared when the operator was told."""


class Watched:
    """A session that notes when the first Commit leaves."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.sent_ns = 0

    async def ask(self, machine: Any, payload: object, reply: type[T], *, timeout: float) -> T:
        if isinstance(payload, Commit) and not self.sent_ns:
            self.sent_ns = time.time_ns()
        return await self._session.ask(machine, payload, reply, timeout=timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class Bench:
    """A mesh that runs, and this process as its operator."""

    def __init__(self, mesh: Mesh, operator: Operator, session: Session, apis: dict[str, PodmanApi], own: Path) -> None:
        self.mesh, self.operator, self.session, self.apis, self._own = mesh, operator, session, apis, own
        context = Context(operator.directory)
        self._loaded = load_operator(context, ContextSettings.load(context))

    async def round(self, replicas: int) -> Round:
        """Apply, floor and command; nothing is left running."""
        await trio.sleep(_REST)
        manifest = deployment(f"bench-{uuid.uuid4().hex[:8]}", replicas)
        measured, spec, placed = await self._apply(manifest)
        measured.excess = placed.total() - replicas
        for name in list(placed.elements())[: measured.excess]:
            placed[name] -= 1
        measured.floor, measured.returned = await self._floor(spec, placed)
        measured.command = await self._command(deployment(f"bench-{uuid.uuid4().hex[:8]}", replicas))
        return measured

    async def _apply(self, manifest: dict[str, Any]) -> tuple[Round, WorkloadSpec, Counter[str]]:
        watched = Watched(self.session)
        joined = Joined(watched, self._loaded, "default")
        outcomes: list[Outcome] = []
        wanted = bundles(load(json.dumps(manifest).encode()))
        quantum, daemons = self._quantum(), self._processor_time()
        await WorkloadClient(joined).apply(wanted, dry_run=False, report=outcomes.append)
        (outcome,) = outcomes
        assert outcome.spec is not None
        await wait_for_rollout(joined, outcome.attested, outcome.spec, _WITHIN, _quiet)
        told = time.time_ns()
        quantum, daemons = self._quantum() - quantum, self._processor_time() - daemons
        label = {"label": [f"io.beemesh.uid={outcome.attested.record.uid}"]}
        placed: Counter[str] = Counter()
        last = 0
        for name, api in self.apis.items():
            begun = await _started(api, label)
            placed[name] = len(begun)
            last = max(last, *begun, 0)
        assert placed.total() >= outcome.spec.replicas, placed
        await self._delete(manifest["metadata"]["name"])
        measured = Round(
            (last - watched.sent_ns) / 1e9, (told - watched.sent_ns) / 1e9, quantum=quantum, daemons=daemons
        )
        return measured, outcome.spec, placed

    async def _floor(self, spec: WorkloadSpec, placed: Counter[str]) -> tuple[float, float]:
        """The same containers on the same machines: create and start, as many at a time as the runtime does."""
        label = {"label": [f"{MESH}={_FLOOR}"]}
        begun = time.time_ns()
        async with trio.open_nursery() as nursery:
            for name, api in self.apis.items():
                nursery.start_soon(_bare_loop, api, spec, placed[name])
        returned = time.time_ns()
        times = [each for api in self.apis.values() for each in await _started(api, label)]
        assert len(times) == spec.replicas
        async with trio.open_nursery() as nursery:
            for api in self.apis.values():
                nursery.start_soon(_remove, api, label)
        return (max(times) - begun) / 1e9, (returned - begun) / 1e9

    async def _command(self, manifest: dict[str, Any]) -> float:
        words = self.operator.command("apply", "-f", "-", "--wait", "--timeout", f"{_WITHIN:.0f}s")
        begun = time.monotonic()
        await trio.run_process(words, stdin=json.dumps(manifest).encode(), capture_stdout=True)
        took = time.monotonic() - begun
        await self._delete(manifest["metadata"]["name"])
        return took

    async def _delete(self, name: str) -> None:
        joined = Joined(self.session, self._loaded, "default")
        for outcome in await WorkloadClient(joined).delete("default", "Deployment", name):
            await wait_for_end(joined, [outcome.attested.record], name, _WITHIN, _quiet)

    def _quantum(self) -> Totals:
        files = [self._own, *(machine.directory / "totals" for machine in self.mesh.machines)]
        return sum((Totals.read(path) for path in files), Totals())

    def _processor_time(self) -> float:
        ticks = 0
        for machine in self.mesh.machines:
            words = Path(f"/proc/{machine.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return ticks / _TICKS


async def _bare_loop(api: PodmanApi, spec: WorkloadSpec, count: int) -> None:
    config = RuntimeConfig(
        mesh=_FLOOR, state_dir=Path("/"), secret_dir=Path("/"), node_name=_FLOOR, name_prefix="floor-"
    )
    around = Surroundings(config, machine_memory=1 << 30)
    limiter = trio.CapacityLimiter(config.concurrent_starts)
    (container,) = spec.template.containers

    async def launch(slot: int) -> None:
        pod_uid = str(uuid.uuid4())
        name = f"{_FLOOR}-{slot}"
        identity = PodIdentity(
            spec.namespace, spec.kind, spec.name, _FLOOR, slot, 0, 1, spec.revision, pod_name=name, pod_uid=pod_uid
        )
        body = container_spec(PodSpec(identity, spec.template), container, Role.MAIN, 0, (), around)
        async with limiter:
            created = await api.post("/containers/create", body)
            await api.post(f"/containers/{created['Id']}/start")

    async with trio.open_nursery() as nursery:
        for slot in range(count):
            nursery.start_soon(launch, slot)


async def _started(api: PodmanApi, label: dict[str, Any]) -> list[int]:
    """When the programs of these containers were started, in nanoseconds since the epoch."""
    found = await api.get("/containers/json", {"filters": label}) or ()
    times = []
    for entry in found:
        text = (await api.get(f"/containers/{entry['Id']}/json"))["State"]["StartedAt"]
        times.append(_nanoseconds(text))
    return times


def _nanoseconds(text: str) -> int:
    """RFC 3339 with up to nine digits of a second, of which `datetime` knows six."""
    whole, _, rest = text.partition(".")
    digits = "".join(char for char in rest[:9] if char.isdigit())
    zone = rest[len(digits) :]
    return int(datetime.fromisoformat(whole + zone).timestamp()) * 10**9 + int(digits.ljust(9, "0"))


async def _remove(api: PodmanApi, label: dict[str, Any]) -> None:
    for entry in await api.get("/containers/json", {"all": True, "filters": label}) or ():
        await api.delete(f"/containers/{entry['Id']}", {"force": True, "timeout": 0, "v": True})


def _quiet(_: str) -> None:
    """Nobody reads what is being waited for."""


@asynccontextmanager
async def bench(count: int) -> AsyncIterator[Bench]:
    """A mesh of `count` machines that know each other, with a session to the first of them."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bmb-")))
        mesh = stack.enter_context(Mesh(directory, stack.enter_context(Segment())))
        apis = {}
        for name in _NAMES[:count]:
            machine = mesh.add(name, program=(sys.executable, "-m", "tests.benchmarks.counted"))
            _boot(machine)
            assert machine.podman is not None
            apis[name] = PodmanApi(machine.podman.socket)
            stack.callback(apis[name].close)
        mesh.settle()
        own = directory / "totals"
        count_into(own)
        operator = mesh.admin.enter_by(mesh.machines[0])
        context = Context(operator.directory)
        loaded = load_operator(context, ContextSettings.load(context))
        session = await stack.enter_async_context(connect(loaded))
        yield Bench(mesh, operator, session, apis, own)


def _boot(machine: Machine) -> None:
    machine.environment[TOTALS] = str(machine.directory / "totals")
    machine.start_podman()
    machine.start()


def _median_worst(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} / {max(values):{form}}"


def table(results: dict[int, list[Round]]) -> str:
    """Markdown: median and worst, times in ms, ratios against the floor of the same round."""
    head = (
        "replicas",
        "rounds",
        "floor",
        "running",
        "told",
        "`beectl`",
        "running ÷ floor",
        "told ÷ floor",
        "over floor",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + " ---: |" * len(head)]
    for replicas, rounds in results.items():
        milliseconds = [
            _median_worst([getattr(each, name) * 1000 for each in rounds], ".0f")
            for name in ("floor", "running", "told", "command")
        ]
        ratios = [
            _median_worst([getattr(each, name) / each.floor for each in rounds], ".2f") for name in ("running", "told")
        ]
        over = _median_worst([(each.running - each.floor) * 1000 for each in rounds], ".0f")
        lines.append("| " + " | ".join((str(replicas), str(len(rounds)), *milliseconds, *ratios, over)) + " |")
    return "\n".join(lines)


def quantum_table(results: dict[int, list[Round]]) -> str:
    """Markdown: medians of operations, of their processor time, and of all processor time of the daemons."""
    head = ("replicas", *OPERATIONS, "ms of processor in them", "share of time until told", "ms of daemons, all work")
    lines = ["| " + " | ".join(head) + " |", "|" + " ---: |" * len(head)]
    for replicas, rounds in results.items():
        counts = [f"{statistics.median(each.quantum.counts[n] for each in rounds):.0f}" for n in range(len(OPERATIONS))]
        spent = [sum(each.quantum.nanoseconds) / 1e9 for each in rounds]
        share = statistics.median(used / each.told for used, each in zip(spent, rounds, strict=True))
        daemons = statistics.median(each.daemons for each in rounds)
        measured = (f"{statistics.median(spent) * 1000:.0f}", f"{share:.0%}", f"{daemons * 1000:.0f}")
        lines.append("| " + " | ".join((str(replicas), *counts, *measured)) + " |")
    return "\n".join(lines)


async def measure(machines: int, plan: Sequence[tuple[int, int]]) -> None:
    """Print each round as it ends, then the tables."""
    results: dict[int, list[Round]] = {}
    loads = [os.getloadavg()[0]]
    try:
        async with bench(machines) as running:
            await running.round(1)  # images, networks and caches of the first time are nobody's business here
            for replicas, rounds in plan:
                for _ in range(rounds):
                    measured = await running.round(replicas)
                    results.setdefault(replicas, []).append(measured)
                    loads.append(os.getloadavg()[0])
                    print(f"{replicas}: {measured}", file=sys.stderr, flush=True)
    finally:
        report(machines, results, loads)


def report(machines: int, results: dict[int, list[Round]], loads: Sequence[float]) -> None:
    """Print what was measured, also when it was broken off."""
    cores = len(os.sched_getaffinity(0))
    excess = sum(each.excess for rounds in results.values() for each in rounds)
    print(f"{machines} machines on {cores} processors, load {min(loads):.1f} to {max(loads):.1f}\n")
    print(f"Times in ms, median / worst. Containers beyond what was declared: {excess}.\n")
    print(table(results))
    print(
        f"\nPost-quantum operations of all daemons and the operator, medians.\n\n{quantum_table(results)}", flush=True
    )


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Time from apply to running, against bare Podman.")
    parser.add_argument("replicas", type=int, nargs="*", default=[1, 10, 50])
    parser.add_argument("--machines", type=int, default=3, choices=range(1, len(_NAMES) + 1))
    parser.add_argument("--rounds", default="7,7,3", help="how many for each number of replicas")
    chosen = parser.parse_args()
    rounds = [int(word) for word in chosen.rounds.split(",")]
    try:
        trio.run(measure, chosen.machines, list(zip(chosen.replicas, rounds, strict=False)))
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{failed}: {failed.stderr}")


if __name__ == "__main__":
    main()
