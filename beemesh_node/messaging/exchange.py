"""Asking other members, and answering them: sealed to one, signed, through other machines where need be."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, final

import trio

from beemesh_node.crypto import CryptoError
from beemesh_node.messaging.directory import Contact
from beemesh_node.messaging.errors import (
    AuthenticationRefused,
    ConnectionLost,
    MeshError,
    MeshUnreachable,
    PeerRefused,
    RemoteFailure,
    RequestTimeout,
)
from beemesh_node.messaging.local import LocalMember
from beemesh_node.messaging.wire import MAX_DIRECT, MESSAGE
from beemesh_node.network.api import ConnectionLost as LinkLost
from beemesh_node.network.api import FrameStream, Host, NetworkError, Refused, Unreachable
from beemesh_node.network.pipe import pipe
from beemesh_node.protocol.certificate import Role
from beemesh_node.protocol.counters import Refused as MessageRefused
from beemesh_node.protocol.counters import UnknownSender
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.fetchlimit import FetchLimiter
from beemesh_node.protocol.ids import Fingerprint, MachineId
from beemesh_node.protocol.messages import Ack, Failure, IntroductionReply, IntroductionRequest, RelayRequest
from beemesh_node.protocol.opener import Opened
from beemesh_node.protocol.session import LocalSession

# The standard library's: structlog takes long to import, and unconfigured it writes to a command's standard output.
_log = logging.getLogger("beemesh.messaging")

T = TypeVar("T")

_ANSWER_WITHIN = 60.0
"""Seconds a handler may take; what takes longer answers first and goes on later."""
_FETCH_WITHIN = 3.0
_INTRODUCED_WITHIN = 3.0
"""Seconds in which all who are connected are shown a renewed certificate."""
_REACH_WITHIN = 5.0
"""Seconds that connecting to a machine may take before the host's own way is tried."""


@dataclass(frozen=True, slots=True)
class Question:
    """A message that passed every check, and who sent it."""

    payload: Any
    sender: Contact
    message_id: bytes
    asked: Fingerprint
    """Of our own certificate by which we were asked: the answer comes under the same."""

    @property
    def machine(self) -> MachineId:
        """The sender's id."""
        return self.sender.machine


@dataclass(frozen=True, slots=True)
class Continued:
    """An answer after which the stream goes on: `go_on` has it until it returns."""

    reply: object
    go_on: Callable[[FrameStream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A message as it travels, and its id."""

    data: bytes
    message_id: bytes


Handler: TypeAlias = Callable[[Question], Awaitable[object]]
"""Answers a question with a payload or `Continued`. A `RemoteFailure` that it raises becomes the answer."""

Reach: TypeAlias = Callable[[Contact, float], Awaitable[object]]
"""Tries to be connected to a machine, for so many seconds. Raises `MeshError` if one side refuses the other."""


@final
class Exchange:
    """The door of one member: `ask` goes out, what `answer` was told comes in."""

    def __init__(self, host: Host, member: LocalMember, *, relays: bool) -> None:
        """`relays`: join members to machines that they cannot reach themselves."""
        self._host = host
        self._relays = relays
        self._member = member
        self._handlers: dict[type, Handler] = {IntroductionRequest: self._introduce}
        self._fetches = FetchLimiter()
        self._reach: Reach | None = None
        host.serve(MESSAGE, self._serve)

    def answer(self, handlers: Mapping[type, Handler]) -> None:
        """Answer questions of these types from now on."""
        self._handlers.update(handlers)

    def reach_by(self, reach: Reach) -> None:
        """Before a question is passed on, let `reach` connect to the machine that it is for."""
        self._reach = reach

    async def ask(
        self, contact: Contact, payload: object, reply: type[T], *, timeout: float, through: Contact | None = None
    ) -> T:
        """Ask a member and return its answer. `timeout` in seconds; `through` is a machine that passes it on unread.

        Raises:
            MeshUnreachable, ConnectionLost, PeerRefused, AuthenticationRefused, RequestTimeout: no answer, and why.
            RemoteFailure: the member says why not.
        """
        try:
            with trio.fail_after(timeout):
                async with self.open(contact, payload, reply, through=through) as (answer, _, _):
                    return answer
        except trio.TooSlowError:
            raise RequestTimeout(f"{contact.certificate.name} did not answer within {timeout:g} s") from None

    async def introduce(self, session: LocalSession) -> None:
        """Show everybody who is connected under which certificate we speak from now on, while the last one is known.

        Who is not told in good time has to ask when the first message comes.
        """
        shown = IntroductionReply(session.certificate_bytes, session.statement_bytes)
        question = IntroductionRequest(session.fingerprint, "")

        async def show(contact: Contact) -> None:
            with suppress(MeshError, MessageRefused, NetworkError):
                async with self._stream(contact, None) as stream:
                    for message in self._sealed((contact, shown), (contact, question)):
                        await stream.write_frame(message.data)
                    await self._answer_from(stream, contact, IntroductionReply)

        with trio.move_on_after(_INTRODUCED_WITHIN):
            async with trio.open_nursery() as nursery:
                for admission in list(self._host.peers().values()):
                    if isinstance(admission, Contact):
                        nursery.start_soon(show, admission)

    @asynccontextmanager
    async def open(
        self, contact: Contact, payload: object, reply: type[T], *, through: Contact | None = None
    ) -> AsyncIterator[tuple[T, FrameStream, bytes]]:
        """Ask, and keep the stream: gives the answer, the stream after it, and the id of the message that asked.

        Raises as `ask`, but bounds no time.
        """
        relay = through if through is not None and through.machine != contact.machine else None
        request = [(relay, RelayRequest(contact.machine))] if relay is not None else []
        messages = self._sealed(*request, (contact, payload))
        async with self._stream(contact, through) as stream:
            # After a request to relay the question follows at once: the relay holds it until it has reached the target.
            for message in messages:
                await stream.write_frame(message.data)
            if relay is not None:
                await self._answer_from(stream, relay, Ack)
            yield await self._answer_from(stream, contact, reply), stream, messages[-1].message_id

    @asynccontextmanager
    async def _stream(self, contact: Contact, through: Contact | None) -> AsyncIterator[FrameStream]:
        first = through or contact
        name = first.certificate.name
        try:
            async with self._host.open(first.peer, MESSAGE) as stream:
                yield stream
        except Refused as error:
            raise AuthenticationRefused(f"{name}: {error.reason}") from error
        except Unreachable as error:
            raise MeshUnreachable(f"{name}: {error}") from error
        except LinkLost as error:
            raise ConnectionLost(
                f"the connection to {name} was lost before {contact.certificate.name} answered; run it again"
            ) from error
        except NetworkError as error:
            way = "" if first is contact else f" (reached through {name})"
            raise PeerRefused(
                f"{contact.certificate.name}{way} closed the stream without an answer: it refused the message, or was "
                "stopped; try again"
            ) from error

    def _sealed(self, *messages: tuple[Contact, object], asked: Fingerprint | None = None) -> list[_Sealed]:
        """Seal each payload to its receiver, and sign all together: signing is what messages cost."""
        sealer = self._member.sealer if asked is None else self._member.sealer_as(asked)
        unsigned = []
        for contact, payload in messages:
            try:
                unsigned.append(sealer.direct(payload, contact.recipient, self._member.mesh_time()))
            except (CryptoError, ProtocolError) as error:
                raise PeerRefused(
                    f"{contact.certificate.name}: cannot be sent {type(payload).__name__}: {error}"
                ) from error
        signed = sealer.sign_batch(unsigned)
        return [_Sealed(data, each.header.message_id) for data, each in zip(signed, unsigned, strict=True)]

    async def _put(self, stream: FrameStream, question: Question, payload: object) -> None:
        (message,) = self._sealed((question.sender, payload), asked=question.asked)
        await stream.write_frame(message.data)

    async def _answer_from(self, stream: FrameStream, contact: Contact, reply: type[T]) -> T:
        name = contact.certificate.name
        try:
            opened = self._member.opener.open(await stream.read_frame(MAX_DIRECT), self._member.mesh_time())
        except MessageRefused as error:
            raise PeerRefused(f"{name}: its answer is not believed: {error}") from error
        if opened.header.sender != contact.fingerprint:
            raise PeerRefused(f"{name}: somebody else answered in its place")
        if isinstance(opened.payload, Failure):
            raise RemoteFailure(opened.payload.code, opened.payload.message)
        if not isinstance(opened.payload, reply):
            raise PeerRefused(f"{name}: answered with {type(opened.payload).__name__}, expected {reply.__name__}")
        return opened.payload

    # ---- answering -------------------------------------------------------------------------------------------------

    async def _serve(self, stream: FrameStream, admission: object) -> None:
        try:
            question = await self._question(stream, admission)
        except MessageRefused as refused:
            _log.info("message of %s refused: %s", stream.peer, refused.reason.value)
            await stream.reset()
            return
        if isinstance(question.payload, RelayRequest) and self._relays:
            await self._relay(stream, question)
            return
        answer = await self._handled(question)
        reply = answer.reply if isinstance(answer, Continued) else answer
        await self._put(stream, question, reply)
        if isinstance(answer, Continued):
            await answer.go_on(stream)

    async def _question(self, stream: FrameStream, admission: object) -> Question:
        """Read a question, and find out in which session its sender waits for the answer.

        A member may have several sessions at once: an operator types in two windows. So the one that counts is that of
        the connection, or that which a relay shows of who asked it, and the newest one known only without either.
        """
        opened = await self._opened(await stream.read_frame(MAX_DIRECT), admission)
        shown = admission if isinstance(admission, Contact) else None
        if isinstance(opened.payload, IntroductionReply):
            shown = self._introduced(opened.payload)
            opened = await self._opened(await stream.read_frame(MAX_DIRECT), admission)
        newest = self._member.contacts.by_fingerprint(opened.header.sender)
        sender = shown if shown is not None and shown.fingerprint == opened.header.sender else newest
        if sender is None:  # forgotten since the message was opened: more members than are kept
            raise UnknownSender(opened.header.sender)
        if newest is not None and newest.statement.session_id == sender.statement.session_id:
            sender = newest  # the same session, perhaps with another KEM key by now
        header = opened.header
        return Question(opened.payload, sender, header.message_id, Fingerprint(header.audience_id))

    def _introduced(self, introduction: IntroductionReply) -> Contact | None:
        """The member that a relay shows before its question, if it is one."""
        contacts = self._member.contacts
        try:
            contact = contacts.verify(introduction.certificate, introduction.statement, self._member.mesh_time())
        except ProtocolError as error:
            _log.info("introduction refused: %s", error)
            return None
        contacts.admit(contact)
        return contact

    async def _opened(self, data: bytes, admission: object) -> Opened:
        try:
            return self._member.opener.open(data, self._member.mesh_time())
        except UnknownSender as unknown:
            if not isinstance(admission, Contact) or not await self.fetch(admission, unknown.fingerprint):
                raise
        return self._member.opener.open(data, self._member.mesh_time())

    async def fetch(self, deliverer: Contact, fingerprint: Fingerprint) -> bool:
        """Ask who delivered a message for its sender's introduction, not too often. True if it is known now."""
        if not self._fetches.may_fetch(deliverer.peer, fingerprint, trio.current_time()):
            return False
        try:
            question = IntroductionRequest(fingerprint, "")
            newest = self._member.contacts.by_machine(deliverer.machine) or deliverer
            reply = await self.ask(newest, question, IntroductionReply, timeout=_FETCH_WITHIN)
            if not reply.certificate:
                return False
            contact = self._member.contacts.learn(reply.certificate, reply.statement, self._member.mesh_time())
        except (MeshError, ProtocolError) as error:
            _log.info("introduction by %s refused: %s", deliverer.machine, error)
            return False
        return contact.fingerprint == fingerprint

    async def _handled(self, question: Question) -> object:
        handler = self._handlers.get(type(question.payload))
        if handler is None:
            return Failure("NotFound", f"{type(question.payload).__name__} is not answered here")
        try:
            with trio.fail_after(_ANSWER_WITHIN):
                return await handler(question)
        except RemoteFailure as failure:
            return Failure(failure.code, failure.message)
        except trio.TooSlowError:
            return Failure("Timeout", "took too long; look whether it had its effect before asking again")

    async def _introduce(self, question: Question) -> IntroductionReply:
        request: IntroductionRequest = question.payload
        own = self._member.session
        if request.fingerprint == own.fingerprint:  # it was renewed since our hello
            return IntroductionReply(own.certificate_bytes, own.statement_bytes)
        if request.machine:
            contact = self._member.contacts.by_machine(MachineId(request.machine))
        else:
            contact = self._member.contacts.by_fingerprint(Fingerprint(request.fingerprint))
        if contact is None:
            return IntroductionReply(b"", b"")
        return IntroductionReply(contact.certificate_bytes, contact.statement_bytes)

    async def _relay(self, stream: FrameStream, question: Question) -> None:
        """Pass frames on, unread, between who asked and a machine that they cannot reach themselves."""
        target = self._member.contacts.by_machine(MachineId(question.payload.machine))
        if target is None or target.certificate.role is not Role.MACHINE:
            failure = Failure("NotFound", f"machine {question.payload.machine[:32]} is not known here")
            await self._put(stream, question, failure)
            return
        try:
            if self._reach is not None:
                await self._reach(target, _REACH_WITHIN)
            async with self._host.open(target.peer, MESSAGE) as onward:
                asker = question.sender
                shown = IntroductionReply(asker.certificate_bytes, asker.statement_bytes)
                introduction, ready = self._sealed((target, shown), (asker, Ack()), asked=question.asked)
                await onward.write_frame(introduction.data)
                await stream.write_frame(ready.data)
                await pipe(stream, onward, MAX_DIRECT)
        except (AuthenticationRefused, Refused, Unreachable) as error:
            failure = Failure("Unavailable", f"{target.certificate.name} cannot be reached from here: {error}")
            await self._put(stream, question, failure)
