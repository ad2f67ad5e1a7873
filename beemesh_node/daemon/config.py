"""The daemon's configuration: a YAML file, then environment variables, then flags; the last that speaks wins.

`examples/beemeshd.yaml` is the reference manual: every key with its meaning, unit and default.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

MAX_CONFIG = 256 * 1024
"""Bytes of a configuration file."""

ENVIRONMENT_PREFIX = "BEEMESHD_"


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file or variable, the key and what is expected."""


class TaintConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A taint this machine shows (v1.Taint)."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class ReserveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept for the machine itself and never offered to pods, as Kubernetes quantities."""

    cpu: str = "100m"
    memory: str = "256Mi"


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much is logged and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: console on a terminal, else JSON lines."""


class DaemonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set on one machine. What the mesh must agree on comes in the join bundle instead."""

    state: str = "/var/lib/beemesh"
    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/7400", "/ip6/::/tcp/7400")
    """Those of a family that the machine does not have are left out."""
    announce: tuple[str, ...] = ()
    """Addresses told to others; empty: those of the interfaces that `listen` covers."""
    bootstrap: tuple[str, ...] = ()
    """Addresses in addition to those of the join bundle."""
    runtime_socket: str = "/run/podman/podman.sock"
    local_socket: str = "/run/beemesh/beemeshd.sock"
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    taints: tuple[TaintConfig, ...] = ()
    reserve: ReserveConfig = ReserveConfig()
    max_pods: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 110
    provider: Literal["cryptography", "liboqs"] = "cryptography"
    """Which library computes the post-quantum algorithms; both give the same bytes."""
    metrics: str = ""
    """Address and port for Prometheus, of the loopback interface: 127.0.0.1:9460 or [::1]:9460; empty for none."""
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        """Raise `ValueError` for values that each for itself are of the right type."""
        _loopback(self.metrics)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where metrics are served, None for nowhere."""
        return _loopback(self.metrics)

    @property
    def state_path(self) -> Path:
        """The directory of keys, certificate and state."""
        return Path(self.state)


def _loopback(text: str) -> tuple[str, int] | None:
    """Read an address with its port. A name is not taken: what it stands for may change."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"metrics: {text!r} is no address with a port: use 127.0.0.1:9460 or [::1]:9460") from None
    if not address.is_loopback:
        raise ValueError(
            f"metrics: {address} can be reached by others, and metrics are not protected: use 127.0.0.1 or [::1], and "
            "have an agent or a proxy on this machine pass them on"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"metrics: {port!r} is no port: use 1 to 65535")
    return str(address), int(port)


def load_config(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> DaemonConfig:
    """Read `path` (optional), apply `BEEMESHD_<KEY>` variables and then `overrides`.

    A variable's value is read as YAML, so that lists and numbers can be given; nested keys join with two underscores
    (`BEEMESHD_LOG__LEVEL`). Raises `ConfigError`.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _read(path)
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            _assign(values, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), _yaml(text, name), name)
    for key, value in (overrides or {}).items():
        if value is not None:
            _assign(values, key.split("."), value, key)
    try:
        return msgspec.convert(values, DaemonConfig)
    except msgspec.ValidationError as error:
        source = str(path) if path is not None else "the environment and flags"
        raise ConfigError(f"{source}: {error}; see the commented example configuration") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {os.strerror(error.errno or 0)}; give another file with --config") from None
    if len(data) > MAX_CONFIG:
        raise ConfigError(f"{path}: larger than {MAX_CONFIG} bytes; this is no configuration of beemeshd")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    values = _yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {error}") from None


def _assign(values: dict[str, Any], path: list[str], value: Any, source: str) -> None:
    *parents, last = path
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{source}: {parent} has no keys below it")
        values = inner
    values[last] = value
