"""Private keys on disk: typed reading and writing of key files.

Every `load_*` raises `KeyStoreError` for a file that is missing, insecure, malformed or of another kind, and
`AuthenticationError` for a passphrase that is missing or wrong; every `save_*` raises `KeyStoreError`, and
`KeyExistsError` unless replacing was asked for. With a passphrase each takes some tenths of a second and 64 MiB: call
them in a thread.

Without a passphrase a key is guarded by its file mode alone. Replacing or removing a file does not wipe the medium:
flash keeps old sectors until it reuses them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from beemesh_node.crypto import active
from beemesh_node.crypto.armour import MAX_FILE_SIZE, Argon2Cost, KeyFile, KeyKind
from beemesh_node.crypto.errors import AuthenticationError, InvalidKeyError, MalformedKeyFileError
from beemesh_node.crypto.files import read_private, write_private
from beemesh_node.crypto.identity import Identity, PeerKey
from beemesh_node.crypto.provider import SIGNING_SEED_SIZE, KemKey, SigningKey

MemberKind = Literal[KeyKind.OPERATOR, KeyKind.MACHINE]


@dataclass(frozen=True, slots=True)
class KeySummary:
    """What a key file says without its passphrase."""

    kind: KeyKind
    fingerprint: bytes
    """SHA-256 of the public halves; of a mesh's first root, the id of the mesh."""
    encrypted: bool


def inspect(path: Path) -> KeySummary:
    """Tell what a key file holds, without its passphrase.

    Raises:
        KeyStoreError: the file is missing, insecure or malformed.
    """
    file = _read(path)
    return KeySummary(file.kind, file.fingerprint, file.cost is not None)


def save_root(path: Path, key: SigningKey, passphrase: str | None = None, *, replace: bool = False) -> None:
    """Store the key of a mesh root."""
    _save(path, KeyKind.MESH_ROOT, key.public_key, key.export_seed(), passphrase, replace)


def load_root(path: Path, passphrase: str | None = None) -> SigningKey:
    """Load the key of a mesh root."""
    file, secret = _load(path, KeyKind.MESH_ROOT, passphrase)
    try:
        key = active.signing_key(secret)
    except InvalidKeyError as error:
        raise MalformedKeyFileError(f"{path}: {error}") from None
    _check(path, file, key.public_key)
    return key


def save_identity(
    path: Path, kind: MemberKind, identity: Identity, passphrase: str | None = None, *, replace: bool = False
) -> None:
    """Store both keys of a machine or an operator."""
    public = identity.signing.public_key + identity.peer.public_key
    secret = identity.signing.export_seed() + identity.peer.export_seed()
    _save(path, kind, public, secret, passphrase, replace)


def load_identity(path: Path, kind: MemberKind, passphrase: str | None = None) -> Identity:
    """Load both keys of a machine or an operator."""
    file, secret = _load(path, kind, passphrase)
    try:
        identity = Identity(active.signing_key(secret[:SIGNING_SEED_SIZE]), PeerKey(secret[SIGNING_SEED_SIZE:]))
    except InvalidKeyError as error:
        raise MalformedKeyFileError(f"{path}: {error}") from None
    _check(path, file, identity.signing.public_key + identity.peer.public_key)
    return identity


def save_kem_key(path: Path, key: KemKey, passphrase: str | None = None, *, replace: bool = False) -> None:
    """Store a KEM subkey."""
    _save(path, KeyKind.KEM, key.public_key, key.export_seed(), passphrase, replace)


def load_kem_key(path: Path, passphrase: str | None = None) -> KemKey:
    """Load a KEM subkey."""
    file, secret = _load(path, KeyKind.KEM, passphrase)
    try:
        key = active.kem_key(secret)
    except InvalidKeyError as error:
        raise MalformedKeyFileError(f"{path}: {error}") from None
    _check(path, file, key.public_key)
    return key


def _save(path: Path, kind: KeyKind, public: bytes, secret: bytes, passphrase: str | None, replace: bool) -> None:
    file = KeyFile.lock(kind, hashlib.sha256(public).digest(), secret, passphrase, Argon2Cost())
    write_private(path, file.dump(), replace=replace)


def _read(path: Path) -> KeyFile:
    text = read_private(path, MAX_FILE_SIZE)
    try:
        return KeyFile.parse(text)
    except MalformedKeyFileError as error:
        raise MalformedKeyFileError(f"{path}: {error}") from None


def _load(path: Path, kind: KeyKind, passphrase: str | None) -> tuple[KeyFile, bytes]:
    file = _read(path)
    if file.kind is not kind:
        raise MalformedKeyFileError(f"{path}: holds a {file.kind} key, not a {kind} key; name the right file")
    try:
        return file, file.unlock(passphrase)
    except AuthenticationError as error:
        raise AuthenticationError(f"{path}: {error}") from None


def _check(path: Path, file: KeyFile, public: bytes) -> None:
    """Notice a damaged seed, which would otherwise be a valid key, but somebody else's."""
    if hashlib.sha256(public).digest() != file.fingerprint:
        raise MalformedKeyFileError(f"{path}: the key does not match its own fingerprint: restore it from a backup")
