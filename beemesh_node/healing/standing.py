"""How things stand at one machine, in numbers: who is here, what is guarded, what runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from beemesh_node.healing.context import Context
from beemesh_node.healing.guardian import Guardian
from beemesh_node.healing.pods import LocalClaim, Stage
from beemesh_node.healing.runner import Runner
from beemesh_node.healing.watch import Watch
from beemesh_node.membership.member import Member
from beemesh_node.workloads.pod import PodPhase

MEMBER_STATES = ("ready", "cordoned", "not_ready")
WORKLOAD_STATES = ("complete", "progressing", "without_room", "stopped", "shadowed")
CLAIM_PHASES = ("waiting", *(phase.lower() for phase in PodPhase), "terminating")
"""`waiting`: for the guardians' word after a restart, for room, or for a lease; Terminating is none of a pod's own."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One moment. Every key of a mapping is there, also with 0."""

    members: Mapping[str, int]
    """By state; this machine is one of them."""
    coordinated: Mapping[str, int]
    """Declarations that this machine is first to see to, by state. In the whole mesh each has one such machine."""
    stood_by: int
    """Declarations for which it would step in."""
    claims: Mapping[str, int]
    """Its own, by the phase of their pods."""
    ready: int
    """Those of them that serve."""


def standing(context: Context, guardian: Guardian, runner: Runner) -> Standing:
    """Count, at a cost that grows with members, watches and claims, and by nothing more than a look at each."""
    members = Counter(_member_state(member) for member in context.members)
    coordinated: Counter[str] = Counter()
    stood_by = 0
    for watch in guardian.watches.values():
        if watch.declaration.deleted:
            continue
        if watch.coordinates:
            coordinated[_workload_state(context, watch)] += 1
        else:
            stood_by += 1
    held = [claim for claim in runner.claims.values() if claim.stage is not Stage.OVER]
    claims = Counter(_phase(claim) for claim in held)
    return Standing(
        members={state: members[state] for state in MEMBER_STATES},
        coordinated={state: coordinated[state] for state in WORKLOAD_STATES},
        stood_by=stood_by,
        claims={phase: claims[phase] for phase in CLAIM_PHASES},
        ready=sum(claim.ready for claim in held),
    )


def _member_state(member: Member) -> str:
    if not member.ready:
        return "not_ready"
    return "cordoned" if member.unschedulable else "ready"


def _workload_state(context: Context, watch: Watch) -> str:
    planned = watch.now_planned
    as_declared = watch.known and planned.complete and planned.available >= watch.declaration.replicas
    if as_declared and planned.available:
        return "complete"  # most are; to what is shadowed no replica is counted
    if not context.reigns(watch.declaration):
        return "shadowed"
    if watch.progress.failed:
        return "stopped"
    if watch.shortage:
        return "without_room"
    return "complete" if as_declared else "progressing"


def _phase(claim: LocalClaim) -> str:
    if claim.stage is Stage.STOPPING:
        return "terminating"
    return claim.status.phase.lower() if claim.status is not None else "waiting"
