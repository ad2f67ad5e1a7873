"""Files that people name and that need not be secret."""

from __future__ import annotations

from pathlib import Path

from beemesh_node.cli.errors import InvalidInputError


def read_file(path: Path, limit: int) -> bytes:
    """Read at most `limit` bytes. Raises `CliError` for what cannot be read or is longer."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InvalidInputError(f"{path}: {error.strerror}; check the path") from None
    if len(data) > limit:
        raise InvalidInputError(f"{path}: longer than {limit} bytes, so it is not what is expected here")
    return data


def write_file(path: Path, data: bytes) -> None:
    """Write a file that others may read. Raises `CliError`."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written: {error.strerror}; choose another path") from None
