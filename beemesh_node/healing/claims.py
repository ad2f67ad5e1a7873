"""The claims that a guardian knows of, as their machines reported them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.plan import ClaimView
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimRef, ClaimReport
from beemesh_node.workloads.pod import PodPhase, RestartPolicy

TERMINATING = "Terminating"
"""The reason in the report of a claim that is being ended, as kubectl shows it."""
MAX_ENDED = 4096
"""Ended claims that are remembered, so that a late report does not bring one back."""

BROKEN_AFTER = 10.0
"""Seconds that a claim has to be known as not ready before it counts as broken."""
LOST_KEPT = 3600.0
"""Seconds that the claims of a machine that is gone are remembered, to ask for them when it is back."""

ClaimKey: TypeAlias = tuple[str, str, int, int, str]


def key_of(ref: ClaimRef) -> ClaimKey:
    """What makes a claim this one: not the sequence, since a claim outlives records that do not change its template."""
    return (ref.uid, ref.revision, ref.slot, ref.attempt, ref.machine)


@dataclass(slots=True)
class Entry:
    """A claim with what the guardian adds to it."""

    report: ClaimReport
    heard_at: float
    ready_since: float | None
    """When this guardian first saw it ready, without interruption since."""
    unready_since: float | None
    """The same for not ready."""
    lost: bool = False
    """Its machine is gone."""
    confirmed: bool = True
    """Reported since it was accepted, or since its machine is back."""
    doubted: bool = False
    """Its machine is back, and has not told of it since."""

    @property
    def pending(self) -> bool:
        """Whether its machine is asked for it."""
        return self.doubted or not self.confirmed

    @property
    def promised(self) -> bool:
        """Accepted, but its machine has not reported it yet."""
        return self.report.version == 0

    def complete(self, declaration: Declaration) -> bool:
        """Whether it ended for good by itself, and is not to run again."""
        ended = self.report.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)
        return ended and declaration.restart_policy is not RestartPolicy.ALWAYS


def promised_report(ref: ClaimRef, declaration: Declaration) -> ClaimReport:
    """What is known of a claim that was accepted and has not been reported yet."""
    return replace(_bare_report(ref), namespace=declaration.namespace, workload=declaration.name, reason="Assigned")


def gone_report(ref: ClaimRef, version: int) -> ClaimReport:
    """Say of a claim that it is not held here, whatever it was."""
    return replace(_bare_report(ref), phase=PodPhase.SUCCEEDED, reason="NotHeld", gone=True, version=version)


def _bare_report(ref: ClaimRef) -> ClaimReport:
    return ClaimReport(
        claim=ref,
        namespace="",
        workload="",
        pod_name="",
        pod_uid="",
        phase=PodPhase.PENDING,
        ready=False,
        reason="",
        message="",
        pod_ip="",
        host_ip="",
        created_at=0,
        started_at=0,
        containers=(),
        init_containers=(),
        gone=False,
        version=0,
    )


MAX_SLOTS = 10_000
"""As many replicas as can be declared."""
FIRST_HEARD_ATTEMPT = 1 << 20
"""The highest attempt that is believed of a slot of which nothing is known yet …"""
ATTEMPTS_MISSED = 1024
"""… and by how many it may be ahead of the last one heard of."""


@dataclass
class ClaimTable:
    """Claims by declaration. Of two reports of one claim the one with the greater version counts."""

    max_claims: int
    _claims: dict[Uid, dict[ClaimKey, Entry]] = field(default_factory=dict)
    _attempts: dict[Uid, dict[tuple[str, int], int]] = field(default_factory=dict)
    _ended: OrderedDict[ClaimKey, int] = field(default_factory=OrderedDict)
    _machines: dict[str, Counter[Uid]] = field(default_factory=dict)
    _size: int = 0

    def take(self, report: ClaimReport, now: float) -> bool:
        """Take in a report. False if it is no news, of an older version, implausible, or beyond the table's bound."""
        uid, key = Uid(report.claim.uid), key_of(report.claim)
        promised = report.version == 0
        if not self._plausible(uid, report.claim) or (self._ended.get(key, -1) >= report.version and not promised):
            return False
        entries = self._claims.setdefault(uid, {})
        known = entries.get(key)
        if known is not None and known.confirmed and not known.lost and known.report.version >= report.version:
            known.heard_at, known.doubted = now, False
            return False
        if known is None and not report.gone and not self._room():
            return False
        self._attempted(uid, report.claim)
        if not (promised or report.gone or report.reason == TERMINATING):
            self._drop_promises(uid, report.claim)
        if report.gone:
            self._end(uid, key, report.version)
            return True
        ready = known.ready_since if known is not None and known.ready_since is not None else now
        unready = known.unready_since if known is not None and known.unready_since is not None else now
        entry = Entry(report, now, ready if report.ready else None, None if report.ready else unready)
        entry.confirmed = report.version > 0
        if key not in entries:
            self._size += 1
            self._machines.setdefault(report.claim.machine, Counter())[uid] += 1
        entries[key] = entry
        return True

    def hear_of(self, report: ClaimReport, now: float) -> bool:
        """Take in what another guardian says of a machine's claim: that there may be one, and no more. False if known.

        It stays unconfirmed, so that its holder is asked; what that one says replaces it, whatever its version.
        """
        known = self._claims.get(Uid(report.claim.uid), {})
        key = key_of(report.claim)
        if report.gone or key in known or not self.take(report, now):
            return False
        self._claims[Uid(report.claim.uid)][key].confirmed = False
        return True

    def lose(self, machine: str) -> set[Uid]:
        """Mark all claims of a machine that is gone; return their declarations."""
        affected = set()
        for uid in list(self._machines.get(machine, ())):
            for entry in self._claims[uid].values():
                if entry.report.claim.machine == machine and not entry.lost:
                    entry.lost, entry.ready_since = True, None
                    affected.add(uid)
        return affected

    def regain(self, machine: str, now: float) -> set[Uid]:
        """Count the claims of a machine that is back again, and doubt them until it tells; return their declarations.

        Those that were lost are unconfirmed as well. Those of one that announced its restart serve on, but it may have
        ended one of them just before, and not have told it any more.
        """
        affected = set()
        for uid in list(self._machines.get(machine, ())):
            for entry in self._claims[uid].values():
                if entry.report.claim.machine == machine:
                    entry.doubted = True
                    affected.add(uid)
                    if entry.lost:
                        entry.lost, entry.confirmed, entry.heard_at = False, False, now
        return affected

    def reconcile(self, uid: Uid, machine: str, held: Iterable[ClaimReport], asked_at: float, now: float) -> bool:
        """Take in all that a machine holds of a declaration: what was heard before `asked_at` and is missing, ended."""
        reports = [report for report in held if report.claim.machine == machine and report.claim.uid == uid]
        changed = sum(self.take(report, now) for report in reports) > 0
        present = {key_of(report.claim) for report in reports}
        for key, entry in list(self._claims.get(uid, {}).items()):
            if entry.report.claim.machine == machine and key not in present and entry.heard_at <= asked_at:
                self._end(uid, key, entry.report.version)
                changed = True
        return changed

    def views(self, declaration: Declaration, now: float) -> list[ClaimView]:
        """Return the claims that count, as a plan sees them."""
        found = []
        for entry in self._claims.get(declaration.uid, {}).values():
            complete = entry.complete(declaration)
            if entry.lost and not complete:
                continue
            waited = entry.ready_since is not None and now >= entry.ready_since + declaration.min_ready_seconds
            stopping = entry.report.reason == TERMINATING
            available = complete or (waited and not stopping)
            broken = entry.unready_since is not None and now >= entry.unready_since + BROKEN_AFTER and not complete
            ready = entry.report.ready and entry.confirmed and not stopping
            leaving = bool(entry.report.leaving) and not complete
            found.append(ClaimView(entry.report.claim, ready, available, stopping, broken, leaving))
        return found

    def next_change(self, declaration: Declaration, now: float) -> float | None:
        """Return when a view changes by the mere passing of time: a claim becomes available, or counts as broken."""
        entries = self._claims.get(declaration.uid, {}).values()
        moments = [e.ready_since + declaration.min_ready_seconds for e in entries if e.ready_since is not None]
        moments += [e.unready_since + BROKEN_AFTER for e in entries if e.unready_since is not None and not e.lost]
        return min((moment for moment in moments if moment > now), default=None)

    def next_attempt(self, uid: Uid, revision: str, slot: int) -> int:
        """Return the number of the next attempt at a slot: one more than any seen."""
        return self._attempts.get(uid, {}).get((revision, slot), -1) + 1

    def prune(self, declaration: Declaration, now: float) -> None:
        """Forget lost claims that nobody would take back, or not any more, and past attempts."""
        uid = declaration.uid
        for key, entry in list(self._claims.get(uid, {}).items()):
            if entry.lost and (now - entry.heard_at >= LOST_KEPT or not declaration.wants(entry.report.claim)):
                self._remove(uid, key)
        attempts, entries = self._attempts.get(uid, {}), self._claims.get(uid, {}).values()
        past = [place for place in attempts if place[0] != declaration.revision or place[1] >= declaration.replicas]
        if past:
            # The end of a claim that is still here is yet to be heard: it must not be taken for that of a later one.
            present = {(entry.report.claim.revision, entry.report.claim.slot) for entry in entries}
            for place in past:
                if place not in present:
                    del attempts[place]

    def unheard(self, uid: Uid, silent: float, unconfirmed: float, now: float) -> set[MachineId]:
        """Return machines that reported a claim longer than `silent` ago, or should have confirmed one by now."""
        return {
            MachineId(entry.report.claim.machine)
            for entry in self._claims.get(uid, {}).values()
            if not entry.lost and now - entry.heard_at >= (unconfirmed if entry.pending else silent)
        }

    def reports(self, uid: Uid) -> tuple[ClaimReport, ...]:
        """Return the latest report of each claim whose machine is here."""
        return tuple(entry.report for entry in self._claims.get(uid, {}).values() if not entry.lost)

    def entries(self, uid: Uid) -> Iterable[Entry]:
        """Return all that is known of a declaration's claims."""
        return self._claims.get(uid, {}).values()

    def forget(self, uid: Uid) -> None:
        """Drop everything about a declaration."""
        for key in list(self._claims.get(uid, {})):
            self._remove(uid, key)
        self._claims.pop(uid, None)
        self._attempts.pop(uid, None)

    def __len__(self) -> int:
        return self._size

    def _plausible(self, uid: Uid, ref: ClaimRef) -> bool:
        """Whether a machine may have come to such a claim: a lie must not use up the numbers of attempts."""
        known = self._attempts.get(uid, {}).get((ref.revision, ref.slot))
        most = FIRST_HEARD_ATTEMPT if known is None else known + ATTEMPTS_MISSED
        return 0 <= ref.slot < MAX_SLOTS and 0 <= ref.attempt <= most

    def _room(self) -> bool:
        """Make room for one more claim; what is lost goes first."""
        if self._size >= self.max_claims:
            for uid, entries in self._claims.items():
                lost = next((key for key, entry in entries.items() if entry.lost), None)
                if lost is not None:
                    self._remove(uid, lost)
                    break
        return self._size < self.max_claims

    def _attempted(self, uid: Uid, ref: ClaimRef) -> None:
        attempts = self._attempts.setdefault(uid, {})
        place = (ref.revision, ref.slot)
        attempts[place] = max(attempts.get(place, -1), ref.attempt)

    def _drop_promises(self, uid: Uid, ref: ClaimRef) -> None:
        """Drop what a machine promised for a slot that it had already: it reports, and keeps, its earlier attempt."""
        for key, entry in list(self._claims[uid].items()):
            other = entry.report.claim
            same = (other.revision, other.slot, other.machine) == (ref.revision, ref.slot, ref.machine)
            if entry.promised and same and other.attempt != ref.attempt:
                self._remove(uid, key)

    def _end(self, uid: Uid, key: ClaimKey, version: int) -> None:
        self._remove(uid, key)
        self._ended[key] = max(version, self._ended.pop(key, -1))
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def _remove(self, uid: Uid, key: ClaimKey) -> None:
        entry = self._claims[uid].pop(key, None)
        if entry is None:
            return
        self._size -= 1
        machine = entry.report.claim.machine
        held = self._machines[machine]
        held[uid] -= 1
        if held[uid] <= 0:
            del held[uid]
        if not held:
            del self._machines[machine]
