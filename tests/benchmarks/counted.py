"""`beemeshd` that counts its post-quantum operations and their processor time, for whoever measures from outside.

`python -m tests.benchmarks.counted run --config FILE` with BEEMESH_COUNTED naming a file, which is made. It always
holds the present totals, so that it can be read at any moment without asking the daemon anything.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from beemesh_node.crypto.pyca import PycaKemKey, PycaProvider, PycaSigningKey

TOTALS = "BEEMESH_COUNTED"
OPERATIONS = ("sign", "verify", "seal", "open")
_OF = (PycaSigningKey, PycaProvider, PycaProvider, PycaKemKey)
_PAIR = struct.Struct("<QQ")
_SIZE = _PAIR.size * len(OPERATIONS)


@dataclass(frozen=True)
class Totals:
    """How often each of `OPERATIONS` was done, and nanoseconds of processor time of the threads that did it."""

    counts: tuple[int, ...] = (0,) * len(OPERATIONS)
    nanoseconds: tuple[int, ...] = (0,) * len(OPERATIONS)

    @classmethod
    def read(cls, path: Path) -> Totals:
        pairs = list(_PAIR.iter_unpack(path.read_bytes()))
        return cls(tuple(count for count, _ in pairs), tuple(spent for _, spent in pairs))

    def __add__(self, other: Totals) -> Totals:
        return Totals(_each(self.counts, other.counts, 1), _each(self.nanoseconds, other.nanoseconds, 1))

    def __sub__(self, other: Totals) -> Totals:
        return Totals(_each(self.counts, other.counts, -1), _each(self.nanoseconds, other.nanoseconds, -1))


def count_into(path: Path) -> None:
    """From now on, write the totals of this process into `path`."""
    path.write_bytes(bytes(_SIZE))
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), _SIZE)
    lock = threading.Lock()
    for number, (name, cls) in enumerate(zip(OPERATIONS, _OF, strict=True)):
        setattr(cls, name, _counting(getattr(cls, name), memory, number * _PAIR.size, lock))


def _counting(done: Callable[..., Any], memory: mmap.mmap, at: int, lock: threading.Lock) -> Callable[..., Any]:
    @wraps(done)
    def counted(*arguments: Any) -> Any:
        began = time.thread_time_ns()
        try:
            return done(*arguments)
        finally:
            spent = time.thread_time_ns() - began
            with lock:
                count, total = _PAIR.unpack_from(memory, at)
                _PAIR.pack_into(memory, at, count + 1, total + spent)

    return counted


def _each(left: tuple[int, ...], right: tuple[int, ...], sign: int) -> tuple[int, ...]:
    return tuple(one + sign * other for one, other in zip(left, right, strict=True))


if __name__ == "__main__":
    from beemesh_node.daemon.main import cli

    count_into(Path(os.environ[TOTALS]))
    cli.main(prog_name="beemeshd")
