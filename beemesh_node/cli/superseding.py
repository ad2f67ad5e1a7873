"""Certificates that newer ones of the same member have taken the place of, and that are to be revoked some time.

The ledger keeps them under the name of the member, so that none is forgotten by whoever was interrupted after signing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beemesh_node.cli.times import now_ms
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.revocation import Revocations

SUPERSEDED = "superseded"
"""Of an entry of the ledger: the certificates before it that have not expired."""
_KEPT = ("machine_id", "peer_id", "serial", "not_after")


@dataclass(frozen=True, slots=True)
class Superseded:
    """A certificate that a newer one has taken the place of."""

    kind: str
    name: str
    machine_id: MachineId
    peer_id: str
    serial: int
    not_after: int
    """Milliseconds."""
    same_keys: bool
    """Whether the newest certificate is for the same keys."""


def superseded_by(before: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the ledger keeps beside a `fresh` certificate of those `before` it: whatever has not expired."""
    kept = list(before.get(SUPERSEDED, ()))
    if before.get("machine_id") == fresh["machine_id"] and before["serial"] != fresh["serial"]:
        kept.append({key: before[key] for key in _KEPT})
    return [each for each in kept if each["not_after"] > now_ms()]


def superseded(ledger: Mapping[str, Mapping[str, Any]]) -> tuple[Superseded, ...]:
    """All that the ledger keeps."""
    return tuple(
        Superseded(
            kind,
            name,
            MachineId(old["machine_id"]),
            old["peer_id"],
            int(old["serial"]),
            int(old["not_after"]),
            old["peer_id"] == entry["peer_id"],
        )
        for key, entry in ledger.items()
        for kind, _, name in [key.partition("/")]
        for old in entry.get(SUPERSEDED, ())
    )


def to_be_revoked(ledger: Mapping[str, Mapping[str, Any]], revocations: Revocations) -> tuple[Superseded, ...]:
    """Those for keys that their member has replaced, unless they were revoked or have expired."""
    keys = {entry.key for entry in revocations.entries}
    serials = {serial for _, serial in keys}
    return tuple(
        each
        for each in superseded(ledger)
        if not each.same_keys
        and each.not_after > now_ms()
        and each.serial not in serials
        and (each.machine_id, 0) not in keys
    )
