"""The gates of the collection: Ansible's own checks, on what its users install, without any list of exceptions.

`python -m labs.gates [GATE ...]` builds the artefact, installs it as `ansible_collections/beemesh/mesh` into a
temporary directory and runs them there; on the checkout they would see files that no user gets, and inside of it they
would take for ignored what git ignores. What they say goes to `.lab/logs`.
"""

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.markup import escape

from labs.paths import CACHE, ROOT, STATE
from labs.run import LabError, console, run, run_logged

_HOME = CACHE / "gates"
"""`~` of the gates: ansible-test keeps its virtual environments and galaxy-importer its working files below it."""

_SHIPPED = {
    *("CHANGELOG.rst", "LICENSES", "README.md", "REUSE.toml", "changelogs", "dashboards", "docs", "inventory", "tests"),
    *("FILES.json", "MANIFEST.json", "meta", "playbooks", "plugins", "roles"),
}
"""What may stand at the top of the artefact: nothing of the node and nothing of the lab."""

_WORKING = ("meta", "plugins", "roles", "playbooks")
"""With no more than these the collection works; all the rest is for people and for its tests."""

NOT_TRIED = "Not tried:"
"""How a line begins that tells on what a gate did not run."""

_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
"""What modules run on: from `python_requires` in tests/config.yml to the newest that ansible-test knows."""

_ON_MACHINES = ("tests/unit/plugins/modules/", "tests/unit/plugins/module_utils/")
"""Tests of what runs on machines, whose Python may be another than the controller's."""

_IMPORTER = """\
[galaxy-importer]
LOG_LEVEL_MAIN = INFO
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = False
RUN_ANSIBLE_TEST = False
CHECK_CHANGELOG = True
OUTPUT_ROOT = {output}
"""


@dataclass(frozen=True)
class Installed:
    """The collection as a user has it."""

    artefact: Path
    root: Path
    """`ansible_collections/beemesh/mesh`, below a temporary directory."""
    env: Mapping[str, str]

    def logged(self, name: str, *command: str, **env: str) -> str:
        """Run a program in the collection and return what it said. Raises `LabError` when it fails."""
        return run_logged(command, f"gate-{name}", env={**self.env, **env}, cwd=self.root, shown=120)


def _contents(installed: Installed) -> None:
    shipped = {path.name for path in installed.root.iterdir()}
    if surplus := sorted(shipped - _SHIPPED):
        raise LabError(f"the artefact has {', '.join(surplus)}: add them to build_ignore in galaxy.yml")
    if missing := sorted(set(_WORKING) - shipped):
        raise LabError(f"the artefact lacks {', '.join(missing)}: see build_ignore in galaxy.yml")
    ignored = [*installed.root.glob("tests/sanity/ignore*"), installed.root / ".ansible-lint-ignore"]
    if exceptions := [path.name for path in ignored if path.exists()]:
        raise LabError(f"{', '.join(exceptions)}: repair what is found instead of ignoring it")


def _bare(installed: Installed) -> None:
    """Playbooks and plugins of a copy with the working directories only are found and loaded."""
    with tempfile.TemporaryDirectory(prefix="beemesh-bare-") as place:
        root = Path(place) / "ansible_collections" / "beemesh" / "mesh"
        for name in _WORKING:
            shutil.copytree(installed.root / name, root / name)
        env = {"ANSIBLE_COLLECTIONS_PATH": place, "ANSIBLE_ROLES_PATH": place}
        for playbook in sorted((root / "playbooks").glob("*.yml")):
            # A name with a hyphen is none in a collection; each such file has an alias.
            if "-" not in playbook.name:
                name = f"beemesh.mesh.{playbook.stem}"
                installed.logged(f"bare-{playbook.stem}", "ansible-playbook", "--syntax-check", "-i", "x,", name, **env)
        for kind in ("module", "inventory"):
            folder = root / "plugins" / ("modules" if kind == "module" else kind)
            names = sorted(f"beemesh.mesh.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__")
            if names:
                installed.logged(f"bare-{kind}", "ansible-doc", "--json", "--type", kind, *names, **env)


def _environment(installed: Installed) -> None:
    """What an execution environment needs is found and understood by what builds one."""
    place = installed.root.parents[2]
    said = installed.logged("environment", "ansible-builder", "introspect", str(place))
    if "collection beemesh.mesh" not in said:
        raise LabError("ansible-builder finds nothing in meta/execution-environment.yml")


def _sanity(installed: Installed) -> None:
    said = installed.logged("sanity", "ansible-test", "sanity", "--color", "no")
    missed = set(re.findall(r"on Python ([\d.]+) because it could not be found", said))
    _tell("sanity", sorted(missed, key=_version))


def _units(installed: Installed) -> None:
    """The tests of all plugins on the Python of the node, those of modules also on the oldest that is here."""
    own = ".".join(map(str, sys.version_info[:2]))
    installed.logged("units", "ansible-test", "units", "--color", "no", "--python", own)
    oldest = next(each for each in _PYTHONS if each == own or shutil.which(f"python{each}", path=installed.env["PATH"]))
    if oldest != own:
        where = ("--requirements", "--target-python", f"venv/{oldest}", *_ON_MACHINES)
        installed.logged(f"units-{oldest}", "ansible-test", "units", "--color", "no", *where)
    _tell("units", [each for each in _PYTHONS if each not in (own, oldest)])


def _tell(gate: str, absent: list[str]) -> None:
    """Say what was not tried; `./lab test` shows such lines of a check that holds, too."""
    if absent:
        console.print(f"{NOT_TRIED} {gate} on Python {', '.join(absent)}", soft_wrap=True)


def _lint(installed: Installed) -> None:
    installed.logged("lint", "ansible-lint", "--profile", "production", "--offline", "--strict")


def _importer(installed: Installed) -> None:
    settings = _HOME / "galaxy-importer.cfg"
    settings.write_text(_IMPORTER.format(output=_HOME))
    said = installed.logged(
        "importer",
        sys.executable,
        "-m",
        "galaxy_importer.main",
        str(installed.artefact),
        GALAXY_IMPORTER_CONFIG=str(settings),
    )
    complaints = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]
    if complaints:
        raise LabError("galaxy-importer said:\n" + "\n".join(complaints))


def _docs(installed: Installed) -> None:
    installed.logged("docs", "antsibull-docs", "lint-collection-docs", "--plugin-docs", ".")


def _changelog(installed: Installed) -> None:
    installed.logged("changelog", "antsibull-changelog", "lint")


_GATES: Mapping[str, Callable[[Installed], None]] = {
    "contents": _contents,
    "bare": _bare,
    "changelog": _changelog,
    "docs": _docs,
    "environment": _environment,
    "sanity": _sanity,
    "units": _units,
    "lint": _lint,
    "importer": _importer,
}


def check(wanted: list[str]) -> list[str]:
    """Run the gates named, or all; return those that did not hold. What they said is on the console and in the logs."""
    failed = []
    with _installed() as installed:
        for name in wanted or _GATES:
            started = time.monotonic()
            try:
                _GATES[name](installed)
            except LabError as error:
                failed.append(name)
                console.print(f"[red]✗ {name}[/] {time.monotonic() - started:.0f} s: {escape(str(error))}")
            else:
                console.print(f"[green]✓[/] {name} {time.monotonic() - started:.0f} s")
    return failed


@contextmanager
def _installed() -> Iterator[Installed]:
    with tempfile.TemporaryDirectory(prefix="beemesh-gates-") as place:
        env = _surroundings()
        run(["ansible-galaxy", "collection", "build", "--output-path", place, ROOT], env=env)
        (artefact,) = Path(place).glob("*.tar.gz")
        run(["ansible-galaxy", "collection", "install", "--offline", "-p", place, artefact], env=env)
        root = Path(place) / "ansible_collections" / "beemesh" / "mesh"
        yield Installed(artefact, root, {**env, "ANSIBLE_COLLECTIONS_PATH": place})


def _surroundings() -> dict[str, str]:
    """A home of the gates' own, every Python of this computer, and no settings of the lab."""
    _HOME.mkdir(parents=True, exist_ok=True)
    _provide_pip()
    settings = _HOME / "ansible.cfg"
    settings.touch()
    own = {
        "HOME": str(_HOME),
        "PATH": os.pathsep.join([os.environ["PATH"], *map(str, _pythons())]),
        # Settings for roles of the checkout would hide what the artefact lacks.
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_HOME": str(_HOME / ".ansible"),
        "ANSIBLE_ROLES_PATH": "",
        "PYTHONPATH": "",
    }
    pip = Path.home() / ".config" / "pip" / "pip.conf"
    if pip.exists() and "PIP_CONFIG_FILE" not in os.environ:
        own["PIP_CONFIG_FILE"] = str(pip)
    return own


def _pythons() -> list[Path]:
    """Where pyenv and uv keep other Pythons, which need not be on the path."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local" / "share" / "uv" / "python"))
    return [*sorted(pyenv.glob("3.*/bin"), reverse=True), *sorted(uv.glob("cpython-3.*/bin"), reverse=True)]


def _provide_pip() -> None:
    """Have ansible-test take pip for its virtual environments from the package index, not from a site of its own."""
    spec = find_spec("ansible_test")
    if spec is None or spec.origin is None:
        raise LabError("ansible-test is missing: install requirements.lock")
    source = Path(spec.origin).parent / "_internal" / "python_requirements.py"
    version = re.search(r"\bpip='([\d.]+)'", source.read_text())
    if version is None:
        raise LabError(f"{source}: does not say any more which pip it wants; see how it is installed now")
    bootstrap = _HOME / ".ansible" / "test" / "cache" / f"get_pip_{version[1].replace('.', '_')}.py"
    if bootstrap.exists():
        return
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    wheels = bootstrap.parent / "wheels"
    run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, f"pip=={version[1]}"])
    (wheel,) = wheels.glob("pip-*.whl")
    bootstrap.write_text(
        f"import sys\n\nwheel = {str(wheel)!r}\nsys.path.insert(0, wheel)\n"
        "from pip._internal.cli.main import main\n\n"
        'sys.exit(main(["install", "--no-index", "--disable-pip-version-check", wheel]))\n'
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def main() -> None:
    """Run what the arguments name, or all."""
    wanted = sys.argv[1:]
    if unknown := [name for name in wanted if name not in _GATES]:
        sys.exit(f"no such gate: {', '.join(unknown)}; there are {', '.join(_GATES)}")
    try:
        failed = check(wanted)
    except LabError as error:
        sys.exit(f"gates: {error}")
    if failed:
        sys.exit(f"these did not hold: {', '.join(failed)}; what each said is in {STATE / 'logs'}")


if __name__ == "__main__":
    main()
