# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of beemesh_workload: what becomes of files, templates and texts."""

from __future__ import annotations

from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.playbook.task import Task
from ansible.template import Templar
from ansible_collections.beemesh.mesh.plugins.action import beemesh_workload as plugin

PASSWORD = b"correct horse"


@pytest.fixture
def render(tmp_path, monkeypatch):
    """Run the plugin with the arguments of a task; return what the module would be given."""
    secret = ("default", VaultSecret(PASSWORD))
    loader = DataLoader()
    loader.set_basedir(str(tmp_path))
    loader.set_vault_secrets([secret])
    for name in ("files", "templates"):
        (tmp_path / name).mkdir()
    variables = {"name": "web", "count": 3, "ansible_search_path": [str(tmp_path)]}

    def run(**args):
        given = {}
        task = Task()
        task.args = args
        templar = Templar(loader=loader, variables=variables)
        action = plugin.ActionModule(task, mock.MagicMock(), mock.MagicMock(), loader, templar, None)
        monkeypatch.setattr(action, "_execute_module", lambda **call: given.update(call) or {"changed": False})
        action.run(task_vars=variables)
        assert given["module_name"] == "beemesh.mesh.beemesh_workload"
        return given["module_args"]

    return run


def test_texts_and_mappings_become_documents(render):
    args = render(definition="a: 1\n---\n---\nb: 2020-01-01\n", state="present")
    assert args == {"resource_definition": [{"a": 1}, {"b": "2020-01-01"}], "state": "present"}
    assert render(inline=[{"a": 1}, "b: 2"])["resource_definition"] == [{"a": 1}, {"b": 2}]
    assert render(resource_definition={"a": 1})["resource_definition"] == [{"a": 1}]
    assert "resource_definition" not in render(kind="Pod", name="x")


def test_files_and_directories_are_read_and_vaults_opened(render, tmp_path):
    (tmp_path / "files" / "a.yml").write_text("plain: '{{ name }}'\n")
    assert render(src="a.yml")["resource_definition"] == [{"plain": "{{ name }}"}], "a file is no template"
    vault = VaultLib([("default", VaultSecret(PASSWORD))])
    (tmp_path / "files" / "all").mkdir()
    (tmp_path / "files" / "all" / "2.yml").write_bytes(vault.encrypt("hidden: true\n"))
    (tmp_path / "files" / "all" / "1.json").write_text('{"first": 1}')
    (tmp_path / "files" / "all" / "notes.txt").write_text("not: this\n")
    args = render(src="all")
    assert args["resource_definition"] == [{"first": 1}, {"hidden": True}]
    assert "src" not in args


def test_templates_are_rendered(render, tmp_path):
    (tmp_path / "templates" / "a.j2").write_text(
        "{% for i in range(2) %}\n---\nname: {{ name }}-{{ i }}\n{% endfor %}\n"
    )
    (tmp_path / "templates" / "b.j2").write_text("count: [[ count ]]\nraw: '{{ name }}'\n{% include 'c.j2' %}\n")
    (tmp_path / "templates" / "c.j2").write_text("included: true\n")
    assert render(template="a.j2")["resource_definition"] == [{"name": "web-0"}, {"name": "web-1"}]
    marks = {"path": "b.j2", "variable_start_string": "[[", "variable_end_string": "]]", "newline_sequence": "\\n"}
    args = render(template=["a.j2", marks])
    assert args["resource_definition"][-1] == {"count": 3, "raw": "{{ name }}", "included": True}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"src": "missing.yml"}, "missing.yml"),
        ({"src": "empty"}, "no manifest in this directory"),
        ({"src": 3}, "expected to be a path"),
        ({"template": "missing.j2"}, "missing.j2"),
        ({"template": {"src": "a"}}, "a mapping with a path"),
        ({"template": {"path": "a", "colour": "red"}}, "unknown option colour"),
        ({"src": "a", "definition": "b"}, "mutually exclusive"),
        ({"definition": "a: 1\na: 2\n"}, "'a' is given twice"),
        ({"definition": "a: [\n"}, "line 2"),
        ({"definition": "a: \x01"}, "characters"),
    ],
)
def test_what_cannot_be_read_is_said(render, tmp_path, args, says):
    (tmp_path / "files" / "empty").mkdir()
    with pytest.raises(AnsibleActionFail, match=says):
        render(**args)


def test_of_a_broken_file_no_line_is_shown(render, tmp_path):
    (tmp_path / "files" / "a.yml").write_text("token: swordfish\n  x: [swordfish\n")
    with pytest.raises(AnsibleActionFail) as failure:
        render(src="a.yml")
    assert "a.yml, line" in str(failure.value)
    assert "swordfish" not in str(failure.value)
