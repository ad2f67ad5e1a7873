"""Running other programs, and telling the user what is going on."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from labs.paths import LOGS

console = Console(highlight=False, soft_wrap=True, emoji=False)


class LabError(Exception):
    """Something is not as it should be. The text says what, and what to do next."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show that `title` is under way, and how long it took."""
    console.print(f"[bold]→[/] {title} ", end="\n" if not console.is_terminal else "")
    started = time.monotonic()
    try:
        yield
    except BaseException:
        console.print("[red]failed[/]")
        raise
    console.print(f"  [green]✓[/] {time.monotonic() - started:.1f} s")


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - the name that subprocess gives it
    timeout: float = 600,
) -> str:
    """Run a command and return what it printed to standard output.

    Raises:
        LabError: it could not be started, took longer than `timeout` seconds or failed; its own words are in the text.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(  # noqa: S603 - the lab's whole work is to run programs
            words,
            env={**os.environ, **(env or {})},
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{shlex.join(words)}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise LabError(f"{shlex.join(words)} ended with {done.returncode}:\n{said}")
    return done.stdout


def run_logged(
    command: Sequence[str | Path],
    name: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    shown: int = 40,
) -> str:
    """Run a long command with its output in `.lab/logs/NAME.log`; return that output. It runs in `cwd`, if given.

    Raises:
        LabError: it failed; the last `shown` lines of the log are in the text.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    with log.open("w") as output:
        done = subprocess.run(  # noqa: S603
            [str(word) for word in command],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = log.read_text(errors="replace")
    if done.returncode != 0:
        tail = "\n".join(said.splitlines()[-shown:])
        raise LabError(f"{Path(command[0]).name} ended with {done.returncode}; the end of {log}:\n{tail}")
    return said


def hand_over(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> int:
    """Run a command with the user's own terminal and return its exit code."""
    sys.stdout.flush()
    return subprocess.run(  # noqa: S603
        [str(word) for word in command], env={**os.environ, **(env or {})}, check=False
    ).returncode
