"""A project of somebody else's that has nothing of Beemesh but the collection, as `ansible-galaxy` installs it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.node.integration.machine import ROOT
from tests.node.integration.mesh import BEECTL, Operator

_BIN = Path(sys.executable).parent
_SECONDS = 480.0
VAULT_PASSWORD = "correct horse"
DATABASE_PASSWORD = "staple-battery-7391"
"""Stands in a vault, and must not be seen anywhere but in the container."""

EXAMPLES_ON_A_MESH = (
    *("workload", "workload_info", "workload_log", "workload_exec", "workload_scale"),
    *("node", "node_info"),
)
"""Modules whose examples need machines; those of all others are run without."""

_CALLBACK = """
import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "collect"

    def _note(self, outcome, result):
        told = {"name": result._task.get_name(), "action": result._task.action, "outcome": outcome}
        with open(os.environ["COLLECT"], "a") as file:
            file.write(json.dumps({**told, "result": result._result}, default=str) + "\\n")

    def v2_runner_on_ok(self, result):
        self._note("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._note("failed", result)

    def v2_runner_on_skipped(self, result):
        self._note("skipped", result)
"""
_SETTINGS = """\
[defaults]
collections_path = ./collections
callback_plugins = ./callbacks
callbacks_enabled = collect
vault_password_file = ./vault-password
localhost_warning = false
retry_files_enabled = false
"""


@dataclass(frozen=True)
class Played:
    """How a playbook went: what Ansible printed, and what each task returned."""

    code: int
    said: str
    results: tuple[dict[str, Any], ...]

    def of(self, name: str) -> dict[str, Any]:
        """What the task of this name returned."""
        return next(each["result"] for each in self.results if each["name"] == name)

    @property
    def last(self) -> dict[str, Any]:
        """What the last task returned."""
        result: dict[str, Any] = self.results[-1]["result"]
        return result


class Project:
    """A directory with playbooks, files, templates and a vault."""

    def __init__(self, directory: Path, operator: Operator) -> None:
        self.directory = directory
        self.operator = operator
        for name in ("files", "templates", "callbacks", "vars"):
            (directory / name).mkdir(parents=True)
        self.write("ansible.cfg", _SETTINGS)
        self.write("callbacks/collect.py", _CALLBACK)
        self.write("vault-password", VAULT_PASSWORD)
        self._ansible("ansible-galaxy", "collection", "build", "--output-path", str(directory), cwd=ROOT)
        (artefact,) = directory.glob("*.tar.gz")
        self._ansible("ansible-galaxy", "collection", "install", "--offline", "-p", "collections", str(artefact))
        self.collection = directory / "collections" / "ansible_collections" / "beemesh" / "mesh"
        self.write("vars/secret.yml", f"database_password: {DATABASE_PASSWORD}\n")
        self._ansible("ansible-vault", "encrypt", "vars/secret.yml")

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def examples(self, module: str) -> list[dict[str, Any]]:
        """The tasks of a module's EXAMPLES."""
        tree = ast.parse((self.collection / "plugins" / "modules" / f"{module}.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
                tasks: list[dict[str, Any]] = yaml.safe_load(ast.literal_eval(node.value))
                return tasks
        raise AssertionError(f"{module} has no EXAMPLES")

    def play(self, tasks: Sequence[Mapping[str, Any]], *words: str, code: int | None = 0, **environment: str) -> Played:
        """Run tasks on the controller. `code` is how it must end, None for any way."""
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": ["vars/secret.yml"],
            "tasks": list(tasks),
        }
        self.write("playbook.yml", yaml.safe_dump([play], sort_keys=False))
        collected = self.directory / "collected"
        collected.unlink(missing_ok=True)
        mesh = {"BEEMESH_DIR": str(self.operator.directory), "BEEMESH_BEECTL": BEECTL, "COLLECT": str(collected)}
        done = self.run("ansible-playbook", "playbook.yml", *words, environment={**mesh, **environment})
        results = collected.read_text().splitlines() if collected.exists() else []
        played = Played(done.returncode, done.stdout + done.stderr, tuple(json.loads(line) for line in results))
        assert code is None or played.code == code, played.said
        return played

    def _ansible(self, program: str, *words: str, cwd: Path | None = None) -> None:
        done = self.run(program, *words, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(
        self, program: str, *words: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of Ansible's in the project, or in `cwd`."""
        own = {
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "0",
            "PYTHONPATH": "",
        }
        return subprocess.run(
            [str(_BIN / program), *words],
            cwd=cwd or self.directory,
            env={**os.environ, **own, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
