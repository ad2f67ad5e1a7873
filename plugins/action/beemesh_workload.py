# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of beemesh_workload: files are read, decrypted and rendered where the playbook is."""

from __future__ import annotations

import os
import typing as t

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

_SOURCES = ("resource_definition", "src", "template")
_ALIASES = ("definition", "inline")
_SUFFIXES = (".yml", ".yaml", ".json")
_MARKS = (
    "variable_start_string",
    "variable_end_string",
    "block_start_string",
    "block_end_string",
    "comment_start_string",
    "comment_end_string",
)
_FLAGS = {"trim_blocks": True, "lstrip_blocks": False}
_NEWLINES = {"\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n"}


class _Loader(yaml.SafeLoader):
    """Reads YAML as Kubernetes does: dates are text, and nothing is said twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[t.Any, t.Any]:
        """Refuse a key that is there already."""
        seen: set[str] = set()
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class ActionModule(ActionBase):
    """Gives the module documents instead of files and templates."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read what the task names, and run the module with it."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        args = dict(self._task.args)
        for alias in _ALIASES:
            if args.get(alias) is not None:
                args.setdefault("resource_definition", args[alias])
            args.pop(alias, None)
        given = [name for name in _SOURCES if args.get(name) is not None]
        if len(given) > 1:
            raise AnsibleActionFail(f"parameters are mutually exclusive: {'|'.join(given)}")
        if given:
            args["resource_definition"] = self._documents(given[0], args.pop(given[0]), variables)
        result.update(
            self._execute_module(
                module_name="beemesh.mesh.beemesh_workload",
                module_args={name: value for name, value in args.items() if name not in ("src", "template")},
                task_vars=variables,
                wrap_async=self._task.async_val,
            )
        )
        return result

    def _documents(self, source: str, value: t.Any, variables: dict[str, t.Any]) -> list[t.Any]:
        if source == "src":
            return [each for path in self._files(value) for each in _parse(self._read(path), path)]
        if source == "template":
            found: list[t.Any] = []
            for each in value if isinstance(value, list) else [value]:
                found += self._render(each, variables)
            return found
        found = []
        for number, each in enumerate(value if isinstance(value, list) else [value], 1):
            found += _parse(each, f"resource_definition {number}") if isinstance(each, str) else [each]
        return found

    def _files(self, name: t.Any) -> list[str]:
        """The file of the name, or the manifests of the directory."""
        if not isinstance(name, str):
            raise AnsibleActionFail(f"src is expected to be a path, got {type(name).__name__}")
        path = self._needle("files", name)
        if not os.path.isdir(path):
            return [path]
        found = [os.path.join(path, each) for each in sorted(os.listdir(path)) if each.endswith(_SUFFIXES)]
        if not found:
            raise AnsibleActionFail(f"{path}: no manifest in this directory: no file ends in {', '.join(_SUFFIXES)}")
        return found

    def _needle(self, place: str, name: str) -> str:
        try:
            return self._find_needle(place, name)
        except AnsibleError as error:
            raise AnsibleActionFail(str(error)) from error

    def _read(self, path: str) -> str:
        return self._loader.get_text_file_contents(path)

    def _render(self, template: t.Any, variables: dict[str, t.Any]) -> list[t.Any]:
        options = {"path": template} if isinstance(template, str) else template
        if not isinstance(options, dict) or not isinstance(options.get("path"), str):
            raise AnsibleActionFail("template is expected to be a path, a mapping with a path, or a list of these")
        if unknown := sorted(set(options) - {"path", "newline_sequence", *_MARKS, *_FLAGS}):
            raise AnsibleActionFail(f"template {options['path']}: unknown option {', '.join(unknown)}")
        path = self._needle("templates", options["path"])
        overrides = {name: options[name] for name in _MARKS if options.get(name) is not None}
        overrides.update((name, bool(options.get(name, default))) for name, default in _FLAGS.items())
        newline = options.get("newline_sequence", "\n")
        overrides["newline_sequence"] = _NEWLINES.get(newline, newline)
        templar = self._templar.copy_with_new_env(
            searchpath=self._searchpath(path, variables), available_variables=variables
        )
        rendered = templar.template(trust_as_template(self._read(path)), escape_backslashes=False, overrides=overrides)
        return _parse(rendered, path) if isinstance(rendered, str) else [rendered]

    def _searchpath(self, path: str, variables: dict[str, t.Any]) -> list[str]:
        places = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(path)]
        return [each for place in places for each in (os.path.join(place, "templates"), place)]


def _parse(text: str, source: str) -> list[t.Any]:
    """The documents in a text, without empty ones. Of what is wrong the place is told, and no line of it."""
    try:
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise AnsibleActionFail(f"{source}{where}: no YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise AnsibleActionFail(f"{source}: no YAML: it has characters that YAML does not allow") from None
