"""Why something that is well-formed is not believed, and for how long what is signed holds."""

from beemesh_node.protocol.errors import ProtocolError


class TrustError(ProtocolError):
    """Base: well-formed, but not believed here."""


class ForeignMeshError(TrustError):
    """It belongs to another mesh."""


class UnknownRootError(TrustError):
    """It is signed by a root that is not, or no longer, trusted here."""


class ExpiredError(TrustError):
    """Its time is over."""


class NotYetValidError(TrustError):
    """Its time has not come."""


class RevokedError(TrustError):
    """It was revoked."""


def check_dates(what: str, not_before: int, not_after: int, now_ms: int, *, lower_bound: bool = False) -> None:
    """Refuse what is not valid at `now_ms` of mesh time.

    `lower_bound`: the time is only known to be at least `now_ms` (a machine without a clock that has met nobody yet),
    so that what is said to begin later may well have begun.

    Raises:
        ExpiredError: `not_after` has come.
        NotYetValidError: `not_before` has not come.
    """
    if now_ms >= not_after:
        raise ExpiredError(f"{what}: expired {_span(now_ms - not_after)} ago; it must be renewed")
    if now_ms < not_before and not lower_bound:
        raise NotYetValidError(f"{what}: valid only in {_span(not_before - now_ms)}; compare the clocks")


def _span(milliseconds: int) -> str:
    minutes = milliseconds // 60_000
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
