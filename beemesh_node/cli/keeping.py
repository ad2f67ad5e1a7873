"""Whether a certificate that was signed before is still the one that is wanted, by what the ledger says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beemesh_node.cli import authority
from beemesh_node.cli.authority import Validity
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.operator import load_trust
from beemesh_node.protocol.root import MachineProfile, Profile

_DRIFT_MS = 10 * 60_000
"""By how much two times may differ and still be the same: relative ones are counted anew at each run."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate as somebody asks for it."""

    request: bytes
    profile: Profile
    validity: Validity
    compare_times: bool
    """Whether another beginning or end is a reason to sign anew."""
    margin_ms: int
    """It is signed anew when it ends within this time."""
    root_key: Path | None


def known(context: Context, profile: Profile) -> Mapping[str, Any]:
    """What the ledger says of the member; empty if nothing."""
    return authority.issued(context).get(authority.ledger_key(profile), {})


def reasons(context: Context, settings: ContextSettings, wanted: Wanted, bundle: Path, now: int) -> tuple[str, ...]:
    """Why the bundle at `bundle` is not what is wanted; empty if it is. Nothing is opened for it, no key either.

    Raises `CliError` for a ledger, and `KeyStoreError` for a root key, that cannot be read.
    """
    entry = known(context, wanted.profile)
    if not entry:
        return ("nothing was signed under this name",)
    found = []
    if entry.get("request") != hashlib.sha256(wanted.request).hexdigest():
        found.append("it answers another request")
    if _digest(bundle) is None:
        found.append("its bundle is not there")
    elif _digest(bundle) != entry.get("bundle"):
        found.append("the bundle there is another")
    found += _other_profile(entry, wanted.profile)
    if entry["not_after"] - now <= wanted.margin_ms:
        found.append("it has expired" if entry["not_after"] <= now else "it ends soon")
    if wanted.compare_times:
        found += _other_times(entry, wanted.validity)
    path = wanted.root_key or authority.signing_root(context, load_trust(context, settings))
    root = authority.root_of(path)
    if root is not None and entry.get("issuer") != root.hex():
        found.append("another root signs now")
    return tuple(found)


def _other_profile(entry: Mapping[str, Any], profile: Profile) -> list[str]:
    wanted: dict[str, Any]
    if isinstance(profile, MachineProfile):
        wanted = {"labels": dict(profile.labels), "guardian": profile.guardian}
    else:
        wanted = {"namespaces": list(profile.namespaces), "verbs": list(profile.verbs)}
    return [
        "another guardian flag is wanted" if name == "guardian" else f"other {name} are wanted"
        for name, value in wanted.items()
        if entry.get(name) != value
    ]


def _other_times(entry: Mapping[str, Any], validity: Validity) -> list[str]:
    wanted = {"beginning": ("not_before", validity.not_before), "end": ("not_after", validity.not_after)}
    return [
        f"its {name} is another"
        for name, (key, time) in wanted.items()
        if time is not None and abs(entry.get(key, 0) - time) > _DRIFT_MS
    ]


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
