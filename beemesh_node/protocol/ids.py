"""The names by which members, keys and content are known. Each is a distinct type, so that mypy keeps them apart."""

from typing import NewType

MachineId = NewType("MachineId", str)
"""32 lower-case hex digits: 16 random bytes chosen by the signer of a certificate and kept across renewals."""

PeerId = NewType("PeerId", str)
"""libp2p peer id of an Ed25519 key, base58."""

Fingerprint = NewType("Fingerprint", bytes)
"""SHA-256 of a certificate object's exact bytes."""

MeshId = NewType("MeshId", bytes)
"""SHA-256 of the public key of the first root a mesh ever had (32 bytes)."""

SessionId = NewType("SessionId", bytes)
"""16 random bytes drawn at each start of a daemon or command."""

Cid = NewType("Cid", str)
"""CIDv1 of a block: base32, raw codec, sha2-256 of the ciphertext."""

Uid = NewType("Uid", str)
"""UUID4 text of one declaration of a workload; deleting and re-creating a name makes another."""
