"""`beectl` in a process of its own, as people run it, but not loaded anew for each of a thousand calls.

A server loads it once, and every call is a fork of that. The lab's tests and Molecule start the installed command.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.node.integration.machine import ROOT

_USED = ("cli", "crypto", "membership", "messaging", "network", "protocol", "workloads")
"""The packages that are loaded; their modules bring libp2p and everything else that takes long."""


def run(words: Sequence[str], stdin: str, timeout: float) -> tuple[int, str, str]:
    """Run beectl to its end; return its exit code, output and errors. Fails when it takes longer, in seconds."""
    with TemporaryDirectory() as directory:
        said = Path(directory)
        (said / "stdin").write_text(stdin)
        process = _SERVER.Process(target=_beectl, args=(list(words), directory, dict(os.environ)))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"beectl {' '.join(words)} does not end: {(said / 'stderr').read_text()}")
        code = process.exitcode
        process.close()
        return code, (said / "stdout").read_text(), (said / "stderr").read_text()


def _beectl(words: list[str], directory: str, environment: dict[str, str]) -> None:
    modes = (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY | os.O_CREAT), ("stderr", os.O_WRONLY | os.O_CREAT))
    for number, (name, mode) in enumerate(modes):
        opened = os.open(os.path.join(directory, name), mode, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing gave it another
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    from beemesh_node.cli.main import main

    sys.argv = ["beectl", *words]
    main()


def _modules() -> Iterator[str]:
    for package in _USED:
        for path in (ROOT / "beemesh_node" / package).rglob("*.py"):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["__main__", __name__, *_modules()])
