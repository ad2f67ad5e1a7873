# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh as modules reach it: the program `beectl`, its options, its answers and its failures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t

from ansible.module_utils.basic import env_fallback
from ansible.module_utils.common.parameters import remove_values

Facts = dict[str, t.Any]

MINIMUM = (0, 1, 0)
"""The oldest beectl that knows what these modules ask of it."""

CONNECTION: Facts = {
    "beectl": {"type": "str", "default": "beectl", "fallback": (env_fallback, ["BEEMESH_BEECTL"])},
    "dir": {"type": "path", "fallback": (env_fallback, ["BEEMESH_DIR"])},
    "context": {"type": "str", "fallback": (env_fallback, ["BEEMESH_CONTEXT"])},
    "passphrase": {"type": "str", "no_log": True},
    "passphrase_file": {
        "type": "path",
        "no_log": False,
        "fallback": (env_fallback, ["BEEMESH_PASSPHRASE_FILE"]),
    },
    "timeout": {"type": "int", "default": 60, "fallback": (env_fallback, ["BEEMESH_TIMEOUT"])},
}
"""Options of every module that talks to a mesh; the fragment `connection` documents them."""

NAMESPACE: Facts = {"namespace": {"type": "str", "fallback": (env_fallback, ["BEEMESH_NAMESPACE"])}}
"""The option of modules whose objects live in namespaces; the fragment `namespace` documents it."""

EXCLUSIVE = [("dir", "context"), ("passphrase", "passphrase_file")]

REASONS = {1: "failed", 2: "invalid", 3: "not_allowed", 4: "timeout"}
"""What the exit codes of beectl mean, as `reason` in what a failed module returns."""

_PLACES = ("/usr/local/bin", "/opt/beemesh/venv/bin")
"""Where the role `node` puts beectl, which need not be on the path of a module."""
_STARTING = 15
"""Seconds that `beectl version` may take."""
_MASKED_FROM = 6
"""Characters from which a secret is masked wherever it stands: masking each `1` would leave nothing readable."""


class BeectlError(Exception):
    """What was asked for was not done; the text says why and what to do."""

    def __init__(self, message: str, reason: str = "failed", rc: int | None = None, facts: Facts | None = None) -> None:
        """`facts` is what beectl told nevertheless: also who waited in vain may have changed something."""
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.rc = rc
        self.facts = facts or {}

    @property
    def told(self) -> Facts:
        """For `fail_json` and for lists of results."""
        return {"msg": self.message, "reason": self.reason, "rc": self.rc}


class Beectl:
    """`beectl` on the host on which the module runs."""

    def __init__(self, module: t.Any) -> None:
        """Take the connection from the options of a module, and note what it must not show."""
        self._module = module
        self._params: Facts = module.params
        self._program = ""

    def json(self, *words: str, stdin: str | None = None, waiting: float = 0, formatted: bool = False) -> Facts:
        """Run a command that prints one JSON object. `waiting` is how many seconds it may wait for the mesh.

        `formatted` says that its words ask for JSON already, because nothing can be put behind them. Raises
        `BeectlError` for every exit code but 0; warnings become those of the module.
        """
        asked = () if formatted else ("-o", "json")
        code, out, err = self.run(*words, *asked, stdin=stdin, waiting=waiting)
        facts: Facts = {}
        try:
            told = json.loads(out) if out.strip() else {}
            facts = told if isinstance(told, dict) else {}
        except ValueError:
            if code == 0:
                raise BeectlError(
                    f"{self._program} {words[0]} did not answer with JSON: is it really beectl?"
                ) from None
        warnings, message = split_stderr(err)
        for warning in warnings:
            warn(self._module, warning)
        if code != 0:
            raise self._failure(code, message, words, facts)
        return facts

    def text(self, *words: str) -> str:
        """Run a command and return what it printed. Raises `BeectlError` for every exit code but 0."""
        code, out, err = self.run(*words)
        if code != 0:
            raise self._failure(code, split_stderr(err)[1], words, {})
        return out

    def get(self, resource: str, *words: str, namespace: str | None = None) -> list[Facts]:
        """The objects that `beectl get` finds; none where there is none of the name. Raises `BeectlError`."""
        scope = ("-n", namespace) if namespace else ()
        try:
            found = self.json(*scope, "get", resource, *words)
        except BeectlError as error:
            if error.reason == "failed" and "not found" in error.message:
                return []
            raise
        items = found["items"] if found.get("kind") == "List" else [found] if found else []
        return [item for item in items if isinstance(item, dict)]

    def run(self, *words: str, stdin: str | None = None, waiting: float = 0) -> tuple[int, str, str]:
        """Run a command; return its exit code and what it wrote. Raises `BeectlError` if it cannot be run or hangs."""
        if not self._program:
            self._program = self._find()
            self._check_version()
        seconds = self._params["timeout"] + waiting
        return self._execute([*self._context(), *words], stdin, seconds)

    def _context(self) -> list[str]:
        if self._params.get("dir"):
            return ["--dir", self._params["dir"]]
        return ["--context", self._params["context"]] if self._params.get("context") else []

    def _execute(self, words: list[str], stdin: str | None, seconds: float) -> tuple[int, str, str]:
        environment = dict(os.environ)
        passphrase, reading = self._params.get("passphrase"), None
        if self._params.get("passphrase_file"):
            environment["BEEMESH_PASSPHRASE_FILE"] = self._params["passphrase_file"]
        if passphrase:
            # Through a pipe, which holds all of it: never an argument, and never on the disk.
            reading, writing = os.pipe()
            os.write(writing, passphrase.encode("utf-8")[:4096] + b"\n")
            os.close(writing)
            environment["BEEMESH_PASSPHRASE_FILE"] = f"/dev/fd/{reading}"
        try:
            with subprocess.Popen(  # noqa: S603  # to run beectl is what it is for
                [self._program, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                pass_fds=() if reading is None else (reading,),
            ) as process:
                try:
                    out, err = process.communicate((stdin or "").encode("utf-8"), timeout=seconds)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    raise BeectlError(
                        f"{self._program} did not come to an end within {seconds:g} s and was ended: the mesh may be "
                        "hard to reach from here; give it more time with the option timeout",
                        "timeout",
                    ) from None
        except OSError as error:
            raise BeectlError(
                f"{self._program} cannot be run: {error.strerror}; name a beectl that can with the option beectl",
                "missing_beectl",
            ) from None
        finally:
            if reading is not None:
                os.close(reading)
        return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def _find(self) -> str:
        name = self._params["beectl"] or "beectl"
        if os.sep in name:
            places = [os.path.expanduser(name)]
        else:
            beside = os.path.dirname(sys.executable)
            path = os.environ.get("PATH", "").split(os.pathsep)
            places = [os.path.join(place, name) for place in (*path, beside, *_PLACES) if place]
        for place in places:
            if os.path.isfile(place) and os.access(place, os.X_OK):
                return place
        where = f"{name} is not there" if os.sep in name else f"{name} was not found in PATH"
        raise BeectlError(
            f"This module reaches the mesh through beectl, and {where} (on the host {os.uname().nodename}). Install "
            "the node package of Beemesh there (in a checkout of the project `./lab --help` puts beectl into "
            ".venv/bin), or name its path with the option beectl or in BEEMESH_BEECTL. If it is on the computer that "
            "runs Ansible, add `delegate_to: localhost` to the task.",
            "missing_beectl",
        )

    def _check_version(self) -> None:
        code, out, err = self._execute(["version", "-o", "json"], None, _STARTING)
        try:
            text = str(json.loads(out)["clientVersion"]["beectl"]) if code == 0 else ""
        except (ValueError, KeyError, TypeError):
            text = ""
        found = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
        if len(found) == 3 and found >= MINIMUM:
            return
        wanted = ".".join(str(part) for part in MINIMUM)
        problem = split_stderr(err)[1].strip().rpartition("\n")[2]
        said = f"is version {text}" if text else f"does not tell its version ({problem or 'no answer'})"
        raise BeectlError(
            f"{self._program} {said}, and this collection needs {wanted} or newer: install a newer node package of "
            "Beemesh there, or name another beectl with the option beectl or in BEEMESH_BEECTL",
            "missing_beectl",
        )

    def _failure(self, code: int, message: str, words: tuple[str, ...], facts: Facts) -> BeectlError:
        said = message or f"beectl {words[0]} ended with {code} and said nothing"
        return BeectlError(said, REASONS.get(code, "failed"), code, facts)


def split_stderr(text: str) -> tuple[list[str], str]:
    """Take warnings and the error apart that beectl wrote."""
    lines = text.splitlines()
    warnings = [line[len("Warning: ") :] for line in lines if line.startswith("Warning: ")]
    begin = next((number for number, line in enumerate(lines) if line.lower().startswith("error: ")), None)
    if begin is None:
        return warnings, "\n".join(line for line in lines if not line.startswith("Warning: ")).strip()
    message = "\n".join([lines[begin][len("error: ") :], *lines[begin + 1 :]])
    return warnings, message.strip()


def hide(module: t.Any, secrets: t.Iterable[str]) -> None:
    """Have Ansible mask these values in whatever the module returns."""
    module.no_log_values.update(secret for secret in secrets if len(secret) >= _MASKED_FROM)


def warn(module: t.Any, text: str) -> None:
    """Warn with a text in which what is hidden is masked, as Ansible does for everything else that is returned."""
    module.warn(str(remove_values(text, module.no_log_values)))


def seconds(amount: float) -> str:
    """A duration as beectl reads it."""
    return f"{amount:g}s"
