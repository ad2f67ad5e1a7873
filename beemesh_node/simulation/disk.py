"""What a simulated machine has written down. A full disk takes nothing in, and keeps what is on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from beemesh_node.healing import effects as fx
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.leases.voter import HeldVoter
from beemesh_node.healing.leases.voters import Voters
from beemesh_node.protocol.ids import Uid
from beemesh_node.protocol.messages import Maintenance


@dataclass
class Unwritten:
    """What a daemon has to write as soon as there is room, and forgets when it ends."""

    voters: dict[Uid, HeldVoter] = field(default_factory=dict)
    """While there is any, no voter of the machine answers."""
    ended: set[str] = field(default_factory=set)
    """Pods whose claims are over."""


@dataclass
class Disk:
    """What survives everything but the loss of the disk."""

    records: dict[Uid, Declaration] = field(default_factory=dict)
    claims: dict[str, fx.HeldClaim] = field(default_factory=dict)
    voters: dict[Uid, HeldVoter] = field(default_factory=dict)
    voter_sets: dict[Uid, tuple[Voters, ...]] = field(default_factory=dict)
    lives: int = 0
    """How often the daemon was started."""
    maintenance: Maintenance = Maintenance.NONE
    grace: float | None = None
    full: bool = False

    def write(self, effects: Sequence[fx.Effect], unwritten: Unwritten) -> frozenset[str]:
        """Write what effects want written, and what could not be written before.

        Returns the pods whose claims were not: they must not start.
        """
        claims = {each.claim.identity.pod_uid: each.claim for each in effects if isinstance(each, fx.PersistClaim)}
        unwritten.voters.update({each.voter.uid: each.voter for each in effects if isinstance(each, fx.PersistVoter)})
        unwritten.ended.update(each.pod_uid for each in effects if isinstance(each, fx.ForgetClaim))
        if self.full:
            return frozenset(claims)
        self.claims.update(claims)
        for pod_uid in unwritten.ended:
            self.claims.pop(pod_uid, None)
        self.voters.update(unwritten.voters)
        unwritten.voters.clear()
        unwritten.ended.clear()
        return frozenset()
