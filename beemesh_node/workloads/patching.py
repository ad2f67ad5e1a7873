"""Patches of manifests, of the three types that kubectl knows: merge (RFC 7386), json (RFC 6902) and strategic merge.

A strategic merge patch is a merge patch that knows which lists of a manifest are sets with a key: their elements are
merged one by one. Lists that are not named here are replaced whole, as in Kubernetes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from enum import StrEnum

from beemesh_node.workloads.errors import Issue, ManifestError
from beemesh_node.workloads.values import Json, describe

MERGE_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "protocol"),
    "volumeClaimTemplates": ("metadata",),
}
"""Field -> what tells its elements apart."""
_DEFAULTS: Mapping[str, Json] = {"protocol": "TCP"}
_DIRECTIVE = "$patch"


class PatchType(StrEnum):
    """How a patch is meant."""

    STRATEGIC = "strategic"
    MERGE = "merge"
    JSON = "json"


def patched(body: Mapping[str, Json], patch: Json, kind: PatchType) -> Json:
    """Return `body` with `patch` in it; `body` stays as it is.

    Raises `ManifestError` for a patch that cannot be made.
    """
    if kind is PatchType.JSON:
        if not isinstance(patch, list):
            raise _error("", f"a json patch is a list of operations, got {describe(patch)}")
        document: Json = copy.deepcopy(dict(body))
        for number, operation in enumerate(patch):
            document = _operate(document, operation, f"[{number}]")
        return document
    if not isinstance(patch, dict):
        raise _error("", f"a {kind.value} patch is a mapping, got {describe(patch)}")
    return _merged(dict(body), patch, strategic=kind is PatchType.STRATEGIC)


def _merged(value: Json, patch: Json, *, strategic: bool) -> Json:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if strategic and patch.get(_DIRECTIVE) == "replace":
        return {key: copy.deepcopy(each) for key, each in patch.items() if key != _DIRECTIVE}
    found = copy.deepcopy(value) if isinstance(value, dict) else {}
    for key, each in patch.items():
        if strategic and key == _DIRECTIVE:
            continue
        if each is None or (strategic and isinstance(each, dict) and each.get(_DIRECTIVE) == "delete"):
            found.pop(key, None)
        elif strategic and key in MERGE_KEYS and isinstance(each, list):
            found[key] = _merged_list(found.get(key), each, MERGE_KEYS[key], key)
        else:
            found[key] = _merged(found.get(key), each, strategic=strategic)
    return found


def _merged_list(value: Json, patch: Sequence[Json], keys: tuple[str, ...], path: str) -> Json:
    elements = copy.deepcopy(value) if isinstance(value, list) else []
    for element in patch:
        if not isinstance(element, dict):
            raise _error(path, f"expected a mapping, got {describe(element)}")
        if element.get(_DIRECTIVE) == "replace":
            return [copy.deepcopy(each) for each in patch if isinstance(each, dict) and _DIRECTIVE not in each]
        identity = _identity(element, keys)
        if identity[0] is None:
            raise _error(path, f"an element without {keys[0]}, which tells the elements of this list apart")
        same = [n for n, each in enumerate(elements) if isinstance(each, dict) and _identity(each, keys) == identity]
        if element.get(_DIRECTIVE) == "delete":
            elements = [each for number, each in enumerate(elements) if number not in same]
        elif same:
            elements[same[0]] = _merged(elements[same[0]], element, strategic=True)
        else:
            elements.append(_merged({}, element, strategic=True))
    return elements


def _identity(element: Mapping[str, Json], keys: tuple[str, ...]) -> tuple[Json, ...]:
    found = []
    for key in keys:
        value = element.get(key, _DEFAULTS.get(key))
        found.append(value.get("name") if isinstance(value, dict) else value)
    return tuple(found)


def _operate(document: Json, operation: Json, path: str) -> Json:
    """Do one operation of a JSON patch."""
    if not isinstance(operation, dict):
        raise _error(path, f"expected an operation, got {describe(operation)}")
    verb, where = operation.get("op"), _pointer(operation.get("path"), f"{path}.path")
    if verb in ("add", "replace", "test") and "value" not in operation:
        raise _error(path, f"{verb} needs a value")
    if verb == "add":
        return _put(document, where, copy.deepcopy(operation["value"]), path, insert=True)
    if verb == "replace":
        _get(document, where, path)
        return _put(document, where, copy.deepcopy(operation["value"]), path, insert=False)
    if verb == "remove":
        return _take(document, where, path)
    if verb == "test":
        if _get(document, where, path) != operation["value"]:
            raise _error(path, f"{operation['path']} has another value than the patch expects: nothing was changed")
        return document
    if verb in ("move", "copy"):
        source = _pointer(operation.get("from"), f"{path}.from")
        value = copy.deepcopy(_get(document, source, path))
        return _put(_take(document, source, path) if verb == "move" else document, where, value, path, insert=True)
    raise _error(f"{path}.op", "must be add, remove, replace, move, copy or test")


def _pointer(text: Json, path: str) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _error(path, 'must be a JSON pointer, for example "/spec/replicas"')
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _get(document: Json, where: Sequence[str], path: str) -> Json:
    for part in where:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1, path)]
        else:
            raise _error(path, f"/{'/'.join(where)} is not in the manifest")
    return document


def _put(document: Json, where: Sequence[str], value: Json, path: str, *, insert: bool) -> Json:
    if not where:
        return value
    parent, last = _get(document, where[:-1], path), where[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and insert:
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), path), value)
    elif isinstance(parent, list):
        parent[_index(last, len(parent) - 1, path)] = value
    else:
        raise _error(path, f"/{'/'.join(where[:-1])} holds nothing that could be added to")
    return document


def _take(document: Json, where: Sequence[str], path: str) -> Json:
    if not where:
        raise _error(path, "the whole manifest cannot be removed")
    _get(document, where, path)
    parent, last = _get(document, where[:-1], path), where[-1]
    if isinstance(parent, list):
        del parent[_index(last, len(parent) - 1, path)]
    else:
        del parent[last]
    return document


def _index(part: str, most: int, path: str) -> int:
    if not part.isascii() or not part.isdecimal() or len(part) > 9 or int(part) > most:
        raise _error(path, f"{part[:40]!r} is no index of the list there")
    return int(part)


def _error(path: str, message: str) -> ManifestError:
    return ManifestError((Issue(message, path=path, source="patch"),))
