"""The operator who holds the root: creates a mesh, and signs machines and operators into it.

What it has signed stands in a ledger beside the root, so that a machine keeps its id when its certificate is renewed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beemesh_node.cli import passphrase
from beemesh_node.cli.context import Context, ContextSettings, read_json, write_json, write_text
from beemesh_node.cli.errors import CliError, InvalidInputError, NotAllowedError
from beemesh_node.cli.operator import load_trust, read_network_key
from beemesh_node.cli.superseding import SUPERSEDED, superseded_by
from beemesh_node.cli.terminal import note
from beemesh_node.cli.times import now_ms
from beemesh_node.crypto import generate_kem_key
from beemesh_node.crypto.armour import KeyKind
from beemesh_node.crypto.files import write_private
from beemesh_node.crypto.identity import PEER_SIGNATURE_SIZE, Identity
from beemesh_node.crypto.keystore import inspect, load_root, save_identity, save_root
from beemesh_node.protocol.certificate import ANY, Certificate, Role, fingerprint_of
from beemesh_node.protocol.codec import decode
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.ids import MachineId, MeshId
from beemesh_node.protocol.join import SECRET_SIZE, JoinBundle, seal_join
from beemesh_node.protocol.objects import peek_unverified
from beemesh_node.protocol.request import (
    MAX_REQUEST,
    REQUEST_KIND,
    SigningRequest,
    new_nonce,
    sign_request,
    verify_request,
)
from beemesh_node.protocol.root import MachineProfile, MeshRoot, OperatorProfile, Profile
from beemesh_node.protocol.trust import TrustStore

_FIRST_EPOCH = 1
_ANSWERED = ("request", "bundle")
"""Of an entry of the ledger: SHA-256 of the request that was answered, and of the bundle that answered it."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The number and the secret with which members read what is for all of them."""

    number: int
    secret: bytes

    def save(self, context: Context) -> None:
        """Write it."""
        write_json(context.epoch, {"epoch": self.number, "secret": self.secret.hex()})

    @classmethod
    def load(cls, context: Context) -> Epoch:
        """Read it. Raises `CliError`."""
        try:
            values = read_json(context.epoch)
            epoch = cls(int(values["epoch"]), bytes.fromhex(values["secret"]))
        except FileNotFoundError:
            raise InvalidInputError(
                f"{context.epoch}: missing; sign where the mesh was made, or restore it from a backup"
            ) from None
        except (KeyError, TypeError, ValueError):
            raise InvalidInputError(f"{context.epoch}: damaged; restore it from a backup") from None
        return epoch


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is to be good, in milliseconds; None leaves it to the root."""

    not_before: int | None = None
    not_after: int | None = None


def create_mesh(context: Context, name: str, *, encrypt: bool, root_key: Path | None = None) -> ContextSettings:
    """Make a mesh: root, first operator with every right, epoch 1, private-network key, trust bundle 1.

    With `root_key` its key is the root, and stays where it is. The directory appears with everything in it or not at
    all. Raises `CliError` when something is there already, and what the key store raises.
    """
    place = context.path
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InvalidInputError(
            f"{place} exists and is not empty: give --if-missing to keep a mesh that is there, or another --dir"
        )
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Context(place.with_name(f".{place.name}.{secrets.token_hex(8)}"))
    if root_key is None:
        root, secret = None, passphrase.new(context.root_key) if encrypt else None
    else:
        locked = passphrase.existing(root_key) if inspect(root_key).encrypted else None
        root = MeshRoot(load_root(root_key, locked))
        secret = (locked or passphrase.new(context.operator_key)) if encrypt else None
    try:
        settings = _fill(fresh, name, secret, root)
        fresh.path.rename(place)
    except OSError as error:
        raise CliError(f"{place}: cannot be made: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh.path, ignore_errors=True)
    return settings


def _fill(context: Context, name: str, secret: str | None, given: MeshRoot | None) -> ContextSettings:
    now = now_ms()
    root = given or MeshRoot.create()
    store = TrustStore(root.mesh_id, [root.sign_bundle(1, now)])
    if given is None:
        save_root(context.root_key, root.key, secret)
    identity = Identity.generate()
    save_identity(context.operator_key, KeyKind.OPERATOR, identity, secret)
    nonce = new_nonce()
    # The request's KEM key only serves to seal a join bundle, of which there is none here.
    request = sign_request(identity, generate_kem_key().public_key, root.mesh_id, nonce)
    profile = OperatorProfile("admin", (ANY,), (ANY,))
    certificate = root.issue(verify_request(request, root.mesh_id, nonce), profile, now)
    write_private(context.operator_certificate, certificate, replace=True)
    write_private(context.trust_bundle, store.dump(), replace=True)
    write_text(context.network_key, secrets.token_hex(SECRET_SIZE) + "\n")
    Epoch(_FIRST_EPOCH, secrets.token_bytes(SECRET_SIZE)).save(context)
    record(context, store.verify_chain(certificate), certificate)
    settings = ContextSettings(name, root.mesh_id.hex())
    settings.save(context)
    return settings


def open_root(context: Context, settings: ContextSettings, which: Path | None = None) -> MeshRoot:
    """A root of a context's mesh, by default the one that `signing_root` chooses.

    Raises `CliError` where there is none, and what the key store raises.
    """
    path = which or signing_root(context, load_trust(context, settings))
    if not path.is_file():
        raise InvalidInputError(
            f"{context.path} has no root key, so nothing can be signed here: give --dir with the directory that "
            "`beectl mesh init` made"
        )
    secret = passphrase.existing(path) if inspect(path).encrypted else None
    return MeshRoot(load_root(path, secret), MeshId(bytes.fromhex(settings.mesh_id)))


def root_of(path: Path) -> bytes | None:
    """The id of the root in a key file, without opening it; None if there is none."""
    return inspect(path).fingerprint if path.is_file() else None


def signing_root(context: Context, trust: TrustStore) -> Path:
    """Where the key lies that signs now: the next root's once the mesh is to trust it, else the present one's."""
    following = root_of(context.next_root_key)
    return context.next_root_key if following in trust.roots else context.root_key


def issue(
    context: Context,
    root: MeshRoot,
    store: TrustStore,
    request: SigningRequest,
    profile: Profile,
    *,
    same: bool = False,
    validity: Validity | None = None,
) -> bytes:
    """Sign a certificate and note it in the ledger.

    A machine or operator that comes with the keys it had keeps its id. One with other keys under a known name is
    another member, unless it is said to be the `same`: what a lost one held is lost with it, and must not be counted on
    under the same id. Raises `CliError` for keys that were revoked.
    """
    revoked = {entry.machine_id for entry in store.revocations.entries if not entry.serial}
    with _ledger(context) as entries:
        _check_keys(entries, revoked, request)
        known = entries.get(ledger_key(profile))
        machine_id = None
        if known is not None and known["machine_id"] in revoked:
            known = None
        if known is not None and (same or known.get("peer_id") == request.peer_id):
            machine_id = MachineId(known["machine_id"])
        elif same:
            raise InvalidInputError(f"{profile.name}: no certificate of it stands in the ledger, or it was revoked")
        elif known is not None:
            note(
                f"{profile.name} was {known['machine_id']} with other keys and is a new member now. If the old one is "
                "not lost, it goes on being a member until its certificate expires."
            )
        now, chosen = now_ms(), validity or Validity()
        certificate = root.issue(
            request,
            profile,
            now,
            machine_id=machine_id,
            lifetime_ms=None if chosen.not_after is None else chosen.not_after - now,
            not_before_ms=chosen.not_before,
        )
        _note(entries, ledger_key(profile), _entry(store.verify_chain(certificate), certificate))
    return certificate


def _check_keys(entries: dict[str, dict[str, Any]], revoked: set[MachineId], request: SigningRequest) -> None:
    for key, entry in entries.items():
        if entry.get("peer_id") == request.peer_id and entry["machine_id"] in revoked:
            raise NotAllowedError(f"{key}: these keys were revoked: have it make new ones, then a new request")


def issued(context: Context) -> dict[str, dict[str, Any]]:
    """The ledger: `machine/NAME` or `operator/NAME` -> what was signed last under that name."""
    with _ledger(context) as entries:
        return dict(entries)


def record(context: Context, certificate: Certificate, raw: bytes) -> None:
    """Note a certificate in the ledger."""
    kind = "machine" if certificate.role is Role.MACHINE else "operator"
    with _ledger(context) as entries:
        before = entries.get(f"{kind}/{certificate.name}", {})
        # A renewal answers the same request as before.
        same = before.get("peer_id") == certificate.peer_id
        answered = {key: before[key] for key in _ANSWERED if same and key in before}
        _note(entries, f"{kind}/{certificate.name}", {**_entry(certificate, raw), **answered})


def _note(entries: dict[str, dict[str, Any]], key: str, fresh: dict[str, Any]) -> None:
    # In the write that puts the new one there: whoever is killed after it has not lost what is to be revoked.
    entries[key] = {**fresh, SUPERSEDED: superseded_by(entries.get(key, {}), fresh)}


def ledger_key(profile: Profile) -> str:
    """Under what the ledger has a member."""
    return f"{'machine' if isinstance(profile, MachineProfile) else 'operator'}/{profile.name}"


def _entry(certificate: Certificate, raw: bytes) -> dict[str, Any]:
    return {
        "machine_id": certificate.machine_id,
        "peer_id": certificate.peer_id,
        "fingerprint": fingerprint_of(raw).hex(),
        "serial": certificate.serial,
        "issuer": certificate.issuer.hex(),
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "labels": dict(certificate.labels),
        "guardian": certificate.guardian,
        "namespaces": list(certificate.namespaces),
        "verbs": list(certificate.verbs),
    }


@contextmanager
def _ledger(context: Context) -> Iterator[dict[str, dict[str, Any]]]:
    """The ledger, to be read and changed by one process at a time; written back when the block ends well."""
    context.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(context.path / ".ledger.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            entries = read_json(context.ledger)
        except FileNotFoundError:
            entries = {}
        yield entries
        write_json(context.ledger, entries)
    finally:
        os.close(lock)


def remember_bootstrap(context: Context, settings: ContextSettings, addresses: tuple[str, ...]) -> ContextSettings:
    """Add addresses by which the mesh can be entered."""
    extended = settings.with_bootstrap(addresses)
    if extended != settings:
        extended.save(context)
    return extended


def answer(
    context: Context,
    settings: ContextSettings,
    request_bytes: bytes,
    profile: Profile,
    bootstrap: tuple[str, ...],
    nonce: bytes | None,
    *,
    same: bool = False,
    root_key: Path | None = None,
    validity: Validity | None = None,
) -> tuple[Certificate, bytes]:
    """Sign the request of a machine or operator; return its certificate and the join bundle that only it can open.

    `nonce` is what the request must carry; without one a request of any age is taken. `same`: see `issue`; `root_key`
    is the key that signs, by default that of `signing_root`. Raises `CliError` for a profile or a validity that no
    certificate may have, and `ProtocolError` for a request that is not genuine.
    """
    store = load_trust(context, settings)
    request = verified(settings, request_bytes, nonce)
    root = open_root(context, settings, root_key)
    try:
        raw = issue(context, root, store, request, profile, same=same, validity=validity)
    except ValueError as error:
        raise InvalidInputError(f"{profile.name}: {error}") from None
    # An operator reads nothing of what is for all members, so the epoch's secret is not for it.
    is_machine = isinstance(profile, MachineProfile)
    epoch = Epoch.load(context) if is_machine else Epoch(0, bytes(SECRET_SIZE))
    top = store.revocations.top
    # Lists without their secret would make the newcomer believe that it has all there is.
    complete = top is None or not is_machine or top.content.epoch == epoch_id(epoch.secret)
    bundle = JoinBundle(
        mesh_id=store.mesh_id,
        issuer=root.root_id,
        certificate=raw,
        trust=store.chain,
        bootstrap=bootstrap,
        network_key=read_network_key(context),
        epoch=epoch.number,
        epoch_secret=epoch.secret,
        revocations=tuple(each.raw for each in store.revocations.lists) if complete else (),
    )
    sealed = seal_join(root, bundle, request, request_bytes)
    with _ledger(context) as entries:
        digests = (hashlib.sha256(data).hexdigest() for data in (request_bytes, sealed))
        entries[ledger_key(profile)].update(zip(_ANSWERED, digests, strict=True))
    return store.verify_chain(raw), sealed


def verified(settings: ContextSettings, request: bytes, nonce: bytes | None) -> SigningRequest:
    """A request for this mesh, of any age without a `nonce`. Raises `ProtocolError` for one that is not genuine."""
    mesh_id = MeshId(bytes.fromhex(settings.mesh_id))
    return verify_request(request, mesh_id, nonce if nonce is not None else _own_nonce(request))


def _own_nonce(request: bytes) -> bytes:
    """The nonce that a request says it answers: for those who have not asked for one."""
    body = peek_unverified(REQUEST_KIND, request[:-PEER_SIGNATURE_SIZE], MAX_REQUEST)
    return decode(SigningRequest, body).nonce
