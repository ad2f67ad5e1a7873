"""The inventory that people copy: what it sets is what playbooks and roles read."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventory" / "hosts.example.yml"
OURS = re.compile(r"\b(?:beemesh|node)_[a-z_]+\b")


def options() -> set[str]:
    """Variables that a role declares."""
    found: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found |= entry.get("options", {}).keys()
    return found


def read_by_playbooks() -> set[str]:
    texts = [path.read_text() for path in (*ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml"))]
    return {name for text in texts for name in OURS.findall(text)}


def test_every_variable_of_the_example_is_one_that_is_read() -> None:
    set_there = set(OURS.findall(EXAMPLE.read_text()))
    assert len(set_there) >= 8
    assert set_there <= options() | read_by_playbooks()


def test_cloud_onprem_and_iot_stand_side_by_side_each_with_its_batch() -> None:
    mesh = yaml.safe_load(EXAMPLE.read_text())["mesh"]
    batches = {name: group["vars"]["beemesh_batch"] for name, group in mesh["children"].items()}
    assert batches.keys() == {"cloud", "onprem", "iot"}
    assert len(set(batches.values())) == 3
    assert all(group["hosts"] for group in mesh["children"].values())
