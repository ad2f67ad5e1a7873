"""While the mesh is cut: each half goes on by itself, and what must not run twice does not."""

import json
import shutil
import time
from pathlib import Path

import pytest
import yaml

from labs import scenario
from labs.run import run

LEFT, RIGHT = ("pa-1", "pa-2"), ("pa-3", "pa-4")
HALVES = pytest.mark.parametrize(("name", "half"), [("left", LEFT), ("right", RIGHT)])
CALM = 5.0
"""Seconds for which what must not run twice is looked at."""


def _enter(name: str, half: tuple[str, ...]) -> Path:
    """A context that enters the mesh by the machines of one half only."""
    directory = scenario.directory() / name
    if not directory.exists():
        shutil.copytree(scenario.directory() / "mesh", directory)
        context = json.loads((directory / "context.json").read_text())
        addresses = [scenario.on(machine, "hostname", "--all-ip-addresses").split()[0] for machine in half]
        context["bootstrap"] = [each for each in context["bootstrap"] if each.split("/")[2] in addresses]
        (directory / "context.json").write_text(json.dumps(context))
    return directory


@HALVES
def test_a_half_runs_all_that_is_declared(name: str, half: tuple[str, ...]) -> None:
    scenario.wait_for_containers("many", 2, *half, seconds=30)


@HALVES
def test_a_half_takes_new_work(name: str, half: tuple[str, ...]) -> None:
    documents = list(yaml.safe_load_all((Path(__file__).parents[2] / "files" / "workload.yml").read_text()))
    manifest = next(each for each in documents if each["metadata"]["name"] == "many")
    labels = {"app": name}
    manifest["metadata"] = {"name": name, "labels": labels}
    manifest["spec"]["selector"]["matchLabels"] = manifest["spec"]["template"]["metadata"]["labels"] = labels
    file = scenario.directory() / f"{name}.yml"
    file.write_text(yaml.safe_dump(manifest))
    run(["beectl", "--dir", _enter(name, half), "apply", "-f", file, "--wait", "--timeout", "60s"])
    scenario.wait_for_containers(name, 2, *half, seconds=5)


def test_what_must_not_run_twice_runs_once() -> None:
    scenario.wait_for_containers("single", 1, *LEFT, *RIGHT, seconds=45)
    end = time.monotonic() + CALM
    while time.monotonic() < end:
        assert len(scenario.containers("single", *LEFT, *RIGHT)) <= 1
