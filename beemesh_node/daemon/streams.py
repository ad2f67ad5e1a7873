"""`logs` and `exec` at the machine of a pod: sealed to the operator who asked, whatever machines lie between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import structlog
import trio

from beemesh_node.daemon.pods import Pods
from beemesh_node.messaging.duplex import SealedDuplex
from beemesh_node.messaging.errors import MeshError, RemoteFailure
from beemesh_node.messaging.exchange import Continued, Handler, Question
from beemesh_node.network.api import FrameStream
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.messages import Ack, ClaimRef, ExecRequest, LogsRequest
from beemesh_node.protocol.sealed_stream import MAX_STREAM_DATA, FrameKind, StreamFrame
from beemesh_node.runtime.errors import ContainerRuntimeError
from beemesh_node.runtime.exec import ExecSession
from beemesh_node.runtime.logs import LogOptions
from beemesh_node.runtime.runtime import Runtime
from beemesh_node.workloads.pod import PodIdentity

log = structlog.get_logger()

_OUTPUTS = {1: FrameKind.STDOUT, 2: FrameKind.STDERR}


class Streams:
    """Answers `LogsRequest` and `ExecRequest` of operators with the verb for the pod's namespace."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Who answers what."""
        return {LogsRequest: self._logs, ExecRequest: self._exec}

    async def _logs(self, question: Question) -> Continued:
        request: LogsRequest = question.payload
        runtime, identity = self._found(question, request.claim, "logs")
        options = LogOptions(
            follow=request.follow,
            tail=None if request.tail < 0 else request.tail,
            since_ms=request.since,
            timestamps=request.timestamps,
        )

        async def show(duplex: SealedDuplex) -> None:
            async with runtime.logs(identity, request.container, options, previous=request.previous) as pieces:
                await _send_output(duplex, pieces)

        return _sealed(question, request.stream_secret, show)

    async def _exec(self, question: Question) -> Continued:
        request: ExecRequest = question.payload
        runtime, identity = self._found(question, request.claim, "exec")
        log.info("exec", operator=question.machine, pod=identity.pod_uid)

        async def run(duplex: SealedDuplex) -> None:
            async with (
                runtime.exec(
                    identity, request.container, request.command, tty=request.tty, stdin=request.stdin
                ) as session,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_take_input, duplex, session)
                await _send_output(duplex, aiter(session))
                frame = StreamFrame.exit(await session.exit_code())
                await duplex.send(frame.kind, frame.data)
                nursery.cancel_scope.cancel()

        return _sealed(question, request.stream_secret, run)

    def _found(self, question: Question, claim: ClaimRef, verb: str) -> tuple[Runtime, PodIdentity]:
        runtime = self._pods.runtime
        if runtime is None:
            raise RemoteFailure("Unavailable", self._pods.reason)
        key = (claim.uid, claim.slot, claim.attempt, claim.revision)
        for status in runtime.pods():
            identity = status.identity
            if (identity.uid, identity.slot, identity.attempt, identity.revision) != key:
                continue
            asker = question.sender.certificate
            if asker.allows(verb, identity.namespace):
                return runtime, identity
            raise RemoteFailure("Forbidden", f"{asker.name} may not {verb} in namespace {identity.namespace}")
        raise RemoteFailure("NotFound", "the pod is not on this machine any more; look with `beectl get pods`")


def _sealed(question: Question, secret: bytes, work: Callable[[SealedDuplex], Awaitable[None]]) -> Continued:
    async def go_on(stream: FrameStream) -> None:
        try:
            async with SealedDuplex(stream, secret, question.message_id, asker=False) as duplex:
                try:
                    await work(duplex)
                except* ContainerRuntimeError as group:  # the tasks of `exec` raise in groups
                    await duplex.send(FrameKind.ERROR, str(_first(group)).encode()[:MAX_STREAM_DATA])
        except* (MeshError, ProtocolError) as group:
            log.info("stream ended early", error=str(_first(group)))

    return Continued(Ack(), go_on)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _send_output(duplex: SealedDuplex, pieces: AsyncIterator[tuple[int, bytes]]) -> None:
    async for number, data in pieces:
        kind = _OUTPUTS.get(number, FrameKind.STDOUT)
        for start in range(0, len(data), MAX_STREAM_DATA):
            await duplex.send(kind, data[start : start + MAX_STREAM_DATA])


async def _take_input(duplex: SealedDuplex, session: ExecSession) -> None:
    while True:
        kind, data = await duplex.receive()
        if kind is FrameKind.STDIN and data:
            await session.send(data)
        elif kind is FrameKind.STDIN:
            await session.send_eof()
        elif kind is FrameKind.RESIZE:
            rows, columns = StreamFrame(kind, data).size()
            await session.resize(columns, rows)
        elif kind is FrameKind.END:
            return
