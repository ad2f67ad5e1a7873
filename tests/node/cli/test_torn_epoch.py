"""Killed at any step of beginning an epoch, a context has a list in force and the secret that belongs to it."""

import shutil

import pytest

from beemesh_node.cli.authority import Epoch
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.operator import load_trust
from tests.node.daemon.torn import every_moment

BEGIN = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from beemesh_node.cli.authority import open_root
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.operator import load_trust
from beemesh_node.cli.trusting import Author, new_epoch
context = Context(Path(sys.argv[1]))
loaded = ContextSettings.load(context)
author = Author.of_root(open_root(context, loaded))
trust = load_trust(context, loaded)
mesh = SimpleNamespace(operator=SimpleNamespace(trust=trust), session=SimpleNamespace(mesh_time_ms=1))
os.kill(os.getpid(), signal.SIGSTOP)
new_epoch(context, mesh, author, ())
os._exit(0)
"""
STEP = 12
"""Of the system calls: less than what lies between the secret and the list, which is a durable write of the roots."""


def in_force(context):
    return load_trust(context, ContextSettings.load(context)).revocations


@pytest.mark.parametrize("lists", [0, 1])
def test_the_secret_in_force_is_never_lost(beectl, mesh, mesh_dir, tmp_path, lists):
    for _ in range(lists):
        beectl("mesh", "rotate-epoch")
    before = in_force(Context(mesh_dir))
    secret, untouched = Epoch.load(Context(mesh_dir), before.top), Context(mesh_dir).epoch.read_bytes()

    def prepared(call):
        shutil.copytree(mesh_dir, tmp_path / str(call))
        return (str(tmp_path / str(call)),)

    seen = set()
    for call, killed in every_moment(BEGIN, prepared, step=STEP):
        context = Context(tmp_path / str(call))
        present = in_force(context)
        epoch = Epoch.load(context, present.top)
        assert epoch.belongs_to(present.top), call
        assert (present == before) == (epoch == secret), call
        assert killed or present.number == before.number + 1
        seen.add((context.epoch.read_bytes() != untouched, present != before))
    assert {(False, False), (True, False), (True, True)} == seen, "also between secret and list"
