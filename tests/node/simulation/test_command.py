"""What people see of a simulation: the report, the picture, and how a failing seed is replayed."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from beemesh_node.simulation import checks
from beemesh_node.simulation.command import simulate
from beemesh_node.simulation.scale import measure

WITHIN = 1.1
"""What does not depend on the size of a mesh may differ by a tenth."""


def simulated(*words: str) -> Result:
    return CliRunner().invoke(simulate, ["--machines", "6", "--minutes", "0.5", *words])


def texts(svg: str) -> list[str]:
    """What stands in a picture."""
    return [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_seed_decides_everything_that_is_reported() -> None:
    one, again, other = simulated("--seed", "3"), simulated("--seed", "3"), simulated("--seed", "4")
    assert (one.exit_code, other.exit_code) == (0, 0)
    assert one.stdout == again.stdout
    assert one.stdout != other.stdout
    for line in ("healed", "excess drained", "messages/machine/s", "violations          none"):
        assert line in one.stdout


def test_the_picture_says_what_was_simulated(tmp_path: Path) -> None:
    drawn = tmp_path / "new" / "mesh.svg"
    done = simulated("--seed", "3", "--picture", str(drawn))
    assert f"drawn: {drawn}" in done.stdout
    title, *others = texts(drawn.read_text("utf-8"))
    assert title.startswith("seed 3: 6 machines, ")
    for panel in ("Time to heal", "Excess drained", "Machines asked for each task", "Other messages of each machine"):
        assert any(each.startswith(panel) for each in others), panel


def test_a_seed_that_fails_is_named_with_the_command_that_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MOST_MESSAGES", 0.0)
    monkeypatch.setattr(checks, "PER_POD", 0.0)
    done = simulated("--seed", "3", "--seeds", "2")
    assert done.exit_code == 1
    _, found, replay = done.stdout.partition("replay what failed with:\n")
    assert found
    commands = replay.split("\n")
    assert commands[0].split() == ["./lab", "simulate", "--machines", "6", "--minutes", "0.5", "--seed", "3"]
    assert "--seed 4" in commands[1]


@pytest.mark.parametrize("size", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_what_a_machine_sends_and_who_is_asked_do_not_grow_with_the_mesh(size: int) -> None:
    small, large = measure((100, size), seed=1)
    for cost in ("bids_per_task", "probes", "messages"):
        assert getattr(large, cost) <= WITHIN * getattr(small, cost), cost
