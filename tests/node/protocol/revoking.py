"""Revocation lists for tests."""

from __future__ import annotations

from beemesh_node.crypto import SUITE
from beemesh_node.protocol.certificate import fingerprint_of
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.revocation import Revocation, RevocationList, sign_list
from beemesh_node.protocol.root import MeshRoot
from tests.node.protocol.mesh import NOW, Member

SECRET = b"s" * 32


def list_by_root(root: MeshRoot, number: int, *entries: Revocation, secret: bytes = SECRET) -> bytes:
    content = RevocationList(SUITE, root.mesh_id, root.root_id, number, entries, epoch_id(secret), NOW)
    return sign_list(content, root.key)


def list_by(member: Member, number: int, *entries: Revocation, secret: bytes = SECRET) -> bytes:
    """As an operator signs one, whether or not it may."""
    issuer = fingerprint_of(member.certificate_bytes)
    content = RevocationList(SUITE, member.certificate.mesh_id, issuer, number, entries, epoch_id(secret), NOW)
    return sign_list(content, member.identity.signing, member.certificate_bytes)
