"""Telling the person what is being waited for: on a terminal, once it takes longer than two seconds."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from beemesh_node.cli.terminal import printable

if TYPE_CHECKING:
    from rich.status import Status

DELAY = 2.0
"""Seconds before anything is shown."""


class Progress:
    """One line of text that says what is being waited for. A timer's thread shows it, hence the lock."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lock = threading.Lock()
        self._status: Status | None = None
        self._over = False

    def say(self, text: str) -> None:
        """Replace the line."""
        with self._lock:
            self._text = printable(text)
            if self._status is not None:
                self._status.update(self._text)

    def show(self) -> None:
        """Begin to show it, unless it is over."""
        from rich.console import Console

        with self._lock:
            if self._over:
                return
            self._status = Console(stderr=True, highlight=False, markup=False).status(self._text)
            self._status.start()

    def end(self) -> None:
        """Remove it for good."""
        with self._lock:
            self._over = True
            if self._status is not None:
                self._status.stop()
                self._status = None


@contextmanager
def progress(text: str) -> Iterator[Progress]:
    """Show `text`, and what is said later, while the block runs, if it runs long enough and somebody looks."""
    line = Progress(text)
    timer = threading.Timer(DELAY, line.show)
    timer.daemon = True
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        timer.start()
    try:
        yield line
    finally:
        timer.cancel()
        line.end()
