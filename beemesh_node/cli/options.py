"""Options that many commands share. Each may stand before or after the command's name, as kubectl's do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from beemesh_node.cli.output import Format

F = TypeVar("F", bound=Callable[..., object])

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d|w))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_MAX_SECONDS = 100 * 366 * 86400.0


def examples(*lines: str) -> str:
    """The end of a command's help: command lines to try, kept as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


@dataclass(slots=True)
class Settings:
    """What the shared options said; lives in the context object of the whole command line."""

    directory: Path | None = None
    context: str | None = None
    namespace: str | None = None


def settings(ctx: click.Context | None = None) -> Settings:
    """The settings of the running command line."""
    return (ctx or click.get_current_context()).find_root().ensure_object(Settings)


def _store(name: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if value is not None:
            setattr(settings(ctx), name, value)

    return callback


def context_options(command: F) -> F:
    """`--dir` and `--context`: which mesh, and as whom."""
    directory = click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        expose_value=False,
        callback=_store("directory"),
        help="Directory of a context: keys, certificate, addresses (else BEEMESH_DIR).",
    )
    context = click.option(
        "--context",
        metavar="NAME",
        expose_value=False,
        callback=_store("context"),
        help="Context by name (else BEEMESH_CONTEXT, else the current one).",
    )
    return directory(context(command))


def namespace_option(command: F) -> F:
    """`-n`: the namespace that names without one mean."""
    return click.option(
        "-n",
        "--namespace",
        metavar="NS",
        expose_value=False,
        callback=_store("namespace"),
        help="Namespace (else BEEMESH_NAMESPACE, else the context's).",
    )(command)


def output_option(*formats: Format) -> Callable[[F], F]:
    """`-o` with the given formats, of which the first is the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=FormatType(formats),
        default=formats[0].value,
        show_default=True,
        help="How to print the answer.",
    )


timeout_option = click.option(
    "--timeout",
    "timeout",
    type=lambda text: duration(text),
    default="5m",
    show_default=True,
    metavar="TIME",
    help="How long to wait, as 90s or 5m. Exit code 4 when it is over.",
)
"""`--timeout` in seconds (float)."""


class FormatType(click.Choice[str]):
    """Reads a value of `-o` as `Format`."""

    name = "format"

    def __init__(self, formats: tuple[Format, ...]) -> None:
        super().__init__([form.value for form in formats])

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Format:
        """Read one."""
        return Format(super().convert(value, param, ctx))


def duration(text: str) -> float:
    """Read `90s`, `5m`, `1h30m` or a bare number of seconds.

    Raises:
        click.BadParameter: anything else, or over a century.
    """
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text))
    else:
        raise click.BadParameter(f"{text!r} is no duration: write 90s, 5m or 1h30m")
    if seconds > _MAX_SECONDS:
        raise click.BadParameter(f"{text!r} is over a century")
    return seconds


def pairs(values: tuple[str, ...], option: str) -> dict[str, str]:
    """Read repeated `KEY=VALUE`.

    Raises:
        click.BadParameter: one has no `=` or no key.
    """
    result = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        result[key] = value
    return result


def hexadecimal(text: str, size: int, option: str) -> bytes:
    """Read `size` bytes.

    Raises:
        click.BadParameter: it is anything but their hexadecimal digits.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size:
        raise click.BadParameter(f"{text!r} is not {size * 2} hexadecimal digits", param_hint=option)
    return value
