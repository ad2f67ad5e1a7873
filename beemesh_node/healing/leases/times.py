"""The times of leases, in seconds. Every clock may run up to 1 % fast or slow."""

from __future__ import annotations

TTL = 10.0
"""For how long a lease is granted."""
LONG_TTL = 60.0
"""For how long it is granted to a machine that is about to restart its daemon; voters grant no longer."""
MARGIN = 0.5
"""A runner's lease ends so much before its TTL, counted from when it asked: time for the kernel to end the pod."""
STRETCH = 1.02
"""A voter counts a grant for so much longer than asked, from when it granted."""
RENEW_EVERY = 2.5
"""Between two renewals at one voter."""
ASK_AGAIN = 1.0
"""After this a voter that did not grant is asked again."""
ASK_TIMEOUT = 1.5
"""A voter that has not answered after this counts as not granting."""
END_EARLY = 0.4 * TTL - MARGIN
"""A pod is asked to end (SIGTERM) so long before its lease ends: when 60 % of the TTL have passed unrenewed."""
BACK_OFF = 1.5
"""At most so long a pod that did not get its lease waits, so that others in the same case do not meet it again."""


def voter_seconds(ttl: float) -> float:
    """Return how long a voter keeps to a grant of `ttl`, and how long a restarted one is silent for it."""
    return STRETCH * ttl
