"""How a command ends when it cannot do what was asked: one message that names the object and the next step."""

from __future__ import annotations

from enum import IntEnum
from typing import IO, Any

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

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message to standard error."""
        stream = file if file is not None else click.get_text_stream("stderr")
        prefix = click.style("error:", fg="red", bold=True) if terminal.colours(stream) else "error:"
        click.echo(f"{prefix} {self.message}", file=stream, color=True)


def invalid(message: str) -> CliError:
    """The person's input is wrong."""
    return CliError(message, ExitCode.INVALID)


def refused(message: str) -> CliError:
    """Key, certificate or passphrase is wrong, or does not allow this."""
    return CliError(message, ExitCode.AUTHENTICATION)


def timed_out(message: str) -> CliError:
    """It did not happen in time; it may still."""
    return CliError(message, ExitCode.TIMEOUT)
