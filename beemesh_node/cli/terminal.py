"""What depends on where the output goes: width, colours, and text from elsewhere made safe to show."""

from __future__ import annotations

import os
import shutil
import sys
from typing import IO, Any

import click

_STATUS_COLOURS = {
    "green": {"Running", "Ready", "Succeeded", "Completed", "True", "Active", "Normal", "available", "accepted"},
    "yellow": {
        "Pending", "ContainerCreating", "PodInitializing", "Terminating", "Unknown", "NotReady", "SchedulingDisabled",
        "Warning", "shadowed", "superseded",
    },
    "red": {
        "Failed", "Error", "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "OOMKilled",
        "CreateContainerError", "CreateContainerConfigError", "RunContainerError", "Dead", "Lost", "InvalidImageName",
    },
}  # fmt: skip
_COLOUR_OF = {word: colour for colour, words in _STATUS_COLOURS.items() for word in words}


def colours(stream: IO[Any] | None = None) -> bool:
    """Whether `stream` (standard output by default) is a terminal that wants colours (https://no-color.org)."""
    stream = stream if stream is not None else sys.stdout
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def width() -> int | None:
    """Columns of the terminal behind standard output; None when it is none, and nothing need be cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def printable(text: str) -> str:
    r"""Text that came from a machine or a container, without what could drive the terminal (`\x1b` and its like)."""
    return "".join(c if c.isprintable() else " " if c in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" for c in text)


def paint(word: str) -> str:
    """Colour a status word as its meaning asks; unknown words and non-terminals stay as they are."""
    if not colours():
        return word
    colour = _COLOUR_OF.get(word.strip().split(",", 1)[0].removeprefix("Init:"))
    return word if colour is None else click.style(word, fg=colour)


def note(text: str) -> None:
    """Tell the person something that is not the answer: on standard error."""
    click.echo(text, err=True)
