"""The times and bounds of the decision core. Seconds, unless a name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from beemesh_node.membership.closeness import GUARDIANS


@dataclass(frozen=True, slots=True)
class Config:
    """Defaults suit a mesh; tests and simulations change what they study."""

    seed: bytes = b""
    """Drawn anew at each start of the daemon: makes task ids unlike those of an earlier life."""
    life: int = 0
    """Grows with every start of the daemon, and is persisted before anything is sent: orders reports of claims and
    requests for leases, whatever clocks say."""
    guardians: int = GUARDIANS
    """k: how many machines keep a declaration and answer for it."""
    settle: float = 3.0
    """After its own start a guardian gives others this long to be heard before it repairs what was there before."""
    alone: float = 0.0
    """As long as it hears nobody at all, it waits this long instead: of a machine that knows of others."""
    survey: float = 1.0
    """How long a guardian that is new to a declaration waits for what others know of its claims."""
    standby: float = 1.5
    """A guardian of rank r steps in once a deficit has lasted r times this long."""
    window: float = 0.25
    """Bids are awaited for at most this long, if there are enough to keep replicas apart …"""
    patience: float = 0.75
    """… else this much longer, while machines that were asked have not answered."""
    task_timeout: float = 2.0
    """After this a machine that was asked counts as not answering."""
    assign_timeout: float = 5.0
    retry_first: float = 1.0
    """If nobody can take a replica, the next try is after this, then twice that …"""
    retry_most: float = 60.0
    """… up to this; a change among the members asks at once."""
    machine_back_off_first: float = 5.0
    """A machine on which a replica failed is not asked for this long, then twice that …"""
    machine_back_off_most: float = 300.0
    voter_patience: float = 600.0
    """A voter over leases that has been gone for so long is replaced."""
    report_gap: float = 0.1
    """Changes of claims within this time travel together; the first goes at once."""
    report_repeat: float = 2.0
    """What has not reached a guardian that is here is told again after this."""
    report_period: float = 30.0
    """All claims are told anew this often."""
    release_repeat: float = 1.0
    """A release that had no effect is offered again after this."""
    push_repeat: float = 5.0
    """A record that was not acknowledged is brought again after this."""
    least_lifetime: float = 0.0
    """A machine counts as gone after three missed presences, but not sooner than this: where it is watched besides."""
    erase_after: float = 60.0
    """What this machine neither guards nor runs is kept this long at least, and whoever should keep it asked again."""
    restart_grace: float = 60.0
    """A machine that announced a restart keeps its claims this long."""
    start_retry_first: float = 1.0
    start_retry_most: float = 60.0
    max_declarations: int = 20_000
    max_claims: int = 50_000
    """Claims that a guardian keeps account of, over all declarations."""
    max_asks: int = 4096
    """Questions out at one time."""
    max_events: int = 1024
    """Events of its own that a machine remembers …"""
    max_history: int = 8192
    """… and, as a guardian, of others."""
