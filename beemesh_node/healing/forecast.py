"""Where a declaration would run: the bids of this moment, asked for as for a placement, with nothing given.

It is a probe of all slots that the declaration has no claim for. Those of an earlier revision are still there while
machines bid, as they are in a rollout; but a rollout asks for a few slots at a time, so its later ones may find more
room than is foretold here. Nothing is reserved: the bids of the real placement decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from beemesh_node.healing.context import Context
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.effects import Reply, Token
from beemesh_node.healing.round import Round
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Forecast, NoReason, Refusal, SlotAttempt, SlotPlace
from beemesh_node.scheduling.reasons import details, summarise
from beemesh_node.scheduling.sampling import Candidates

MAX_AT_ONCE = 16
"""Forecasts that are worked out at one time; who asks for more may ask again."""


@dataclass
class Forecasts:
    """Answers what would become of declarations that are not in force."""

    context: Context
    _asked: set[Token] = field(default_factory=set)

    def asked(self, token: Token, declaration: Declaration, now: float) -> None:
        """Begin one; it is answered once the bids are in."""
        views = [v for v in self.context.claims.views(declaration, now) if v.ref.machine in self.context.members]
        staying = {
            view.ref.slot: MachineId(view.ref.machine)
            for view in views
            if declaration.wants(view.ref) and not view.stopping and not view.leaving
        }
        homes = {slot: home for (uid, slot), home in self.context.homes.items() if uid == declaration.uid}
        lacking = [slot for slot in range(declaration.replicas) if slot not in staying]
        bound = {slot: homes[slot] for slot in lacking if slot in homes}
        wanting = [SlotAttempt(slot, 0) for slot in lacking if slot not in bound]
        found = _Found(self, token, declaration, staying, bound)
        if len(self._asked) >= MAX_AT_ONCE:
            busy = "too many forecasts are being worked out: ask again"
            self.context.outbox.emit(Reply(token, Forecast((), len(wanting), busy)))
            return
        if not wanting:
            found.answer({}, (), {})
            return
        self._asked.add(token)
        salt = (self.context.config.seed, self.context.me.encode(), b"forecast", str(token).encode())
        task_id = hashlib.sha256(b"\0".join(salt)).digest()[:16]
        found.round = Round(
            outbox=self.context.outbox,
            owner=found,
            declaration=declaration,
            wanting=wanting,
            candidates=Candidates(self.context.members, declaration.requirements, task_id),
            labels=self.context.labels,
            present=tuple(self.context.labels(machine) for machine in staying.values()),
            task_id=task_id,
            probe=True,
        )
        found.round.start(now)

    def over(self, token: Token) -> None:
        """One has been answered."""
        self._asked.discard(token)


@dataclass
class _Found:
    """One forecast while its bids come in; owns its round."""

    forecasts: Forecasts
    token: Token
    declaration: Declaration
    staying: Mapping[int, MachineId]
    bound: Mapping[int, MachineId]
    """Slots that can only go to the machine that holds their volumes."""
    round: Round | None = None

    def placed(self, machine: MachineId, slots: Sequence[SlotAttempt], now: float) -> None:
        """Nothing ever is."""

    def round_over(self, now: float) -> None:
        """All bids are in."""
        if self.round is not None:
            reasons = {**self.round.refused}
            reasons.update((machine, (Refusal(NoReason.POD_ANTI_AFFINITY),)) for machine in self.round.able)
            self.answer(self.round.found, self.round.wanting, reasons)

    def answer(
        self,
        found: Mapping[int, MachineId],
        waiting: Sequence[SlotAttempt],
        refused: Mapping[MachineId, Sequence[Refusal]],
    ) -> None:
        """Say what is known now."""
        context = self.forecasts.context
        here = {slot: machine for slot, machine in self.bound.items() if machine in context.members}
        stays = [SlotPlace(slot, machine, stays=True) for slot, machine in self.staying.items()]
        goes = [SlotPlace(slot, machine) for slot, machine in {**found, **here}.items()]
        places = tuple(sorted((*stays, *goes), key=lambda place: place.slot))
        message = ""
        if waiting:
            by_name = {context.name(machine): reasons for machine, reasons in refused.items()}
            lacking = details(by_name)
            message = summarise(by_name) + (f" ({lacking})" if lacking else "")
        away = sorted(self.bound.keys() - here.keys())
        if away:
            names = ", ".join(f"slot {slot} on {context.name(self.bound[slot])}" for slot in away)
            told = f"volumes are on machines that are not here: {names}"
            message = f"{message}; {told}" if message else told
        self.forecasts.over(self.token)
        context.outbox.emit(Reply(self.token, Forecast(places, len(waiting) + len(away), message)))
