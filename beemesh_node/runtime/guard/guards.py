"""The guards of this machine: started, found again, ended."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import structlog
import trio

from beemesh_node.runtime.errors import GuardError
from beemesh_node.runtime.guard.client import Guard, boottime, nanoseconds, open_guard
from beemesh_node.runtime.guard.launch import launch, launch_way

log = structlog.get_logger()

_PROBE = "probe"
_PROBED = "works"
_PROBE_SECONDS = (0.3, 1.0, 4.0)
"""Deadlines to try one after the other: on a slow machine the first is over before the guard is in force."""
_PROBE_LATE = 1.0
"""How late the probe's end may be. A busy machine is late; one where the kernel does not kill never comes."""


class Guards:
    """Guards by name, each with its files in one directory, which must lie in memory: it must not outlive a boot."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._probing = trio.Lock()
        self._fault: str | None = None

    async def start(self, name: str, deadline: float) -> Guard:
        """A new guard that ends at `deadline`, seconds of `boottime`; one of that name is ended first.

        The caller closes it. Raises GuardError.
        """
        await self.end(name)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            await launch(self._directory, name, nanoseconds(deadline))
        except OSError as error:
            raise GuardError(f"guard {name}: {error}; see: df -h {self._directory}") from error
        except GuardError as error:
            reason = self._reason(name)
            self._remove(name)
            if boottime() >= deadline:
                raise GuardError(f"guard {name}: its deadline came before it was in force") from error
            raise GuardError(f"guard {name}: {reason}" if reason else str(error)) from error
        guard = open_guard(self._directory, name)
        if guard is None:
            self._remove(name)
            raise GuardError(f"guard {name}: it was in force and ended at once")
        return guard

    def find(self, name: str) -> Guard | None:
        """The guard of that name if it lives, also one that a former daemon started. The caller closes it."""
        return open_guard(self._directory, name)

    def known(self, name: str) -> bool:
        """Whether there is a guard of that name, or was one that nobody has ended."""
        return (self._directory / f"{name}.json").exists()

    async def end(self, name: str) -> None:
        """End the guard of that name, with everything in its namespace. Idempotent.

        Raises GuardError if it does not end.
        """
        if (guard := self.find(name)) is not None:
            try:
                await guard.end()
            finally:
                guard.close()
        self._remove(name)

    async def end_others(self, names: Collection[str]) -> None:
        """End every guard but those of these names: starts that broke off have left them.

        Raises GuardError if one does not end.
        """
        for path in sorted(self._directory.glob("*.json")):
            if path.stem not in names:
                await self.end(path.stem)

    async def fault(self) -> str:
        """Why no guard works on this machine, empty if one does: it is tried, once in each life of the machine."""
        async with self._probing:
            if self._fault is None:
                self._fault = await self._probe()
                if self._fault:
                    log.warning("leased pods cannot run here", reason=self._fault)
        return self._fault

    async def _probe(self) -> str:
        """Start a guard, and see its namespace end by the kernel, neither early nor late."""
        mark = self._directory / f"{_PROBED}-{launch_way()}"  # another way is another trial
        if mark.exists():
            return ""
        reason = ""
        for seconds in _PROBE_SECONDS:
            try:
                reason = await self._probe_for(seconds)
            except GuardError as error:
                reason = str(error)
                continue
            break
        if not reason:
            with suppress(OSError):
                mark.touch(mode=0o600)
        return reason

    async def _probe_for(self, seconds: float) -> str:
        deadline = boottime() + seconds
        guard = await self.start(_PROBE, deadline)
        try:
            with trio.move_on_after(max(0.0, deadline - boottime()) + _PROBE_LATE) as waiting:
                await guard.ended()
            if waiting.cancelled_caught:
                await guard.end()
                return f"the kernel did not end a guard within {_PROBE_LATE:.0f} s after its deadline"
            return "" if boottime() >= deadline else "a guard ended before its deadline"
        finally:
            guard.close()
            self._remove(_PROBE)

    def _reason(self, name: str) -> str:
        """What a guard wrote of its own failure."""
        try:
            return str(json.loads((self._directory / f"{name}.json").read_bytes()).get("error", ""))
        except (OSError, ValueError, AttributeError):
            return ""

    def _remove(self, name: str) -> None:
        for kind in ("json", "sock", "json.new", "new"):
            with suppress(OSError):
                (self._directory / f"{name}.{kind}").unlink(missing_ok=True)
