"""Whom a member believes: the roots of its mesh, and what they signed.

The mesh id is the hash of the first root's public key, so bundle 1, signed by that root, proves itself. Every later
bundle is believed when a root of the present one signed it and it is newer, which is how a root is replaced with
overlap: first a bundle with the old and the new root, then, when all certificates are renewed, one without the old. The
store keeps the bundles it went through, so that a member that slept through several can follow the same way. It forgets
one that nobody needs for that: where the next one is signed by a root that the one before had, too.

A root that was retired vouches for nobody who speaks now, and still for what is kept: records, votes and revocations
are believed as long as one of the roots that ever were has certified their signer, unless a bundle disowns that root
because its key was stolen.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, Protocol, TypeVar

from beemesh_node.protocol.bundle import BUNDLE_KIND, MAX_BUNDLE, MAX_ROOTS, TrustBundle, TrustChain, root_id
from beemesh_node.protocol.certificate import CERTIFICATE_KIND, MAX_CERTIFICATE, Certificate, fingerprint_of
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.disbelief import (
    ExpiredError,
    ForeignMeshError,
    NotYetValidError,
    RevokedError,
    TrustError,
    UnknownRootError,
    check_dates,
)
from beemesh_node.protocol.errors import BadSignatureError, MalformedError, OversizeError
from beemesh_node.protocol.ids import Fingerprint, MeshId
from beemesh_node.protocol.objects import open_object, peek_unverified
from beemesh_node.protocol.revocation import NONE, Revocations

__all__ = [
    "BUNDLE_KIND",
    "MAX_BUNDLE",
    "MAX_CHAIN",
    "MAX_CHAIN_SIZE",
    "MAX_RECENT",
    "MAX_ROOTS",
    "ExpiredError",
    "ForeignMeshError",
    "NotYetValidError",
    "RevokedError",
    "TrustBundle",
    "TrustChain",
    "TrustError",
    "TrustStore",
    "UnknownRootError",
    "check_dates",
    "root_id",
]

MAX_CHAIN: Final = 32
"""Bundles that a store keeps at most: thirty rotations of a root, of which all but the last leave one."""
MAX_CHAIN_SIZE: Final = MAX_CHAIN * MAX_BUNDLE + 4096
"""Bytes of a stored chain at most."""
MAX_RECENT: Final = 4
"""Bundles that members show each other in hello at most: two rotations of a root."""

_CACHED: Final = 512


class RootSigned(Protocol):
    """What every object says that a root signs."""

    @property
    def mesh_id(self) -> MeshId:
        """The mesh it is for."""
        ...

    @property
    def issuer(self) -> bytes:
        """SHA-256 of the public key of the root that signed it."""
        ...


Signed = TypeVar("Signed", bound=RootSigned)


class TrustStore:
    """The roots trusted now, how they came to be, and what they vouch for. Grows only by `adopt`."""

    def __init__(self, mesh_id: MeshId, chain: Iterable[bytes]) -> None:
        """Follow a chain of bundles from the first.

        Raises:
            ForeignMeshError: it is the chain of another mesh.
            ProtocolError: it is empty, too long, or a bundle in it does not verify or is not newer.
        """
        bundles = tuple(chain)
        if not 0 < len(bundles) <= MAX_CHAIN:
            raise MalformedError(f"a chain of {len(bundles)} trust bundles: expected 1 to {MAX_CHAIN}")
        self._mesh_id = mesh_id
        self._chain = [bundles[0]]
        self._current = _open_first(mesh_id, bundles[0])
        self._opened = [self._current]
        self._roots = _by_id(self._current)
        self._ever = dict(self._roots)
        self._past = dict(self._roots)
        self._disowned: set[bytes] = set(self._current.disowned)
        self._believed: dict[Fingerprint, Certificate] = {}
        self._believed_once: dict[Fingerprint, Certificate] = {}
        self._believed_here: dict[Fingerprint, Certificate] = {}
        self._revocations = NONE
        for bundle in bundles[1:]:
            if not self.adopt(bundle):
                raise MalformedError("a chain of trust bundles that are not in their order")

    @classmethod
    def load(cls, mesh_id: MeshId, data: bytes) -> TrustStore:
        """Follow the chain that `dump` gave. Raises as the constructor does."""
        if len(data) > MAX_CHAIN_SIZE:
            raise OversizeError(f"a chain of {len(data)} bytes: at most {MAX_CHAIN_SIZE} are allowed")
        return cls(mesh_id, decode(TrustChain, data).bundles)

    def dump(self) -> bytes:
        """Return the chain as bytes to keep; nothing in it is secret."""
        return encode(TrustChain(tuple(self._chain)))

    @property
    def mesh_id(self) -> MeshId:
        """The mesh all this is about."""
        return self._mesh_id

    @property
    def sequence(self) -> int:
        """The sequence of the present bundle."""
        return self._current.sequence

    @property
    def roots(self) -> Mapping[bytes, bytes]:
        """The trusted roots: id -> public key, the preferred one first."""
        return self._roots

    @property
    def past_roots(self) -> Mapping[bytes, bytes]:
        """Every root that was ever trusted and is not disowned, the present ones among them."""
        return self._past

    @property
    def revocations(self) -> Revocations:
        """Who is believed no more."""
        return self._revocations

    def heed(self, revocations: Revocations) -> None:
        """Believe those no more whom these lists name, instead of those before."""
        self._revocations = revocations

    @property
    def digest(self) -> bytes:
        """The same for two members that trust the same roots and heed the same lists."""
        return hashlib.sha256(hashlib.sha256(self._chain[-1]).digest() + self._revocations.digest).digest()

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The bundles that led here, the present one last: what a member with a lower sequence needs."""
        return tuple(self._chain)

    def adopt(self, bundle: bytes) -> bool:
        """Trust the roots of a newer bundle from now on. False: it is the present one or an older one.

        Of two with one sequence the one with the greater hash counts, so that all members agree.

        Raises:
            ProtocolError: it is malformed, of another mesh, or not signed by a root trusted now.
            OversizeError: also when the chain is full.
        """
        opened = self.open_signed(BUNDLE_KIND, TrustBundle, bundle, MAX_BUNDLE)
        if _rank(opened, bundle) <= _rank(self._current, self._chain[-1]):
            return False
        needed = self._needed_before(opened)
        if needed == MAX_CHAIN:
            raise OversizeError(f"the chain of {MAX_CHAIN} trust bundles is full: set up the mesh anew")
        self._chain[needed:], self._opened[needed:] = [bundle], [opened]
        self._current, self._roots = opened, _by_id(opened)
        self._disowned.update(opened.disowned)
        self._ever.update(self._roots)
        self._past = {identity: key for identity, key in self._ever.items() if identity not in self._disowned}
        self._believed.clear()
        self._believed_once.clear()
        return True

    @property
    def room(self) -> int:
        """How many more bundles it can keep."""
        return MAX_CHAIN - len(self._chain)

    def _needed_before(self, bundle: TrustBundle) -> int:
        """How many bundles of the chain still say or prove something once this one follows."""
        count = len(self._opened)
        while count > 1 and bundle.issuer in _by_id(self._opened[count - 2]):
            last = self._opened[count - 1]
            others = {root for each in (*self._opened[: count - 1], bundle) for root in each.roots}
            if last.disowned or not others.issuperset(last.roots):
                break
            count -= 1
        return count

    @property
    def recent(self) -> tuple[bytes, ...]:
        """The last `MAX_RECENT` bundles after the first, which everybody has: empty until a root is replaced."""
        return tuple(self._chain[1:][-MAX_RECENT:])

    def catch_up(self, bundles: Iterable[bytes]) -> None:
        """Adopt what is newer of the bundles that another member shows, in their order.

        Those that no root trusted now has signed are passed over: they may be of a way that others went.

        Raises:
            ProtocolError: a bundle is malformed, altered or of another mesh; what was adopted before it stays.
        """
        for bundle in bundles:
            # Cheaper than its signature, and decides no more than whether to look at that.
            claimed = decode(TrustBundle, peek_unverified(BUNDLE_KIND, bundle, MAX_BUNDLE))
            if claimed.sequence >= self.sequence:
                with contextlib.suppress(UnknownRootError):
                    self.adopt(bundle)

    def open_signed(
        self, kind: str, cls: type[Signed], data: bytes, max_size: int, roots: Mapping[bytes, bytes] | None = None
    ) -> Signed:
        """Return what an object of `kind` says, if a trusted root of this mesh signed it, or one of `roots` if given.

        Nothing of it is parsed before its signature has been verified, except to say why it was refused.

        Raises:
            OversizeError, MalformedError: it is not an object of this kind.
            ForeignMeshError, UnknownRootError: not of this mesh, or not signed by a root trusted here.
            BadSignatureError: altered.
        """
        allowed = self._roots if roots is None else roots
        for identity, public_key in allowed.items():
            try:
                body = open_object(kind, data, public_key, max_size)
            except BadSignatureError:
                continue
            opened = decode(cls, body)
            self._check_mesh(kind, opened)
            if opened.issuer != identity:
                raise MalformedError(f"{kind}: names another root than the one that signed it")
            return opened
        claimed = decode(cls, peek_unverified(kind, data, max_size))
        self._check_mesh(kind, claimed)
        if claimed.issuer not in allowed:
            raise UnknownRootError(
                f"{kind}: signed by root {claimed.issuer.hex()[:16]}, which trust bundle {self.sequence} lacks: "
                "renew it with a present root, or bring the newer trust bundle"
            )
        raise BadSignatureError(f"{kind}: the signature does not verify; it was altered or is forged")

    def verify_chain(self, certificate: bytes) -> Certificate:
        """Return what a certificate says if a trusted root signed it, whatever its dates.

        Raises:
            ProtocolError: as `open_signed`.
        """
        return self._verify(certificate, self._roots, self._believed)

    def verify_past(self, certificate: bytes) -> Certificate:
        """Return what a certificate says if a root signed it that is or was trusted: for what is kept, such as records.

        Raises:
            ProtocolError: as `open_signed`.
        """
        return self._verify(certificate, self._past, self._believed_once)

    def verify_stored(self, certificate: bytes) -> Certificate:
        """Return what a certificate says if any root ever signed it: for what was believed when it was written here.

        Raises:
            ProtocolError: as `open_signed`.
        """
        return self._verify(certificate, self._ever, self._believed_here)

    def verify_author(self, certificate: bytes) -> Certificate:
        """Return what the certificate of the author of a record says, for a record that somebody else brings.

        Raises:
            ProtocolError: as `verify_past`; RevokedError for an author that was revoked: when it signed, nobody knows.
        """
        return self._unrevoked(self.verify_past(certificate))

    def verify_certificate(self, certificate: bytes, now_ms: int, *, lower_bound: bool = False) -> Certificate:
        """Return what a certificate says if a trusted root signed it, nobody revoked it, and it is valid at `now_ms`.

        Raises:
            RevokedError: it was revoked.
            ProtocolError: as `open_signed` and `check_dates`, of which see `lower_bound`.
        """
        opened = self._unrevoked(self.verify_chain(certificate))
        what = f"certificate of {opened.name}"
        check_dates(what, opened.not_before, opened.not_after, now_ms, lower_bound=lower_bound)
        return opened

    def believes(self, certificate: Certificate) -> bool:
        """Whether a certificate that was verified before still holds, but for its dates."""
        return certificate.issuer in self._roots and not self._revocations.revokes(certificate)

    def _verify(
        self, certificate: bytes, roots: Mapping[bytes, bytes], cache: dict[Fingerprint, Certificate]
    ) -> Certificate:
        fingerprint = fingerprint_of(certificate)
        known = cache.get(fingerprint)
        if known is None:
            known = self.open_signed(CERTIFICATE_KIND, Certificate, certificate, MAX_CERTIFICATE, roots)
            if len(cache) >= _CACHED:
                cache.pop(next(iter(cache)))
            cache[fingerprint] = known
        return known

    def _unrevoked(self, certificate: Certificate) -> Certificate:
        if self._revocations.revokes(certificate):
            raise RevokedError(f"certificate of {certificate.name}: revoked; it needs new keys and another certificate")
        return certificate

    def _check_mesh(self, kind: str, signed: RootSigned) -> None:
        if signed.mesh_id != self._mesh_id:
            raise ForeignMeshError(
                f"{kind}: of mesh {signed.mesh_id.hex()[:16]}, but this is mesh {self._mesh_id.hex()[:16]}"
            )


def _open_first(mesh_id: MeshId, bundle: bytes) -> TrustBundle:
    """Open bundle 1, which only the root whose hash is the mesh id can have signed."""
    claimed = decode(TrustBundle, peek_unverified(BUNDLE_KIND, bundle, MAX_BUNDLE))
    if claimed.mesh_id != mesh_id:
        raise ForeignMeshError(f"{BUNDLE_KIND}: of mesh {claimed.mesh_id.hex()[:16]}, expected {mesh_id.hex()[:16]}")
    first = _by_id(claimed).get(mesh_id)
    if claimed.sequence != 1 or first is None or claimed.issuer != mesh_id:
        raise MalformedError(f"{BUNDLE_KIND}: does not begin with the first root of the mesh")
    open_object(BUNDLE_KIND, bundle, first, MAX_BUNDLE)
    return claimed


def _by_id(bundle: TrustBundle) -> dict[bytes, bytes]:
    return {root_id(public_key): public_key for public_key in bundle.roots}


def _rank(bundle: TrustBundle, data: bytes) -> tuple[int, bytes]:
    return bundle.sequence, hashlib.sha256(data).digest()
