"""Two members of a mesh that say hello to each other, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from beemesh_node.protocol.greeting import (
    HelloRefusal,
    HelloRefused,
)
from beemesh_node.protocol.hello import Hello, Introduction
from beemesh_node.protocol.ids import PeerId
from beemesh_node.protocol.session import LocalSession
from beemesh_node.protocol.trust import TrustStore
from tests.node.protocol.mesh import NOW, OPERATOR, Member, Mesh

MESH = Mesh()
ANNA, BERT = MESH.member(), MESH.member(OPERATOR)
Alter = Callable[[bytes], bytes]


def unaltered(frame: bytes) -> bytes:
    return frame


@dataclass
class Side:
    """One side of a hello: who it is and what time it takes it to be."""

    member: Member
    session: LocalSession
    trust: TrustStore
    now: int = NOW
    time_known: bool = True

    @classmethod
    def of(cls, member: Member) -> Side:
        return cls(member, member.session(), MESH.trust())

    def hello(self, remote: PeerId, *, initiator: bool) -> Hello:
        return Hello(
            self.session,
            self.trust,
            local=self.member.peer_id,
            remote=remote,
            initiator=initiator,
            time_known=self.time_known,
        )


Outcome = Introduction | HelloRefused


def attempt(step: Callable[[], bytes | Introduction]) -> bytes | Outcome:
    try:
        return step()
    except HelloRefused as refusal:
        return refusal


def meet(one: Side, other: Side, greeting: Alter = unaltered, proof: Alter = unaltered) -> tuple[Outcome, Outcome]:
    """Let `one` dial `other`; what `one` says goes through `greeting` and `proof` on its way. A refusal is told."""
    dialler = one.hello(other.member.peer_id, initiator=True)
    listener = other.hello(one.member.peer_id, initiator=False)
    said, heard = greeting(dialler.begin(one.now)), listener.begin(other.now)
    first = attempt(lambda: dialler.receive_greeting(heard, one.now + 40))
    second = attempt(lambda: listener.receive_greeting(said, other.now + 40))
    outcomes: list[Outcome] = []
    for hello, own, theirs, now in ((dialler, first, second, one.now), (listener, second, first, other.now)):
        if isinstance(own, (HelloRefused, Introduction)):
            outcomes.append(own)
            continue
        frame = theirs.frame if isinstance(theirs, HelloRefused) else theirs
        assert isinstance(frame, bytes)
        if hello is listener and not isinstance(theirs, HelloRefused):
            frame = proof(frame)
        outcome = attempt(lambda hello=hello, frame=frame, now=now: hello.receive_proof(frame, now + 100))
        assert not isinstance(outcome, bytes)
        outcomes.append(outcome)
    return outcomes[0], outcomes[1]


def introduced(outcome: Outcome) -> Introduction:
    assert isinstance(outcome, Introduction), outcome
    return outcome


def reason(outcome: Outcome) -> HelloRefusal:
    assert isinstance(outcome, HelloRefused), outcome
    return outcome.reason


def refused(step: Callable[[], object]) -> HelloRefused:
    with pytest.raises(HelloRefused) as refusal:
        step()
    return refusal.value
