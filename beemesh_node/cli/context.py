"""Contexts: directories, each with all that one operator needs for one mesh.

A context is chosen by `--dir`, then `--context`, then `BEEMESH_DIR`, then `BEEMESH_CONTEXT`, then `beectl context use`.
Named contexts live under `$XDG_CONFIG_HOME/beemesh` (`~/.config/beemesh`); the directory from `mesh init` is one too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from beemesh_node.cli.errors import CliError, InvalidInputError
from beemesh_node.cli.options import Settings

CURRENT = "current-context"
MAX_FILE = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_BOOTSTRAP_AT_MOST = 256


@dataclass(frozen=True, slots=True)
class Context:
    """A context's directory and the names of what lies in it."""

    path: Path

    @property
    def settings(self) -> Path:
        """What is no secret: name, mesh id, addresses."""
        return self.path / "context.json"

    @property
    def root_key(self) -> Path:
        """The mesh root; only with whoever signs certificates."""
        return self.path / "root.key"

    @property
    def next_root_key(self) -> Path:
        """The root that is to take over, from `beectl mesh root add` until `beectl mesh root retire`."""
        return self.path / "root.next.key"

    @property
    def operator_key(self) -> Path:
        """The operator's own keys."""
        return self.path / "operator.key"

    @property
    def operator_certificate(self) -> Path:
        """The operator's certificate."""
        return self.path / "operator.cert"

    @property
    def trust_bundle(self) -> Path:
        """The roots that are believed."""
        return self.path / "trust.bundle"

    @property
    def revocations(self) -> Path:
        """The revocation lists that are known."""
        return self.path / "revocations.list"

    @property
    def network_key(self) -> Path:
        """The key of the private network: 64 hex digits."""
        return self.path / "network.key"

    @property
    def epoch(self) -> Path:
        """The epoch as it was last known, for join bundles; only beside the root, and where somebody was revoked."""
        return self.path / "epoch.json"

    @property
    def ledger(self) -> Path:
        """The certificates that were issued; only beside the root."""
        return self.path / "ledger.json"


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """The content of `context.json`."""

    name: str
    mesh_id: str
    """Hex."""
    bootstrap: tuple[str, ...] = ()
    """Multiaddrs, with peer ids, of machines through which the mesh is entered."""
    namespace: str = "default"

    @classmethod
    def load(cls, context: Context) -> ContextSettings:
        """Read them. Raises `CliError` when this is no context."""
        path = context.settings
        try:
            values = read_json(path)
        except FileNotFoundError:
            raise InvalidInputError(
                f"{context.path} is no context (no {path.name} in it): create a mesh with `beectl mesh init --dir DIR` "
                "or name the directory of an existing one with --dir"
            ) from None
        try:
            loaded = cls(
                name=_text(values["name"]),
                mesh_id=bytes.fromhex(_text(values["mesh_id"])).hex(),
                bootstrap=tuple(_text(address) for address in values["bootstrap"])[:_BOOTSTRAP_AT_MOST],
                namespace=_text(values["namespace"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"{path}: not written by beectl ({error}); restore it from a backup") from None
        return loaded

    def save(self, context: Context) -> None:
        """Write them, whole or not at all."""
        write_json(context.settings, asdict(self))

    def with_bootstrap(self, addresses: tuple[str, ...]) -> ContextSettings:
        """The same with these addresses added, in front."""
        merged = tuple(dict.fromkeys((*addresses, *self.bootstrap)))[:_BOOTSTRAP_AT_MOST]
        return replace(self, bootstrap=merged)


def base_directory() -> Path:
    """Where named contexts live."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "beemesh"


def named(name: str) -> Context:
    """The context of a name, whether or not it exists. Raises `CliError` for what cannot be a name."""
    if not _NAME.fullmatch(name):
        raise InvalidInputError(f"{name!r} cannot name a context: use letters, digits, dots and dashes")
    return Context(base_directory() / name)


def names() -> tuple[str, ...]:
    """The named contexts there are."""
    base = base_directory()
    if not base.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in base.iterdir() if (entry / "context.json").is_file()))


def current_name() -> str | None:
    """The name that `beectl context use` chose; the only context is chosen without it."""
    try:
        chosen = (base_directory() / CURRENT).read_text().strip()
    except FileNotFoundError:
        known = names()
        return known[0] if len(known) == 1 else None
    return chosen or None


def use(name: str) -> None:
    """Make a context the current one. Raises `CliError` when there is none of that name."""
    if not named(name).settings.is_file():
        raise InvalidInputError(f"there is no context {name!r}; known are: {', '.join(names()) or 'none'}")
    fresh = base_directory() / f".{CURRENT}.{os.getpid()}"
    fresh.write_text(name + "\n")
    fresh.replace(base_directory() / CURRENT)


def resolve(settings: Settings) -> Context:
    """The context that the command line, the environment or `context use` mean. Raises `CliError` when none does."""
    if settings.directory is not None:
        return Context(settings.directory)
    if settings.context is not None:
        return named(settings.context)
    if directory := os.environ.get("BEEMESH_DIR"):
        return Context(Path(directory))
    name = os.environ.get("BEEMESH_CONTEXT") or current_name()
    if name is None:
        raise InvalidInputError(
            "no mesh is chosen: give --dir DIR or set BEEMESH_DIR, choose one with `beectl context use NAME` or create "
            "one with `beectl mesh init --dir DIR`"
        )
    return named(name)


def default_namespace(settings: Settings) -> str:
    """The namespace of what names none: the command line's, the environment's, the context's, or `default`."""
    chosen = settings.namespace or os.environ.get("BEEMESH_NAMESPACE")
    if chosen:
        return chosen
    try:
        return ContextSettings.load(resolve(settings)).namespace
    except CliError:
        return "default"  # without a context only what needs no mesh can be done, and that must not fail for it


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `FileNotFoundError`, and `CliError` for anything unusable."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        value = json.loads(data) if len(data) <= MAX_FILE else None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}; check its owner and mode") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInputError(
            f"{path}: not a JSON object; it was damaged or not written by beectl: restore it from a backup"
        )
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object for its owner alone, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file for its owner alone, whole or not at all."""
    from beemesh_node.crypto.files import write_private

    write_private(path, text.encode(), replace=True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
