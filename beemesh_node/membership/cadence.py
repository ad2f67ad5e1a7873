"""How often a machine tells of itself. The mesh has one budget of gossip, whatever its size."""

from __future__ import annotations

GOSSIP_BUDGET = 20.0
"""Messages a second that gossip carries well in the whole mesh (measured with py-libp2p)."""
PRESENCE_SHARE = 0.25
"""Part of the budget that presence uses while nothing changes: what changes, events and revocations have the rest."""
FASTEST = 5.0
"""Seconds: small meshes do not talk more often than this. What changes, and who comes, is told of at once besides."""
MISSED = 3
"""So many presences missed mean that nothing is known of a machine."""
WATCHED_LEAST = 10.0
"""Seconds: not sooner, where machines are watched. Its watchers find out much earlier, and surely, who is dead."""
MIN_PERIOD, MAX_PERIOD = 0.1, 3600.0
"""Bounds on what a machine may claim as its presence period, in seconds."""


def presence_period(members: int) -> float:
    """Seconds between two presences of one machine: max(5, members / (20 * 0.25)).

    25 machines tell of themselves every 5 s, 150 every 30 s, 1,500 every 300 s: always at most 5 messages a second, of
    which each costs every machine some 2 ms of a processor.
    """
    return max(FASTEST, members / (GOSSIP_BUDGET * PRESENCE_SHARE))


def members_at(period: float) -> float:
    """How many members a mesh has whose machines tell of themselves with this period (s); 0 if that is not known."""
    return period * GOSSIP_BUDGET * PRESENCE_SHARE if period > FASTEST else 0.0


def lifetime(period: float, least: float = 0.0) -> float:
    """Seconds for which a presence holds, of a machine that claims this period (s): three such periods, or `least`."""
    return max(least, MISSED * min(max(period, MIN_PERIOD), MAX_PERIOD))
