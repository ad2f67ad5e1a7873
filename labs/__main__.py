"""`./lab`: the commands."""

import os
import sys

import click

from rich.markup import escape

from labs import host as hosts
from labs import image, machines
from labs.run import LabError, console, step


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """A mesh of machines on this computer, to try Beemesh and to test it."""


@lab.command()
@click.option("--machines", "count", type=click.IntRange(1, 30), default=3, show_default=True, help="How many.")
@click.option("--small", type=click.IntRange(0, 5), default=0, help="How many more that have little memory.")
def up(count: int, small: int) -> None:
    """Make the machines and the mesh."""
    host = hosts.detect()
    if missing := hosts.missing_packages(host):
        with step(f"Installing {' '.join(missing)}"):
            hosts.install(missing)
    hosts.prepare_podman(host)
    with step(f"Image of a machine (Debian {host.machine_suite})"):
        name = image.machine_image(host)
    machines.make_key()
    subnet = machines.free_subnet(os.environ.get("BEEMESH_LAB_SUBNET"))
    machines.write_inventory(machines.plan(count, small, subnet), subnet, name)
    with step("Machines"):
        machines.create()


@lab.command()
def down() -> None:
    """Remove."""
    hosts.prepare_podman(hosts.detect())
    machines.destroy()


def main() -> None:
    """Run a command; say what went wrong in one place."""
    try:
        lab(standalone_mode=True)
    except LabError as error:
        console.print("[red]lab:[/]", escape(str(error)))
        sys.exit(1)


main()
