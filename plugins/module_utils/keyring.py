# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key files by means of `beectl`, and when one is to be made anew. A passphrase travels through a pipe."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import typing as t

Facts = dict[str, t.Any]

KINDS = ("machine", "operator", "mesh-root")
REGENERATE = ("never", "fail", "partial_idempotence", "full_idempotence", "always")

OPTIONS: Facts = {
    "beectl": {"type": "str", "default": "beectl"},
    "passphrase": {"type": "str", "no_log": True},
}
"""Options of every module that has to do with keys."""

_PLACES = ("/opt/beemesh/venv/bin", "/usr/local/bin")
"""Where the role `node` puts beectl, which need not be on the path of a module."""
REFUSED = 3
"""Exit code of beectl: key, certificate or passphrase refused."""


class Refused(Exception):
    """What was asked for is not done; the message says what to do instead."""


class Beectl:
    """`beectl` on the host on which the module runs."""

    def __init__(self, module: t.Any) -> None:
        """Find it, or end the module with a word on how to get it."""
        self._module = module
        name = module.params["beectl"]
        found = module.get_bin_path(name, opt_dirs=list(_PLACES)) if os.sep not in name else name
        if not found or not os.access(found, os.X_OK):
            module.fail_json(
                msg=f"{name} is not on this host: install it (on a machine the role beemesh.mesh.node does, for others "
                "see the README of beemesh.mesh), or name it with the option beectl"
            )
        self._program: str = found

    def run(self, *words: str, passphrase: str | None = None) -> tuple[int, Facts, str]:
        """Run a command with `-o json`; return its exit code, what it told, and its message."""
        environment = {"BEEMESH_PASSPHRASE_FILE": ""}
        reading = None
        if passphrase is not None:
            # The whole of it fits into the pipe, so that nobody has to wait for the other end.
            reading, writing = os.pipe()
            os.write(writing, passphrase.encode("utf-8") + b"\n")
            os.close(writing)
            environment["BEEMESH_PASSPHRASE_FILE"] = f"/dev/fd/{reading}"
        try:
            code, out, err = self._module.run_command(
                [self._program, *words, "--output", "json"],
                environ_update=environment,
                pass_fds=() if reading is None else (reading,),
                expand_user_and_vars=False,
            )
        finally:
            if reading is not None:
                os.close(reading)
        message = err.strip()
        if message.startswith("error: "):
            message = message[len("error: ") :]
        try:
            facts = json.loads(out) if code == 0 else {}
        except ValueError:
            raise Refused(f"{self._program} {words[0]}: its answer is no JSON: is it beectl?") from None
        return code, facts, message or f"{self._program} ended with {code}"

    def told(self, *words: str, passphrase: str | None = None) -> Facts:
        """What a command told. Raises `Refused` when it fails."""
        code, facts, message = self.run(*words, passphrase=passphrase)
        if code != 0:
            raise Refused(message)
        return facts


class Key:
    """What was found at a path."""

    def __init__(self, facts: Facts | None = None, problem: str = "") -> None:
        """`facts` of a key that opens, or the `problem` of one that does not; with neither there is none."""
        self.facts = facts
        self.problem = problem

    @property
    def exists(self) -> bool:
        """Whether there is anything."""
        return self.facts is not None or bool(self.problem)

    @property
    def shown(self) -> Facts:
        """It, for a diff."""
        if self.facts is None:
            return {"problem": self.problem} if self.problem else {}
        return {key: self.facts[key] for key in ("kind", "fingerprint", "encrypted")}


def look(beectl: Beectl, path: str, passphrase: str | None, name: str | None = None) -> Key:
    """Look at a key file, with its passphrase if it has one. Raises `Refused` for what is no file.

    `name` is what the user calls it, if not by its path.
    """
    if not os.path.lexists(path):
        return Key()
    if not os.path.isfile(path):
        raise Refused(f"{path} is no regular file: name the file of the key")
    code, facts, message = beectl.run("keys", "inspect", path, "--unlock", passphrase=passphrase)
    if code == 0 and facts.get("kind") in KINDS:
        return Key(facts)
    if code == 0:
        return Key(problem="{} holds a {} key, which belongs to a request".format(path, facts.get("kind")))
    if code == REFUSED and passphrase is None:
        return Key(problem=f"{path} is protected by a passphrase, and none was given")
    return Key(problem=message if name is None else message.replace(path, name))


def must_make(key: Key, kind: str, passphrase: str | None, regenerate: str) -> bool:
    """Whether to make a key (anew), as community.crypto has the modes of `regenerate`.

    Raises `Refused` for a key that is not as wanted and that the mode does not allow to be replaced.
    """
    if not key.exists or regenerate == "always":
        return True
    problem = key.problem
    if key.facts is not None and passphrase is not None and not key.facts["encrypted"]:
        problem = (
            "the key has no passphrase, but one was given (`beectl keys passphrase` gives one to those of a context)"
        )
    if problem or key.facts is None:
        if regenerate == "full_idempotence":
            return True
        raise Refused(f"{problem}; with regenerate=full_idempotence it would be replaced")
    found = key.facts["kind"]
    if found == kind or regenerate == "never":
        return False
    if regenerate == "fail":
        raise Refused(
            f"its type is {found}, but {kind} is wanted; with regenerate=partial_idempotence it would be replaced"
        )
    return True


def open_to_others(path: str) -> bool:
    """Whether others than the owner have access to a file, which is why beectl would not read it."""
    return bool(stat.S_IMODE(os.stat(path).st_mode) & (stat.S_IRWXG | stat.S_IRWXO))


def written(module: t.Any, content: str) -> str:
    """The path of a private file with this content, which is gone when the module ends."""
    descriptor, path = tempfile.mkstemp(dir=module.tmpdir, prefix="beemesh-")
    module.add_cleanup_file(path)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    return path
