"""How beats are sent and by which way they come: what drivers of the detector have to decide. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

BEAT_EVERY = 0.2
"""Seconds."""
OPEN_WITHIN = 5.0
"""Seconds from dialling a machine to its first beat, at most."""
ASK_WITHIN = 0.6
"""Seconds: an answer of another watcher that comes later is of no use."""
LINGER = 3.0
"""Seconds for which beats go on as datagrams after their stream was lost: there may soon be another one."""
ENOUGH_DATAGRAMS = 5
"""After so many beats that came as datagrams, they need not come on the stream as well."""
RETRY_FIRST, RETRY_MOST = 0.1, 2.0
"""Seconds between two attempts to open a stream: they double."""


@dataclass(slots=True)
class Rhythm:
    """When to beat. Times are monotonic seconds."""

    due: float

    def beaten(self, now: float) -> float:
        """Return when to beat next. Who was late beats at once and once more, but not for all that it missed."""
        self.due = max(self.due + BEAT_EVERY, now)
        return self.due

    def hurry(self, now: float) -> None:
        """Beat now: somebody wants to hear this machine."""
        self.due = now


@dataclass(slots=True)
class Way:
    """Whether a machine's beats have to come on its stream, or datagrams get through."""

    on_stream: bool = True
    """Whether it was asked to beat on the stream too."""
    datagrams: int = 0
    """How many came since it was asked so."""

    def came_by_datagram(self) -> bool:
        """Take in a beat; True if the stream is needed no more: tell the machine (see `choose`)."""
        if self.on_stream:
            self.datagrams += 1
        return self.on_stream and self.datagrams >= ENOUGH_DATAGRAMS

    def choose(self, on_stream: bool) -> bool:
        """Choose the way; True if the machine is to be told. That it shall use the stream it is told every time."""
        if not on_stream and not self.on_stream:
            return False
        self.on_stream, self.datagrams = on_stream, 0
        return True


@dataclass(slots=True)
class Retry:
    """How long to wait before a stream is opened again."""

    _next: float = RETRY_FIRST

    def opened(self) -> None:
        """It was open: begin anew."""
        self._next = RETRY_FIRST

    def wait(self) -> float:
        """Return the seconds to wait now."""
        seconds, self._next = self._next, min(self._next * 2, RETRY_MOST)
        return seconds
