# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what machines of one Python and one architecture install: two archives, to be unpacked in a virtual environment.

One has the third-party packages of the lock file, each checked against its hash, the other Beemesh itself. A machine
needs neither pip nor a compiler nor a package index, and the work is done once however many machines there are.

Prints {"archives": [PATH, PATH], "release": ID, "bytes": size of the archives, "made": whether something was made just
now}. What is named by a hash of its sources is never made twice; by the release a machine can tell whether it has it.
"""

from __future__ import annotations

import argparse
import compileall
import configparser
import hashlib
import importlib.metadata
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

# Published as source only; all are pure Python, so that a wheel made here runs everywhere.
SOURCE_ONLY = ("python-baseconv", "sdnotify", "varint")
NODE_BEGINS = "# --- a node runs with:"
NODE_ENDS = "# --- development"
PROGRAM_PARTS = ("LICENSES", "README.md", "beemesh_node", "pyproject.toml")
TOOLS = {"pip": 23, "setuptools": 77}
"""What makes wheels, and the oldest of each that can: an older setuptools does not understand pyproject.toml."""
OLDEST_MINOR = {"glibc": 5, "musl": 1}
"""Wheels name the oldest C library that they run with; those for older ones than this there are none."""

_LAUNCHER = """#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/python3" -I -c 'from {module} import {function}; {function}()' "$@"
"""


def check_source(source: str) -> Path:
    """Return the directory if it is a checkout, which an installed collection is not."""
    path = Path(source)
    missing = [name for name in ("requirements.lock", *PROGRAM_PARTS) if not (path / name).exists()]
    if source and not missing:
        return path
    lacking = f"{path.absolute()} has no {' and no '.join(missing)}" if source else "it is empty"
    raise SystemExit(
        "release.py: set beemesh_source (for the role by itself node_source) to a checkout of the project, of which "
        f"machines get what they run, and which the collection does not bring with it: {lacking}"
    )


def check_tools() -> None:
    """End with one sentence if this Python cannot make wheels."""
    for name, oldest in TOOLS.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or int(version.partition(".")[0]) < oldest:
            found = f"{name} {version}" if version else f"no {name}"
            raise SystemExit(
                f"release.py: {sys.executable} has {found}, and {name} {oldest} or newer is needed: install it there, "
                "or name another Python of the controller with node_builder_python"
            )


def requirements(lock: Path) -> dict[str, str]:
    """Return the entries of a lock file that a node runs with, by name, each with its hashes."""
    text = lock.read_text(encoding="utf-8")
    if NODE_BEGINS not in text:
        raise SystemExit(f"{lock}: no line '{NODE_BEGINS}'; write it anew with .ci/relock")
    entries: dict[str, str] = {}
    name = ""
    for line in text.split(NODE_BEGINS)[1].split(NODE_ENDS)[0].strip().splitlines():
        if line[:1].strip():
            name = line.split("==")[0].strip()
            entries[name] = ""
        entries[name] += line + "\n"
    return entries


def program_files(source: Path) -> list[Path]:
    """Return the files that Beemesh's own wheel is made from."""
    found: list[Path] = []
    for part in PROGRAM_PARTS:
        path = source / part
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in found if "__pycache__" not in file.parts)


def program_id(source: Path) -> str:
    """Return a hash of the sources of Beemesh."""
    digest = hashlib.sha256()
    for file in program_files(source):
        digest.update(f"{file.relative_to(source)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def pip(*arguments: str) -> None:
    """Run pip; what it says goes to standard error."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603 - the arguments are ours
    if done.returncode != 0:
        raise SystemExit(
            "release.py: pip failed (above). It needs a package index that has the files of the lock; for some kinds "
            "of machines, such as 32-bit ones, not everything that Beemesh needs is published ready-made"
        )


def build(into: Path, *arguments: str) -> None:
    """Make wheels from source."""
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--use-pep517", f"--wheel-dir={into}", *arguments)


def platforms(libc: str, architecture: str) -> list[str]:
    """Return the platforms of wheels that run with a C library ("glibc-2.36", "musl-1.2"), the newest first."""
    family, _dash, version = libc.partition("-")
    major, _dot, minor = version.partition(".")
    if family not in OLDEST_MINOR or not (major.isdigit() and minor.isdigit()):
        raise SystemExit(f"release.py: --libc {libc!r}: give a family and a version, such as glibc-2.36 or musl-1.2")
    prefix = "manylinux" if family == "glibc" else "musllinux"
    found = [f"{prefix}_{major}_{each}_{architecture}" for each in range(int(minor), OLDEST_MINOR[family] - 1, -1)]
    if family == "glibc":
        found.append(f"manylinux2014_{architecture}")
    return [*found, f"linux_{architecture}"]


def dependency_wheels(entries: dict[str, str], python: str, architecture: str, libc: str, into: Path) -> None:
    """Collect the wheels of third parties."""
    wanted = into / "requirements.txt"
    wanted.write_text("".join(text for name, text in entries.items() if name not in SOURCE_ONLY), encoding="utf-8")
    pip(
        *("download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", f"--dest={into}"),
        *(f"--platform={platform}" for platform in platforms(libc, architecture)),
        *("--implementation=cp", f"--python-version={python}", f"--requirement={wanted}"),
    )
    wanted.write_text("".join(entries[name] for name in SOURCE_ONLY if name in entries), encoding="utf-8")
    build(into, "--require-hashes", f"--requirement={wanted}")


def program_wheel(source: Path, into: Path) -> None:
    """Make the wheel of Beemesh, from a copy: setuptools writes into the tree that it builds from."""
    with tempfile.TemporaryDirectory() as copy:
        for file in program_files(source):
            target = Path(copy) / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        build(into, copy)


def unpack(wheels: Path, tree: Path, python: str, *, launchers: bool) -> None:
    """Lay wheels out as a virtual environment has them; with `launchers` also their commands."""
    packages = tree / "lib" / f"python{python}" / "site-packages"
    packages.mkdir(parents=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)  # noqa: S202 - its hash was checked, or it was made here
    for data in packages.glob("*.data"):
        for part in ("purelib", "platlib"):
            if (data / part).is_dir():
                shutil.copytree(data / part, packages, dirs_exist_ok=True)
        shutil.rmtree(data)
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(packages, quiet=2, invalidation_mode=mode, workers=0)
    if launchers:
        for entry_points in packages.glob("*.dist-info/entry_points.txt"):
            write_launchers(entry_points, tree / "bin")


def write_launchers(entry_points: Path, directory: Path) -> None:
    """Write a small script for each command that a package declares."""
    parser = configparser.ConfigParser()
    parser.read(entry_points, encoding="utf-8")
    directory.mkdir(exist_ok=True)
    for name, target in parser.items("console_scripts"):
        module, function = target.split(":")
        script = directory / name
        script.write_text(_LAUNCHER.format(module=module, function=function), encoding="utf-8")
        script.chmod(0o755)


def archive(path: Path, python: str, collect: Callable[[Path], None], *, launchers: bool = False) -> bool:
    """Make one archive of the wheels that `collect` puts into a directory; return False if it is there already."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        wheels, tree = Path(directory) / "wheels", Path(directory) / "tree"
        wheels.mkdir()
        collect(wheels)
        unpack(wheels, tree, python, launchers=launchers)
        unfinished = Path(directory) / "archive"
        with tarfile.open(unfinished, "w:gz", compresslevel=4) as tar:
            for part in sorted(tree.iterdir()):
                tar.add(part, arcname=part.name, filter=_owned_by_root)
        os.replace(unfinished, path)
    return True


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def main() -> None:
    """Read the arguments, make the archives unless they are there, say where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="checkout of the project")
    parser.add_argument("--out", type=Path, required=True, help="directory in which archives are kept")
    parser.add_argument("--python", required=True, help="Python of the machines, such as 3.11")
    parser.add_argument("--architecture", required=True, help="architecture of the machines, such as aarch64")
    parser.add_argument("--libc", default="glibc-2.36", help="C library of the machines, such as musl-1.2")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be made")
    given = parser.parse_args()
    python, architecture, libc, source = given.python, given.architecture, given.libc, check_source(given.source)
    entries = requirements(source / "requirements.lock")
    packages_id = hashlib.sha256("".join(entries.values()).encode()).hexdigest()[:16]
    own_id = program_id(source)
    kind = f"{python}-{architecture}-{libc}"
    packages = given.out / f"packages-{packages_id}-{kind}.tar.gz"
    own = given.out / f"beemesh-{own_id}-{python}.tar.gz"
    if given.dry_run:
        made = [not packages.exists(), not own.exists()]
    else:
        if not (packages.exists() and own.exists()):
            check_tools()
        made = [
            archive(packages, python, lambda into: dependency_wheels(entries, python, architecture, libc, into)),
            archive(own, python, lambda into: program_wheel(source, into), launchers=True),
        ]
    answer = {
        "archives": [str(packages), str(own)],
        "release": f"{own_id}-{packages_id}-{kind}",
        "bytes": sum(path.stat().st_size for path in (packages, own) if path.exists()),
        "made": any(made),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
