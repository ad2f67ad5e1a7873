"""What the parts of one core share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from beemesh_node.healing.claims import ClaimTable
from beemesh_node.healing.config import Config
from beemesh_node.healing.declaration import Declaration, NamePath, reigning
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.healing.notes import Notes
from beemesh_node.healing.outbox import Outbox
from beemesh_node.healing.tallies import Tallies
from beemesh_node.membership.acquaintance import Acquaintance
from beemesh_node.membership.closeness import key_of_name
from beemesh_node.membership.table import MemberTable
from beemesh_node.protocol.ids import MachineId, Uid


def restart_of(machine: MachineId) -> tuple[str, MachineId]:
    """The timer that runs while a machine restarts that announced it."""
    return "restart", machine


@dataclass
class Context:
    """The state that guardian, runner and hand-over look at together."""

    me: MachineId
    config: Config
    members: MemberTable
    outbox: Outbox
    notes: Notes
    claims: ClaimTable
    declarations: dict[Uid, Declaration] = field(default_factory=dict)
    """The newest version of everything that is stored here, tombstones included."""
    acquaintance: Acquaintance = field(default_factory=Acquaintance)
    names: dict[NamePath, set[Uid]] = field(default_factory=dict)
    dirty: dict[Uid, None] = field(default_factory=dict)
    """Declarations to be looked at before the present call ends, in this order."""

    voters: dict[Uid, Voters] = field(default_factory=dict)
    """The newest voter set of each leased declaration, also of those that have been erased here."""
    tallies: Tallies = field(default_factory=Tallies)
    homes: dict[tuple[Uid, int], MachineId] = field(default_factory=dict)
    """The machines that hold the volumes of slots, as far as voters here or reports have told."""
    _paths: dict[str, NamePath] = field(default_factory=dict)
    """The names of what is stored here, by key."""

    def mark(self, uid: Uid) -> None:
        """Have a declaration looked at."""
        self.dirty[uid] = None

    def guardians(self, path: NamePath) -> tuple[MachineId, ...]:
        """Return the guardians of a name, by rank: all declarations under it have the same."""
        return self.members.guardians(key_of_name(*path), self.config.guardians)

    def guardians_of(self, uid: Uid) -> tuple[MachineId, ...]:
        """Return the guardians of a declaration, by rank; none if it is not stored here."""
        declaration = self.declarations.get(uid)
        return self.guardians(declaration.path) if declaration is not None else ()

    def moved(self) -> dict[NamePath, None]:
        """Return the names with declarations here whose guardians have changed since this was last asked."""
        return {self._paths[key]: None for key in self.members.moved() if key in self._paths}

    def rank(self, uid: Uid) -> int | None:
        """Return this machine's rank among the guardians of a declaration; None if it is none, or it is not stored."""
        guardians = self.guardians_of(uid)
        return guardians.index(self.me) if self.me in guardians else None

    def store(self, declaration: Declaration, now: float) -> bool:
        """Keep a declaration if it is newer than what is known of its uid. False if it is no news."""
        known = self.declarations.get(declaration.uid)
        if known is not None and known.rank >= declaration.rank:
            return False
        if known is None and len(self.declarations) >= self.config.max_declarations:
            text = f"more than {self.config.max_declarations} declarations: compact the tombstones of this mesh"
            self.notes.warning(declaration, "TooManyDeclarations", text, now)
            return False
        self.declarations[declaration.uid] = declaration
        if declaration.voters:
            self.voters.setdefault(declaration.uid, Voters(0, frozenset(declaration.voters)))
        self._follow(declaration.path)
        self.names.setdefault(declaration.path, set()).add(declaration.uid)
        for uid in self.names[declaration.path]:
            self.mark(uid)
        return True

    def awaited(self, machine: MachineId) -> bool:
        """Whether a machine announced a restart, and still has time to come back."""
        return self.outbox.timers.armed(restart_of(machine))

    def drop(self, uid: Uid) -> None:
        """Forget a declaration that is not on the disk any more, and its claims."""
        declaration = self.declarations.pop(uid)
        rivals = self.names[declaration.path]
        rivals.discard(uid)
        if not rivals:
            del self.names[declaration.path]
            key = key_of_name(*declaration.path)
            self.members.unfollow(key)
            del self._paths[key]
        self.dirty.pop(uid, None)
        self.claims.forget(uid)

    def _follow(self, path: NamePath) -> None:
        key = key_of_name(*path)
        self._paths[key] = path
        self.members.follow(key, self.config.guardians)

    def reigns(self, declaration: Declaration) -> bool:
        """Whether this is the live declaration of its name that runs, as far as is known here."""
        winner = self.reigning(declaration.path)
        return winner is None or winner.uid == declaration.uid

    def reigning(self, path: NamePath) -> Declaration | None:
        """Return the live declaration that runs under a name, as far as is known here."""
        return reigning(self.declarations[uid] for uid in self.names.get(path, ()))

    def labels(self, machine: str) -> Mapping[str, str]:
        """Return the labels of a member; none of a machine that is none (any more)."""
        member = self.members.get(machine)
        return member.labels if member is not None else {}

    def name(self, machine: str) -> str:
        """Return the name by which people know a machine."""
        member = self.members.get(machine)
        return member.name if member is not None else machine
