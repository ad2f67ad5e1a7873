# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests as a task gives them: documents made complete, chosen, renamed by their content, grouped, and masked."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import typing as t

Manifest = dict[str, t.Any]

WORKLOADS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "Pod": "v1"}
"""Kinds that run, and their apiVersion."""
ATTACHED = {"ConfigMap": "v1", "Secret": "v1"}
"""Kinds that only go with a workload."""
MASK = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
_HASH_LENGTH = 10
_EXPRESSION = re.compile(r"^(!?)\s*([^\s!=,()]+)\s*(?:(==|=|!=)\s*([^\s,()]*)|\s(in|notin)\s*\(([^()]*)\))?$")
_SPLIT = re.compile(r",(?![^()]*\))")


class ManifestError(Exception):
    """A definition that cannot be used; the text names it and the next step."""


def documents(definition: t.Any) -> list[Manifest]:
    """The objects of a definition: a mapping, a list of them, or JSON text; Lists are taken apart."""
    if isinstance(definition, str):
        try:
            definition = json.loads(definition)
        except ValueError:
            raise ManifestError(
                "resource_definition is text that only the controller reads: run this module as a task, not by itself"
            ) from None
    found: list[Manifest] = []
    for number, document in enumerate(definition if isinstance(definition, list) else [definition], 1):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ManifestError(
                f"document {number} is no mapping with apiVersion and kind, but {type(document).__name__}"
            )
        items = document.get("items") if document.get("kind") == "List" else [document]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ManifestError(f"document {number}: items of a List have to be a list of objects")
        found += [copy.deepcopy(item) for item in items]
    return found


def complete(found: list[Manifest], kind: str | None, name: str | None, namespace: str | None) -> list[Manifest]:
    """Fill in what documents leave out: kind and name where there is one workload, the namespace everywhere."""
    running = [document for document in found if document.get("kind", kind) not in ATTACHED]
    if name and len(running) > 1:
        raise ManifestError(f"name is {name}, but the definition has {len(running)} workloads: leave the option out")
    for document in found:
        if kind and "kind" not in document:
            document["kind"] = kind
        known = {**WORKLOADS, **ATTACHED}.get(str(document.get("kind")))
        if known and "apiVersion" not in document:
            document["apiVersion"] = known
        metadata = document.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise ManifestError(f"{document.get('kind', 'document')}: metadata is no mapping")
        if name and document in running:
            metadata.setdefault("name", name)
        if namespace:
            metadata.setdefault("namespace", namespace)
    return found


def subject(document: Manifest) -> str:
    """`Deployment default/hello`, for messages."""
    metadata = document.get("metadata", {})
    where = metadata.get("namespace")
    return f"{document.get('kind')} {where + '/' if where else ''}{metadata.get('name')}"


def target(document: Manifest) -> str:
    """`deployment/hello`, for beectl."""
    return f"{str(document.get('kind')).lower()}/{document.get('metadata', {}).get('name')}"


def groups(found: list[Manifest]) -> list[list[Manifest]]:
    """Each workload with the ConfigMaps and Secrets that it names, in the order of the workloads."""
    attached = [document for document in found if document.get("kind") in ATTACHED]
    result = []
    for document in found:
        if document.get("kind") in ATTACHED:
            continue
        named = {(kind, reference[key]) for kind, reference, key in _references(document)}
        home = document["metadata"].get("namespace")
        mine = [each for each in attached if _identity(each) in named and each["metadata"].get("namespace") == home]
        result.append([document, *mine])
    return result


def unused(found: list[Manifest], grouped: list[list[Manifest]]) -> str:
    """The first ConfigMap or Secret that is in no group, as messages name it; empty if there is none."""
    used = [document for group in grouped for document in group]
    return next((subject(document) for document in found if document not in used), "")


def _identity(document: Manifest) -> tuple[str, str]:
    return str(document.get("kind")), str(document.get("metadata", {}).get("name"))


def _references(node: t.Any) -> t.Iterator[tuple[str, Manifest, str]]:
    """Every place that names a ConfigMap or Secret: the kind, the mapping, and the key that holds the name."""
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if isinstance(value, dict):
            if key in ("configMapKeyRef", "configMapRef", "configMap") and isinstance(value.get("name"), str):
                yield "ConfigMap", value, "name"
            elif key in ("secretKeyRef", "secretRef") and isinstance(value.get("name"), str):
                yield "Secret", value, "name"
            elif key == "secret":
                for name in ("secretName", "name"):
                    if isinstance(value.get(name), str):
                        yield "Secret", value, name
        yield from _references(value)


def append_hash(found: list[Manifest]) -> list[Manifest]:
    """Put a hash of its content behind the name of each ConfigMap and Secret, here and wherever it is named."""
    renamed: dict[tuple[str, t.Any, str], str] = {}
    for document in found:
        if document.get("kind") in ATTACHED:
            kind, name = _identity(document)
            content = {key: document.get(key) for key in ("data", "binaryData", "stringData", "type", "immutable")}
            text = json.dumps([kind, name, content], sort_keys=True, default=str)
            fresh = f"{name}-{hashlib.sha256(text.encode('utf-8')).hexdigest()[:_HASH_LENGTH]}"
            renamed[kind, document["metadata"].get("namespace"), name] = fresh
            document["metadata"]["name"] = fresh
    for document in found:
        if document.get("kind") not in ATTACHED:
            home = document["metadata"].get("namespace")
            for kind, reference, key in _references(document):
                reference[key] = renamed.get((kind, home, reference[key]), reference[key])
    return found


def selected(labels: t.Mapping[str, t.Any], selectors: t.Iterable[str]) -> bool:
    """Whether labels fulfil all of `app=web`, `tier!=db`, `tier in (a, b)`, `tier notin (a)`, `tier`, `!tier`."""
    return all(_holds(labels, part.strip()) for text in selectors for part in _SPLIT.split(text) if part.strip())


def _holds(labels: t.Mapping[str, t.Any], text: str) -> bool:
    match = _EXPRESSION.match(text)
    if match is None or (match.group(1) and (match.group(3) or match.group(5))):
        raise ManifestError(
            f"label_selectors: {text!r} is no selector: write app=web, app!=web, app in (a, b), app or !app"
        )
    absent, key, operator, value, word, values = match.groups()
    given = None if labels.get(key) is None else str(labels[key])
    if word:
        return (given in [each.strip() for each in values.split(",")]) is (word == "in")
    if operator:
        return (given == value) is (operator != "!=")
    return (given is None) is bool(absent)


def secrets(found: t.Iterable[Manifest]) -> set[str]:
    """Every value that stands in a Secret, as it is written and, where it is base64, as it is meant."""
    values: set[str] = set()
    for document in found:
        if document.get("kind") != "Secret":
            continue
        for value in _texts(document.get("stringData")):
            values |= {value, base64.b64encode(value.encode("utf-8")).decode("ascii")}
        for value in _texts(document.get("data")):
            values.add(value)
            try:
                values.add(base64.b64decode(value, validate=True).decode("utf-8"))
            except ValueError:
                continue  # not base64, which beectl will say, or no text
    return values | {line for value in values for line in value.splitlines() if line.strip()}


def _texts(data: t.Any) -> list[str]:
    return [str(value) for value in data.values()] if isinstance(data, dict) else []


def masked(value: t.Any) -> t.Any:
    """A copy in which the values of Secrets are not."""
    if isinstance(value, list):
        return [masked(each) for each in value]
    if not isinstance(value, dict):
        return value
    hidden = ("data", "stringData") if value.get("kind") == "Secret" else ()
    return {
        key: dict.fromkeys(each, MASK)
        if key in hidden and isinstance(each, dict)
        else MASK
        if key in hidden
        else masked(each)
        for key, each in value.items()
    }


def shown(value: t.Any, *, texts: bool) -> t.Any:
    """As `masked`, and unless `texts` are known to hold no secret without them: nobody has read them as manifests."""
    if isinstance(value, list):
        return [shown(each, texts=texts) for each in value]
    return MASK if isinstance(value, str) and not texts else masked(value)
