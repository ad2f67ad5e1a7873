"""Key files by their path, whatever directory they lie in: making one, and looking at one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beemesh_node.cli import passphrase
from beemesh_node.crypto import generate_signing_key
from beemesh_node.crypto.armour import KeyKind
from beemesh_node.crypto.identity import Identity
from beemesh_node.crypto.keystore import MemberKind, inspect, load_identity, load_root, save_identity, save_root
from beemesh_node.crypto.provider import SigningKey

KINDS = (KeyKind.MACHINE, KeyKind.OPERATOR, KeyKind.MESH_ROOT)
"""What can be made by itself; a KEM subkey belongs to a request."""


def generate(path: Path, kind: KeyKind, *, encrypt: bool, replace: bool) -> dict[str, Any]:
    """Make a key at `path` and tell its public halves.

    Raises `CliError` for a passphrase that nobody gives, and `KeyStoreError`: `KeyExistsError` unless `replace`.
    """
    secret = passphrase.new(path) if encrypt else None
    if kind is KeyKind.MESH_ROOT:
        root = generate_signing_key()
        save_root(path, root, secret, replace=replace)
        halves = _of_root(root)
    else:
        identity = Identity.generate()
        save_identity(path, _member(kind), identity, secret, replace=replace)
        halves = _of_identity(identity)
    return {"changed": True, **look(path, unlock=False), **halves}


def look(path: Path, *, unlock: bool) -> dict[str, Any]:
    """Tell what a key file holds; with `unlock` also its public halves, once its secret is found to match them.

    A key without a passphrase is always unlocked. Raises `KeyStoreError`, and `AuthenticationError` or `CliError` for a
    passphrase that is wrong or that nobody gives.
    """
    summary = inspect(path)
    facts: dict[str, Any] = {
        "file": str(path),
        "kind": str(summary.kind),
        "fingerprint": summary.fingerprint.hex(),
        "encrypted": summary.encrypted,
    }
    if summary.kind not in KINDS or (summary.encrypted and not unlock):
        return facts
    secret = passphrase.existing(path) if summary.encrypted else None
    if summary.kind is KeyKind.MESH_ROOT:
        return {**facts, **_of_root(load_root(path, secret))}
    return {**facts, **_of_identity(load_identity(path, _member(summary.kind), secret))}


def _of_root(key: SigningKey) -> dict[str, Any]:
    return {"public_key": key.public_key.hex()}


def _of_identity(identity: Identity) -> dict[str, Any]:
    return {"public_key": identity.signing.public_key.hex(), "peer_id": identity.peer.peer_id}


def _member(kind: KeyKind) -> MemberKind:
    return KeyKind.MACHINE if kind is KeyKind.MACHINE else KeyKind.OPERATOR
