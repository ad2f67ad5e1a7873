"""State survives whatever stops the process, and shows nothing to who copies it."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from beemesh_node.daemon.store import BLOCKS, FACTS, RECORDS, Store, StoreError, next_life, next_start

KEY = bytes(range(32))


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.db", KEY)
    store.write({(RECORDS, "a"): b"one", (BLOCKS, "b"): b"two"})
    store.write({}, ((BLOCKS, "b"),))
    store.close()
    again = Store(tmp_path / "state.db", KEY)
    assert again.items(RECORDS) == [("a", b"one")]
    assert again.get(BLOCKS, "b") is None


def test_the_file_shows_no_content_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = Store(path, KEY)
    store.write({(RECORDS, "a"): b"very-secret-manifest"})
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600
    for file in tmp_path.iterdir():
        assert b"very-secret-manifest" not in file.read_bytes()


def test_another_key_is_told_apart_from_an_empty_state(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.db", KEY)
    store.write({(FACTS, "epoch"): b"x"})
    store.close()
    other = Store(tmp_path / "state.db", bytes(32))
    with pytest.raises(StoreError, match="state key"):
        other.get(FACTS, "epoch")


def test_a_value_moved_to_another_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = Store(path, KEY)
    store.write({(FACTS, "epoch"): b"x", (FACTS, "clock"): b"y"})
    store.close()
    with sqlite3.connect(path) as raw:
        (sealed,) = raw.execute("SELECT sealed FROM facts WHERE id = 'epoch'").fetchone()
        raw.execute("UPDATE facts SET sealed = ? WHERE id = 'clock'", (sealed,))
    with pytest.raises(StoreError):
        Store(path, KEY).get(FACTS, "clock")


def test_a_file_that_is_no_state_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database at all, sorry" * 100)
    with pytest.raises(StoreError, match=r"state\.db"):
        Store(path, KEY)


WRITER = """
import sys
from pathlib import Path
from beemesh_node.daemon.store import Store, RECORDS, BLOCKS
store = Store(Path(sys.argv[1]), bytes(range(32)))
n = 0
while True:
    n += 1
    body = str(n).encode() * 2000
    store.write({(RECORDS, "a"): body, (BLOCKS, "a"): body})
    print(n, flush=True)
"""


def test_a_kill_in_the_middle_of_writing_leaves_the_whole_of_one_write(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            acknowledged = 0
            while acknowledged < 20:
                acknowledged = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
        store = Store(path, KEY)
        record, block = store.get(RECORDS, "a"), store.get(BLOCKS, "a")
        store.close()
        assert record is not None
        assert record == block
        assert int(record[: len(record) // 2000]) >= acknowledged


def test_lives_and_starts_only_ever_grow_whatever_the_clock_does(tmp_path: Path) -> None:
    told = []
    for clock in (5_000_000, 1_400_000, 6_000_000):
        store = Store(tmp_path / "state.db", KEY)
        told.append((next_life(store), next_start(store, clock)))
        store.close()
    assert told == [(1, 5_000_000), (2, 5_000_001), (3, 6_000_000)]
