"""Whom this member admits to its network: who proves, in a hello, to be a member of its mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

import trio

from beemesh_node.membership.clock import MeshClock
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.local import LocalMember
from beemesh_node.network.api import FrameStream, NetworkError, Refused
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.greeting import MAX_HELLO_FRAME, HelloRefused
from beemesh_node.protocol.hello import Hello, Introduction
from beemesh_node.protocol.ids import PeerId


@final
class MemberGatekeeper:
    """Implements `network.api.Gatekeeper`: the admission that it gives is a `Contact`."""

    def __init__(self, member: LocalMember, clock: MeshClock, time_known: Callable[[], bool]) -> None:
        """`clock` learns from every hello; `time_known` is false while its time is but a lower bound."""
        self._member = member
        self._clock = clock
        self._time_known = time_known

    async def greet(self, stream: FrameStream, *, local: PeerId, remote: PeerId, initiator: bool) -> Contact:
        """See `network.api.Gatekeeper`. Raises `Refused` with the reason, which the other side is told."""
        member = self._member
        hello = Hello(
            member.session,
            member.contacts.trust,
            local=local,
            remote=remote,
            initiator=initiator,
            time_known=self._time_known(),
        )
        try:
            await stream.write_frame(hello.begin(member.mesh_time()))
            greeting = await stream.read_frame(MAX_HELLO_FRAME)
            await stream.write_frame(hello.receive_greeting(greeting, member.mesh_time()))
            introduction = hello.receive_proof(await stream.read_frame(MAX_HELLO_FRAME), member.mesh_time())
        except HelloRefused as refused:
            if refused.frame is not None:
                await _tell(stream, refused.frame)
            raise Refused(str(refused)) from refused
        self._learn_time(introduction)
        contact = Contact(
            introduction.certificate,
            introduction.certificate_bytes,
            introduction.fingerprint,
            introduction.statement,
            introduction.statement_bytes,
        )
        member.contacts.admit(contact)
        # What this very connection proved, even if the book knows of a session that says it is later.
        return replace(contact, session_keys=introduction.session_keys, trust_digest=introduction.trust_digest)

    def _learn_time(self, introduction: Introduction) -> None:
        """Take the time from machines only: an operator's laptop has no say in it."""
        if introduction.time_offset_ms is not None and introduction.certificate.role is Role.MACHINE:
            now = trio.current_time()
            said = self._member.mesh_time() + introduction.time_offset_ms
            self._clock.answered(introduction.certificate.machine_id, said, now, now)


async def _tell(stream: FrameStream, frame: bytes) -> None:
    """Say why, if the other side still listens."""
    try:
        await stream.write_frame(frame)
    except NetworkError:
        return
