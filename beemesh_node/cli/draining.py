"""Draining one machine: the order, and then looking on until it is empty, saying what went where and what cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from beemesh_node.cli.errors import CliError, TimedOutError
from beemesh_node.cli.machines import NamedMachine, maintain
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import merge_pods, survey, survey_pods
from beemesh_node.cli.terminal import note, printable
from beemesh_node.messaging.errors import MeshUnreachable, PeerRefused, RequestTimeout
from beemesh_node.protocol.messages import ClaimReport, ListReply, ListRequest, Maintenance, Resource
from beemesh_node.workloads.pod import PodPhase

_LOOK_EVERY = 0.5
_REASONS_EVERY = 2.0
"""Seconds between two questions to all machines why something does not get on."""
_STUCK_FOR = 5.0
"""Seconds that a reason has to stand before --force acts on it."""
_ANSWER_WITHIN = 10.0
_FORCED_WITHIN = 30.0
"""Seconds beyond their grace that pods which were ended by force have to be gone."""

_Key = tuple[str, str, int]
"""What a replica is to people, wherever it runs: declaration, revision, slot."""


@dataclass(frozen=True, slots=True)
class Held:
    """A pod that is still on the machine."""

    report: ClaimReport

    @property
    def name(self) -> str:
        """`default/hello-7d4b8c9f5x-k2m9q`."""
        return f"{self.report.namespace}/{self.report.pod_name}"

    @property
    def facts(self) -> dict[str, Any]:
        """For programs."""
        report = self.report
        return {"namespace": report.namespace, "pod": report.pod_name, "workload": report.workload}


@dataclass
class Drain:
    """Watches one machine becoming empty."""

    mesh: Mesh
    machine: NamedMachine
    grace_seconds: int
    say: Callable[[str], None]
    """Prints a line of the answer."""
    _seen: dict[str, Held] = field(default_factory=dict)
    _outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    _reasons: Mapping[str, str] = field(default_factory=dict)
    """uid -> why it does not get on, as those responsible say."""
    _looked: float = -_REASONS_EVERY
    _begun: bool = False
    """Whether the machine was seen giving something away."""
    _stuck_since: float | None = None

    async def pods(self) -> list[Held]:
        """What is on the machine now and has not come to its own end, of what this operator may see."""
        request, within = ListRequest(Resource.PODS), _ANSWER_WITHIN
        found: list[ClaimReport] = []
        while True:
            reply = await self.mesh.session.ask(self.machine.id, request, ListReply, timeout=within)
            found += reply.pods
            if reply.next <= request.after:
                break
            request = ListRequest(Resource.PODS, after=reply.next)
        own = merge_pods(report for report in found if report.claim.machine == self.machine.id)
        return [Held(report) for report in own if report.phase not in (PodPhase.SUCCEEDED, PodPhase.FAILED)]

    async def run(self, seconds: float, progress: Callable[[str], None], *, force: bool) -> dict[str, Any]:
        """Give the order and wait until the machine is empty; return the facts.

        Raises `TimedOutError` when it is not in time, and `CliError` when somebody called it off.
        """
        name = self.machine.name
        already = self.machine.cordoned
        reply = await maintain(self.mesh, self.machine, Maintenance.DRAIN, self.grace_seconds)
        self.say(f"node/{name} {'already ' if already else ''}cordoned")
        forced = False
        with trio.move_on_after(seconds):
            if await self._watch(progress, stop_when_stuck=force):
                return await self._over(reply.pods)
        if force and self._left():
            forced = True
            await maintain(self.mesh, self.machine, Maintenance.EVICT, self.grace_seconds)
            note(f"ending what could not be moved: {', '.join(held.name for held in self._left())}")
            longest = _FORCED_WITHIN + max(self.grace_seconds, 30)
            with trio.move_on_after(longest):
                await self._watch(progress, stop_when_stuck=False)
                return await self._over(reply.pods, forced=forced)
        left = "; ".join(self._with_reason(held) for held in self._left()) or "the machine did not answer"
        raise TimedOutError(
            f"node/{name}: after {seconds:g} s not drained: {left}. It goes on draining: run it again to watch, "
            f"`beectl uncordon {name}` ends it{'' if force else ', --force ends what cannot be moved'}"
        )

    def _left(self) -> list[Held]:
        return [held for uid, held in self._seen.items() if uid not in self._outcomes]

    async def _watch(self, progress: Callable[[str], None], *, stop_when_stuck: bool) -> bool:
        """Look on until nothing is left (True), or (False) nothing that is left gets on."""
        while True:
            try:
                held = await self.pods()
            except (MeshUnreachable, PeerRefused, RequestTimeout) as error:
                await self._wait_for_answer(error, progress)
                continue
            self._tell(held)
            if not held:
                return True
            self._check_called_off(held)
            await self._look_for_reasons(held)
            progress(f"Draining {self.machine.name}: {len(held)} pods left: {self._with_reason(held[0])}")
            if stop_when_stuck and self._stuck(held):
                return False
            await trio.sleep(_LOOK_EVERY)

    async def _wait_for_answer(self, error: Exception, progress: Callable[[str], None]) -> None:
        """The machine may be restarting: it goes on with its drain once it is back."""
        progress(f"Draining {self.machine.name}: it does not answer ({error})")
        await trio.sleep(_LOOK_EVERY)

    def _tell(self, held: list[Held]) -> None:
        present = {each.report.pod_uid: each for each in held}
        for pod_uid, each in present.items():
            if pod_uid not in self._seen:
                self.say(f"evicting pod {each.name}")
            self._seen[pod_uid] = each
        for pod_uid, each in self._seen.items():
            if pod_uid not in present and pod_uid not in self._outcomes:
                self._outcomes[pod_uid] = each.facts
                self.say(f"pod/{each.report.pod_name} evicted")

    def _check_called_off(self, held: list[Held]) -> None:
        leaving = any(each.report.leaving or each.report.reason == "Terminating" for each in held)
        self._begun = self._begun or leaving
        if self._begun and not leaving:
            raise CliError(
                f"node/{self.machine.name} is not being drained any more: somebody has uncordoned it; drain it again"
            )

    async def _look_for_reasons(self, held: list[Held]) -> None:
        now = trio.current_time()
        if now < self._looked + _REASONS_EVERY:
            return
        self._looked = now
        wanted = {each.report.claim.uid for each in held}
        found = await survey(self.mesh.session, self.mesh.chain)
        reasons = {
            each.attested.record.uid: printable(each.entry.message)
            for each in found.declarations
            if each.attested.record.uid in wanted and each.entry.message
        }
        for uid, reason in reasons.items():
            if self._reasons.get(uid) != reason:
                names = ", ".join(each.name for each in held if each.report.claim.uid == uid)
                note(f"{names}: {reason}")
        self._reasons = reasons

    def _stuck(self, held: list[Held]) -> bool:
        """Whether everything that is left has had a reason for a while."""
        now = trio.current_time()
        if not all(each.report.claim.uid in self._reasons for each in held):
            self._stuck_since = None
            return False
        if self._stuck_since is None:
            self._stuck_since = now
        return now >= self._stuck_since + _STUCK_FOR

    def _with_reason(self, held: Held) -> str:
        reason = self._reasons.get(held.report.claim.uid, "")
        return f"{held.name} ({reason})" if reason else held.name

    async def _over(self, pods: int, *, forced: bool = False) -> dict[str, Any]:
        unseen = max(pods - len(self._seen), 0)
        if unseen:
            note(f"{unseen} pods are in namespaces that you may not look into: they are moved too, unseen")
        self.say(f"node/{self.machine.name} drained")
        moved = await self._successors()
        pods_facts = [{**facts, "now": moved.get(uid, [])} for uid, facts in self._outcomes.items()]
        return {"machine": self.machine.name, "drained": True, "forced": forced, "unseen": unseen, "pods": pods_facts}

    async def _successors(self) -> dict[str, list[str]]:
        """Where the replicas are now that were here."""
        found, _ = await survey_pods(self.mesh.session)
        places: dict[_Key, list[str]] = {}
        for report in found:
            if report.claim.machine != self.machine.id:
                key = (report.claim.uid, report.claim.revision, report.claim.slot)
                places.setdefault(key, []).append(self.mesh.machine_name(report.claim.machine))
        keys = {
            pod_uid: (each.report.claim.uid, each.report.claim.revision, each.report.claim.slot)
            for pod_uid, each in self._seen.items()
        }
        return {pod_uid: places.get(key, []) for pod_uid, key in keys.items()}
