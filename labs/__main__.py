"""`./lab`: the commands."""

import os
import shutil
import sys

import click
from rich.markup import escape
from rich.table import Table

from beemesh_node.simulation.command import simulate
from labs import host as hosts
from labs import image, machines, mesh, suite
from labs.paths import COLLECTIONS, INVENTORY, MESH, ROOT, STATE
from labs.run import LabError, console, hand_over, step
from labs.scenario import link_collection

_NEXT = (
    ("beectl describe deployment hello", "where it runs, and why there"),
    ("beectl scale deployment hello --replicas 3", "one more"),
    ("kill {victim}", "pull a machine's plug"),
    ("beectl get pods -o wide -w", "and watch what becomes of its pod"),
    ("start {victim}", "power it on again"),
    ("cut {victim} {other}", "no packet passes between the two"),
    ("mend", "until this"),
    ("shell {victim}", "a shell on a machine"),
    ("down", "remove all of it"),
)


def _prepare() -> str:
    """Make this computer able to run lab machines; return the name of their image."""
    host = _install(testing=False)
    hosts.prepare_podman(host)
    machines.make_key()
    with step(f"Image of a machine (Debian {host.machine_suite})"):
        name = image.machine_image(host)
        machines.write_common_inventory(host, name)
    return name


def _install(*, testing: bool) -> hosts.Host:
    """Install what is missing on this computer; return what it is."""
    host = hosts.detect()
    if missing := hosts.missing_programs(host, testing=testing):
        with step(f"Installing {' '.join(missing.values())}"):
            hosts.install(missing)
    return host


def _attach() -> None:
    """Use what an earlier `./lab up` prepared."""
    if not INVENTORY.exists():
        raise LabError("there is no lab: run ./lab up first")
    hosts.prepare_podman(hosts.detect())


_DRAWN = {"simulate": {"drawn": STATE / "simulation.svg"}}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "default_map": _DRAWN})
def lab() -> None:
    """A mesh of machines on this computer, to try Beemesh and to test it."""


@lab.command()
@click.option("--machines", "count", type=click.IntRange(1, 30), default=3, show_default=True, help="How many.")
@click.option("--small", type=click.IntRange(0, 5), default=0, help="How many more that have little memory.")
@click.option("--bare", is_flag=True, help="Only machines: no mesh on them.")
def up(count: int, small: int, bare: bool) -> None:
    """Make machines, join them to a mesh and run a Deployment on it. What is there already stays."""
    _prepare()
    subnet = machines.free_subnet(os.environ.get("BEEMESH_LAB_SUBNET"))
    planned = machines.plan(count, small, subnet)
    if INVENTORY.exists() and machines.read_machines() != planned:
        raise LabError("there is a lab with other machines: ./lab down removes it")
    machines.write_inventory(planned, subnet)
    with step(f"Machines {', '.join(machine.name for machine in planned)}"):
        machines.create()
    if bare:
        return
    with step("Joining them to a mesh (playbooks/join-mesh.yml)"):
        said = mesh.join()
    console.print(f"    {said}")
    with step("Waiting until every machine is ready"):
        mesh.wait_for_machines([machine.name for machine in planned])
    with step("Applying examples/hello.yml and asking its pods over HTTP"):
        mesh.apply_hello()
        answering = mesh.wait_for_hello()
    console.print()
    mesh.beectl_interactive(["get", "machines"])
    console.print()
    mesh.beectl_interactive(["get", "pods", "-o", "wide"])
    victim = answering[0].machine
    other = next((machine.name for machine in planned if machine.name != victim), victim)
    console.print("\nWhat to try next:")
    for command, meaning in _NEXT:
        console.print(f"  ./lab {command.format(victim=victim, other=other):<44}{meaning}", markup=False)


@lab.command()
def status() -> None:
    """Show the machines, and who is cut off from whom. Exits with 1 unless every machine and daemon runs."""
    _attach()
    state = machines.states()
    known = machines.read_machines()
    by_address = {machine.address: machine.name for machine in known}
    table = Table(box=None, pad_edge=False)
    for column in ("MACHINE", "ADDRESS", "POWER", "BEEMESHD", "CUT OFF FROM"):
        table.add_column(column)
    well = True
    for machine in known:
        running = state[machine.name] == "running"
        daemon = mesh.unit_state(machine) if running else "-"
        away = [by_address.get(address, address) for address in machines.cuts(machine)] if running else []
        well = well and daemon == "active"
        table.add_row(machine.name, machine.address, state[machine.name], daemon, ", ".join(away) or "-")
    console.print(table)
    if not well:
        sys.exit(1)


@lab.command()
@click.argument("machine")
def kill(machine: str) -> None:
    """End a machine as a power cut would."""
    _attach()
    machines.kill(machines.find(machine))


@lab.command()
@click.argument("machine")
def start(machine: str) -> None:
    """Power a killed machine on again."""
    _attach()
    with step(f"Starting {machine}"):
        machines.start(machines.find(machine))


@lab.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
def cut(one: str, other: str) -> None:
    """Let no packet pass between machines A and B."""
    _attach()
    if one == other:
        raise LabError("name two different machines")
    machines.cut(machines.find(one), machines.find(other))


@lab.command()
def mend() -> None:
    """Undo every cut."""
    _attach()
    mended = machines.mend()
    console.print(f"mended: {', '.join(mended)}" if mended else "nothing was cut")


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("machine")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(machine: str, command: tuple[str, ...]) -> None:
    """Run a shell, or a COMMAND, on a machine."""
    _attach()
    terminal = ["--interactive", "--tty"] if sys.stdin.isatty() else ["--interactive"]
    target = machines.find(machine).container
    sys.exit(hand_over(["podman", "exec", *terminal, target, *(command or ("bash", "-l"))]))


@lab.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def beectl(arguments: tuple[str, ...]) -> None:
    """Run beectl against the lab's mesh."""
    sys.exit(mesh.beectl_interactive(arguments))


@lab.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def molecule(arguments: tuple[str, ...]) -> None:
    """Run Molecule with machines as those of the lab; `--all` alone runs every scenario, and tells their times."""
    _prepare()
    if arguments == ("--all",):
        suite.every_scenario()
        return
    sys.exit(suite.molecule(arguments))


@lab.command()
def down() -> None:
    """Remove the machines and the mesh. The caches stay, for the next time."""
    if not INVENTORY.exists():
        console.print("there is no lab")
        return
    _attach()
    with step("Removing the machines"):
        machines.destroy()
    shutil.rmtree(MESH, ignore_errors=True)


@lab.command()
@click.option("--no-lab", is_flag=True, help="Only what needs no machines.")
@click.option("--all", "everything", is_flag=True, help="Also the tests that take minutes each.")
def test(no_lab: bool, everything: bool) -> None:
    """Run the tests: style, types, imports, the node's own, the collection's gates, machines of a lab, Molecule."""
    hosts.prepare_podman(_install(testing=True))
    link_collection(COLLECTIONS)
    pure = (*suite.QUICK, suite.node(long=everything))
    meshes = (*suite.GATES, suite.integration(long=everything))
    if no_lab:
        suite.run(pure, meshes)
        return
    _prepare()
    suite.run(pure, meshes, (*suite.LAB, *suite.MOLECULE))


lab.add_command(simulate)


def main() -> None:
    """Run a command; say in one place what went wrong."""
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "labs" / "ansible.cfg")
    os.environ["ANSIBLE_HOME"] = str(STATE / "ansible")
    os.environ["ANSIBLE_ROLES_PATH"] = str(ROOT / "roles")
    try:
        lab(prog_name="./lab")
    except LabError as error:
        console.print("[red]lab:[/]", escape(str(error)))
        sys.exit(1)


main()
