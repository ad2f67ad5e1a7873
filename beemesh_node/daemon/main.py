"""The entry of `beemeshd`: keys and certificate of a machine, and the daemon itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

import beemesh_node

F = TypeVar("F", bound=Callable[..., object])

DEFAULT_STATE = Path("/var/lib/beemesh")
_EXAMPLES = """\b
Examples:
  beemeshd keys generate
  beemeshd join --bundle bundle
  beemeshd run --config /etc/beemesh/beemeshd.yaml"""


class _Invalid(click.ClickException):
    """Wrong input; the exit codes are those of `beectl`."""

    exit_code = 2


class _Refused(click.ClickException):
    """Keys, certificate or bundle are not accepted."""

    exit_code = 3


class _Root(click.Group):
    """Turns what the layers below raise into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            failure = _failure(error)
            if failure is None:
                raise
            raise failure from error


def _failure(error: Exception) -> click.ClickException | None:
    from beemesh_node.crypto.errors import CryptoError, KeyStoreError
    from beemesh_node.daemon.config import ConfigError
    from beemesh_node.daemon.enrolment import EnrolmentError
    from beemesh_node.protocol.errors import ProtocolError

    if isinstance(error, ConfigError):
        return _Invalid(str(error))
    if isinstance(error, KeyStoreError):
        return click.ClickException(str(error))
    if isinstance(error, (CryptoError, EnrolmentError, ProtocolError)):
        return _Refused(str(error))
    return None


def _state_option(command: F) -> F:
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_STATE,
        show_default=True,
        metavar="DIR",
        help="Directory of the machine's keys and state.",
    )(command)


def _output_option(command: F) -> F:
    return click.option(
        "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", help="How to print the facts."
    )(command)


def _hex(size: int) -> Callable[[click.Context, click.Parameter, str], bytes]:
    def convert(_: click.Context, __: click.Parameter, text: str) -> bytes:
        try:
            value = bytes.fromhex(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not hexadecimal") from None
        if len(value) != size:
            raise click.BadParameter(f"{len(value)} bytes, expected {size} ({size * 2} hexadecimal digits)")
        return value

    return convert


def _tell(facts: Mapping[str, Any], form: str, answer: str, done: str) -> None:
    """Print facts as JSON, or the `answer` with what was `done` on standard error."""
    if form == "json":
        click.echo(json.dumps(facts))
        return
    click.echo(done, err=True)
    click.echo(answer)


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXAMPLES)
def cli() -> None:
    """Run this machine as a member of a mesh."""


@cli.command()
@_output_option
def version(form: str) -> None:
    """Print the version."""
    if form == "json":
        click.echo(json.dumps({"version": beemesh_node.__version__}))
    else:
        click.echo(f"beemeshd {beemesh_node.__version__}")


@cli.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Configuration file.")
@click.option("--state", metavar="DIR", help="Overrides `state`.")
@click.option("--log-level", metavar="LEVEL", help="Overrides `log.level`.")
def run(config: Path | None, state: str | None, log_level: str | None) -> None:
    """Run the daemon until SIGTERM; containers go on running after it.

    Every key of the configuration can also be given as BEEMESHD_KEY in the environment.
    """
    from beemesh_node.daemon.config import load_config

    loaded = load_config(config, os.environ, {"state": state, "log.level": log_level})
    from beemesh_node.daemon import node

    node.run(loaded)


@cli.group()
def keys() -> None:
    """Make the machine's keys and ask for its certificate."""


@keys.command()
@_state_option
@click.option("--renew", is_flag=True, help="Make other keys; the present ones stay in use until `beemeshd join`.")
@_output_option
def generate(state: Path, renew: bool, form: str) -> None:
    """Make the machine's keys, unless it has them. They never leave it."""
    from beemesh_node.daemon.enrolment import generate_keys
    from beemesh_node.daemon.ownership import act_as_owner

    act_as_owner(state)
    made = generate_keys(state, renew=renew)
    facts = {"changed": made.changed, "peer_id": made.peer_id, "fingerprint": made.fingerprint}
    done = f"generated keys in {state}" if made.changed else f"{state} has keys already; they were left as they are"
    _tell(facts, form, made.peer_id, done)


@keys.command()
@_state_option
@click.option("--mesh", required=True, callback=_hex(32), metavar="HEX", help="Id of the mesh to join.")
@click.option("--nonce", required=True, callback=_hex(32), metavar="HEX", help="What the signer wants to see again.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@_output_option
def request(state: Path, mesh: bytes, nonce: bytes, out: Path, form: str) -> None:
    """Write a signing request for `beectl cert sign`. It holds no secret."""
    from beemesh_node.daemon.enrolment import make_request
    from beemesh_node.daemon.ownership import act_as_owner

    act_as_owner(state)
    made = make_request(state, mesh, nonce, out)
    facts = {"changed": made.changed, "peer_id": made.peer_id, "request": str(out)}
    done = "wrote the request" if made.changed else "the request was there already"
    _tell(facts, form, str(out), done)


@cli.command()
@_state_option
@click.option("--bundle", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@_output_option
def join(state: Path, bundle: Path, form: str) -> None:
    """Take the join bundle that answers the request: certificate, roots, first addresses.

    Only the machine that made the request can open it.
    """
    from beemesh_node.daemon.enrolment import read_bundle, take_sealed
    from beemesh_node.daemon.ownership import act_as_owner
    from beemesh_node.daemon.state_key import keep_state_key, seal_state_key

    # As whoever calls: the bundle may lie where the daemon reads nothing, and only root seals.
    sealed, key = read_bundle(bundle), seal_state_key(state)
    act_as_owner(state)
    joined = take_sealed(state, sealed)
    if key:
        keep_state_key(state, key)
    facts = {
        "changed": joined.changed,
        "machine_id": joined.machine_id,
        "name": joined.name,
        "mesh_id": joined.mesh_id,
        "not_after": joined.not_after,
    }
    done = f"joined as {joined.name}" if joined.changed else f"was joined as {joined.name} already"
    _tell(facts, form, joined.machine_id, done)


def main() -> None:
    """Run `beemeshd`."""
    sys.exit(cli.main(prog_name="beemeshd"))
