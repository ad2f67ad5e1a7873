"""How a command ends when it cannot do what was asked: one message that names the object and the next step."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import IO, Any, ClassVar

import click

from beemesh_node.cli import terminal


class ExitCode(IntEnum):
    """Exit codes of `beectl`, the same for every command (`exec` passes on the code of what it ran)."""

    OK = 0
    FAILURE = 1
    INVALID = 2
    """Wrong usage, or a manifest, name or file that is not valid."""
    AUTHENTICATION = 3
    """Key, certificate or passphrase refused, or not allowed."""
    TIMEOUT = 4


class CliError(click.ClickException):
    """The command failed; `message` names the object and what to do next."""

    exit_code: ClassVar[int] = ExitCode.FAILURE

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message to standard error."""
        stream = file if file is not None else sys.stderr
        prefix = click.style("error:", fg="red", bold=True) if terminal.colours(stream) else "error:"
        click.echo(f"{prefix} {self.message}", file=stream, color=True)


class InvalidInputError(CliError):
    """What the person typed, or a file that was named, is wrong."""

    exit_code = ExitCode.INVALID


class UnchangeableError(InvalidInputError):
    """What a declaration is for its whole life: only deleting it and declaring it anew changes that."""


class NotAllowedError(CliError):
    """Key, certificate or passphrase is wrong, or does not allow this."""

    exit_code = ExitCode.AUTHENTICATION


class TimedOutError(CliError):
    """It did not happen in time; it may still."""

    exit_code = ExitCode.TIMEOUT
