"""Asking many machines at once and taking what they answer in good time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import trio

from beemesh_node.cli.session import Session
from beemesh_node.messaging.errors import AuthenticationRefused, ConnectionLost, MeshError, RemoteFailure
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import ListReply, ListRequest

T = TypeVar("T")

AT_ONCE = 32
"""Machines asked at the same time."""
TIMEOUT = 8.0
"""Seconds that one machine has for its answer."""
PATIENCE = 2.0
"""Seconds that the last ones have once most have answered: a machine that just died must not hold up every command."""

_SAME_EVERYWHERE = ("Forbidden", "Unauthorized", "Invalid")
"""Codes of failures that are about the question or the asker, not about the machine that answers."""


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """Answers by machine, and for those that gave none the error."""

    replies: Mapping[MachineId, T]
    silent: Mapping[MachineId, str]


async def gather(
    session: Session,
    machines: Iterable[MachineId],
    payload: object,
    reply: type[T],
    *,
    enough: Callable[[Mapping[MachineId, T]], bool] | None = None,
    within: float = TIMEOUT,
) -> Gathered[T]:
    """Ask every machine of `machines` the same and return what came.

    Once `enough` says so of the replies (by default: most of the machines have answered) the others have `PATIENCE`
    seconds left. Raised is what concerns all of them: `AuthenticationRefused`, a `RemoteFailure` that is about the
    question or the asker, and `ConnectionLost` when the entry is gone before `enough` has come.
    """
    asked = tuple(dict.fromkeys(machines))
    replies: dict[MachineId, T] = {}
    silent: dict[MachineId, str] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)
    satisfied = enough or (lambda got: len(got) * 2 > len(asked))

    async with trio.open_nursery() as nursery:

        async def ask(machine: MachineId) -> None:
            async with limiter:
                try:
                    replies[machine] = await _whole(session, machine, payload, reply, within)
                except AuthenticationRefused:
                    raise
                except ConnectionLost as error:
                    if not satisfied(replies):  # else what is known is enough, also of a change
                        raise
                    silent[machine] = str(error)
                except RemoteFailure as error:
                    if error.code in _SAME_EVERYWHERE:
                        raise
                    silent[machine] = str(error)
                except MeshError as error:
                    silent[machine] = str(error)
            if satisfied(replies):
                nursery.cancel_scope.deadline = min(nursery.cancel_scope.deadline, trio.current_time() + PATIENCE)

        for machine in asked:
            nursery.start_soon(ask, machine)
    for machine in asked:
        if machine not in replies:
            silent.setdefault(machine, "did not answer in time")
    return Gathered(replies, silent)


async def _whole(session: Session, machine: MachineId, payload: object, reply: type[T], within: float) -> T:
    """Ask one machine, and for a listing again until it has told everything, each time within the same bound."""
    answer = await session.ask(machine, payload, reply, timeout=within)
    while isinstance(answer, ListReply) and isinstance(payload, ListRequest) and answer.next > payload.after:
        payload = replace(payload, after=answer.next)
        more = await session.ask(machine, payload, ListReply, timeout=within)
        answer = ListReply(
            (*answer.machines, *more.machines),
            (*answer.workloads, *more.workloads),
            (*answer.pods, *more.pods),
            (*answer.events, *more.events),
            more.next,
        )  # type: ignore[assignment]
    return answer
