"""What the mesh knows, put together from what its machines say, each of which may be behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from beemesh_node.cli.gather import Gathered, gather
from beemesh_node.cli.session import Session
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import (
    ClaimReport,
    EventReport,
    KeyedBlock,
    ListReply,
    ListRequest,
    MachineEntry,
    Resource,
    WorkloadEntry,
)
from beemesh_node.protocol.record import AttestedRecord, open_record
from beemesh_node.workloads.manifest import WORKLOADS
from beemesh_node.workloads.names import workloads_of

Chain = Callable[[bytes], Certificate]
"""Verifies a certificate's bytes against the trusted roots, without its dates."""

_MISSED = 3
"""Presences that a machine may miss before it counts as lost."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declaration: its greatest record, and what its guardians say of it."""

    attested: AttestedRecord
    entry: WorkloadEntry
    """Of the machine that should know best: the coordinator, else the one whose news are newest."""
    blocks: Mapping[str, KeyedBlock] = field(default_factory=dict)
    """By content id; only when content was asked for."""
    holders: frozenset[MachineId] = frozenset()
    """Machines that answered with this very record."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Namespace, kind, name."""
        record = self.attested.record
        return (record.namespace, record.kind, record.name)

    @property
    def deleted(self) -> bool:
        """Whether it is a tombstone."""
        return self.attested.record.deleted


@dataclass(frozen=True, slots=True)
class Survey:
    """All declarations that were seen, and who did not answer."""

    declarations: tuple[Declaration, ...]
    silent: Mapping[MachineId, str]

    def under(self, namespace: str, kind: str, name: str) -> tuple[Declaration, ...]:
        """Everything ever declared under a name, tombstones too; the one that runs first."""
        found = [declaration for declaration in self.declarations if declaration.key == (namespace, kind, name)]
        return tuple(sorted(found, key=_precedence, reverse=True))

    def live(self, namespace: str, kind: str, name: str) -> Declaration | None:
        """The declaration that runs under a name: of those not deleted the greatest (generation, uid)."""
        return next((found for found in self.under(namespace, kind, name) if not found.deleted), None)

    def running(self) -> Iterator[Declaration]:
        """What is declared now: for every name the declaration that runs."""
        for key in dict.fromkeys(declaration.key for declaration in self.declarations):
            found = self.live(*key)
            if found is not None:
                yield found


def _precedence(declaration: Declaration) -> tuple[bool, int, str]:
    record = declaration.attested.record
    return (not record.deleted, record.generation, record.uid)


def heard(entry: MachineEntry) -> bool:
    """Whether a machine was heard from lately enough to be asked."""
    return entry.presence is not None and entry.age_ms <= _MISSED * entry.presence.period_ms


def reachable(session: Session) -> tuple[MachineId, ...]:
    """The machines worth asking: the entry, those connected to it, and those heard from lately."""
    found = [machine for machine, entry in session.machines.items() if entry.connected or heard(entry)]
    return tuple(dict.fromkeys((session.entry, *found)))


def responsible(session: Session, namespace: str, names: Iterable[tuple[str, str]]) -> tuple[MachineId, ...]:
    """The guardians of these (kind, name) that are worth asking; none if it is not said which namespace is meant."""
    if not namespace:
        return ()
    found = dict.fromkeys(machine for kind, name in names for machine in session.guardians(namespace, kind, name))
    in_reach = set(reachable(session))
    return tuple(machine for machine in found if machine in in_reach)


async def ask_responsible(
    session: Session, namespace: str, names: Iterable[tuple[str, str]], request: ListRequest
) -> Gathered[ListReply]:
    """Ask the guardians of these (kind, name); all machines where there are none, or none of them answers.

    A name is the business of its guardians, its runners and its operators only.
    """
    guardians = responsible(session, namespace, names)
    if not guardians:
        return await gather(session, reachable(session), request, ListReply)
    answers = await gather(session, guardians, request, ListReply)
    if answers.replies:
        return answers
    others = [machine for machine in reachable(session) if machine not in guardians]
    further = await gather(session, others, request, ListReply)
    return Gathered(further.replies, {**answers.silent, **further.silent})


async def survey(
    session: Session, chain: Chain, *, namespace: str = "", kind: str = "", name: str = "", content: bool = False
) -> Survey:
    """Ask what is declared; keep for each declaration the greatest record that is genuine.

    With a `name` its guardians are asked (an empty `kind` is any), otherwise all reachable machines.
    """
    request = ListRequest(Resource.WORKLOADS, namespace=namespace, name=name, content=content)
    names = [(each, name) for each in ((kind,) if kind else WORKLOADS)] if name else []
    answers = await ask_responsible(session, namespace, names, request)
    return merge_declarations(answers, chain)


def merge_declarations(answers: Gathered[ListReply], chain: Chain) -> Survey:
    """Put together what machines know of declarations. A record that is not genuine is as if it had not been said."""
    silent = dict(answers.silent)
    found: dict[str, Declaration] = {}
    opened: dict[bytes, AttestedRecord] = {}
    for machine, reply in sorted(answers.replies.items()):
        for entry in reply.workloads:
            attested = opened.get(entry.record)
            if attested is None:
                try:
                    attested = opened[entry.record] = open_record(entry.record, chain)
                except ProtocolError as error:
                    silent[machine] = f"showed a record that is not genuine: {error}"
                    continue
            blocks = {block.cid: block for block in entry.blocks}
            declaration = Declaration(attested, entry, blocks, frozenset({machine}))
            uid = attested.record.uid
            known = found.get(uid)
            found[uid] = declaration if known is None else _merge(known, declaration, machine)
    return Survey(tuple(found.values()), silent)


def _merge(known: Declaration, other: Declaration, machine: MachineId) -> Declaration:
    blocks = {**known.blocks, **other.blocks}
    if known.attested.rank != other.attested.rank:
        return replace(max(known, other, key=lambda declaration: declaration.attested.rank), blocks=blocks)
    better = known
    if other.entry.coordinator == machine or (
        known.entry.coordinator not in known.holders and other.entry.progressed_at > known.entry.progressed_at
    ):
        better = other
    return replace(better, blocks=blocks, holders=known.holders | other.holders)


async def survey_pods(
    session: Session, *, namespace: str = "", name: str = ""
) -> tuple[tuple[ClaimReport, ...], Mapping[MachineId, str]]:
    """The pods that machines tell of, each as its newest report has it, and who did not answer.

    With the `name` of a pod or of its workload, those are asked who are responsible for the workload.
    """
    request = ListRequest(Resource.PODS, namespace=namespace, name=name)
    names = [*((kind, name) for kind in WORKLOADS), *workloads_of(name)] if name else []
    answers = await ask_responsible(session, namespace, names, request)
    return merge_pods(report for reply in answers.replies.values() for report in reply.pods), answers.silent


def merge_pods(reports: Iterable[ClaimReport]) -> tuple[ClaimReport, ...]:
    """One report a claim: the newest; ended claims are left out. Sorted by namespace and name."""
    newest: dict[tuple[str, str, int, int, str], ClaimReport] = {}
    for report in reports:
        claim = report.claim
        key = (claim.uid, claim.revision, claim.slot, claim.attempt, claim.machine)
        known = newest.get(key)
        if known is None or (report.version, report.gone) > (known.version, known.gone):
            newest[key] = report
    alive = (report for report in newest.values() if not report.gone)
    return tuple(sorted(alive, key=lambda report: (report.namespace, report.pod_name)))


async def survey_events(
    session: Session, *, namespace: str = "", uid: str = "", machines: Iterable[MachineId] | None = None
) -> tuple[tuple[EventReport, ...], Mapping[MachineId, str]]:
    """The events that `machines` (all that can be reached) remember, oldest first, and who did not answer."""
    request = ListRequest(Resource.EVENTS, namespace=namespace, uid=uid)
    answers = await gather(session, reachable(session) if machines is None else machines, request, ListReply)
    return merge_events(event for reply in answers.replies.values() for event in reply.events), answers.silent


def merge_events(events: Iterable[EventReport]) -> tuple[EventReport, ...]:
    """Every event once, however many machines remember it, with its last time and greatest count; oldest first."""
    merged: dict[tuple[str, ...], EventReport] = {}
    for event in events:
        subject = (event.uid, event.namespace, event.kind, event.name)
        key = (*subject, event.type, event.reason, event.message, event.machine)
        known = merged.get(key)
        merged[key] = (
            event
            if known is None
            else replace(
                event,
                first_at=min(event.first_at, known.first_at),
                last_at=max(event.last_at, known.last_at),
                count=max(event.count, known.count),
            )
        )
    return tuple(sorted(merged.values(), key=lambda event: (event.last_at, event.first_at, event.name)))
