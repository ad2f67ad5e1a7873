"""The words people see when machines cannot take a replica: "0/3 machines can take it: 2 lack memory, 1 is cordoned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from beemesh_node.protocol.messages import NoReason, Refusal

WORDS: Mapping[NoReason, tuple[str, str]] = {
    NoReason.CPU: ("lacks CPU", "lack CPU"),
    NoReason.MEMORY: ("lacks memory", "lack memory"),
    NoReason.ARCHITECTURE: ("has another architecture or system", "have another architecture or system"),
    NoReason.NODE_SELECTOR: ("does not match the node selector", "do not match the node selector"),
    NoReason.NODE_AFFINITY: ("does not match the node affinity", "do not match the node affinity"),
    NoReason.TAINT: ("has a taint that is not tolerated", "have a taint that is not tolerated"),
    NoReason.HOST_PORT: ("has the host port in use", "have the host port in use"),
    NoReason.CORDONED: ("is cordoned", "are cordoned"),
    NoReason.POD_AFFINITY: ("does not match the pod affinity", "do not match the pod affinity"),
    NoReason.POD_ANTI_AFFINITY: ("does not match the pod anti-affinity", "do not match the pod anti-affinity"),
    NoReason.PODS: ("has too many pods", "have too many pods"),
    NoReason.NOT_READY: ("is not ready", "are not ready"),
    NoReason.OUTDATED: ("knows a newer record", "know a newer record"),
    NoReason.STARTING: ("is just starting", "are just starting"),
    NoReason.BACK_OFF: ("failed to run it and waits", "failed to run it and wait"),
    NoReason.UNANSWERED: ("did not answer", "did not answer"),
    NoReason.LEAVING: ("is moving it elsewhere", "are moving it elsewhere"),
    NoReason.IMAGE: ("lacks an image that is never pulled", "lack an image that is never pulled"),
    NoReason.GUARD: ("cannot guard leased pods", "cannot guard leased pods"),
    NoReason.VOLUME: ("does not hold its volumes", "do not hold its volumes"),
}
"""Reason -> what one machine does, what several do."""

MAX_DETAILS = 3


def summarise(refusals: Mapping[str, Sequence[Refusal]], can: int = 0) -> str:
    """Say how many machines can take it and count each reason of the others; of one machine every reason counts.

    `refusals` has an entry for each machine that cannot, `can` is the number of those that can.
    """
    counts = Counter(reason for machine in refusals.values() for reason in {refusal.reason for refusal in machine})
    total = len(refusals) + can
    head = f"{can}/{total} machines can take it" if total else "no machine is known"
    if not counts:
        return head
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{head}: " + ", ".join(f"{count} {WORDS[reason][0 if count == 1 else 1]}" for reason, count in ordered)


def details(refusals: Mapping[str, Sequence[Refusal]]) -> str:
    """Name a few machines with what exactly they lack: "edge-1 needs 4Gi, has 1.2Gi free; …". Empty if none says."""
    told = [
        f"{name}: {', '.join(refusal.detail for refusal in machine if refusal.detail)}"
        for name, machine in sorted(refusals.items())
        if any(refusal.detail for refusal in machine)
    ]
    return "; ".join(told[:MAX_DETAILS]) + ("; …" if len(told) > MAX_DETAILS else "")


def bytes_text(amount: int) -> str:
    """Write bytes as people read them: 512Mi, 1.2Gi."""
    value = float(amount)
    for unit in ("", "Ki", "Mi", "Gi"):
        if abs(value) < 1024:
            return f"{value:.4g}{unit}"
        value /= 1024
    return f"{value:.4g}Ti"


def cpu_text(millis: int) -> str:
    """Write millicores as people read them: 250m, 1.5."""
    return f"{millis / 1000:.4g}" if millis >= 1000 else f"{millis}m"
