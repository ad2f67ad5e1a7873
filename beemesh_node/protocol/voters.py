"""The signature of a voter under a successor of the voter set in force: what a majority of makes a voter set.

A vote is kept and handed on as it was signed, so that machines that were not there believe it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from beemesh_node.crypto.provider import SigningKey
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import SignedVote
from beemesh_node.protocol.objects import open_object, sign_object

VOTE_KIND = "vote"
MAX_VOTE = 512 * 1024
"""Bytes of a vote: it has a mark for each slot."""


@dataclass(frozen=True, slots=True)
class SlotMark:
    """What must be known of a slot by every later voter set: the greatest term, and where its volumes are."""

    slot: int
    term: int
    home: str = ""


@dataclass(frozen=True, slots=True)
class VoterVote:
    """A voter's signature is over this: the one successor, by its number, that it wants."""

    mesh_id: bytes
    uid: str
    number: int
    voters: tuple[str, ...]
    marks: tuple[SlotMark, ...]


def sign_vote(vote: VoterVote, certificate: bytes, key: SigningKey) -> SignedVote:
    """Sign `vote` with a machine's `key`."""
    return SignedVote(certificate, sign_object(VOTE_KIND, encode(vote), key))


def open_vote(signed: SignedVote, chain: Callable[[bytes], Certificate]) -> tuple[MachineId, VoterVote]:
    """Check a vote, and return who signed it. `chain` as for `record.open_record`, and what it raises."""
    signer = chain(signed.certificate)
    return signer.machine_id, decode(VoterVote, open_object(VOTE_KIND, signed.vote, signer.public_key, MAX_VOTE))
