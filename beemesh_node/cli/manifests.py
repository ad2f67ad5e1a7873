"""`-f FILE|DIR|-`: reading manifests, all of them, before anything is done with one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

import click

from beemesh_node.cli.errors import InvalidInputError

F = TypeVar("F", bound=Callable[..., object])

SUFFIXES = (".yml", ".yaml", ".json")
MAX_FILES = 1000
"""Manifests of one directory at most."""


def filename_option(*, required: bool) -> Callable[[F], F]:
    """`-f` and `-R`, given to the command as `filenames` and `recursive`."""

    def decorate(command: F) -> F:
        filename = click.option(
            "-f",
            "--filename",
            "filenames",
            multiple=True,
            required=required,
            metavar="FILE|DIR|-",
            shell_complete=_complete,
            help="Manifest, directory of manifests, or - for standard input. May be repeated.",
        )
        recursive = click.option("-R", "--recursive", is_flag=True, help="Directories with what is below them.")
        return filename(recursive(command))

    return decorate


def _complete(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    return [click.shell_completion.CompletionItem(incomplete, type="file")]


def read(filenames: Sequence[str], *, recursive: bool = False) -> list[tuple[str, bytes]]:
    """The manifests named, as (name, bytes) for `workloads.manifest.load_all`.

    Raises `CliError` for what cannot be read or named twice, and `ManifestError` for what is too large.
    """
    if filenames.count("-") > 1:
        raise InvalidInputError("-f -: standard input can be read only once")
    return [manifest for name in filenames for manifest in _read_one(name, recursive)]


def _read_one(name: str, recursive: bool) -> Iterator[tuple[str, bytes]]:
    if name == "-":
        if sys.stdin.isatty():
            click.echo("Reading a manifest from the keyboard; end it with Ctrl-D.", err=True)
        yield "standard input", _bounded(sys.stdin.buffer, "standard input")
        return
    path = Path(name)
    if path.is_dir():
        found = sorted(path.rglob("*") if recursive else path.iterdir())
        files = [file for file in found if file.suffix in SUFFIXES and file.is_file()]
        if not files:
            raise InvalidInputError(
                f"{name}: no manifest in this directory: it has no file ending in {', '.join(SUFFIXES)}"
            )
        if len(files) > MAX_FILES:
            raise InvalidInputError(
                f"{name}: {len(files)} manifests are too many: at most {MAX_FILES} in one directory"
            )
    else:
        files = [path]
    for file in files:
        try:
            with file.open("rb") as stream:
                yield str(file), _bounded(stream, str(file))
        except FileNotFoundError:
            raise InvalidInputError(f"{file}: no such file or directory") from None
        except OSError as error:
            raise InvalidInputError(f"{file}: {error.strerror}; check its owner and mode") from None


def _bounded(stream: IO[bytes], source: str) -> bytes:
    from beemesh_node.workloads.documents import MAX_MANIFEST, check_size

    data = stream.read(MAX_MANIFEST + 1)
    check_size(len(data), source)
    return data
