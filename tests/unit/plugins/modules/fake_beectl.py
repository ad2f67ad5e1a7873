# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handles key files as `beectl keys` does; their text is JSON, so that a test can look into them."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import secrets
import stat
import sys


def fail(code, message):
    sys.stderr.write("error: " + message + "\n")
    sys.exit(code)


def lock(path):
    """What a key is locked with: the hash of the passphrase, for its text may be shown."""
    name = os.environ.get("BEEMESH_PASSPHRASE_FILE")
    if not name:
        fail(3, str(path) + " is encrypted: put its passphrase into a file and name that in BEEMESH_PASSPHRASE_FILE")
    with open(name, "rb") as file:
        return hashlib.sha256(file.readline().rstrip(b"\n")).hexdigest()


def told(path, key):
    facts = {"file": str(path), "kind": key["kind"], "fingerprint": key["fingerprint"]}
    facts["encrypted"] = key["lock"] is not None
    facts["public_key"] = "aa" + key["fingerprint"]
    if key["kind"] != "mesh-root":
        facts["peer_id"] = "12D3" + key["kind"]
    return facts


def generate(path, kind, encrypt, replace):
    if path.exists() and not replace:
        fail(1, str(path) + ": exists already; ask for replacement, or choose another path")
    key = {"kind": kind, "fingerprint": secrets.token_hex(32), "lock": lock(path) if encrypt else None}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps({**key, "private": "never to be seen"}))
    return {"changed": True, **told(path, key)}


def inspect(path, unlock):
    if not path.exists():
        fail(1, str(path) + ": no such file; create the key first or correct the path")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        fail(1, str(path) + ": gives others access to private keys")
    try:
        key = json.loads(path.read_text())
    except ValueError:
        fail(1, str(path) + ": not a Beemesh key file of version 1, or damaged: restore it from a backup")
    if key["lock"] is not None and unlock and lock(path) != key["lock"]:
        fail(3, str(path) + ": wrong passphrase for this key (or its file was altered)")
    return told(path, key)


def main():
    with open(os.environ["FAKE_BEECTL_ASKED"], "a", encoding="utf-8") as notes:
        notes.write(json.dumps(sys.argv[1:]) + "\n")
    if sys.argv[1] == "version":
        sys.stdout.write('{"clientVersion": {"beectl": "0.1.0"}}')
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("group", choices=["keys"])
    parser.add_argument("command", choices=["generate", "inspect"])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--kind")
    parser.add_argument("--encrypt", action="store_true")
    parser.add_argument("--replace", action="store_true")
    parser.add_argument("--unlock", action="store_true")
    parser.add_argument("-o", choices=["json"], required=True)
    given = parser.parse_args()
    if given.command == "generate":
        answer = generate(given.file, given.kind, given.encrypt, given.replace)
    else:
        answer = inspect(given.file, given.unlock)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
