"""Volumes of a pod with the contents of ConfigMaps and Secrets, and where containers mount them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from beemesh_node.workloads import names
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.pod import EmptyDir, Files, HostPath, LocalVolume, Volume, VolumeMount, VolumeSource
from beemesh_node.workloads.quantity import whole_bytes
from beemesh_node.workloads.references import Reference, References
from beemesh_node.workloads.values import Json

_SOURCES = ("emptyDir", "hostPath", "configMap", "secret")
_MAX_PATH = 4096


def volumes(body: Mapping[str, Json], path: str, references: References, problems: Problems) -> tuple[Volume, ...]:
    """The volumes of a pod spec."""
    result: dict[str, Volume] = {}
    for index, value in enumerate(body.get("volumes", ())):
        at, name = f"{path}.volumes[{index}]", value["name"]
        with problems.at(f"{at}.name"):
            names.check_label(name)
        if name in result:
            problems.add(f"{at}.name", f'duplicate value "{name}"')
        result[name] = Volume(name, _source(value, at, references, problems))
    return tuple(result.values())


def with_claims(known: tuple[Volume, ...], body: Mapping[str, Json], problems: Problems) -> tuple[Volume, ...]:
    """The volumes of a StatefulSet's pods: those of the template, and one for each of its volumeClaimTemplates.

    A claim goes before a volume of its name, as in Kubernetes.
    """
    claims: dict[str, Volume] = {}
    for index, value in enumerate(body.get("volumeClaimTemplates", ())):
        at, spec = f"spec.volumeClaimTemplates[{index}]", value.get("spec", {})
        name = value.get("metadata", {}).get("name", "")
        with problems.at(f"{at}.metadata.name"):
            names.check_label(name)
        if name in claims:
            problems.add(f"{at}.metadata.name", f'duplicate value "{name}"')
        size, place = 0, f"{at}.spec.resources.requests"
        requests = spec.get("resources", {}).get("requests", {})
        for key in requests:
            if key != "storage":
                problems.add(f"{place}[{key[:80]}]", "not supported: only storage")
        if "storage" not in requests:
            problems.add(f"{place}[storage]", "required, but missing")
        else:
            with problems.at(f"{place}[storage]"):
                size = whole_bytes(requests["storage"])
        if not spec.get("accessModes"):
            problems.add(f"{at}.spec.accessModes", "required, but missing: a directory of a machine is ReadWriteOnce")
        claims[name] = Volume(name, LocalVolume(size))
    return (*(volume for volume in known if volume.name not in claims), *claims.values())


def mounts(
    body: Mapping[str, Json], path: str, known: tuple[Volume, ...], problems: Problems
) -> tuple[VolumeMount, ...]:
    """The mounts of a container."""
    result: dict[str, VolumeMount] = {}
    available = {volume.name for volume in known}
    for index, value in enumerate(body.get("volumeMounts", ())):
        at = f"{path}.volumeMounts[{index}]"
        if value["name"] not in available:
            problems.add(f"{at}.name", f'not found: "{value["name"][:80]}" is no volume of this pod')
        target, sub_path = value["mountPath"], value.get("subPath", "")
        with problems.at(f"{at}.mountPath"):
            _check_absolute(target)
            if ":" in target:
                raise ValueError("must not contain ':'")
        if sub_path:
            with problems.at(f"{at}.subPath"):
                _check_relative(sub_path)
        if posixpath.normpath(target) in result:
            problems.add(f"{at}.mountPath", f'must be unique: "{target[:80]}" stands twice')
        result[posixpath.normpath(target)] = VolumeMount(value["name"], target, value.get("readOnly", False), sub_path)
    return tuple(result.values())


def _source(body: Mapping[str, Json], path: str, references: References, problems: Problems) -> VolumeSource:
    given = [name for name in _SOURCES if name in body]
    if len(given) > 1:
        problems.add(path, f"may not specify more than 1 volume type, has {' and '.join(given)}")
    if not given:
        return EmptyDir()
    kind, at = given[0], f"{path}.{given[0]}"
    value = body[kind]
    if kind == "hostPath":
        with problems.at(f"{at}.path"):
            _check_absolute(value["path"])
        return HostPath(value["path"], value.get("type", ""))
    if kind == "emptyDir":
        limit = 0
        with problems.at(f"{at}.sizeLimit"):
            limit = whole_bytes(value.get("sizeLimit", 0))
        return EmptyDir(value.get("medium") == "Memory", limit)
    reference = (
        Reference.read("ConfigMap", value) if kind == "configMap" else Reference.read("Secret", value, "secretName")
    )
    mode = value.get("defaultMode", 0o644)
    if not 0 <= mode <= 0o777:
        problems.add(f"{at}.defaultMode", f"{mode} must be a number between 0 and 0777 (octal)")
    return Files(_files(value, reference, at, references, problems), kind == "secret", mode)


def _files(
    body: Mapping[str, Json], reference: Reference, path: str, references: References, problems: Problems
) -> dict[str, bytes]:
    if not body.get("items"):
        return dict(references.all(reference, path))
    result: dict[str, bytes] = {}
    for index, item in enumerate(body["items"]):
        at = f"{path}.items[{index}]"
        with problems.at(f"{at}.path"):
            _check_relative(item["path"])
        content = references.key(reference, item["key"], at)
        if content is not None:
            result[posixpath.normpath(item["path"])] = content
    for name in result:
        if any(other.startswith(f"{name}/") for other in result):
            problems.add(f"{path}.items", f'"{name}" would be a file and a directory')
    return result


def _check_absolute(path: str) -> None:
    _check_path(path)
    if not path.startswith("/"):
        raise ValueError(f'"{path[:80]}" must be an absolute path')


def _check_relative(path: str) -> None:
    _check_path(path)
    if path.startswith("/"):
        raise ValueError(f'"{path[:80]}" must be a relative path')
    if posixpath.normpath(path) == ".":
        raise ValueError(f'"{path[:80]}" names no file')


def _check_path(path: str) -> None:
    if not path:
        raise ValueError("required, but missing")
    if len(path) > _MAX_PATH or "\0" in path:
        raise ValueError(f"must be a path of at most {_MAX_PATH} characters without NUL")
    if ".." in path.split("/"):
        raise ValueError(f'"{path[:80]}" must not contain ".."')
