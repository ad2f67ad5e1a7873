"""The playbook rotate-keys with a `beectl` that only pretends: what is done in which order, and again after an end."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.node.collection.stage import CALLBACK, INTERRUPTED

pytestmark = pytest.mark.long

PLAYBOOK = Path(__file__).parents[3] / "playbooks" / "rotate-keys.yml"
PRETENDER = """#!{python}
import json, pathlib, sys
here = pathlib.Path({directory!r})
words = sys.argv[1:]
if words[0] == "--dir":
    words = words[2:]
roots = json.loads((here / "roots").read_text())
command = " ".join(word for word in words[:3] if not word.startswith("-"))
operators = {operators!r}
answers = {{
    "get machines,workloads": {{"items": []}},
    "mesh root status": {{
        "roots": [{{"id": root}} for root in roots],
        "members": [{{"kind": "operator", "name": name, "renewed": len(roots) == 1}} for name in operators],
    }},
    "mesh info": {{"operator": "admin"}},
}}
key = here / "mesh" / "root.next.key"
if command not in answers:
    with (here / "log").open("a") as log:
        log.write(command + "\\n")
if command == "mesh root add":
    changed = not key.exists()
    if changed:
        key.write_text("")
        roots = ["root" + str(len(roots) + int(roots[0][4:]))] + roots
elif command == "mesh root retire":
    if operators != ["admin"]:
        sys.exit("still under the old root: operator/ann")
    roots, changed = roots[:1], len(roots) > 1
    key.unlink()
else:
    changed = command not in ("cert renew",)
(here / "roots").write_text(json.dumps(roots))
if (here / ("die after " + command)).exists():
    (here / ("die after " + command)).unlink()
    sys.exit("killed")
print(json.dumps(answers.get(command, {{"changed": changed, "roots": roots, "failed": {{}}}})))
"""


@dataclass(frozen=True)
class Controller:
    """A controller of two machines that never have a turn, with one root."""

    directory: Path

    def rotate(self, *words: str, interrupt: str = "never") -> subprocess.CompletedProcess[str]:
        """Rotate root and epoch; press Ctrl-C as `interrupt` says."""
        told = {
            "beemesh_beectl": str(self.directory / "beectl"),
            "beemesh_mesh_dir": str(self.directory / "mesh"),
            "beemesh_rotate": "root,epoch",
        }
        inventory = self.directory / "hosts.yml"
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", inventory, "-e", json.dumps(told), *words, PLAYBOOK],
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_ROLES_PATH": str(PLAYBOOK.parents[1] / "roles"),
                "ANSIBLE_CALLBACK_PLUGINS": str(self.directory / "callback"),
                "ANSIBLE_CALLBACKS_ENABLED": "interrupt",
                "INTERRUPT": interrupt,
            },
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def done(self) -> list[str]:
        """What was done since this was asked last."""
        log = self.directory / "log"
        found = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def rotations(self) -> dict[str, bool]:
        """Those that were begun, and whether they are complete."""
        found = (self.directory / "mesh" / "rotations").iterdir()
        return {each.name: (each / "complete").exists() for each in sorted(found)}


def controller(directory: Path, *operators: str) -> Controller:
    """Make one, for a mesh with these operators."""
    (directory / "mesh").mkdir()
    (directory / "callback").mkdir()
    (directory / "callback" / "interrupt.py").write_text(CALLBACK)
    (directory / "roots").write_text('["root1"]')
    program = directory / "beectl"
    program.write_text(
        PRETENDER.format(python=sys.executable, directory=str(directory), operators=["admin", *operators])
    )
    program.chmod(0o700)
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"one": here, "two": here}
    (directory / "hosts.yml").write_text(yaml.safe_dump({"mesh": {"hosts": hosts}}))
    return Controller(directory)


ALL = ["mesh root add", "mesh rotate-epoch", "cert renew", "mesh root retire"]


def test_it_goes_on_where_it_was_ended_and_the_next_one_is_another(tmp_path: Path) -> None:
    each = controller(tmp_path)
    (tmp_path / "die after mesh root retire").touch()
    assert each.rotate().returncode != 0
    assert each.done() == ALL
    went_on = each.rotate()
    assert went_on.returncode == 0, went_on.stdout
    assert list(each.rotations().values()) == [True]
    assert json.loads((tmp_path / "roots").read_text()) == ["root2"]
    assert each.done() == []
    another = each.rotate()
    assert another.returncode == 0, another.stdout
    assert each.done() == ALL
    assert list(each.rotations().values()) == [True, True]


def test_ctrl_c_wherever_something_was_done(tmp_path: Path) -> None:
    each = controller(tmp_path)
    seen, named = tmp_path / "seen", ("-e", "beemesh_rotation=spring")
    # Named, since a run after one that was ended at its very end begins another rotation.
    while (last := each.rotate(*named, interrupt=f"anew {seen}")).returncode == INTERRUPTED:
        print(f"interrupted after {seen.read_text().splitlines()[-1]}")
    assert last.returncode == 0, last.stdout
    pressed = seen.read_text().splitlines()
    assert {"Run beectl mesh root add", "Run beectl mesh rotate-epoch", "Run beectl mesh root retire"} <= {*pressed}
    assert json.loads((tmp_path / "roots").read_text()) == ["root2"]
    assert each.rotations() == {"spring": True}
    assert set(each.done()) == set(ALL)
    again = each.rotate(*named)
    assert again.returncode == 0, again.stdout
    assert each.done() == []


def test_another_operator_holds_up_the_old_root_alone(tmp_path: Path) -> None:
    each = controller(tmp_path, "ann")
    held = each.rotate()
    assert held.returncode != 0
    said = " ".join(held.stdout.split())
    assert "under the old root, and not in reach of this playbook: ann. Have each ask anew" in said
    assert "still under the old root: operator/ann" in said
    assert each.done() == ALL
    assert list(each.rotations().values()) == [False]
