"""What this machine tells operators: who is here, what is declared, which pods there are, what happened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import trio

from beemesh_node.daemon.decisions import Decisions
from beemesh_node.daemon.presence import PresenceService
from beemesh_node.daemon.registry import Holding, Registry
from beemesh_node.healing.core import Core
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import RemoteFailure
from beemesh_node.messaging.exchange import Question
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import Host
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.codec import encode
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import (
    ClaimReport,
    EventReport,
    KeyedBlock,
    ListReply,
    ListRequest,
    MachineEntry,
    Presence,
    Resource,
    WorkloadEntry,
)

T = TypeVar("T", MachineEntry, WorkloadEntry, ClaimReport, EventReport)

MAX_ANSWER = 1_500_000
"""Bytes of entries in one answer; the rest is asked for with `after`."""
HOLD = 5.0
"""Seconds that an answer waits for news; beyond, it says once more what is known already."""
_TOGETHER = 0.02
"""Seconds for what follows the first news: one decision of the core seldom comes alone."""


class Listing:
    """Answers `ListRequest`, within the namespaces that the asker's certificate names."""

    def __init__(
        self, decisions: Decisions, registry: Registry, presence: PresenceService, member: LocalMember, host: Host
    ) -> None:
        self._decisions = decisions
        self._core: Core = decisions.core
        self._registry = registry
        self._presence = presence
        self._member = member
        self._host = host

    async def answer(self, question: Question) -> ListReply:
        """See `ListRequest`. Raises `RemoteFailure` for an operator that may look at nothing of what is asked."""
        request: ListRequest = question.payload
        asker = question.sender.certificate
        if request.namespace and not asker.allows("get", request.namespace):
            raise RemoteFailure(
                "Forbidden", f"{asker.name} may not get in namespace {request.namespace}; ask for a certificate with it"
            )
        match request.resource:
            case Resource.MACHINES:
                machines, further = _page(((entry.machine, entry) for entry in self._machines()), request.after)
                return ListReply(machines=machines, next=further)
            case Resource.WORKLOADS:
                workloads, further = _page(self._workloads(request, asker), request.after)
                return ListReply(workloads=workloads, next=further)
            case Resource.PODS:
                pods, further = _page(self._pods(request, asker), request.after)
                return ListReply(pods=pods, next=further)
            case Resource.EVENTS:
                events, further = _page(self._events(request, asker), request.after)
                return ListReply(events=events, next=further)
            case Resource.ROLLOUT:
                return await self._rollout(request, asker)

    async def _rollout(self, request: ListRequest, asker: Certificate) -> ListReply:
        state = self._state(request, asker)
        if request.known and not request.after:
            with trio.move_on_after(HOLD):
                while state == request.known:
                    await self._decisions.decided()
                    await trio.sleep(_TOGETHER)
                    state = self._state(request, asker)
        workloads = () if request.after else tuple(entry for _, entry in self._workloads(request, asker))
        pods, further = _page(self._pods(request, asker), request.after)
        return ListReply(workloads=workloads, pods=pods, next=further, state=state)

    def _state(self, request: ListRequest, asker: Certificate) -> bytes:
        """A digest of what the answer would be; claims are known by their versions."""
        digest = hashlib.sha256()
        for _, workload in self._workloads(request, asker):
            digest.update(encode(workload))
        for pod_uid, report in sorted(self._pods(request, asker), key=lambda pair: pair[0]):
            digest.update(f"{pod_uid} {report.version}\n".encode())
        return digest.digest()

    def _machines(self) -> Iterable[MachineEntry]:
        now = trio.current_time()
        connected = {peer for peer, admission in self._host.peers().items() if isinstance(admission, Contact)}
        own = self._member.session
        yield MachineEntry(
            own.certificate.machine_id,
            own.certificate_bytes,
            own.statement_bytes,
            self._presence.own,
            0,
            connected=True,
        )
        for contact in self._member.contacts.machines():
            if contact.machine == own.certificate.machine_id:
                continue
            heard = self._presence.newest.get(contact.machine)
            age = 0 if heard is None else round((now - heard[1]) * 1000)
            # The statement is in the entry already: twice would double the answer.
            shown: Presence | None = None if heard is None else replace(heard[0], statement=b"")
            yield MachineEntry(
                contact.machine,
                contact.certificate_bytes,
                contact.statement_bytes,
                shown,
                age,
                connected=contact.peer in connected,
            )

    def _workloads(self, request: ListRequest, asker: Certificate) -> Iterable[tuple[str, WorkloadEntry]]:
        for holding in self._asked_for(request):
            record = holding.attested.record
            if _wanted(request, asker, record.namespace, record.uid, (record.name,)):
                yield record.uid, self._workload(holding, content=request.content)

    def _asked_for(self, request: ListRequest) -> Iterable[Holding]:
        if not request.uid:
            return self._registry
        one = self._registry.get(Uid(request.uid))
        return () if one is None else (one,)

    def _workload(self, holding: Holding, *, content: bool) -> WorkloadEntry:
        overview = self._core.workload(Uid(holding.attested.record.uid))
        return WorkloadEntry(
            record=holding.attested.raw,
            blocks=_content(holding) if content else (),
            guardians=overview.guardians if overview else (),
            coordinator=(overview.coordinator or "") if overview else "",
            shadowed=overview.shadowed if overview else False,
            message=overview.message if overview else "",
            progress_failed=overview.progress_failed if overview else False,
            progressed_at=overview.progressed_at if overview else 0,
        )

    def _pods(self, request: ListRequest, asker: Certificate) -> Iterable[tuple[str, ClaimReport]]:
        # Of deleted declarations too: their claims go on until their pods have ended.
        uids = [Uid(holding.attested.record.uid) for holding in self._asked_for(request)]
        known = [report for uid in uids for report in self._core.claims(uid)]
        # Own claims again: of some there may be no record here.
        reports = {report.pod_uid: report for report in (*known, *self._core.own_claims())}
        for report in reports.values():
            names = (report.workload, report.pod_name)
            if _wanted(request, asker, report.namespace, report.claim.uid, names):
                yield report.pod_uid, report

    def _events(self, request: ListRequest, asker: Certificate) -> Iterable[tuple[str, EventReport]]:
        for number, event in enumerate(self._core.events()):
            if _wanted(request, asker, event.namespace, event.uid, (event.name,)):
                yield f"{number:08}", event


def _wanted(request: ListRequest, asker: Certificate, namespace: str, uid: str, names: Sequence[str]) -> bool:
    return (
        (not request.namespace or request.namespace == namespace)
        and (not request.uid or request.uid == uid)
        and (not request.name or request.name in names)
        and asker.allows("get", namespace)
    )


def _content(holding: Holding) -> tuple[KeyedBlock, ...]:
    """Return the present block, and those of earlier revisions while one answer holds them."""
    present, earlier = holding.split()
    taken, size = list(present), sum(len(block.block) for block in present)
    for block in earlier:
        size += len(block.block)
        if size > MAX_ANSWER:
            break
        taken.append(block)
    return tuple(taken)


def _page(entries: Iterable[tuple[str, T]], after: str) -> tuple[tuple[T, ...], str]:
    """Take entries by their keys, from behind `after` on, while they fit; if not all do, tell the last key."""
    taken: list[T] = []
    size, last = 0, ""
    for key, entry in sorted(entries, key=lambda pair: pair[0]):
        if key <= after:
            continue
        size += len(encode(entry))
        if size > MAX_ANSWER and taken:
            return tuple(taken), last
        taken.append(entry)
        last = key
    return tuple(taken), ""
