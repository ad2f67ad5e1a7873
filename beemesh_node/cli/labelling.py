"""Labels of machines on the command line: what the words mean, whom they are for, and the order to each machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beemesh_node.cli.errors import CliError, InvalidInputError, TimedOutError
from beemesh_node.cli.listing import selector_of
from beemesh_node.cli.machines import NamedMachine, members, the_machine
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.shapes import machine_shape
from beemesh_node.cli.targets import ALIASES, ResourceType, Target, parse_targets
from beemesh_node.cli.terminal import printable
from beemesh_node.cli.translate import translate
from beemesh_node.membership.labels import LabelsRefusedError, check_label
from beemesh_node.messaging.errors import (
    ConnectionLost,
    MeshError,
    MeshUnreachable,
    PeerRefused,
    RemoteFailure,
    RequestTimeout,
)
from beemesh_node.protocol.messages import Expression, LabelReply, LabelRequest
from beemesh_node.workloads.selectors import matches

_WITHIN = 10.0
"""Seconds that a machine has to write an order down."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """What was asked for."""

    targets: tuple[Target, ...]
    """Empty for a selector, or all."""
    selector: tuple[Expression, ...]
    order: LabelRequest

    def machines(self, mesh: Mesh) -> list[NamedMachine]:
        """Whom it is for, by name. Raises `CliError` unless all that were named are there, each once."""
        if not self.targets:
            found = [
                machine
                for machine, entry in members(mesh)
                if matches(self.selector, machine_shape(mesh, entry)["metadata"].get("labels", {}))
            ]
            return sorted(found, key=lambda machine: (machine.name, machine.id))
        named = [the_machine(mesh, target) for target in self.targets]
        if len({machine.id for machine in named}) != len(named):
            raise InvalidInputError("name each machine once")
        return named


def read_labelling(
    words: Sequence[str], selector: str | None, *, everyone: bool, overwrite: bool, dry_run: bool
) -> Labelling:
    """Read `[machine] NAME… KEY=VALUE… KEY-…`, as `kubectl label` has it. Raises `CliError`."""
    first = next((number for number, word in enumerate(words) if _is_change(word)), len(words))
    late = next((word for word in words[first:] if not _is_change(word)), None)
    if late is not None:
        raise InvalidInputError(f"all machines must be named before the labels: {late!r} is neither KEY=VALUE nor KEY-")
    if first == len(words):
        raise InvalidInputError("name at least one label to change: KEY=VALUE to set it, KEY- to remove it")
    order = _order(words[first:], overwrite=overwrite, dry_run=dry_run)
    targets = _targets(words[:first])
    if sum((bool(targets), selector is not None, everyone)) != 1:
        raise InvalidInputError("say which machines: their names, or -l SELECTOR, or --all, and one of these only")
    return Labelling(targets, selector_of(selector), order)


async def order_labels(mesh: Mesh, machine: NamedMachine, order: LabelRequest) -> LabelReply:
    """Tell a machine which labels it is to have.

    Raises:
        ConnectionLost: the entry is gone; asking again does no harm.
        CliError: it names the machine and says what to do.
    """
    try:
        return await mesh.session.ask(machine.id, order, LabelReply, timeout=_WITHIN)
    except ConnectionLost:
        raise
    except (RequestTimeout, PeerRefused) as error:
        kind = TimedOutError if isinstance(error, RequestTimeout) else CliError
        raise kind(
            f"node/{machine.name}: {error}; whether it has done it is not known: run it again, which does no harm"
        ) from error
    except MeshUnreachable as error:
        raise _not_now(machine, error) from error
    except MeshError as error:
        if isinstance(error, RemoteFailure) and error.code == "Unavailable":
            raise _not_now(machine, error) from error
        kind = type(translate(error) or CliError(""))
        raise kind(f"node/{machine.name}: {printable(str(error))}") from error


def _not_now(machine: NamedMachine, error: Exception) -> CliError:
    return CliError(
        f"node/{machine.name}: {printable(str(error))}. Nothing was changed there: a machine keeps its labels itself. "
        "See `beectl get machines`, and run it again once it can"
    )


def _is_change(word: str) -> bool:
    return "=" in word or word.endswith("-")


def _order(words: Sequence[str], *, overwrite: bool, dry_run: bool) -> LabelRequest:
    labels: dict[str, str] = {}
    removed: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            key = word[:-1]
        try:
            check_label(key, value)
        except LabelsRefusedError as error:
            raise InvalidInputError(str(error)) from None
        if key in labels or key in removed:
            raise InvalidInputError(f"label {key}: name it once, to set it or to remove it")
        if equals:
            labels[key] = value
        else:
            removed.append(key)
    return LabelRequest(labels, tuple(removed), overwrite, dry_run)


def _targets(words: Sequence[str]) -> tuple[Target, ...]:
    targets = parse_targets(words, ResourceType.MACHINES) if words else ()
    for target in targets:
        if target.resource is not ResourceType.MACHINES:
            raise InvalidInputError(
                f"{target} is no machine: labels of a workload stand in its manifest, change them there and apply it"
            )
    # The type alone, as in `machines -l class=iot`, names nobody.
    alone = len(words) == 1 and ALIASES.get(words[0].lower()) is ResourceType.MACHINES
    return () if alone else targets
