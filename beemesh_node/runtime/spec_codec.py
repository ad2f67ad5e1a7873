"""A pod's specification as bytes and back, for the daemon that comes after this one.

The daemon that reads may be newer or older than the one that wrote. A field that has its default is not written, and
one that is missing gets its default: a newer node reads what an older one wrote, and the other way round as long as a
pod uses nothing that is new. So a default of `workloads.pod` is never changed. An unknown field is refused, not
ignored: it was set on purpose, perhaps to restrict the container, and the next life would begin without it.
What does not decode is treated as lost.

The bytes hold Secrets, so they are only ever written to memory (see `pod_files`).
"""

from __future__ import annotations

import base64
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from beemesh_node.workloads.pod import PodSpec

MAX_SPEC_BYTES = 16 * 1024 * 1024


def encode_spec(spec: PodSpec) -> bytes:
    """JSON of a specification."""
    return json.dumps(_plain(spec), separators=(",", ":")).encode()


def decode_spec(data: bytes) -> PodSpec:
    """Read a specification back.

    Raises ValueError if the bytes are none, or use something that this version does not know.
    """
    if len(data) > MAX_SPEC_BYTES:
        raise ValueError(f"a pod specification of {len(data)} bytes; the bound is {MAX_SPEC_BYTES}")
    try:
        spec = _typed(json.loads(data), PodSpec)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a pod specification that is known here: {error}") from error
    assert isinstance(spec, PodSpec)  # noqa: S101 - narrows what _typed built
    return spec


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        told = {field.name: _plain(own[field.name]) for field in fields(value) if own[field.name] != _default(field)}
        return {"": type(value).__name__, **told}
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
    if value[""] != kind.__name__:
        raise ValueError(f"not a {kind.__name__}")
    if unknown := set(value) - {field.name for field in fields(kind)} - {""}:
        raise ValueError(f"{kind.__name__} has {', '.join(sorted(unknown))}, which is not known here")
    return kind(**{name: _typed(item, hints[name]) for name, item in value.items() if name})


def _default(field: Field[Any]) -> Any:
    """What a field is when nothing is said of it; MISSING if something must be."""
    return field.default if field.default_factory is MISSING else field.default_factory()


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
