"""What the failure detector is told and what it wants done, and its times. See `detector`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from beemesh_node.membership.closeness import GUARDIANS
from beemesh_node.protocol.ids import MachineId


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """Times in seconds."""

    watchers: int = GUARDIANS
    """k: by how many machines each is watched."""
    suspect: float = 0.7
    """After so much silence other watchers are asked whether they hear the machine …"""
    dead: float = 1.5
    """… and after so much, if they do not, it is held dead."""
    closed: float = 0.3
    """A machine that closed its connections, and at whose place nobody listens, is held dead after this."""
    ask_again: float = 0.5
    """Between two questions to other watchers about one machine."""
    fellows: int = 3
    """How many other watchers are asked."""
    late: float = 0.25
    """Whoever is called so much later than it wanted has been asleep itself: it judges anew."""
    pulse: float = 0.2
    """Between two looks at what is watched at most: so that being late is noticed."""
    repeat: float = 1.0
    """Between two notices of one death by one watcher, for as long as it is not believed."""
    vote_life: float = 5.0
    """For so long one watcher's notice waits for that of a second."""
    in_flight: float = 3.0
    """What a machine said before its death may arrive so much later."""


class Life(NamedTuple):
    """One life of a machine, told from the next by the start of its daemon and by how often it had to contradict."""

    started_at: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Accusation:
    """One watcher's word that a machine is dead."""

    machine: MachineId
    life: Life
    reason: str


# ---- events


@dataclass(frozen=True, slots=True)
class Present:
    """A machine told of itself, this one included."""

    machine: MachineId
    life: Life
    sequence: int


@dataclass(frozen=True, slots=True)
class Left:
    """A machine is no member any more: it said so, or nothing was heard of it for very long."""

    machine: MachineId


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream to a watched machine is there."""

    machine: MachineId


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream to a watched machine is lost, or could not be opened."""

    machine: MachineId


@dataclass(frozen=True, slots=True)
class Redialled:
    """The answer to `Redial`: whether the machine itself says that nobody listens there."""

    machine: MachineId
    refused: bool


@dataclass(frozen=True, slots=True)
class Vouched:
    """Another watcher heard the machine `age` seconds ago."""

    machine: MachineId
    age: float


@dataclass(frozen=True, slots=True)
class Accused:
    """A member holds machines dead."""

    accuser: MachineId
    deaths: tuple[Accusation, ...]


@dataclass(frozen=True, slots=True)
class Pulse:
    """`next_wakeup` has come."""


DetectionEvent: TypeAlias = Present | Left | Opened | Closed | Redialled | Vouched | Accused | Pulse

# ---- effects


@dataclass(frozen=True, slots=True)
class Watch:
    """Keep a stream open on which the machine's beats come, until `Unwatch`; tell `Opened` and `Closed`."""

    machine: MachineId


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Close the stream."""

    machine: MachineId


@dataclass(frozen=True, slots=True)
class Redial:
    """Look whether anybody listens where the machine was; `Redialled` follows."""

    machine: MachineId


@dataclass(frozen=True, slots=True)
class AskAbout:
    """Ask another watcher when it last heard the machine; `Vouched` follows if it did."""

    machine: MachineId
    fellow: MachineId


@dataclass(frozen=True, slots=True)
class Accuse:
    """Sign a death notice and send it to everyone."""

    deaths: tuple[Accusation, ...]


@dataclass(frozen=True, slots=True)
class Alive:
    """What the machine told of itself is to be believed."""

    machine: MachineId


@dataclass(frozen=True, slots=True)
class Dead:
    """The machine is dead."""

    machine: MachineId
    why: str


@dataclass(frozen=True, slots=True)
class Refute:
    """Others hold this machine dead, or may: tell of it at once, as of this incarnation."""

    incarnation: int


DetectionEffect: TypeAlias = Watch | Unwatch | Redial | AskAbout | Accuse | Alive | Dead | Refute
