"""`beectl version`."""

from __future__ import annotations

import click

import beemesh_node
from beemesh_node.cli.options import examples, output_option
from beemesh_node.cli.output import Format, echo_facts


@click.command(
    epilog=examples(
        "beectl version",
        "beectl version -o json",
    )
)
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def version(form: Format) -> None:
    """Print the version of beectl.

    The versions of the machines are in `beectl get machines -o wide`.
    """
    facts = {"clientVersion": {"beectl": beemesh_node.__version__}}
    echo_facts(facts, form, f"beectl {beemesh_node.__version__}")
