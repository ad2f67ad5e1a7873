"""Whose the files of the state directory are: its owner's, whoever runs a command on them."""

from __future__ import annotations

import os
from pathlib import Path

from beemesh_node.daemon.enrolment import EnrolmentError


def act_as_owner(state: Path) -> None:
    """Called by root, be the owner of the state directory from now on, so that the daemon can read what is written.

    Changes nothing for other users, nor where there is no such directory yet. Raises `EnrolmentError`.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = state.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise EnrolmentError(f"{state}: {error.strerror}; choose another --state") from None
    if owner.st_uid != 0:
        os.setgroups([])
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
