"""What commands need of the mesh: one connection to one machine, through which all others answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from beemesh_node.protocol.ids import MachineId
    from beemesh_node.protocol.messages import ExecRequest, LogsRequest, MachineEntry
    from beemesh_node.protocol.sealed_stream import FrameKind

T = TypeVar("T")


class Duplex(Protocol):
    """A sealed two-way stream to the machine of a claim."""

    async def send(self, kind: FrameKind, data: bytes) -> None:
        """Send one frame."""
        ...

    async def receive(self) -> tuple[FrameKind, bytes]:
        """Wait for the next frame."""
        ...


class Session(Protocol):
    """`messaging.client.MeshSession`, as far as commands use it. Its errors are those of `messaging.errors`."""

    @property
    def entry(self) -> MachineId:
        """The machine that this session is connected to."""
        ...

    @property
    def machines(self) -> Mapping[MachineId, MachineEntry]:
        """Every member as the entry told; certificates and statements are verified."""
        ...

    @property
    def mesh_time_ms(self) -> int:
        """Mesh time now."""
        ...

    async def refresh(self) -> None:
        """Ask the entry again who is there."""
        ...

    async def ask(self, machine: MachineId, payload: object, reply: type[T], *, timeout: float) -> T:
        """Ask one machine, sealed to it, through the entry if need be. `timeout` in seconds."""
        ...

    def stream(self, machine: MachineId, request: LogsRequest | ExecRequest) -> AbstractAsyncContextManager[Duplex]:
        """Open the sealed stream that a request asks for."""
        ...

    def guardians(self, namespace: str, kind: str, name: str) -> tuple[MachineId, ...]:
        """The machines responsible for whatever is declared under a name, closest first."""
        ...
