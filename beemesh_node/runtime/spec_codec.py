"""A pod's specification as bytes and back, for the daemon that comes after this one.

The format is private to one version of the node: what does not decode is treated as lost, and the pod is shown as
partial. The bytes hold Secrets, so they are only ever written to memory (see `pod_files`).
"""

from __future__ import annotations

import base64
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from beemesh_node.workloads.pod import PodSpec

MAX_SPEC_BYTES = 16 * 1024 * 1024


def encode_spec(spec: PodSpec) -> bytes:
    """JSON of a specification."""
    return json.dumps(_plain(spec), separators=(",", ":")).encode()


def decode_spec(data: bytes) -> PodSpec:
    """Read a specification back.

    Raises ValueError if the bytes are not one of this version.
    """
    if len(data) > MAX_SPEC_BYTES:
        raise ValueError(f"a pod specification of {len(data)} bytes; the bound is {MAX_SPEC_BYTES}")
    try:
        spec = _typed(json.loads(data), PodSpec)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a pod specification of this version: {error}") from error
    assert isinstance(spec, PodSpec)  # noqa: S101 - narrows what _typed built
    return spec


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"": type(value).__name__, **own}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _typed(value: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, get_args(hint))
    if origin is tuple:
        inner = get_args(hint)
        if inner[-1] is Ellipsis:
            return tuple(_typed(item, inner[0]) for item in value)
        return tuple(_typed(item, kind) for item, kind in zip(value, inner, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {str(name): _typed(item, get_args(hint)[1]) for name, item in value.items()}
    if hint is bytes:
        return base64.b64decode(value, validate=True)
    if is_dataclass(hint):
        return _instance(value, hint)
    if issubclass(hint, Enum):
        return hint(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise TypeError(f"{value!r} is not {hint.__name__}")
    return value


def _instance(value: Any, kind: Any) -> Any:
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}
    if set(value) != names | {""} or value[""] != kind.__name__:
        raise ValueError(f"not a {kind.__name__}")
    return kind(**{name: _typed(value[name], hints[name]) for name in names})


def _one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _typed(value, kinds[0])
    for kind in kinds:
        if kind.__name__ == value[""]:
            return _typed(value, kind)
    raise ValueError(f"{value['']!r} is none of the kinds known here")
