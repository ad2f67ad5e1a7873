"""What systemd is told: ready, a line of status, and that the main loop still turns (sd_notify(3))."""

from __future__ import annotations

import os

import sdnotify
import trio


class ServiceManager:
    """The service manager that started us, or none; every call is harmless without one."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()

    def ready(self, status: str) -> None:
        """Start-up is over; `systemctl start` returns."""
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._notifier.notify("STOPPING=1")

    async def watchdog(self) -> None:
        """Report life at a third of the interval that the unit asks for; returns at once when it asks for none."""
        micros = int(os.environ.get("WATCHDOG_USEC", "0"))
        if micros <= 0:
            return
        while True:
            self._notifier.notify("WATCHDOG=1")
            await trio.sleep(micros / 3e6)
