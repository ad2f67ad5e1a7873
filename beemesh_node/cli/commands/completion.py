"""`beectl completion`."""

from __future__ import annotations

import click

from beemesh_node.cli.options import examples


@click.command(
    epilog=examples(
        "beectl completion bash > ~/.local/share/bash-completion/completions/beectl",
        'beectl completion zsh > "${fpath[1]}/_beectl"',
        "beectl completion fish > ~/.config/fish/completions/beectl.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes beectl's commands and options in SHELL."""
    from click.shell_completion import get_completion_class

    from beemesh_node.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this click knows no completion for {shell}")
    click.echo(found(cli, {}, "beectl", "_BEECTL_COMPLETE").source())
