"""Whether a machine may run a replica at all, by what it is; what it has left is the ledger's concern.

The rules are those of kube-scheduler's filters NodeUnschedulable, NodeAffinity, TaintToleration and NodeResourcesFit.
"""

from __future__ import annotations

from beemesh_node.membership.labels import ARCH_LABEL, OS_LABEL
from beemesh_node.membership.member import Member
from beemesh_node.protocol.messages import NoReason, Refusal, Requirements, Taint
from beemesh_node.scheduling.expressions import term_holds
from beemesh_node.scheduling.ledger import Free
from beemesh_node.scheduling.taints import REPELLING, untolerated

UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
"""Whoever tolerates this runs on cordoned machines too, as in Kubernetes."""


def _selector(member: Member, needed: Requirements) -> list[Refusal]:
    wrong = {key: value for key, value in needed.node_selector.items() if member.labels.get(key) != value}
    found = []
    if platform := [key for key in wrong if key in (ARCH_LABEL, OS_LABEL)]:
        text = ", ".join(f"is {member.labels.get(key, 'unknown')}, needs {wrong[key]}" for key in sorted(platform))
        found.append(Refusal(NoReason.ARCHITECTURE, text))
    if others := [key for key in wrong if key not in (ARCH_LABEL, OS_LABEL)]:
        text = "needs " + ", ".join(f"{key}={wrong[key]}" for key in sorted(others))
        found.append(Refusal(NoReason.NODE_SELECTOR, text))
    return found


def refusals(member: Member, needed: Requirements) -> tuple[Refusal, ...]:
    """Return every reason why the machine cannot run a replica however much it may free; none if it can."""
    found = []
    if not member.ready:
        found.append(Refusal(NoReason.NOT_READY, member.reason))
    if member.unschedulable and untolerated((UNSCHEDULABLE,), needed.tolerations):
        found.append(Refusal(NoReason.CORDONED))
    found += _selector(member, needed)
    if needed.node_terms and not any(term_holds(term, member.labels) for term in needed.node_terms):
        found.append(Refusal(NoReason.NODE_AFFINITY))
    repelling = (taint for taint in member.taints if taint.effect in REPELLING)
    if hostile := untolerated(repelling, needed.tolerations):
        text = ", ".join(f"{t.key}{'=' if t.value else ''}{t.value}:{t.effect}" for t in hostile)
        found.append(Refusal(NoReason.TAINT, text))
    whole = Free(member.cpu_allocatable, member.memory_allocatable, 1, frozenset())
    return (*found, *whole.shortages(needed))
