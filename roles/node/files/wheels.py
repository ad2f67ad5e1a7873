#!/usr/bin/env python3
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one archive with all wheels that a machine of a given Python and architecture installs.

Prints {"archive": PATH, "release": ID, "program": FILE, "made": whether it was made just now}. The release is a hash of
what goes in, so nothing is made twice and machines can tell whether they have it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# Published as source only; all are pure Python, so that a wheel made here runs everywhere.
SOURCE_ONLY = ("python-baseconv", "sdnotify", "varint")
NODE_BEGINS = "# --- a node runs with:"
NODE_ENDS = "# --- development"
PROGRAM_PARTS = ("LICENSES", "README.md", "beemesh_node", "pyproject.toml")
NEWEST_GLIBC_MINOR = 36
"""Of Debian 12, the oldest system that is served."""


def requirements(lock: Path) -> dict[str, str]:
    """Return the entries of a lock file that a node runs with, by name, each with its hashes."""
    text = lock.read_text(encoding="utf-8")
    if NODE_BEGINS not in text:
        raise SystemExit(f"{lock}: no line '{NODE_BEGINS}'; write it anew with .ci/relock")
    node = text.split(NODE_BEGINS)[1].split(NODE_ENDS)[0]
    entries: dict[str, str] = {}
    name = ""
    for line in node.strip().splitlines():
        if line[:1].strip():
            name = line.split("==")[0].strip()
            entries[name] = ""
        entries[name] += line + "\n"
    return entries


def program_files(source: Path) -> list[Path]:
    """Return the files that the program's own wheel is made from."""
    found: list[Path] = []
    for part in PROGRAM_PARTS:
        path = source / part
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in found if "__pycache__" not in file.parts)


def release_id(source: Path, entries: dict[str, str], python: str, architecture: str) -> str:
    """Return the hash of everything that an archive is made from."""
    digest = hashlib.sha256(f"{python} {architecture}".encode())
    digest.update("".join(entries.values()).encode())
    for file in program_files(source):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(source)} {content}\n".encode())
    return digest.hexdigest()[:24]


def pip(*arguments: str) -> None:
    """Run pip; what it says goes to standard error."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603 - the arguments are ours
    if done.returncode != 0:
        raise SystemExit("wheels.py: pip failed (above); it needs a package index that has the files of the lock")


def make(source: Path, entries: dict[str, str], python: str, architecture: str, into: Path) -> None:
    """Put all wheels, and the list with their hashes, into a directory."""
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in range(NEWEST_GLIBC_MINOR, 4, -1)]
    platforms += [f"manylinux2014_{architecture}", f"linux_{architecture}"]
    known = into / "known.txt"
    known.write_text("".join(text for name, text in entries.items() if name not in SOURCE_ONLY), encoding="utf-8")
    pip(
        *("download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", f"--dest={into}"),
        *(f"--platform={platform}" for platform in platforms),
        *("--implementation=cp", f"--python-version={python}", f"--requirement={known}"),
    )
    known.write_text("".join(entries[name] for name in SOURCE_ONLY if name in entries), encoding="utf-8")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--use-pep517", f"--wheel-dir={into}")
    pip(*build, "--require-hashes", f"--requirement={known}")
    known.unlink()
    with tempfile.TemporaryDirectory() as copy:
        for file in program_files(source):
            target = Path(copy) / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        pip(*build, copy)
    lines = []
    for wheel in sorted(into.glob("*.whl")):
        if not wheel.name.startswith("beemesh_node-"):
            name, version = wheel.name.split("-")[:2]
            lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    (into / "requirements.txt").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Read the arguments, make the archive unless it is there, say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="checkout of the node")
    parser.add_argument("--out", type=Path, required=True, help="directory in which archives are kept")
    parser.add_argument("--python", required=True, help="Python of the machines, such as 3.11")
    parser.add_argument("--architecture", required=True, help="architecture of the machines, such as aarch64")
    given = parser.parse_args()
    entries = requirements(given.source / "requirements.lock")
    release = release_id(given.source, entries, given.python, given.architecture)
    archive = given.out / f"beemesh-{given.python}-{given.architecture}-{release}.tar"
    made = not archive.exists()
    if made:
        given.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=given.out) as directory:
            wheels = Path(directory) / "wheels"
            wheels.mkdir()
            make(given.source, entries, given.python, given.architecture, wheels)
            unfinished = Path(directory) / "archive.tar"
            with tarfile.open(unfinished, "w") as tar:
                for file in sorted(wheels.iterdir()):
                    tar.add(file, arcname=file.name)
            os.replace(unfinished, archive)
    with tarfile.open(archive) as tar:
        program = next(name for name in tar.getnames() if name.startswith("beemesh_node-"))
    print(json.dumps({"archive": str(archive), "release": release, "program": program, "made": made}))


if __name__ == "__main__":
    main()
