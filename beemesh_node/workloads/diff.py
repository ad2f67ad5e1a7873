"""What an apply would change, as `kubectl diff` shows it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import yaml

from beemesh_node.workloads.manifest import KubernetesObject
from beemesh_node.workloads.references import contents
from beemesh_node.workloads.values import Json

_MASK, _BEFORE, _AFTER = "***", "*** (before)", "*** (after)"


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes texts of several lines as blocks, so that a diff shows the line that changed."""

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out: an alias would hide what changed."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(value: Json) -> str:
    """YAML as kubectl writes it: sorted keys, block style, long lines left whole."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=1_000_000)
    return text


def diff(live: Sequence[KubernetesObject], wanted: Sequence[KubernetesObject]) -> str:
    """The unified diff from `live` to `wanted`, object by object; empty when nothing would change.

    Values of Secrets are masked; where one changes it says so.
    """
    before = {_file_name(obj): obj for obj in live}
    after = {_file_name(obj): obj for obj in wanted}
    parts: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = _shown(before.get(name), after.get(name))
        lines = difflib.unified_diff(_lines(old), _lines(new), f"LIVE/{name}", f"MERGED/{name}")
        for line in lines:
            parts.append(line if line.endswith("\n") else f"{line}\n")
    return "".join(parts)


def _lines(body: Json) -> list[str]:
    return to_yaml(body).splitlines(keepends=True) if body is not None else []


def _file_name(obj: KubernetesObject) -> str:
    return f"{obj.api_version.replace('/', '.')}.{obj.kind}.{obj.namespace}.{obj.name}"


def _shown(old: KubernetesObject | None, new: KubernetesObject | None) -> tuple[Json, Json]:
    """Both bodies as they may be seen."""
    sample = old or new
    if sample is None or sample.kind != "Secret":
        return (old.body if old else None, new.body if new else None)
    before, after = (contents(obj.body) if obj else {} for obj in (old, new))
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    return (
        _masked(old, {key: _BEFORE if key in changed else _MASK for key in before}),
        _masked(new, {key: _AFTER if key in changed else _MASK for key in after}),
    )


def _masked(obj: KubernetesObject | None, data: dict[str, str]) -> Json:
    if obj is None:
        return None
    return {key: value for key, value in obj.body.items() if key not in ("data", "stringData")} | {"data": data}
