"""What a machine must not lose: records, blocks with their keys, its claims, and a few facts.

One SQLite file with full synchronisation: a write is there whole or not at all, whenever the power goes. Every value is
sealed with the state key (AES-256-GCM, bound to its table and key), so that a copied disk or backup shows only ids.
All calls block; the daemon makes them on one thread.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from beemesh_node.crypto import aead
from beemesh_node.crypto.errors import CryptoError

RECORDS = "records"
"""uid -> attested record, as received."""
BLOCKS = "blocks"
"""cid -> content key ‖ block."""
CLAIMS = "claims"
"""pod uid -> claim, encoded."""
VOTERS = "voters"
"""uid -> what this machine's voter of the declaration has granted and signed, encoded."""
VOTER_SETS = "voter_sets"
"""uid -> the voter sets that followed on the one in the record, with their votes, as received."""
FACTS = "facts"
"""name -> value: how often the daemon was started, epoch secrets, the floor of the clock, the sequence of presence."""

_TABLES = (RECORDS, BLOCKS, CLAIMS, VOTERS, VOTER_SETS, FACTS)
_SCHEMA_VERSION = 1
_LIFE = "life"
_STARTED = "started"


class StoreError(Exception):
    """State cannot be read or written: full or read-only disk, a damaged file, another machine's key."""


class Store:
    """The state file of one machine. Not for use by two threads at once."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        with self._errors():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _SCHEMA_VERSION):
                raise StoreError(f"{path}: written by a newer beemeshd (state version {version}); upgrade this machine")
            for table in _TABLES:
                self._db.execute(f"CREATE TABLE IF NOT EXISTS {table} (id TEXT PRIMARY KEY, sealed BLOB NOT NULL)")
            self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._db.close()

    def write(self, puts: Mapping[tuple[str, str], bytes], deletes: tuple[tuple[str, str], ...] = ()) -> None:
        """Put and delete (table, id) entries in one durable step. Raises `StoreError`, and then nothing changed."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for (table, name), value in puts.items():
                    self._db.execute(
                        f"INSERT OR REPLACE INTO {_known(table)} VALUES (?, ?)",  # noqa: S608 - a table of ours
                        (name, self._seal(table, name, value)),
                    )
                for table, name in deletes:
                    self._db.execute(f"DELETE FROM {_known(table)} WHERE id = ?", (name,))  # noqa: S608
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def get(self, table: str, name: str) -> bytes | None:
        """One value, or None. Raises `StoreError`."""
        with self._errors():
            row = self._db.execute(f"SELECT sealed FROM {_known(table)} WHERE id = ?", (name,)).fetchone()  # noqa: S608
            return None if row is None else self._open(table, name, row[0])

    def items(self, table: str) -> list[tuple[str, bytes]]:
        """Everything in a table, by id. Raises `StoreError`."""
        with self._errors():
            rows = self._db.execute(f"SELECT id, sealed FROM {_known(table)} ORDER BY id").fetchall()  # noqa: S608
            return [(name, self._open(table, name, sealed)) for name, sealed in rows]

    def _seal(self, table: str, name: str, value: bytes) -> bytes:
        # A random nonce is safe for the at most some millions of writes that one state key sees (NIST SP 800-38D, 8.3).
        nonce = secrets.token_bytes(aead.NONCE_SIZE)
        return nonce + aead.encrypt(self._key, nonce, value, f"{table}/{name}".encode())

    def _open(self, table: str, name: str, sealed: bytes) -> bytes:
        nonce, ciphertext = sealed[: aead.NONCE_SIZE], sealed[aead.NONCE_SIZE :]
        return aead.decrypt(self._key, nonce, ciphertext, f"{table}/{name}".encode())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path}: {error}; check free space and that the disk is writable (df, mount)"
            ) from error
        except OSError as error:
            raise StoreError(f"{self._path}: {os.strerror(error.errno or 0)}") from error
        except CryptoError:
            raise StoreError(
                f"{self._path}: does not open with this machine's state key; restore the key that belongs to it, or "
                "move the file away and join the machine anew"
            ) from None


def next_life(store: Store) -> int:
    """Return a number that is greater at every start of the daemon, written before it returns. Raises `StoreError`."""
    life = int(store.get(FACTS, _LIFE) or b"0") + 1
    store.write({(FACTS, _LIFE): str(life).encode()})
    return life


def next_start(store: Store, time_ms: int) -> int:
    """Return `time_ms` (mesh time) as when the daemon started, or a moment after its last start if that is later.

    Presences are ordered by it: after a clock was set back, a machine would else not be heard until time has caught up.
    Raises `StoreError`.
    """
    started = max(time_ms, int(store.get(FACTS, _STARTED) or b"0") + 1)
    store.write({(FACTS, _STARTED): str(started).encode()})
    return started


def _known(table: str) -> str:
    if table not in _TABLES:
        raise ValueError(table)
    return table
