"""What can go wrong between a question and its answer. Each message names the machine and the next step."""

from __future__ import annotations


class MeshError(Exception):
    """Base of everything that asking another member can raise."""


class MeshUnreachable(MeshError):
    """No way to the member: no address answers, or the machine between cannot reach it."""


class ConnectionLost(MeshError):
    """The connection was lost on which an answer was to come. Whether the question had its effect is not known."""


class PeerRefused(MeshError):
    """The member did not accept the message, or its answer could not be believed."""


class RequestTimeout(MeshError):
    """No answer within the time given. Whether the question had its effect is not known."""


class AuthenticationRefused(MeshError):
    """One side does not believe the other's certificate."""


class RemoteFailure(MeshError):
    """The member understood, and says why not. `code` is a Kubernetes-like reason (NotFound, Forbidden, Conflict …)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
