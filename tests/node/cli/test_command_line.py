"""The command line itself: what it lists, how it ends, what it does not import."""

import subprocess
import sys

import click
import pytest
import trio
from click.testing import CliRunner

from beemesh_node.cli.errors import CliError, ExitCode
from beemesh_node.cli.main import LAZY, cli
from beemesh_node.cli.options import duration
from beemesh_node.cli.targets import ResourceType, Target, parse_targets

SLOW = ("trio", "rich", "cryptography", "libp2p", "jsonschema", "yaml", "flatbuffers", "msgspec", "podman", "structlog")


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["completion", "bash"]])
def test_quick_commands_import_nothing_slow(arguments):
    code = (
        "import sys\nfrom beemesh_node.cli.main import cli\n"
        f"try:\n    cli({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print('SLOW', [name for name in {SLOW!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("SLOW []\n")


def test_completion_of_commands_imports_nothing_slow():
    code = (
        "import os, sys\nos.environ.update(_BEECTL_COMPLETE='bash_complete', COMP_WORDS='beectl ro', COMP_CWORD='1')\n"
        "from beemesh_node.cli.main import cli\n"
        "try:\n    cli([], prog_name='beectl', complete_var='_BEECTL_COMPLETE')\nexcept SystemExit:\n    pass\n"
        f"print('SLOW', [name for name in {SLOW!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "plain,rollout" in result.stdout
    assert result.stdout.endswith("SLOW []\n")


@pytest.mark.parametrize("name", LAZY)
def test_every_listed_command_exists_with_help_and_an_example(name):
    command = cli.get_command(click.Context(cli), name)
    result = CliRunner().invoke(cli, [name, "--help"])
    assert command is not None
    assert command.name == name
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"beectl {name}" in result.output


def test_an_unknown_command_is_wrong_usage():
    result = CliRunner().invoke(cli, ["frobnicate"])
    assert result.exit_code == ExitCode.INVALID
    assert "frobnicate" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell):
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_BEECTL_COMPLETE" in result.output


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172800)]
)
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m5", "5x", "-5s", "1h 2m", "9" * 40, "nan", "inf"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(click.BadParameter):
        duration(text)


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        (["po"], [Target(ResourceType.PODS)]),
        (["no,deploy"], [Target(ResourceType.MACHINES), Target(ResourceType.DEPLOYMENTS)]),
        (["deployment", "a", "b"], [Target(ResourceType.DEPLOYMENTS, "a"), Target(ResourceType.DEPLOYMENTS, "b")]),
        (["deploy/a", "pod/b"], [Target(ResourceType.DEPLOYMENTS, "a"), Target(ResourceType.PODS, "b")]),
        (["Machines"], [Target(ResourceType.MACHINES)]),
    ],
)
def test_targets_are_written_as_for_kubectl(words, targets):
    assert list(parse_targets(words)) == targets


@pytest.mark.parametrize(
    "words", [[], ["carrots"], ["deploy/"], ["/a"], ["deploy/a", "b"], ["a/b/c"], ["po,deploy", "a"]]
)
def test_other_targets_are_refused_as_wrong_usage(words):
    with pytest.raises(CliError) as caught:
        parse_targets(words)
    assert caught.value.exit_code == ExitCode.INVALID


def test_a_lone_name_is_of_the_default_type():
    assert parse_targets(["hello"], ResourceType.PODS) == (Target(ResourceType.PODS, "hello"),)
    assert parse_targets(["deploy"], ResourceType.PODS) == (Target(ResourceType.PODS, "deploy"),)
    assert parse_targets(["deploy", "x"], ResourceType.PODS) == (Target(ResourceType.DEPLOYMENTS, "x"),)


def test_an_interrupted_command_ends_as_shells_expect(beectl, mesh, monkeypatch):
    async def interrupted(*arguments):
        async with trio.open_nursery():
            raise KeyboardInterrupt

    monkeypatch.setattr("beemesh_node.cli.listing.list_objects", interrupted)
    assert beectl("get", "pods", code=130).output == ""


def test_a_closed_pipe_ends_a_command_quietly(beectl, mesh, monkeypatch):
    async def broken(*arguments):
        async with trio.open_nursery():
            raise BrokenPipeError

    monkeypatch.setattr("beemesh_node.cli.listing.list_objects", broken)
    assert beectl("get", "pods", code=ExitCode.FAILURE).output == ""
