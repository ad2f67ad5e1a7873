"""A command line that runs in an empty home, and meshes made by it."""

import json
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner

from beemesh_node.cli.commit import commit
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.main import cli
from beemesh_node.cli.operator import load_trust
from beemesh_node.cli.times import now_ms
from beemesh_node.crypto.keystore import load_root
from beemesh_node.protocol.ids import MeshId
from beemesh_node.protocol.root import MeshRoot
from tests.node.cli.fakes import FakeMesh


class Beectl:
    """`beectl` as a person runs it."""

    def __init__(self):
        self.runner = CliRunner()

    def __call__(self, *arguments, code=0, **options):
        result = self.runner.invoke(cli, [str(argument) for argument in arguments], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, f"{result.exit_code}: {result.output}"
        return result

    def json(self, *arguments, **options):
        return json.loads(self(*arguments, "-o", "json", **options).stdout)


@pytest.fixture
def beectl(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("BEEMESH_DIR", "BEEMESH_CONTEXT", "BEEMESH_PASSPHRASE_FILE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return Beectl()


@pytest.fixture
def mesh_dir(beectl, tmp_path):
    directory = tmp_path / "mesh"
    beectl("mesh", "init", "--dir", directory, "--name", "home")
    return directory


@pytest.fixture
def mesh(beectl, mesh_dir, tmp_path, monkeypatch):
    """Three machines behind the context of `mesh_dir`, which every command uses from now on."""
    return make_mesh(mesh_dir, tmp_path, monkeypatch, ["m1", "m2", "m3"])


@pytest.fixture
def before_commit(monkeypatch):
    """Has something happen once, after a command has decided what to send and before it does."""

    def arrange(happen):
        async def late(*arguments):
            monkeypatch.setattr("beemesh_node.cli.workload_client.commit", commit)
            await happen()
            return await commit(*arguments)

        monkeypatch.setattr("beemesh_node.cli.workload_client.commit", late)

    return arrange


def make_mesh(mesh_dir, tmp_path, monkeypatch, names, passphrase=None):
    context = Context(mesh_dir)
    loaded = ContextSettings.load(context)
    root = MeshRoot(load_root(context.root_key, passphrase), MeshId(bytes.fromhex(loaded.mesh_id)))
    fake = FakeMesh(root, load_trust(context, loaded), tmp_path, names, now_ms())
    first = next(iter(fake.machines.values())).presence.addresses
    loaded.with_bootstrap(first).save(context)

    @asynccontextmanager
    async def connect(operator):
        fake.operator = operator
        yield fake

    monkeypatch.setattr("beemesh_node.cli.mesh.connect", connect)
    monkeypatch.setenv("BEEMESH_DIR", str(mesh_dir))
    return fake


@pytest.fixture
def hello(tmp_path):
    """A manifest of a Deployment, as text to be changed and as a file."""
    path = tmp_path / "hello.yml"
    path.write_text(HELLO)
    return path


HELLO = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: hello
  labels: {app: hello}
spec:
  replicas: 2
  selector:
    matchLabels: {app: hello}
  template:
    metadata:
      labels: {app: hello}
    spec:
      containers:
        - name: web
          image: localhost/web:1
"""
