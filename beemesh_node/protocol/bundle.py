"""The trust bundle: which roots a mesh has from some time on, signed by one of those before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from beemesh_node.crypto import SIGNING_PUBLIC_SIZE, SUITE
from beemesh_node.protocol.certificate import HASH_SIZE
from beemesh_node.protocol.ids import MeshId

BUNDLE_KIND: Final = "trust-bundle"
MAX_ROOTS: Final = 4
MAX_BUNDLE: Final = 16 * 1024
"""Bytes of a bundle object at most."""
MAX_DISOWNED: Final = 48
"""More than there can have been: a chain ends before."""


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """The roots of a mesh from `issued_at` (ms of mesh time) on. Raises ValueError for what no bundle may say."""

    suite: int
    mesh_id: MeshId
    issuer: bytes
    sequence: int
    """1 for the first; of two the greater counts."""
    roots: tuple[bytes, ...]
    """ML-DSA-65 public keys, the preferred one first."""
    issued_at: int
    disowned: tuple[bytes, ...] = ()
    """Ids of roots whose keys were stolen: what they certified is taken from nobody any more, also what is old."""

    def __post_init__(self) -> None:
        if self.suite != SUITE:
            raise ValueError(f"suite {self.suite} is not known here")
        if {len(self.mesh_id), len(self.issuer), *map(len, self.disowned)} != {HASH_SIZE}:
            raise ValueError(f"the ids of mesh and root have {HASH_SIZE} bytes")
        if len(self.disowned) > MAX_DISOWNED or not {root_id(root) for root in self.roots}.isdisjoint(self.disowned):
            raise ValueError(f"it disowns a root that it trusts, or more than {MAX_DISOWNED}")
        if self.sequence < 1:
            raise ValueError("sequences begin with 1")
        if not 0 < len(self.roots) <= MAX_ROOTS or len(set(self.roots)) < len(self.roots):
            raise ValueError(f"a bundle has 1 to {MAX_ROOTS} different roots")
        if any(len(root) != SIGNING_PUBLIC_SIZE for root in self.roots):
            raise ValueError(f"an ML-DSA-65 public key has {SIGNING_PUBLIC_SIZE} bytes")


@dataclass(frozen=True, slots=True)
class TrustChain:
    """The bundles of a store in their order, as they are kept on disk and handed to a newcomer."""

    bundles: tuple[bytes, ...]


def root_id(public_key: bytes) -> bytes:
    """Return the id of a root: SHA-256 of its public key. The id of the first root is the id of the mesh."""
    return hashlib.sha256(public_key).digest()
