"""What keeps the known faults of py-libp2p 0.8.1 from spreading, one fault a module.

A guard is a class that overrides methods of one part of the library (`Guard`), or a value put in the place of one that
a module of the library looks up by name (`Substitution`). Nothing is patched that could be inherited. Each guard names
what of the library it replaces or depends on; `tests/node/network/test_pins.py` compares the source of all that, and
`library` the version. For each there is a test that shows the fault with the guard left out, and its absence with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from beemesh_node.network.counting import Counters


@dataclass(frozen=True, slots=True)
class Guard:
    """Overrides methods of a part of the library."""

    name: str
    mixin: type
    """Placed before the library's class; calls `self.contained(name, error)` for what it catches."""
    replaces: tuple[str, ...]
    """The library's functions, dotted, that it overrides or whose inner workings it relies on."""


@dataclass(frozen=True, slots=True)
class Substitution:
    """Replaces a value that the library looks up in one of its modules."""

    name: str
    module: ModuleType | type
    """Or a class, of a method that the subclass of another guard calls too."""
    attribute: str
    replacement: Any
    replaces: tuple[str, ...] = ()

    def apply(self) -> None:
        """Put the replacement in place; the first time, remember the library's own value."""
        _ORIGINALS.setdefault((self.module.__name__, self.attribute), getattr(self.module, self.attribute))
        setattr(self.module, self.attribute, self.replacement)

    def undo(self) -> None:
        """Put the library's own value back."""
        original = _ORIGINALS.get((self.module.__name__, self.attribute))
        if original is not None:
            setattr(self.module, self.attribute, original)


_ORIGINALS: dict[tuple[str, str], Any] = {}


def guarded(part: type, guards: Sequence[Guard], counters: Counters, without: Collection[str]) -> Any:
    """The library's class `part` with the guards in front of it, reporting to `counters`.

    `without` names guards to leave out: only tests, which show the faults, do.
    """
    mixins = [guard.mixin for guard in guards if guard.name not in without]
    return type(part.__name__, (*mixins, part), {"contained": staticmethod(counters.contain)})


def substitute(substitutions: Sequence[Substitution], without: Collection[str]) -> None:
    """Put substitutions in place, except those named in `without`, whose originals return."""
    for substitution in substitutions:
        if substitution.name in without:
            substitution.undo()
        else:
            substitution.apply()
