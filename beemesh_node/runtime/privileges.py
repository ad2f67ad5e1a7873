"""What this process may do beyond an ordinary user, taken up for the one act that needs it and laid down again.

The daemon is a system user. Its service manager lets it have a few capabilities (capabilities(7)); none of them is in
force while it only speaks with others, so that a path or a length that was read wrongly meets the permissions of an
ordinary user. Capabilities in force belong to a thread: what one thread takes up for a volume, no other has.

Nothing of this applies to root, who has everything anyway, nor to a process that was given nothing.
"""

from __future__ import annotations

import ctypes
import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager


class Capability(enum.IntEnum):
    """Numbers of linux/capability.h."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    FSETID = 4
    KILL = 5
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    SYS_PTRACE = 19


VOLUMES = (Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER, Capability.FSETID)
"""Volumes belong to root and their fsGroup, as in Kubernetes, and what containers leave in them to anybody.

DAC_OVERRIDE: a directory that a container closed to others still counts for its size, and can be removed.
"""
PROCESSES = (Capability.SYS_PTRACE, Capability.DAC_OVERRIDE)
"""To see what a container that has not begun has mounted, and which PID namespace a process is in."""
SIGNALS = (Capability.KILL,)
"""To end processes of containers, whoever they belong to."""
CHILDREN = (Capability.NET_ADMIN,)
"""What programs have that this one starts: `nft` writes the firewall that keeps pods from the machine plane."""
ALWAYS = (Capability.NET_BIND_SERVICE,)
"""What stays in force: a machine that others reach below port 1024 is given it, and no file opens to it."""

_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def rest() -> None:
    """Lay down all but `ALWAYS`, and leave to children what they need. Call it before the first thread begins.

    Raises OSError if the kernel refuses.
    """
    if os.geteuid() == 0:
        return
    sets = _read()
    for each in sets:
        each.effective = 0
    sets[0].effective = sets[0].permitted & _mask(ALWAYS)
    # What is not inheritable does not stay ambient either.
    sets[0].inheritable = sets[0].permitted & _mask(CHILDREN)
    sets[1].inheritable = 0
    _write(sets)


@contextmanager
def held(*capabilities: Capability) -> Iterator[None]:
    """Have these in force in this thread, as far as the process may. Nothing in the block may wait or start a thread.

    Also serves as a decorator. Raises OSError if the kernel refuses.
    """
    if os.geteuid() == 0:
        yield
        return
    sets = _read()
    before = sets[0].effective
    sets[0].effective = before | (sets[0].permitted & _mask(capabilities))
    _write(sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _write(sets)


def may(capability: Capability) -> bool:
    """Whether this process could take it up."""
    return os.geteuid() == 0 or bool(_read()[0].permitted & _mask((capability,)))


def _mask(capabilities: tuple[Capability, ...]) -> int:
    return sum(1 << capability for capability in set(capabilities))


def _read() -> ctypes.Array[_Set]:
    sets = (_Set * 2)()
    if _libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(sets)) == -1:
        raise _refused("capget")
    return sets


def _write(sets: ctypes.Array[_Set]) -> None:
    if _libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(sets)) == -1:
        raise _refused("capset")


def _refused(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
