"""Closing a connection first sends a farewell, which a frozen peer never takes: the close never ends.

The connection stays listed, and whoever closes it (a keepalive, a shutdown) hangs. Guarded by cutting the socket when
the farewell is not taken, which fails every write that waits on it.
"""

from contextlib import suppress
from typing import Any

import trio

from beemesh_node.network.guards import Guard
from beemesh_node.network.library import BaseLibp2pError

_FAREWELL = 0.5
"""Seconds for the farewell."""
_REST = 2.0
"""Seconds for the rest of closing, which waits for nobody."""


class BoundedClose:
    """Overrides `Yamux`."""

    secured_conn: Any
    event_closed: trio.Event

    async def close(self, *args: Any) -> None:
        """Close in bounded time."""
        with trio.move_on_after(_FAREWELL + _REST) as scope:
            scope.shield = True  # half closed is worse than closed late
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cut)
                nursery.start_soon(self._let_go, scope)
                await super().close(*args)  # type: ignore[misc]
                nursery.cancel_scope.cancel()

    async def _let_go(self, scope: trio.CancelScope) -> None:
        """Once it is closed, what the library sleeps after that may be cancelled."""
        await self.event_closed.wait()
        scope.shield = False

    async def _cut(self) -> None:
        await trio.sleep(_FAREWELL)
        with suppress(BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            await self.secured_conn.close()


GUARD = Guard("blocking-close", BoundedClose, ("libp2p.stream_muxer.yamux.yamux.Yamux.close",))
