"""`./lab test`: everything that must hold, from style to machines.

It runs in lanes side by side, because the longer tests mostly wait.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rich.markup import escape

from labs.gates import NOT_TRIED
from labs.paths import COLLECTIONS, ROOT
from labs.run import LabError, console, hand_over, run_logged

_ANSIBLE = ("molecule", "inventory")
"""What the gates do not see, since it is not part of the artefact, and what they see as files of YAML only."""

_PYTEST = ("pytest", "-q", "-p", "no:cacheprovider")
_REAL_MESHES = "tests/node/integration"
_MOLECULE = {"MOLECULE_PROJECT_DIRECTORY": str(ROOT)}


@dataclass(frozen=True)
class Check:
    """Something that must hold: a command that ends with 0."""

    title: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)

    def holds(self) -> bool:
        """Run it, and tell its outcome; of a failure, the end of what it said."""
        console.print(f"[bold]→[/] {self.title}: {escape(' '.join(self.command))}")
        started = time.monotonic()
        try:
            said = run_logged(self.command, f"test-{self.title.lower().replace(' ', '-')}", env=self.env, shown=120)
        except LabError as error:
            console.print(f"[red]✗ {self.title}[/] {time.monotonic() - started:.0f} s: {escape(str(error))}")
            return False
        last = said.strip().rpartition("\n")[2] if self.command[0] == "pytest" else ""
        console.print(f"[green]✓[/] {self.title} {time.monotonic() - started:.0f} s {escape(last)}")
        for line in said.splitlines():
            if line.startswith(NOT_TRIED):
                console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
        return True


QUICK = (
    Check("Style", ("ruff", "check", ".")),
    Check("Format", ("ruff", "format", "--check", ".")),
    Check("Types", ("mypy",)),
    Check("Types of the lab", ("mypy", "labs", "roles/node/files")),
    Check("Import rules", ("lint-imports",)),
    Check(
        "Ansible",
        ("ansible-lint", "--offline", "--profile", "production", *_ANSIBLE),
        # Playbooks of scenarios use modules of the collection.
        {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
    ),
)
GATES = (Check("Gates of the collection", ("python", "-m", "labs.gates")),)
SHORT = ("failover",)
"""The scenarios that are part of every run; `./lab molecule --all` has all of them."""


def node(*, long: bool) -> Check:
    """Everything of the node that needs no mesh; `long` adds what takes minutes."""
    return Check("Node", (*_PYTEST, *_chosen(long), "tests/node", f"--ignore={_REAL_MESHES}"))


def integration(*, long: bool) -> Check:
    """Real meshes on this computer; `long` adds the tests that take minutes each."""
    return Check("Integration", (*_PYTEST, *_chosen(long), _REAL_MESHES))


def _chosen(long: bool) -> tuple[str, ...]:
    return () if long else ("-m", "not long")


def _scenarios(names: Sequence[str]) -> tuple[Check, ...]:
    return tuple(Check(f"Scenario {name}", ("molecule", "test", "--scenario-name", name), _MOLECULE) for name in names)


LAB = (Check("Lab", (*_PYTEST, "tests/lab")),)


MOLECULE = _scenarios(SHORT)


def run(*lanes: Sequence[Check]) -> None:
    """Run the lanes side by side, each in its order, and all of it, so that one run tells everything.

    Raises:
        LabError: some of it failed.
    """
    with ThreadPoolExecutor(len(lanes)) as pool:
        results = pool.map(lambda lane: [check.title for check in lane if not check.holds()], lanes)
        failed = [title for titles in results for title in titles]
    if failed:
        raise LabError(f"failed: {', '.join(failed)}; what each of them said is in .lab/logs")


def every_scenario() -> None:
    """Run all scenarios, one after the other, and tell how long each took.

    Raises:
        LabError: some of them failed.
    """
    run(_scenarios(sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))))


def molecule(arguments: Sequence[str]) -> int:
    """Run Molecule in the project; return its exit code."""
    return hand_over(["molecule", *arguments], env=_MOLECULE)
