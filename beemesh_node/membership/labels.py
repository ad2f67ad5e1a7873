"""Labels of a machine: who may say which, and which of several wins.

The certificate's go before all others, since only they have to be believed. What operators have ordered while the
machine runs goes before its configuration file, and both before what Kubernetes always has. All but the certificate's
are the machine's own word, also those that operators ordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from beemesh_node.protocol.messages import LabelRequest
from beemesh_node.workloads import names

HOSTNAME_LABEL = "kubernetes.io/hostname"
ARCH_LABEL = "kubernetes.io/arch"
OS_LABEL = "kubernetes.io/os"
ZONE_LABEL = "topology.kubernetes.io/zone"

MAX_ORDERED = 64
"""Labels of one machine that operators have set or hidden at most."""
MAX_ORDERED_SIZE = 4096
"""Characters of their keys and values together: they are told to everybody with every presence."""

_FIXED = {
    HOSTNAME_LABEL: "it is the name in its certificate",
    ARCH_LABEL: "the machine finds it out itself",
    OS_LABEL: "the machine finds it out itself",
    names.GUARDIAN_LABEL: "its certificate says whether it is a guardian",
}
"""What no operator changes, and why."""


class LabelsRefusedError(ValueError):
    """An order that cannot be followed; its text names the label and says why."""


class LabelTakenError(LabelsRefusedError):
    """A label has another value already, and nobody said to overwrite it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a machine's labels come from, but for operators' orders."""

    name: str
    """Of the machine, by its certificate."""
    architecture: str
    operating_system: str
    configured: Mapping[str, str]
    """By its configuration file."""
    certified: Mapping[str, str]
    """By its certificate."""


@dataclass(frozen=True, slots=True)
class OrderedLabels:
    """What operators have ordered, and holds. It is written to disk as it is."""

    values: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    """Keys of the configuration file that the machine is not to have, sorted."""

    def over(self, configured: Mapping[str, str]) -> dict[str, str]:
        """What the machine says of itself: the orders over its configuration file."""
        shown = {key: value for key, value in configured.items() if key not in self.hidden}
        return {**shown, **self.values}

    def after(self, order: LabelRequest, sources: Sources) -> OrderedLabels:
        """What holds once `order` is followed. Raises `LabelsRefusedError`, and then nothing of it may be followed.

        What is so already is no change, whoever said it. What the configuration file says anyway is left to it.
        """
        _check(order)
        present = labels_in_force(sources, self.over(sources.configured))
        values, hidden = dict(self.values), set(self.hidden)
        for key, value in order.labels.items():
            if present.get(key) == value:
                continue
            _check_changeable(key, sources)
            if key in present and not order.overwrite:
                raise LabelTakenError(f"'{key}' already has a value ({present[key]}), and --overwrite is false")
            values.pop(key, None)
            hidden.discard(key)
            if sources.configured.get(key) != value:
                values[key] = value
        for key in order.removed:
            if key not in present:
                continue
            _check_changeable(key, sources)
            values.pop(key, None)
            if key in sources.configured:
                hidden.add(key)
        result = OrderedLabels(dict(sorted(values.items())), tuple(sorted(hidden)))
        if result != self:
            _check_size(result)
        return result


def labels_in_force(sources: Sources, own: Mapping[str, str]) -> dict[str, str]:
    """All labels of a machine that says `own` of itself, by which workloads select it.

    Who it is and whether it is a guardian is not its own to say.
    """
    known = {ARCH_LABEL: sources.architecture, OS_LABEL: sources.operating_system}
    believed = {key: value for key, value in own.items() if key != names.GUARDIAN_LABEL}
    return {**known, **believed, HOSTNAME_LABEL: sources.name, **sources.certified}


def check_label(key: str, value: str = "") -> None:
    """Refuse what Kubernetes would refuse as a label. Raises `LabelsRefusedError`."""
    try:
        names.check_label_key(key)
    except ValueError as error:
        raise LabelsRefusedError(f"label key {key[:80]!r}: {error}") from None
    try:
        names.check_label_value(value)
    except ValueError as error:
        raise LabelsRefusedError(f"value of label {key}: {error}") from None


def _check(order: LabelRequest) -> None:
    for key, value in order.labels.items():
        check_label(key, value)
    for key in order.removed:
        check_label(key)
        if key in order.labels:
            raise LabelsRefusedError(f"label {key}: cannot be set and removed at once")


def _check_changeable(key: str, sources: Sources) -> None:
    if key in _FIXED:
        raise LabelsRefusedError(f"label {key} cannot be changed: {_FIXED[key]}")
    if key in sources.certified:
        raise LabelsRefusedError(
            f"label {key} cannot be changed: it stands in the certificate of {sources.name}, which goes first; have "
            "that signed anew (beemesh_labels in the inventory, or beectl cert sign --label)"
        )


def _check_size(ordered: OrderedLabels) -> None:
    count = len(ordered.values) + len(ordered.hidden)
    if count > MAX_ORDERED:
        raise LabelsRefusedError(f"{count} labels set or hidden: at most {MAX_ORDERED} are kept; remove some first")
    size = sum(len(key) + len(value) for key, value in ordered.values.items()) + sum(map(len, ordered.hidden))
    if size > MAX_ORDERED_SIZE:
        raise LabelsRefusedError(f"{size} characters of labels: at most {MAX_ORDERED_SIZE} are kept; remove some first")
