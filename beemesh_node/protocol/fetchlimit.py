"""When to ask a peer for a certificate that is not known here: strangers decide how often that question arises."""

from collections import OrderedDict
from typing import Final, final

from beemesh_node.protocol.ids import Fingerprint, PeerId

RETRY_SECONDS: Final = 10.0
"""The same question is put to the same peer once in this time, whatever the answer was."""
BURST: Final = 16
"""Questions that may be put to one peer at once."""
PER_SECOND: Final = 2.0
"""Questions to one peer in the long run."""
MAX_ASKED: Final = 4_096
"""Questions that are remembered at most; beyond, nothing is asked until the oldest is forgotten."""


@final
class FetchLimiter:
    """Decides whether to fetch. Times are seconds of a monotonic clock.

    Only the peer that delivered a message is asked for its sender: a stranger makes nobody else work, and a peer that
    does not answer keeps nobody from asking another, hence the pairs.
    """

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[PeerId, Fingerprint], float] = OrderedDict()
        self._allowances: dict[PeerId, tuple[float, float]] = {}

    def may_fetch(self, deliverer: PeerId, fingerprint: Fingerprint, now: float) -> bool:
        """Tell whether to ask `deliverer` for `fingerprint` now; if so, that counts as asked."""
        while self._asked and next(iter(self._asked.values())) <= now - RETRY_SECONDS:
            self._asked.popitem(last=False)
        if (deliverer, fingerprint) in self._asked or len(self._asked) >= MAX_ASKED:
            return False
        left, since = self._allowances.get(deliverer, (float(BURST), now))
        left = min(BURST, left + (now - since) * PER_SECOND)
        if left < 1:
            return False
        self._allowances[deliverer] = (left - 1, now)
        self._asked[deliverer, fingerprint] = now
        self._forget_rested(now)
        return True

    def _forget_rested(self, now: float) -> None:
        """Drop allowances that are whole again, once there are more than questions could have made."""
        if len(self._allowances) > MAX_ASKED:
            rested = now - BURST / PER_SECOND
            self._allowances = {peer: entry for peer, entry in self._allowances.items() if entry[1] > rested}
