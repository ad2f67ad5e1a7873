"""Giving a record to the machines responsible for it, and judging by their answers whether it is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from beemesh_node.cli.errors import CliError, InvalidInputError, NotAllowedError
from beemesh_node.cli.gather import gather
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import reachable
from beemesh_node.cli.terminal import printable
from beemesh_node.protocol.errors import ProtocolError
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Commit, CommitReply, Forecast
from beemesh_node.protocol.record import AttestedRecord, open_record

_ERRORS: Mapping[str, type[CliError]] = {"Forbidden": NotAllowedError, "Invalid": InvalidInputError}


@dataclass(frozen=True, slots=True)
class Stored:
    """A record is in force: who holds it, of how many that should, and what they had to say."""

    holders: tuple[MachineId, ...]
    guardians: int
    warnings: tuple[str, ...]
    forecast: Forecast | None = None
    """Of a dry run: where its replicas would run, if the guardian that would coordinate has said."""


async def commit(mesh: Mesh, subject: str, attested: AttestedRecord, message: Commit) -> Stored:
    """Send `message`, whose record is `attested`, to every guardian at once.

    It is in force once most guardians, or all that can be reached, have stored it. `subject` names it in errors. Raises
    `CliError`: a conflict with a change made meanwhile, a refusal, or too few that could store it. After an error some
    guardians may hold the record all the same, and would then hand it on: the error says so.
    """
    session = mesh.session
    record = attested.record
    guardians = session.guardians(record.namespace, record.kind, record.name)
    if not guardians:
        raise CliError(f"{subject}: no machine of the mesh can be reached to store it; see `beectl get machines`")
    majority = len(guardians) // 2 + 1

    in_reach = set(reachable(session)).intersection(guardians)

    def enough(replies: Mapping[MachineId, CommitReply]) -> bool:
        if message.dry_run and not record.deleted and not any(reply.forecast for reply in replies.values()):
            return False  # the bids for it are still coming in
        accepted = sum(reply.accepted for reply in replies.values())
        return accepted >= majority or (accepted > 0 and in_reach <= replies.keys())

    answers = await gather(session, guardians, message, CommitReply, enough=enough)
    holders = tuple(machine for machine, reply in answers.replies.items() if reply.accepted)
    refusals = {machine: reply for machine, reply in answers.replies.items() if not reply.accepted}
    for reply in refusals.values():
        _raise_if_lost(mesh, subject, attested, reply)
    if len(holders) >= majority or (holders and not refusals):
        replies = answers.replies.values()
        warnings = tuple(dict.fromkeys(warning for reply in replies for warning in reply.warnings))
        forecast = next((reply.forecast for reply in replies if reply.forecast is not None), None)
        return Stored(holders, len(guardians), warnings, forecast)
    raise _too_few(mesh, subject, (len(holders), len(guardians)), refusals, answers.silent)


def _raise_if_lost(mesh: Mesh, subject: str, ours: AttestedRecord, reply: CommitReply) -> None:
    """Raise when a guardian holds what wins over our record. A guardian that is merely behind catches up by itself."""
    if not reply.current:
        return
    try:
        current = open_record(reply.current, mesh.chain)
    except ProtocolError:
        return  # not genuine, so it decides nothing
    if current.record.uid != ours.record.uid or current.rank <= ours.rank:
        return
    what = "was deleted" if current.record.deleted else f"was changed by {current.owner.name}"
    raise CliError(f"{subject} {what} meanwhile: look at it with `beectl get` or `beectl diff`, then run this again")


def _too_few(
    mesh: Mesh,
    subject: str,
    stored: tuple[int, int],
    refusals: Mapping[MachineId, CommitReply],
    silent: Mapping[MachineId, str],
) -> CliError:
    reasons: dict[str, list[str]] = {}
    for machine, reply in refusals.items():
        reasons.setdefault(printable(reply.message or reply.reason), []).append(mesh.machine_name(machine))
    for machine, why in silent.items():
        reasons.setdefault(printable(why), []).append(mesh.machine_name(machine))
    kinds = {_ERRORS.get(reply.reason, CliError) for reply in refusals.values()}
    kind = kinds.pop() if len(kinds) == 1 and not silent else CliError
    if kind is not CliError and not stored[0]:
        return kind("\n".join(reasons))
    state = f"only {stored[0]} of {stored[1]}" if stored[0] else f"none of {stored[1]}"
    after = "It may come into force all the same; run this again to be sure." if stored[0] else "Nothing was changed."
    told = "".join(f"\n  {', '.join(sorted(machines))}: {reason}" for reason, machines in reasons.items())
    return kind(f"{subject}: {state} responsible machines stored it. {after}{told}")
