"""Environment variables: where their values come from, and `$(NAME)` inside values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from beemesh_node.workloads import names
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.pod import EnvVar
from beemesh_node.workloads.references import Reference, References
from beemesh_node.workloads.values import Json

_SUBSTITUTION = re.compile(r"\$\$|\$\(([^()$]*)\)")
MAX_ENVIRONMENT = 1024 * 1024
"""Characters of one container's variables once expanded: `$(A)$(A)` can double at every step."""


def environment(body: Mapping[str, Json], path: str, references: References, problems: Problems) -> tuple[EnvVar, ...]:
    """The variables of a container: envFrom first, then env, where the last one of a name counts.

    `$(NAME)` in a value that stands in the manifest is replaced by the variable before it, `$$` by a dollar sign, and
    an unknown name stays as it is; what comes from a ConfigMap or Secret is taken literally
    (k8s.io/kubernetes/third_party/forked/golang/expansion).
    """
    found: dict[str, EnvVar] = {}
    for index, source in enumerate(body.get("envFrom", ())):
        found.update(_from_source(source, f"{path}.envFrom[{index}]", references, problems))
    room = MAX_ENVIRONMENT - sum(len(variable.value) for variable in found.values())
    for index, entry in enumerate(body.get("env", ())):
        at = f"{path}.env[{index}]"
        with problems.at(f"{at}.name"):
            names.check_env_name(entry["name"])
        variable = None
        if "valueFrom" in entry:
            variable = _variable(entry, at, references, problems)
        else:
            with problems.at(f"{at}.value"):
                variable = _expanded(entry["name"], entry.get("value", ""), found, room)
        if variable is not None:
            room -= len(variable.value)
            found.pop(variable.name, None)
            found[variable.name] = variable
    if room < 0:
        problems.add(f"{path}.env", f"more than {MAX_ENVIRONMENT:,} characters of variables: mount files instead")
    return tuple(found.values())


def check_words(words: Sequence[str], path: str, variables: Iterable[EnvVar], problems: Problems) -> None:
    """Refuse `$(NAME)` of a Secret's variable in command or args.

    Every user of a machine can read the arguments of all processes (proc(5), /proc/PID/cmdline); the environment is
    open to the process's own user alone.
    """
    secret = {variable.name for variable in variables if variable.secret}
    for index, word in enumerate(words):
        for match in _SUBSTITUTION.finditer(word):
            if match[1] in secret:
                problems.add(
                    f"{path}[{index}]",
                    f"$({match[1]}) comes from a Secret, and everyone on the machine can read a program's arguments: "
                    "let the program read the variable itself, or mount the Secret as a file",
                )


def _from_source(body: Mapping[str, Json], path: str, references: References, problems: Problems) -> dict[str, EnvVar]:
    kinds = [(field, kind) for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")) if field in body]
    if len(kinds) != 1:
        problems.add(path, "needs exactly one of configMapRef and secretRef")
        return {}
    field, kind = kinds[0]
    reference = Reference.read(kind, body[field])
    result: dict[str, EnvVar] = {}
    for key, value in references.all(reference, f"{path}.{field}").items():
        name = f"{body.get('prefix', '')}{key}"
        with problems.at(f"{path}.{field}"):
            names.check_env_name(name)
            result[name] = EnvVar(name, _text(value, f"{kind} {reference.name}", key), secret=kind == "Secret")
    return result


def _variable(body: Mapping[str, Json], path: str, references: References, problems: Problems) -> EnvVar | None:
    """A variable whose value comes from somewhere else; None when there is none."""
    name, source = body["name"], body["valueFrom"]
    if body.get("value"):
        problems.add(f"{path}.valueFrom", "may not be specified when `value` is not empty")
    if len(source) != 1:
        problems.add(f"{path}.valueFrom", "needs exactly one of configMapKeyRef, secretKeyRef and fieldRef")
        return None
    if "fieldRef" in source:
        return EnvVar(name, field_path=source["fieldRef"]["fieldPath"])
    field, kind = ("configMapKeyRef", "ConfigMap") if "configMapKeyRef" in source else ("secretKeyRef", "Secret")
    reference, key = Reference.read(kind, source[field]), source[field]["key"]
    content = references.key(reference, key, f"{path}.valueFrom.{field}")
    if content is not None:
        with problems.at(f"{path}.valueFrom.{field}"):
            return EnvVar(name, _text(content, f"{kind} {reference.name}", key), secret=kind == "Secret")
    return None


def _text(content: bytes, origin: str, key: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError(f'{origin}: "{key}" is not UTF-8, so no variable can hold it: mount it as a file') from None
    if "\0" in text:
        raise ValueError(f'{origin}: "{key}" has a NUL character, so no variable can hold it: mount it as a file')
    return text


def _expanded(name: str, text: str, known: Mapping[str, EnvVar], room: int) -> EnvVar:
    if "\0" in text:
        raise ValueError("must not have a NUL character")
    parts: list[str] = []
    position, size, secret = 0, 0, False
    for match in _SUBSTITUTION.finditer(text):
        variable = known.get(match[1] or "")
        if variable is not None and variable.field_path:
            raise ValueError(
                f"$({variable.name}) is known only where the pod runs, so it is not supported in the value of another "
                "variable: use it in command or args"
            )
        replacement = "$" if match[0] == "$$" else match[0] if variable is None else variable.value
        secret = secret or (variable is not None and variable.secret)
        parts += [text[position : match.start()], replacement]
        size += len(replacement)
        if size > max(room, 0):
            raise ValueError(f"more than {MAX_ENVIRONMENT:,} characters of variables once $(NAME) is replaced")
        position = match.end()
    return EnvVar(name, "".join(parts) + text[position:], secret=secret)
