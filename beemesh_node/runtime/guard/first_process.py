"""Images whose first program must be process 1 of its namespace: in a leased pod that place is the guard's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from beemesh_node.runtime.errors import StartError

_INIT_SYSTEMS = frozenset(("init", "systemd", "runit", "runit-init", "openrc-init", "s6-overlay-suexec"))
_SYSTEMD_SIGNALS = frozenset(("37", "SIGRTMIN+3", "RTMIN+3"))
"""What asks a systemd to shut down: images set it although their entrypoint is a script."""


def refuse_first_process(container: str, words: Sequence[str], stop_signal: str) -> None:
    """Refuse an init system as a leased container; `words` is its whole command line, the image's or its own.

    Programs that merely reap children (tini, dumb-init, catatonit) run anywhere.

    Raises StartError (CreateContainerConfigError).
    """
    programs = [PurePosixPath(word).name for word in words[:2]]
    if programs and programs[0] == "busybox":
        programs = programs[1:]
    found = programs[0] if programs and programs[0] in _INIT_SYSTEMS else ""
    if found or stop_signal.upper() in _SYSTEMD_SIGNALS:
        what = f"program {found!r}" if found else f"init system (its image stops it by {stop_signal})"
        raise StartError(
            "CreateContainerConfigError",
            f"container {container}: its {what} must be process 1, which in a leased pod is the guard of the lease: "
            "run the service itself, or declare a Deployment with strategy RollingUpdate",
        )
