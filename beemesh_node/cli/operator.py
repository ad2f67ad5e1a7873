"""Who is asking: the operator whose keys and certificate lie in a context, and how an operator gets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from beemesh_node.cli import passphrase
from beemesh_node.cli.context import Context, ContextSettings, read_json, write_json, write_text
from beemesh_node.cli.errors import InvalidInputError, NotAllowedError
from beemesh_node.cli.files import read_file, write_file
from beemesh_node.cli.times import date, now_ms
from beemesh_node.crypto import SEAL_OVERHEAD, generate_kem_key
from beemesh_node.crypto.armour import KeyKind
from beemesh_node.crypto.errors import KeyNotFoundError
from beemesh_node.crypto.files import read_private, remove_private, write_private
from beemesh_node.crypto.identity import Identity
from beemesh_node.crypto.keystore import inspect, load_identity, load_kem_key, save_identity, save_kem_key
from beemesh_node.protocol.certificate import MAX_CERTIFICATE, Certificate
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.ids import MeshId
from beemesh_node.protocol.join import MAX_JOIN, SECRET_SIZE, open_join
from beemesh_node.protocol.request import sign_request
from beemesh_node.protocol.revocation import MAX_LISTS_SIZE, Revocations, sift
from beemesh_node.protocol.trust import MAX_CHAIN_SIZE, TrustChain, TrustStore

_PENDING, _PENDING_KEM = "pending.json", "pending.kem"
_EXPIRY_WARNING_MS = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator with all that a connection to its mesh needs."""

    identity: Identity
    certificate: Certificate
    certificate_bytes: bytes = field(repr=False)
    trust: TrustStore
    network_key: bytes = field(repr=False)
    bootstrap: tuple[str, ...]

    @property
    def expires_soon(self) -> str:
        """A warning when the certificate ends within a month, else empty."""
        if self.certificate.not_after - now_ms() > _EXPIRY_WARNING_MS:
            return ""
        end = date(self.certificate.not_after)
        return f"Your certificate ends {end}: have a new one signed with `beectl keys request`."


def load_operator(context: Context, settings: ContextSettings) -> Operator:
    """The operator of a context, asking for the passphrase if there is one.

    Raises `CliError` for files that are missing or damaged and for an expired certificate, and what the key store and
    the trust store raise.
    """
    trust = load_trust(context, settings)
    certificate, raw = load_certificate(context, trust)
    if now_ms() >= certificate.not_after:
        raise NotAllowedError(
            f"{context.operator_certificate}: expired {date(certificate.not_after)}: have a new one signed with "
            "`beectl keys request` and `beectl cert operator`"
        )
    secret = passphrase.existing(context.operator_key) if inspect(context.operator_key).encrypted else None
    identity = load_identity(context.operator_key, KeyKind.OPERATOR, secret)
    return Operator(identity, certificate, raw, trust, read_network_key(context), settings.bootstrap)


def load_certificate(context: Context, trust: TrustStore) -> tuple[Certificate, bytes]:
    """The operator's certificate, whatever its dates, and its exact bytes. Raises `ProtocolError`, `CryptoError`."""
    raw = read_private(context.operator_certificate, MAX_CERTIFICATE)
    return trust.verify_chain(raw), raw


def load_trust(context: Context, settings: ContextSettings) -> TrustStore:
    """The roots that a context believes, and whom no more. Raises `CryptoError` and `ProtocolError`."""
    chain = read_private(context.trust_bundle, MAX_CHAIN_SIZE)
    trust = TrustStore.load(MeshId(bytes.fromhex(settings.mesh_id)), chain)
    try:
        lists = decode(TrustChain, read_private(context.revocations, MAX_LISTS_SIZE)).bundles
    except KeyNotFoundError:
        return trust
    trust.heed(Revocations(sift(lists, trust)[0]))
    return trust


def save_trust(context: Context, trust: TrustStore) -> None:
    """Keep what a context believes. Raises `CryptoError`."""
    write_private(context.trust_bundle, trust.dump(), replace=True)
    lists = tuple(each.raw for each in trust.revocations.lists)
    write_private(context.revocations, encode(TrustChain(lists)), replace=True)


def read_network_key(context: Context) -> bytes:
    """The private network's key. Raises `CliError` and `CryptoError`."""
    try:
        key = bytes.fromhex(read_private(context.network_key, 4096).decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != SECRET_SIZE:
        raise InvalidInputError(
            f"{context.network_key}: not {SECRET_SIZE * 2} hexadecimal digits; restore it from a backup"
        )
    return key


def make_request(context: Context, mesh_id: bytes, nonce: bytes, out: Path, *, encrypt: bool) -> Identity:
    """Write a request for an operator's certificate to `out`, with new keys unless the context has some.

    Raises `CliError`, and what the key store raises.
    """
    try:
        secret = passphrase.existing(context.operator_key) if inspect(context.operator_key).encrypted else None
        identity = load_identity(context.operator_key, KeyKind.OPERATOR, secret)
    except KeyNotFoundError:
        identity = Identity.generate()
        secret = passphrase.new(context.operator_key) if encrypt else None
        save_identity(context.operator_key, KeyKind.OPERATOR, identity, secret)
    kem_key = generate_kem_key()
    request = sign_request(identity, kem_key.public_key, MeshId(mesh_id), nonce)
    save_kem_key(context.path / _PENDING_KEM, kem_key, replace=True)
    write_json(context.path / _PENDING, {"mesh_id": mesh_id.hex(), "request": request.hex()})
    write_file(out, request)
    return identity


def take_bundle(context: Context, path: Path, name: str) -> ContextSettings:
    """Make `context` usable with the bundle at `path`, the answer to its last request.

    Raises `CliError` when none waits, and what opening and believing the bundle raises; then nothing has changed.
    """
    sealed = read_file(path, MAX_JOIN + SEAL_OVERHEAD)
    try:
        pending = read_json(context.path / _PENDING)
        mesh_id, request = MeshId(bytes.fromhex(pending["mesh_id"])), bytes.fromhex(pending["request"])
        kem_key = load_kem_key(context.path / _PENDING_KEM)
    except (FileNotFoundError, KeyNotFoundError, KeyError, TypeError, ValueError):
        raise InvalidInputError(
            f"{context.path}: no request waits for an answer: make one with `beectl keys request` and have it signed"
        ) from None
    secret = passphrase.existing(context.operator_key) if inspect(context.operator_key).encrypted else None
    identity = load_identity(context.operator_key, KeyKind.OPERATOR, secret)
    joined = open_join(sealed, kem_key, identity, mesh_id, request)
    joined.trust.heed(Revocations(sift(joined.bundle.revocations, joined.trust)[0]))
    save_trust(context, joined.trust)
    write_text(context.network_key, joined.bundle.network_key.hex() + "\n")
    write_private(context.operator_certificate, joined.bundle.certificate, replace=True)
    namespaces = joined.certificate.namespaces
    namespace = "default" if {"*", "default"} & set(namespaces) else namespaces[0]
    settings = ContextSettings(name, mesh_id.hex(), joined.bundle.bootstrap, namespace)
    settings.save(context)
    remove_private(context.path / _PENDING)
    remove_private(context.path / _PENDING_KEM)
    return settings
