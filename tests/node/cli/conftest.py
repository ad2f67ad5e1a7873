"""A command line that runs in an empty home, and meshes made by it."""

import json

import pytest
from click.testing import CliRunner

from beemesh_node.cli.main import cli


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
