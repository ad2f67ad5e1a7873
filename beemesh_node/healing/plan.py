"""What a declaration lacks and what is too much, from its claims alone: any guardian comes to the same plan.

Nothing is remembered between two plans but what the claims say, so that a coordinator may die half way through a
rollout and the next goes on. The bounds hold at every instant that the claims are known: at most replicas + maxSurge
claims that are not ending, and a plan never takes the number of available replicas below replicas - maxUnavailable.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from beemesh_node.healing.declaration import Declaration, order
from beemesh_node.protocol.messages import ClaimRef
from beemesh_node.workloads.rollout import Rollout


@dataclass(frozen=True, slots=True)
class ClaimView:
    """A claim as a plan sees it. Claims that ended, or whose machine is gone, are not shown to it."""

    ref: ClaimRef
    ready: bool = False
    available: bool = False
    """Ready for minReadySeconds, or complete: ended as it should and for good."""
    stopping: bool = False
    broken: bool = False
    """Known not to be ready for some time: what is only starting may be ready by now."""
    leaving: bool = False
    """It is to go to another machine: it counts until one there serves, as one of an old revision does."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A claim that is over, and the better one that its runner may ask itself."""

    claim: ClaimRef
    better: ClaimRef | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and how far the declaration is."""

    place: tuple[int, ...] = ()
    """Slots that need a claim on the declared revision."""
    end: tuple[Ending, ...] = ()
    probe: tuple[int, ...] = ()
    """Slots whose claim has to end before another takes its place: it may once that is known to have a machine."""
    updated: int = 0
    """Slots with a claim on the declared revision."""
    ready: int = 0
    """Slots with a ready claim of any revision."""
    available: int = 0
    """Slots with an available claim on the declared revision."""
    outdated: int = 0
    """Claims that are too many or of another revision and not yet ending."""

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.place or self.end or self.probe or self.outdated)


@dataclass
class _Slot:
    new: list[ClaimView] = field(default_factory=list)
    old: list[ClaimView] = field(default_factory=list)
    stopping: int = 0
    placing: bool = False
    moving: bool = False
    """What is old here is of the declared revision, and only to go to other machines."""

    @property
    def claimed(self) -> bool:
        return bool(self.new or self.old or self.placing)

    @property
    def updating(self) -> bool:
        return bool(self.new or self.placing)

    @property
    def updated(self) -> bool:
        return any(claim.available for claim in self.new)

    @property
    def available(self) -> bool:
        return self.updated or any(claim.available for claim in self.old)

    @property
    def broken(self) -> bool:
        return all(claim.broken for claim in self.old)

    @property
    def blocked(self) -> bool:
        """Where slots are leased: what is new waits for what is old, as after two halves of a mesh have met."""
        return bool(self.new and self.old) and not self.updated


def _slots(declaration: Declaration, claims: Iterable[ClaimView], placing: Iterable[int]) -> dict[int, _Slot]:
    """The declared slots that have claims, by number: many thousand may be declared where few can run."""
    slots: dict[int, _Slot] = {}
    for claim in claims:
        if claim.ref.slot < declaration.replicas:
            slot = slots.setdefault(claim.ref.slot, _Slot())
            if claim.stopping:
                slot.stopping += 1
            else:
                stays = claim.ref.revision == declaration.revision and not claim.leaving
                (slot.new if stays else slot.old).append(claim)
    for number in placing:
        if number in slots:
            slots[number].placing = True
    for slot in slots.values():
        for group in (slot.new, slot.old):
            group.sort(key=lambda claim: order(claim.ref, declaration.revision))
        slot.moving = bool(slot.old) and all(claim.ref.revision == declaration.revision for claim in slot.old)
    return dict(sorted(slots.items()))


def _vacant(declaration: Declaration, slots: Mapping[int, _Slot], placing: Container[int], room: int) -> list[int]:
    """The lowest slots without a claim, as many as there is room for. Without surge a slot's last claim ends first.

    In order, a slot is filled only once all before it are available.
    """
    found: list[int] = []
    ordered = declaration.rollout is Rollout.ORDERED
    for number in range(declaration.replicas):
        if len(found) >= room:
            break
        slot = slots.get(number)
        ended = slot is None or not (slot.claimed or (slot.stopping and declaration.max_surge == 0))
        if ended and number not in placing:
            found.append(number)
        if ordered and (slot is None or not slot.available):
            break
    return found


def _surpassed(slot: _Slot) -> list[Ending]:
    """Claims for which the same slot has a better one that is ready: duplicates, and the revisions before.

    Of several that are all past their revision one is kept until the declared one serves: what a rollout left behind
    that was itself overtaken must not take the room that the next needs. What is broken leaves its machine as soon as
    another one has the slot: it is no loss.
    """
    endings = []
    ready = [claim for claim in slot.new if claim.ready]
    for claim in slot.new:
        winner = next((w for w in ready if w is not claim), None)
        if winner is not None and (claim.broken or slot.new.index(winner) < slot.new.index(claim)):
            endings.append(Ending(claim.ref, winner.ref))
    successor = next((claim for claim in slot.new if claim.available), None)
    if successor is not None:
        endings += [Ending(claim.ref, successor.ref) for claim in slot.old]
    elif slot.moving and slot.broken and slot.new:
        endings += [Ending(claim.ref) for claim in slot.old]
    elif len(slot.old) > 1:
        kept = next((claim for claim in slot.old if claim.ready), slot.old[0])
        endings += [Ending(claim.ref, kept.ref if kept.ready else None) for claim in slot.old if claim is not kept]
    return endings


def _vacate(declaration: Declaration, slots: Mapping[int, _Slot], movable: Iterable[int]) -> list[Ending]:
    """Without surge the old goes first: which of the `movable` slots to empty now, within maxUnavailable.

    Broken replicas are no loss and come first. The others follow strictly from the lowest slot (those of a StatefulSet
    from the highest), so that a plan made before the last one's endings are heard of chooses the same ones again.
    """
    downward = declaration.rollout in (Rollout.ORDERED, Rollout.PARALLEL)
    lacking = declaration.replicas - sum(slot.available for slot in slots.values())
    moving = declaration.replicas - sum(bool(slot.old) or slot.updated for slot in slots.values())
    chosen: list[_Slot] = []
    order_of = {number: (not slots[number].broken, -number if downward else number) for number in movable}
    for slot in (slots[number] for number in sorted(order_of, key=order_of.__getitem__)):
        if moving >= declaration.unavailable:
            break
        lacking += slot.available
        if lacking > declaration.unavailable and not slot.broken:
            break
        moving += 1
        chosen.append(slot)
    return [Ending(claim.ref) for slot in chosen for claim in slot.old]


def _excess(declaration: Declaration, claims: Iterable[ClaimView]) -> list[Ending]:
    """Slots beyond the declared number, from the highest."""
    over = [claim.ref for claim in claims if claim.ref.slot >= declaration.replicas and not claim.stopping]
    return [Ending(ref) for ref in sorted(over, key=lambda ref: (-ref.slot, ref.revision, ref.attempt, ref.machine))]


def _must_wait(declaration: Declaration, claims: Iterable[ClaimView]) -> bool:
    """Whether something of another revision has not ended, and nothing of this one may run beside it."""
    return declaration.rollout is Rollout.RECREATE and any(c.ref.revision != declaration.revision for c in claims)


def _due(declaration: Declaration, claims: Iterable[ClaimView], excess: Sequence[Ending]) -> Sequence[Ending]:
    """What of `excess` is to end now: in order, one slot after the other."""
    if declaration.rollout is not Rollout.ORDERED:
        return excess
    ending = max((claim.ref.slot for claim in claims if claim.stopping), default=-1)
    highest = max((each.claim.slot for each in excess), default=-1)
    return [each for each in excess if each.claim.slot == highest >= ending]


def plan(
    declaration: Declaration,
    claims: Sequence[ClaimView],
    placing: Iterable[int] = (),
    *,
    reigns: bool = True,
    halted: bool = False,
    cramped: bool = False,
    roomy: Container[int] = (),
) -> Plan:
    """Compare what is declared with what is claimed.

    `placing`: slots that are being given to a machine at this moment; they count as claims on the declared revision.
    `reigns` is False for a declaration that another of its name shadows: like a deleted one it has no claims.
    `halted`: the rollout passed its deadline; gaps are filled, but no healthy replica of another revision is touched.
    `cramped`: nobody can take a replica beyond the declared number, so that maxUnavailable is used instead of maxSurge.
    `roomy`: slots for which some machine has room as soon as the claim that is leaving has ended.
    """
    if declaration.deleted or not reigns:
        over = [claim.ref for claim in claims if not claim.stopping]
        ordered = sorted(over, key=lambda ref: (-ref.slot, ref.revision, ref.attempt, ref.machine))
        return Plan(end=tuple(Ending(ref) for ref in ordered), outdated=len(over))

    busy = frozenset(number for number in placing if number < declaration.replicas)
    slots = _slots(declaration, claims, busy)
    surging = declaration.max_surge > 0
    blocked = [number for number, slot in slots.items() if declaration.leased and slot.blocked]
    room = declaration.replicas + declaration.max_surge + len(blocked)  # of a blocked slot only one claim can run
    room -= len(busy) + sum(not claim.stopping for claim in claims)
    place = [] if _must_wait(declaration, claims) else _vacant(declaration, slots, busy, room)
    room -= len(place)

    excess = _excess(declaration, claims)
    endings = [*_due(declaration, claims, excess), *(ending for slot in slots.values() for ending in _surpassed(slot))]
    waiting = [n for n, slot in slots.items() if slot.old and not slot.updating and (slot.moving or not halted)]
    probe: list[int] = []
    if surging:
        window = declaration.max_surge - sum(
            bool(slot.old) and slot.updating and not slot.updated for slot in slots.values()
        )
        place += waiting[: max(min(window, room), 0)]
    if not surging or (cramped and declaration.max_unavailable > 0):
        probe = [number for number in waiting if slots[number].moving and number not in roomy]
        endings += _vacate(declaration, slots, [*blocked, *(number for number in waiting if number not in probe)])

    return Plan(
        place=tuple(sorted(place)),
        end=tuple(endings),
        probe=tuple(probe),
        updated=sum(bool(slot.new) for slot in slots.values()),
        ready=sum(any(claim.ready for claim in (*slot.new, *slot.old)) for slot in slots.values()),
        available=sum(slot.updated for slot in slots.values()),
        outdated=sum(len(slot.old) + max(len(slot.new) - 1, 0) for slot in slots.values()) + len(excess),
    )
