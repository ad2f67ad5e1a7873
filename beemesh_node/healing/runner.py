"""The claims of this machine: what it accepted, what of it runs, and what it has told of it.

Everything that starts or ends a claim is here; why a claim may have to end is in `releases`, and how a restarted
machine takes up what it had in `recovery`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from beemesh_node.healing.claims import gone_report, key_of
from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import NamePath
from beemesh_node.healing.effects import ForgetClaim, HeldClaim, StartPod, StopPod, Tell
from beemesh_node.healing.events import LocalChanged
from beemesh_node.healing.leases.keeper import Keeper
from beemesh_node.healing.pods import LocalClaim, Signal, Stage
from beemesh_node.healing.reporter import Reporter
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import (
    ClaimRef,
    ClaimReport,
    ClaimReports,
)
from beemesh_node.scheduling.ledger import Ledger
from beemesh_node.workloads.pod import PodPhase, PodStatus, RestartPolicy

REPORTS = 1 << 32
"""Versions of reports in one life of a daemon: those of the next are greater."""
MAX_OVER = 512
"""Claims that are over and still told of, so that a lost message does not hide their end."""


@dataclass
class Runner:
    """One machine as a runner of replicas."""

    context: Context
    reporter: Reporter = field(init=False)
    keeper: Keeper = field(init=False)
    """Of the leases of its pods."""
    claims: dict[str, LocalClaim] = field(default_factory=dict)
    """By pod uid; those that are over stay for a while."""
    ledger: Ledger = field(default_factory=Ledger)
    grace: float | None = None
    """Seconds that pods have to end, None for their own."""
    adopted: bool = False
    """Whether what was here before has been taken up; until then nothing new is taken."""
    local: LocalChanged | None = None
    """What this machine is and has, once that is known."""
    _versions: int = 0

    def local_changed(self, event: LocalChanged) -> None:
        """Take in what this machine is and has."""
        self.local = event
        self.ledger.resize(event.member.cpu_allocatable, event.member.memory_allocatable, event.max_pods)

    @property
    def ready(self) -> bool:
        """Whether this machine can start pods now."""
        return self.local is not None and self.local.member.ready

    # ---- what is here

    def find(self, ref: ClaimRef) -> LocalClaim | None:
        """Return the claim, None if it is not held here (any more)."""
        return next((claim for claim in self.of(Uid(ref.uid)) if key_of(claim.ref) == key_of(ref)), None)

    def of(self, uid: Uid) -> list[LocalClaim]:
        """Return the claims of a declaration that are not over."""
        return [c for c in self.claims.values() if c.ref.uid == uid and c.stage is not Stage.OVER]

    def concerns(self, path: NamePath) -> bool:
        """Whether anything of a workload runs here, or may: until it is known what was here before, all may."""
        return not self.adopted or any(c.path == path and c.stage is not Stage.OVER for c in self.claims.values())

    def report_of(self, pod_uid: str) -> ClaimReport | None:
        """Return how a claim is, None if it is not known."""
        claim = self.claims.get(pod_uid)
        return claim.report(self.local.address if self.local is not None else "") if claim is not None else None

    def reports(self, uid: Uid | None = None) -> tuple[ClaimReport, ...]:
        """Return how the claims (of a declaration) are, those lately over included."""
        pods = (pod for pod, claim in self.claims.items() if uid is None or claim.ref.uid == uid)
        return tuple(report for pod in pods if (report := self.report_of(pod)) is not None)

    # ---- what the runtime tells

    def pod_changed(self, status: PodStatus, now: float) -> None:
        """A pod is in another state."""
        claim = self.claims.get(status.identity.pod_uid)
        if claim is None or not claim.moves(Signal.POD_CHANGED):
            return
        if status == claim.status and (not claim.reason or claim.stage is Stage.STOPPING):
            return
        self._tell_changes(claim, status, now)
        claim.status, claim.failures = status, 0
        if claim.stage is not Stage.STOPPING:
            claim.reason, claim.message = "", ""
        if claim.ended_itself:
            self.ledger.release(claim.pod_uid)
            declaration = self.context.declarations.get(Uid(claim.ref.uid))
            if declaration is not None and declaration.restart_policy is RestartPolicy.ALWAYS:
                # Its machine gave it up (evicted, its guard gone): the slot needs another pod, here or elsewhere.
                self.end(claim, f"{status.reason}: {status.message}", now)
                return
        self.changed(claim)

    def _tell_changes(self, claim: LocalClaim, status: PodStatus, now: float) -> None:
        """Tell what people want to know of a pod's life: that it runs, and each time that it had to be begun again."""
        before = claim.status
        if status.phase is PodPhase.RUNNING and (before is None or before.phase is not PodPhase.RUNNING):
            self.tell(claim, "Normal", "Started", f"replica {claim.ref.slot} runs", now)
        earlier = {each.name: each.restart_count for each in before.containers} if before is not None else {}
        for each in status.containers:
            if each.restart_count > earlier.get(each.name, each.restart_count):
                self.context.tallies.restarts += each.restart_count - earlier[each.name]
                why = f"{each.last_reason}, exit code {each.last_exit_code}"
                why += f": {each.last_message}" if each.last_message else ""
                self.tell(claim, "Warning", "Restarted", f"container {each.name} ended ({why}) and begins again", now)

    def start_failed(self, pod_uid: str, reason: str, message: str, retryable: bool, now: float) -> None:
        """A pod could not be made: try again if the cause is here and passes, else the claim is over."""
        claim = self.claims.get(pod_uid)
        if claim is None:
            return
        if retryable and claim.stage is not Stage.STOPPING:
            claim.failures += 1
            claim.reason, claim.message = reason, message
            config = self.context.config
            delay = min(config.start_retry_first * 2 ** min(claim.failures - 1, 16), config.start_retry_most)
            self.context.outbox.timers.set(("start", pod_uid), now + delay, lambda _: self._start_again(pod_uid))
            self.changed(claim)
        elif claim.moves(Signal.START_FAILED):
            self._over(claim, reason, message, failed=True, now=now)

    def pod_ended(self, pod_uid: str, reason: str, message: str, now: float) -> None:
        """A pod is removed."""
        claim = self.claims.get(pod_uid)
        if claim is None:
            return
        asked_for = claim.stage is Stage.STOPPING
        if claim.moves(Signal.POD_ENDED):
            reason = claim.reason if asked_for else (reason or "PodRemoved")
            self._over(claim, reason, claim.message if asked_for else message, failed=not asked_for, now=now)

    def tell(self, claim: LocalClaim, kind: str, reason: str, message: str, now: float) -> None:
        """Tell people what happened to a claim."""
        declaration = self.context.declarations.get(Uid(claim.ref.uid))
        if declaration is not None:
            pod = claim.held.identity.pod_name
            note = self.context.notes.warning if kind == "Warning" else self.context.notes.normal
            note(declaration, reason, f"{pod}: {message}", now, slot=claim.ref.slot, pod=pod)

    # ---- beginning and ending

    def begin(self, claim: LocalClaim) -> None:
        """Make the pod of a claim, unless others have to end before: then it is made once they have."""
        if claim.after:
            return
        if claim.held.leased:
            self.keeper.begin(claim)
        else:
            self.context.outbox.emit(StartPod(claim.held.identity))

    def end(self, claim: LocalClaim, reason: str, now: float) -> None:
        """End a claim that is over for this reason."""
        if not claim.moves(Signal.RELEASED):
            return
        self.context.outbox.timers.cancel(("start", claim.pod_uid))
        claim.reason, claim.message = "Released", reason
        if claim.stage is Stage.OVER:
            self._over(claim, "Released", reason, failed=False, now=now)
            return
        self.tell(claim, "Normal", "Killing", reason, now)
        self.context.outbox.emit(StopPod(claim.held.identity, self.grace))
        self.changed(claim)

    def add(self, held: HeldClaim, stage: Stage, status: PodStatus | None = None) -> LocalClaim:
        """Keep account of a claim."""
        claim = LocalClaim(held, stage, self.next_version(), status)
        self.claims[claim.pod_uid] = claim
        if held.leased and stage is not Stage.STARTING:
            self.keeper.adopt(claim)
        return claim

    def changed(self, claim: LocalClaim) -> None:
        """Tell the guardians about a claim."""
        claim.version = self.next_version()
        self.reporter.changed(claim)

    def deny(self, machine: MachineId, ref: ClaimRef, now: float) -> None:
        """Tell a guardian that a claim it believes in is not held here."""
        report = gone_report(ref, self.next_version())
        if machine == self.context.me:
            self.reporter.hear((report,), now)
        else:
            self.context.outbox.emit(Tell(machine, ClaimReports((report,))))

    def next_version(self) -> int:
        """Return a number that no report of this machine, and nothing else here, has had."""
        self._versions += 1
        return self.context.config.life * REPORTS + self._versions

    def _make_way(self, pod_uid: str) -> None:
        """A pod is gone: begin what waited for its room."""
        for claim in list(self.claims.values()):
            if pod_uid in claim.after:
                claim.after.discard(pod_uid)
                if claim.stage is Stage.STARTING:
                    self.begin(claim)

    def _start_again(self, pod_uid: str) -> None:
        claim = self.claims.get(pod_uid)
        if claim is not None and claim.stage in (Stage.STARTING, Stage.RUNNING):
            self.begin(claim)

    def _over(self, claim: LocalClaim, reason: str, message: str, *, failed: bool, now: float) -> None:
        claim.stage, claim.failed, claim.reason, claim.message = Stage.OVER, failed, reason, message
        if claim.status is not None:
            claim.status = replace(claim.status, ready=False)
        self.ledger.release(claim.pod_uid)
        self.context.outbox.timers.cancel(("start", claim.pod_uid))
        self.context.outbox.emit(ForgetClaim(claim.pod_uid))
        if claim.held.leased:
            self.keeper.over(claim)
        if failed:
            self.context.tallies.failed_pods += 1
            self.tell(claim, "Warning", "Failed", f"{reason}: {message}", now)
        self.changed(claim)
        self._make_way(claim.pod_uid)
        over = [pod for pod, other in self.claims.items() if other.stage is Stage.OVER]
        for pod in over[: max(len(over) - MAX_OVER, 0)]:
            self._drop(pod)
        kept = 2 * self.context.config.report_period
        self.context.outbox.timers.set(("over", claim.pod_uid), now + kept, lambda _: self._drop(claim.pod_uid))

    def _drop(self, pod_uid: str) -> None:
        self.claims.pop(pod_uid, None)
        self.reporter.forget(pod_uid)
