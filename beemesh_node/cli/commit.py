"""Giving a record to the machines responsible for it, and judging by their answers whether it is in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from beemesh_node.cli.errors import CliError, InvalidInputError, NotAllowedError
from beemesh_node.cli.gather import gather
from beemesh_node.cli.session import Session
from beemesh_node.cli.survey import reachable
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import Commit, CommitReply
from beemesh_node.protocol.record import AttestedRecord

Opener = Callable[[bytes], AttestedRecord]
"""Opens an attested record whose owner is to be believed, or raises a `ProtocolError`."""

_ERRORS: Mapping[str, type[CliError]] = {"Forbidden": NotAllowedError, "Invalid": InvalidInputError}


@dataclass(frozen=True, slots=True)
class Stored:
    """A record is in force: who holds it, of how many that should, and what they had to say."""

    holders: tuple[MachineId, ...]
    guardians: int
    warnings: tuple[str, ...]


async def commit(
    session: Session, subject: str, attested: AttestedRecord, message: Commit, open_record: Opener
) -> Stored:
    """Send `message`, whose record is `attested`, to every guardian at once.

    It is in force once most guardians, or all that can be reached, have stored it. `subject` names it in errors. Raises
    `CliError`: a conflict with a change made meanwhile, a refusal, or too few that could store it. After an error some
    guardians may hold the record all the same, and would then hand it on: the error says so.
    """
    guardians = session.guardians(Uid(attested.record.uid))
    if not guardians:
        raise CliError(f"{subject}: no machine of the mesh can be reached to store it; see `beectl get machines`")
    majority = len(guardians) // 2 + 1

    in_reach = set(reachable(session)).intersection(guardians)

    def enough(replies: Mapping[MachineId, CommitReply]) -> bool:
        accepted = sum(reply.accepted for reply in replies.values())
        return accepted >= majority or (accepted > 0 and in_reach <= replies.keys())

    answers = await gather(session, guardians, message, CommitReply, enough=enough)
    holders = tuple(machine for machine, reply in answers.replies.items() if reply.accepted)
    refusals = {machine: reply for machine, reply in answers.replies.items() if not reply.accepted}
    for reply in refusals.values():
        _raise_if_lost(subject, attested, reply, open_record)
    if len(holders) >= majority or (holders and not refusals):
        replies = answers.replies.values()
        return Stored(holders, len(guardians), tuple(dict.fromkeys(w for reply in replies for w in reply.warnings)))
    raise _too_few(subject, len(holders), len(guardians), refusals, answers.silent)


def _raise_if_lost(subject: str, ours: AttestedRecord, reply: CommitReply, open_record: Opener) -> None:
    """Raise when a guardian holds what wins over our record. A guardian that is merely behind catches up by itself."""
    if not reply.current:
        return
    try:
        current = open_record(reply.current)
    except ProtocolError:
        return  # not genuine, so it decides nothing
    if current.record.uid != ours.record.uid or current.rank <= ours.rank:
        return
    what = "was deleted" if current.record.deleted else f"was changed by {current.owner.name}"
    raise CliError(f"{subject} {what} meanwhile: look at it with `beectl get` or `beectl diff`, then run this again")


def _too_few(
    subject: str, stored: int, wanted: int, refusals: Mapping[MachineId, CommitReply], silent: Mapping[MachineId, str]
) -> CliError:
    reasons = [f"  {machine}: {reply.reason}: {reply.message}" for machine, reply in sorted(refusals.items())]
    reasons += [f"  {machine}: {why}" for machine, why in sorted(silent.items())]
    kinds = {_ERRORS.get(reply.reason, CliError) for reply in refusals.values()}
    kind = kinds.pop() if len(kinds) == 1 and not silent else CliError
    state = f"only {stored} of {wanted}" if stored else f"none of {wanted}"
    after = "It may come into force all the same; run this again to be sure." if stored else "Nothing was changed."
    return kind(f"{subject}: {state} responsible machines stored it. {after}\n" + "\n".join(reasons))
