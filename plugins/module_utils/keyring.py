# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key files by means of `beectl`, and when one is to be made anew. A passphrase travels through a pipe."""

from __future__ import annotations

import os
import stat
import tempfile
import typing as t

from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import CONNECTION, Beectl, BeectlError, Facts

KINDS = ("machine", "operator", "mesh-root")
REGENERATE = ("never", "fail", "partial_idempotence", "full_idempotence", "always")

OPTIONS: Facts = {
    **{name: CONNECTION[name] for name in ("beectl", "passphrase", "timeout")},
    "passphrase_file": {"type": "path", "no_log": False},
}
"""Options of every module for key files; the fragment `keys` documents them."""
EXCLUSIVE = [("passphrase", "passphrase_file")]


def beectl_for(module: t.Any) -> Beectl:
    """`beectl` for key files: with the passphrase that the task gives, and none that the environment has for others."""
    os.environ.pop("BEEMESH_PASSPHRASE_FILE", None)
    return Beectl(module)


def has_passphrase(module: t.Any) -> bool:
    """Whether the task gives one."""
    return module.params["passphrase"] is not None or module.params["passphrase_file"] is not None


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


def look(beectl: Beectl, path: str, name: str | None = None) -> Key:
    """Look at a key file, with its passphrase if it has one. Raises `BeectlError` for what is no file.

    `name` is what the user calls it, if not by its path.
    """
    if not os.path.lexists(path):
        return Key()
    if not os.path.isfile(path):
        raise BeectlError(f"{path} is no regular file: name the file of the key", "invalid")
    try:
        facts = beectl.json("keys", "inspect", path, "--unlock")
    except BeectlError as error:
        if error.rc is None:
            raise
        return Key(problem=error.message if name is None else error.message.replace(path, name))
    if facts.get("kind") in KINDS:
        return Key(facts)
    return Key(problem=f"{path} holds a {facts.get('kind')} key, which belongs to a request")


def must_make(key: Key, kind: str, encrypted: bool, regenerate: str) -> bool:
    """Whether to make a key (anew), as community.crypto has the modes of `regenerate`.

    `encrypted` is whether it is to have a passphrase. Raises `BeectlError` for a key that is not as wanted and that the
    mode does not allow to be replaced.
    """
    if not key.exists or regenerate == "always":
        return True
    problem = key.problem
    if key.facts is not None and encrypted and not key.facts["encrypted"]:
        problem = (
            "the key has no passphrase, but one was given (`beectl keys passphrase` gives one to those of a context)"
        )
    if problem or key.facts is None:
        if regenerate == "full_idempotence":
            return True
        raise BeectlError(f"{problem}; with regenerate=full_idempotence it would be replaced", "not_allowed")
    found = key.facts["kind"]
    if found == kind or regenerate == "never":
        return False
    if regenerate == "fail":
        raise BeectlError(
            f"its type is {found}, but {kind} is wanted; with regenerate=partial_idempotence it would be replaced",
            "invalid",
        )
    return True


def open_to_others(path: str) -> bool:
    """Whether others than the owner have access to a file, which is why beectl would not read it."""
    return bool(stat.S_IMODE(os.stat(path).st_mode) & (stat.S_IRWXG | stat.S_IRWXO))


def private_mode(module: t.Any) -> str:
    """The mode that the option `mode` gives a private key, in octal. Raises `BeectlError` if others have access by it.

    Whatever way it is written: as text, as the number that YAML makes of an unquoted one, or in symbols, which are
    applied to 0600.
    """
    wanted = module.params["mode"]
    if wanted is None:
        return "0600"
    try:
        mode = wanted if isinstance(wanted, int) else int(wanted, 8)
    except (TypeError, ValueError):
        made = os.stat_result((stat.S_IFREG | 0o600, *[0] * 9))
        try:
            mode = module._symbolic_mode_to_octal(made, str(wanted))
        except ValueError as error:
            raise BeectlError(f"mode {wanted} is none: {error}; use 0600", "invalid") from None
    if mode & ~stat.S_IRWXU:
        shown = f"{wanted} (octal {mode:04o}, put it in quotes)" if isinstance(wanted, int) else wanted
        raise BeectlError(
            f"mode {shown} gives others access to a private key, which beectl would not read: use 0600", "invalid"
        )
    return f"{mode:04o}"


def written(module: t.Any, content: str | bytes) -> str:
    """The path of a private file with this content, which is gone when the module ends."""
    descriptor, path = tempfile.mkstemp(dir=module.tmpdir, prefix="beemesh-")
    module.add_cleanup_file(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
    return path
