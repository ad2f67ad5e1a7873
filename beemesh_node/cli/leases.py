"""Leases as an operator sees them: what voters say, put together, and what is done when too many are gone for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.gather import gather
from beemesh_node.cli.live import Live, subject
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import reachable
from beemesh_node.cli.translate import translate
from beemesh_node.cli.waiting import wait_for_end
from beemesh_node.cli.workload_client import Outcome, WorkloadClient
from beemesh_node.messaging.errors import MeshError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import LeaseQuery, LeaseState


@dataclass(frozen=True, slots=True)
class Slot:
    """The lease of one slot, as most voters have it."""

    number: int
    term: int
    holder: str
    """The machine that holds it; empty if a majority of voters grants it to none just now."""
    remaining_ms: int
    """Until it ends, if nobody renews it: as the voters count, who count longer than its holder."""
    granted: int
    """How many voters grant it to the holder."""
    home: str
    """The machine that holds the slot's volumes, if it has any."""


@dataclass(frozen=True, slots=True)
class Leases:
    """All leases of one declaration."""

    voter_set: int
    voters: tuple[MachineId, ...]
    answered: frozenset[MachineId]
    """Those of the voters that told what they know."""
    slots: tuple[Slot, ...]

    @property
    def majority(self) -> int:
        """How many voters it takes."""
        return len(self.voters) // 2 + 1


async def look_at(mesh: Mesh, live: Live) -> Leases:
    """Ask all machines in reach what they know as voters. Raises `CliError` for what needs no lease."""
    if not live.record.voters:
        raise InvalidInputError(
            f"{subject(live.record)} needs no lease: only StatefulSets and Deployments with strategy Recreate do"
        )
    answers = await gather(mesh.session, reachable(mesh.session), LeaseQuery(live.record.uid), LeaseState)
    return combined(live, dict(answers.replies))


def combined(live: Live, states: dict[MachineId, LeaseState]) -> Leases:
    """Put together what voters say: of the newest voter set that any of them knows."""
    known = [state for state in states.values() if state.voters]
    newest = max(known, key=lambda state: state.number, default=None)
    number = newest.number if newest is not None else 0
    members = newest.voters if newest is not None else live.record.voters
    voters = tuple(MachineId(voter) for voter in members)
    said = {voter: states[voter] for voter in voters if voter in states}
    declared = range(live.spec.replicas)
    told = {entry.slot for state in said.values() for entry in state.slots}
    slots = tuple(_slot(each, said, len(voters) // 2 + 1) for each in sorted({*declared, *told}))
    return Leases(number, voters, frozenset(said), slots)


def _slot(number: int, said: dict[MachineId, LeaseState], majority: int) -> Slot:
    entries = [entry for state in said.values() for entry in state.slots if entry.slot == number]
    term = max((entry.term for entry in entries), default=0)
    homes = [entry.home for entry in sorted(entries, key=lambda entry: -entry.term) if entry.home]
    pods: dict[tuple[str, str], list[int]] = {}
    for entry in entries:
        if entry.holder:
            pods.setdefault((entry.holder, entry.pod_uid), []).append(entry.remaining_ms)
    (holder, _), remaining = max(pods.items(), key=lambda item: len(item[1]), default=(("", ""), []))
    if len(remaining) < majority:
        return Slot(number, term, "", 0, len(remaining), next(iter(homes), ""))
    left = sorted(remaining, reverse=True)[majority - 1]
    return Slot(number, term, holder, left, len(remaining), next(iter(homes), ""))


def check_broken(mesh: Mesh, live: Live, leases: Leases, dead: Sequence[str]) -> frozenset[MachineId]:
    """Return the ids of the `dead` machines. Raises `CliError` unless these deaths cost the voters their majority."""
    names = {mesh.machine_name(machine): machine for machine in (*mesh.session.machines, *leases.voters)}
    found = frozenset(MachineId(names.get(word, word)) for word in dead)
    for machine in sorted(found):
        name = mesh.machine_name(machine)
        if machine in leases.answered:
            raise CliError(f"{name} answers as a voter: it is not dead; `beectl drain` moves what runs on it")
        if machine not in leases.voters:
            voters = ", ".join(mesh.machine_name(voter) for voter in leases.voters)
            raise InvalidInputError(f"{name} does not vote on {subject(live.record)}: its voters are {voters}")
    left = [voter for voter in leases.voters if voter not in found]
    if len(left) >= leases.majority:
        raise CliError(
            f"{subject(live.record)}: {len(left)} of {len(leases.voters)} voters are not dead, and {leases.majority} "
            "are enough: its leases move by themselves. If more voters are gone for ever, name each with --dead"
        )
    return found


async def break_leases(
    mesh: Mesh, live: Live, dead: frozenset[MachineId], seconds: float, say: Callable[[str], None]
) -> list[Outcome]:
    """Declare the same anew, with voters that live, once the old declaration has ended wherever that can be known.

    Raises `CliError`; after the first step the error says what is left to do.
    """
    client, record = WorkloadClient(mesh), live.record
    name = subject(record)
    ended = await client.delete(record.namespace, record.kind, record.name)
    try:
        await wait_for_end(mesh, [outcome.attested.record for outcome in ended], name, seconds, say)
        return [await client.declare_anew(live.objects, without=dead)]
    except* (CliError, MeshError) as group:
        error = translate(group)
        raise CliError(
            f"{error.message if error is not None else group}. {name} is deleted and not declared anew, so that "
            "nothing of it runs twice: apply its manifest again once that has ended"
        ) from group
