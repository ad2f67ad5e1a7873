"""How members come to know and to reach each other; and the plainest of answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IntroductionRequest:
    """Asks who the member behind a fingerprint or machine id is. Give one of both."""

    fingerprint: bytes
    machine: str


@dataclass(frozen=True, slots=True)
class IntroductionReply:
    """Certificate and session statement, both signed by those who can; or nothing."""

    certificate: bytes
    statement: bytes


@dataclass(frozen=True, slots=True)
class RelayRequest:
    """Asks to be joined to another machine: after an `Ack` every further frame is passed on unread, both ways."""

    machine: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Not done, and why. `code` is a Kubernetes-like reason: NotFound, Forbidden, Conflict, Invalid, Unavailable."""

    code: str
    message: str
