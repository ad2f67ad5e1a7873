"""Works out which replicas to move, asks their machines to give them away, and looks on until they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from beemesh_node.cli.errors import CliError, TimedOutError
from beemesh_node.cli.live import Live, open_live
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import Declaration, Survey, heard, survey, survey_pods
from beemesh_node.cli.terminal import note
from beemesh_node.membership.member import Member, member_of
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ClaimReport, MoveReply, MoveRequest
from beemesh_node.scheduling.neighbours import Neighbour
from beemesh_node.scheduling.rebalancing import Move, Replica, rebalance
from beemesh_node.workloads.pod import PodPhase

_LOOK_EVERY = 1.0
_WITHIN = 10.0
"""Seconds that a machine has to answer."""


@dataclass
class Rebalancing:
    """The moves that are worth it, and what became of them."""

    mesh: Mesh
    moves: tuple[Move, ...]
    _reports: Mapping[str, ClaimReport]
    """By pod uid, as it was when the moves were worked out."""

    @classmethod
    async def plan(cls, mesh: Mesh, names: frozenset[tuple[str, str]]) -> Rebalancing:
        """Look at the whole mesh, as far as this operator may, and work out what of the named workloads should move.

        Without names all of the command's namespace are meant. Raises `CliError` for a name that is not declared.
        """
        seen = await survey(mesh.session, mesh.chain, content=True)
        reports, silent = await survey_pods(mesh.session)
        if text := mesh.absences({**seen.silent, **silent}):
            note(text)
        live = {each.attested.record.uid: open_live(each) for each in seen.running() if _readable(each)}
        wanted = _wanted(mesh, seen, names)
        running = [r for r in reports if r.phase not in (PodPhase.SUCCEEDED, PodPhase.FAILED)]
        replicas = [
            _replica(report, live[report.claim.uid], movable=report.claim.uid in wanted)
            for report in running
            if report.claim.uid in live
        ]
        return cls(mesh, rebalance(_members(mesh), replicas), {report.pod_uid: report for report in running})

    @property
    def facts(self) -> list[dict[str, Any]]:
        """The moves, for programs."""
        found = []
        for move in self.moves:
            report = self._reports[move.replica.key]
            found.append(
                {
                    "namespace": report.namespace,
                    "pod": report.pod_name,
                    "workload": report.workload,
                    "from": self.mesh.machine_name(move.replica.machine),
                    "to": self.mesh.machine_name(move.target),
                }
            )
        return found

    async def run(self, seconds: float, progress: Callable[[str], None], say: Callable[[str], None]) -> None:
        """Have everything moved. Raises `TimedOutError` for what has not gone in time, `CliError` for what stays."""
        await self._ask()
        left = {move.replica.key for move in self.moves}
        stayed: dict[str, ClaimReport] = {}
        asked: set[str] = set()
        with trio.move_on_after(seconds):
            while left:
                reports, _ = await survey_pods(self.mesh.session)
                present = {report.pod_uid: report for report in reports}
                for key in sorted(left - present.keys()):
                    say(f"pod/{self._reports[key].pod_name} moved{self._where(self._reports[key], reports)}")
                left &= present.keys()
                asked |= {key for key in left if present[key].leaving}
                ending = {key for key in left if present[key].reason == "Terminating"}
                stayed.update({key: present[key] for key in (left & asked) - ending if not present[key].leaving})
                left -= stayed.keys()
                if left:
                    progress(f"Moving replicas: {len(left)} of {len(self.moves)} to go")
                    await trio.sleep(_LOOK_EVERY)
        if left:
            names = ", ".join(sorted(self._reports[key].pod_name for key in left))
            raise TimedOutError(
                f"after {seconds:g} s not moved: {names}. It goes on for two minutes in all, then they stay where they "
                "are; `beectl get events` shows why"
            )
        if stayed:
            names = ", ".join(sorted(report.pod_name for report in stayed.values()))
            raise CliError(f"no other machine took {names}: they stay where they are; `beectl get events` shows why")

    async def _ask(self) -> None:
        by_machine: dict[MachineId, list[ClaimReport]] = {}
        for move in self.moves:
            by_machine.setdefault(move.replica.machine, []).append(self._reports[move.replica.key])
        for machine, reports in sorted(by_machine.items()):
            request = MoveRequest(tuple(report.claim for report in reports))
            await self.mesh.session.ask(machine, request, MoveReply, timeout=_WITHIN)

    def _where(self, moved: ClaimReport, reports: Iterable[ClaimReport]) -> str:
        slot = (moved.claim.uid, moved.claim.slot, moved.claim.revision)
        places = [
            self.mesh.machine_name(each.claim.machine)
            for each in reports
            if (each.claim.uid, each.claim.slot, each.claim.revision) == slot
        ]
        return f" from {self.mesh.machine_name(moved.claim.machine)} to {places[0]}" if places else ""


def _readable(declaration: Declaration) -> bool:
    block = declaration.blocks.get(declaration.attested.record.cid)
    return block is not None and bool(block.content_key)


def _wanted(mesh: Mesh, seen: Survey, names: frozenset[tuple[str, str]]) -> frozenset[str]:
    found: dict[str, tuple[str, str]] = {
        each.attested.record.uid: (each.key[1], each.key[2]) for each in seen.running() if each.key[0] == mesh.namespace
    }
    if not names:
        return frozenset(found)
    wanted = {uid for uid, (kind, name) in found.items() if {(kind, name), ("", name)} & names}
    for kind, name in sorted(names):
        if not any(found[uid][1] == name and kind in ("", found[uid][0]) for uid in wanted):
            raise CliError(
                f"{kind.lower() or 'workload'}/{name} not found in namespace {mesh.namespace}: see `beectl get "
                "workloads -A` for what is declared"
            )
    return frozenset(wanted)


def _replica(report: ClaimReport, live: Live, *, movable: bool) -> Replica:
    needed, labels = live.spec.requirements, live.spec.template.labels
    bound = bool(report.home)  # its volume is there, and cannot go along
    return Replica(
        key=report.pod_uid,
        workload=report.claim.uid,
        machine=MachineId(report.claim.machine),
        needed=needed,
        neighbour=Neighbour(report.namespace, labels, needed.pod_terms),
        movable=movable and report.ready and not bound and not report.leaving,
    )


def _members(mesh: Mesh) -> list[Member]:
    found = []
    for machine, entry in mesh.session.machines.items():
        try:
            certificate = mesh.chain(entry.certificate)
        except ProtocolError:
            continue
        if entry.presence is not None and heard(entry):
            found.append(member_of(machine, certificate.name, certificate.guardian, certificate.labels, entry.presence))
    return found
