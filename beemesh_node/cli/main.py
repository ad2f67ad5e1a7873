"""The entry of `beectl`: the table of its commands, and nothing that takes long to import."""

from __future__ import annotations

import sys

import click

from beemesh_node.cli.lazy import LazyCommand, LazyGroup
from beemesh_node.cli.options import context_options, examples, namespace_option

_COMMANDS = "beemesh_node.cli.commands"
_WORKLOADS, _LOOKING, _PODS, _MESH, _OTHER = "Workloads", "Looking", "Pods", "Mesh and keys", "Other"
_MACHINES = "Machines"

LAZY: dict[str, LazyCommand] = {
    "apply": LazyCommand(f"{_COMMANDS}.apply:apply", "Make the mesh run what manifests declare.", _WORKLOADS),
    "diff": LazyCommand(f"{_COMMANDS}.diff:diff", "Show what apply would change.", _WORKLOADS),
    "patch": LazyCommand(f"{_COMMANDS}.patch:patch", "Change some fields of a workload.", _WORKLOADS),
    "delete": LazyCommand(f"{_COMMANDS}.delete:delete", "Delete workloads, by manifest or by name.", _WORKLOADS),
    "scale": LazyCommand(f"{_COMMANDS}.scale:scale", "Change the number of replicas.", _WORKLOADS),
    "rebalance": LazyCommand(
        f"{_COMMANDS}.rebalance:rebalance", "Move replicas from crowded machines to emptier ones.", _WORKLOADS
    ),
    "rollout": LazyCommand(f"{_COMMANDS}.rollout:rollout", "Watch, undo or restart a rollout.", _WORKLOADS),
    "lease": LazyCommand(f"{_COMMANDS}.lease:lease", "Show or break leases of what must not run twice.", _WORKLOADS),
    "get": LazyCommand(f"{_COMMANDS}.get:get", "List machines, workloads, pods or events.", _LOOKING),
    "describe": LazyCommand(f"{_COMMANDS}.describe:describe", "Show one thing with its events and reasons.", _LOOKING),
    "cordon": LazyCommand(f"{_COMMANDS}.maintenance:cordon", "Have a machine take no new work.", _MACHINES),
    "uncordon": LazyCommand(f"{_COMMANDS}.maintenance:uncordon", "Have a machine take work again.", _MACHINES),
    "drain": LazyCommand(f"{_COMMANDS}.maintenance:drain", "Move everything from a machine to others.", _MACHINES),
    "label": LazyCommand(f"{_COMMANDS}.label:label", "Change labels of machines.", _MACHINES),
    "logs": LazyCommand(f"{_COMMANDS}.logs:logs", "Print what a container writes.", _PODS),
    "exec": LazyCommand(f"{_COMMANDS}.exec:exec_", "Run a command in a container.", _PODS),
    "mesh": LazyCommand(f"{_COMMANDS}.mesh:mesh", "Create a mesh, or show which one this is.", _MESH),
    "cert": LazyCommand(f"{_COMMANDS}.cert:cert", "Sign and inspect certificates.", _MESH),
    "keys": LazyCommand(f"{_COMMANDS}.keys:keys", "Show keys and change their passphrase.", _MESH),
    "context": LazyCommand(f"{_COMMANDS}.context:context", "Choose between meshes.", _MESH),
    "completion": LazyCommand(f"{_COMMANDS}.completion:completion", "Print completion for a shell.", _OTHER),
    "version": LazyCommand(f"{_COMMANDS}.version:version", "Print the version.", _OTHER),
}
"""Every command in the order of the help."""


_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


class _Root(LazyGroup):
    """Turns what the layers below raise into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except Exception as error:
            from beemesh_node.cli.translate import translate

            translated = translate(error)
            if translated is None:
                raise
            raise translated from error


@click.group(
    cls=_Root,
    lazy=LAZY,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "beectl apply -f hello.yml --wait",
        "beectl get pods -o wide",
        "beectl logs -f deployment/hello",
    )
    + "\n\nExit codes: 0 done, 1 failed, 2 wrong usage or manifest, 3 not allowed, 4 not in time.",
)
@context_options
@namespace_option
def cli() -> None:
    """Run containers on a mesh of machines."""


def main() -> None:
    """Run `beectl`."""
    sys.exit(cli.main(prog_name="beectl"))
