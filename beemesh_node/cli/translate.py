"""Errors of the layers below as messages and exit codes. Imported only when something went wrong."""

from __future__ import annotations

from beemesh_node.cli.errors import CliError, InvalidInputError, NotAllowedError, TimedOutError
from beemesh_node.cli.terminal import printable

_NOT_ALLOWED = ("Forbidden", "Unauthorized")


def translate(error: BaseException) -> CliError | None:
    """What to tell the person of `error`; None when it is a fault of beectl itself."""
    if isinstance(error, BaseExceptionGroup):
        return _first(error)
    if isinstance(error, CliError):
        return error
    return _of_mesh(error) or _of_files(error)


def _first(group: BaseExceptionGroup[BaseException]) -> CliError | None:
    """The message of a group of which every member has one: tasks that failed together mostly failed for one reason."""
    translated = [translate(error) for error in group.exceptions]
    return translated[0] if all(each is not None for each in translated) else None


def _of_mesh(error: BaseException) -> CliError | None:
    from beemesh_node.messaging.errors import AuthenticationRefused, MeshError, RemoteFailure, RequestTimeout

    text = "\n".join(printable(line) for line in str(error).split("\n"))
    if isinstance(error, RemoteFailure):
        kind = NotAllowedError if error.code in _NOT_ALLOWED else CliError
        return (InvalidInputError if error.code == "Invalid" else kind)(text)
    if isinstance(error, AuthenticationRefused):
        return NotAllowedError(text)
    if isinstance(error, RequestTimeout):
        return TimedOutError(text)
    return CliError(text) if isinstance(error, MeshError) else None


def _of_files(error: BaseException) -> CliError | None:
    from beemesh_node.crypto.errors import AuthenticationError, CryptoError
    from beemesh_node.network.api import InvalidAddress
    from beemesh_node.protocol.errors import ProtocolError
    from beemesh_node.protocol.trust import TrustError
    from beemesh_node.workloads.errors import ManifestError

    if isinstance(error, (ManifestError, InvalidAddress)):
        return InvalidInputError(str(error))
    if isinstance(error, (AuthenticationError, TrustError)):
        return NotAllowedError(str(error))
    return CliError(str(error)) if isinstance(error, (CryptoError, ProtocolError)) else None
