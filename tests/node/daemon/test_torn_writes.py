"""Killed by SIGKILL at every step of a write, state is what it was before or what it was to become, and usable."""

from __future__ import annotations

import json
import os
from pathlib import Path

from beemesh_node.crypto.files import read_private, write_private
from beemesh_node.daemon.store import BLOCKS, CLAIMS, FACTS, RECORDS, Store
from tests.node.daemon.torn import every_moment

KEY = bytes(range(32))
BEFORE, AFTER = b"before", b"after" * 2000
STEPS = 5
"""System calls that a durable write makes at least."""

STOP = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)\n"
STORE = (
    "import sys; from pathlib import Path; from beemesh_node.daemon.store import *\n"
    "store = Store(Path(sys.argv[1]), bytes(range(32)))\n" + STOP + "store.write({(RECORDS, 'a'): b'after' * 2000, "
    "(BLOCKS, 'b'): b'after' * 2000, (FACTS, 'new'): b'after' * 2000}, ((CLAIMS, 'gone'),))\n"
    "os._exit(0)\n"
)
FIRST = (
    "import sys; from pathlib import Path; from beemesh_node.daemon.store import *\n" + STOP + "store = "
    "Store(Path(sys.argv[1]), bytes(range(32))); store.write({(FACTS, 'new'): b'after' * 2000})\n"
    "os._exit(0)\n"
)
FILE = (
    "import sys; from pathlib import Path; from beemesh_node.crypto.files import write_private\n"
    + STOP
    + "write_private("
    "Path(sys.argv[1]), b'after' * 2000, replace=True)\n"
    "os._exit(0)\n"
)
GUARD = (
    "import sys; from beemesh_node.runtime.guard.program import _write\n" + STOP + "_write(sys.argv[1], "
    "{'word': 'after' * 2000})\nos._exit(0)\n"
)


def test_the_store(tmp_path: Path) -> None:
    outcomes: dict[bool, int] = {True: 0, False: 0}

    def prepared(call: int) -> tuple[str]:
        store = Store(tmp_path / f"{call}.db", KEY)
        store.write({(RECORDS, "a"): BEFORE, (BLOCKS, "b"): BEFORE, (CLAIMS, "gone"): BEFORE})
        store.close()
        return (str(tmp_path / f"{call}.db"),)

    for call, killed in every_moment(STORE, prepared):
        store = Store(tmp_path / f"{call}.db", KEY)
        found = tuple(store.get(*at) for at in ((RECORDS, "a"), (BLOCKS, "b"), (FACTS, "new"), (CLAIMS, "gone")))
        assert found in ((BEFORE, BEFORE, None, BEFORE), (AFTER, AFTER, AFTER, None)), call
        assert killed or found[0] == AFTER
        outcomes[found[0] == AFTER] += 1
        store.write({(RECORDS, "a"): b"goes on"})
        store.close()
    assert outcomes[False] >= STEPS
    assert outcomes[True] >= 2, "it is durable before it returns"


def test_a_store_that_is_made(tmp_path: Path) -> None:
    for call, killed in every_moment(FIRST, lambda call: (str(tmp_path / f"{call}.db"),), step=4):
        store = Store(tmp_path / f"{call}.db", KEY)
        found = store.get(FACTS, "new")
        assert found in (None, AFTER), call
        assert killed or found == AFTER
        store.write({(FACTS, "new"): b"goes on"})
        store.close()
    assert call > 2 * STEPS


def test_a_private_file(tmp_path: Path) -> None:
    def prepared(call: int) -> tuple[str]:
        write_private(tmp_path / str(call) / "key", BEFORE, replace=True)
        return (str(tmp_path / str(call) / "key"),)

    leavings = 0
    for call, killed in every_moment(FILE, prepared):
        path = tmp_path / str(call) / "key"
        found = read_private(path, 1 << 20)
        assert found in (BEFORE, AFTER), call
        assert killed or found == AFTER
        for left in set(path.parent.iterdir()) - {path}:
            leavings += 1
            os.utime(left, (0, 0))
        write_private(path, BEFORE, replace=True)
        assert list(path.parent.iterdir()) == [path]
    assert call > STEPS
    assert leavings


def test_what_a_guard_is_told(tmp_path: Path) -> None:
    state = tmp_path / "guard.json"
    before, after = {"word": "before"}, {"word": "after" * 2000}

    def prepared(_: int) -> tuple[str]:
        state.write_text(json.dumps(before))
        return (str(tmp_path / "guard"),)

    for call, killed in every_moment(GUARD, prepared):
        found = json.loads(state.read_text())
        assert found in (before, after), call
        assert killed or found == after
    assert call > STEPS
