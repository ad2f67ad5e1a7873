"""`./lab test`: everything that must hold, from style to machines."""

from collections.abc import Sequence

from labs.paths import ROOT
from labs.run import LabError, console, hand_over, step

_ANSIBLE = ("playbooks", "roles", "molecule", "inventory")
_STATIC: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Style", ("ruff", "check", ".")),
    ("Format", ("ruff", "format", "--check", ".")),
    ("Types", ("mypy",)),
    ("Types of the lab", ("mypy", "labs", "roles/node/files/release.py")),
    ("Import rules", ("lint-imports",)),
    ("Ansible", ("ansible-lint", "--offline", "--profile", "production", *_ANSIBLE)),
    ("Node", ("pytest", "-q", "tests/node")),
)


def run_static() -> None:
    """Run what needs no machines; all of it, so that one run tells everything.

    Raises:
        LabError: some of it failed.
    """
    failed = [title for title, command in _STATIC if not _passes(title, command)]
    if failed:
        raise LabError(f"failed: {', '.join(failed)}")


def run_on_machines() -> None:
    """Run the tests on machines of a lab, then the Molecule scenario.

    Raises:
        LabError: a test failed.
    """
    if not _passes("Lab", ("pytest", "-q", "-p", "no:cacheprovider", "tests/lab")):
        raise LabError("failed: tests/lab")
    with step("Molecule"):
        code = molecule(["test"])
    if code != 0:
        raise LabError("failed: molecule test")


def molecule(arguments: Sequence[str]) -> int:
    """Run Molecule in the project; return its exit code."""
    return hand_over(["molecule", *arguments], env={"MOLECULE_PROJECT_DIRECTORY": str(ROOT)})


def _passes(title: str, command: Sequence[str]) -> bool:
    console.print(f"[bold]── {title}[/]: {' '.join(command)}")
    return hand_over(command) == 0
