"""systemd's notification protocol, sd_notify(3): datagrams of KEY=VALUE lines to $NOTIFY_SOCKET.

It has a module of its own because each thing outside the process has one adapter.
"""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Sends notifications to the supervisor. Without $NOTIFY_SOCKET it does nothing."""

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        # "@" stands for the zero byte of an abstract socket.
        self._address = address.replace("@", "\0", 1) if address and address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @property
    def supervised(self) -> bool:
        """True if there is a supervisor to notify."""
        return bool(self._address)

    def send(self, *lines: str) -> None:
        """Send `lines`. Errors are ignored: the supervisor may not listen."""
        if self._address:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)

    def ready(self, status: str) -> None:
        """Report that the daemon is ready."""
        self.send("READY=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """A watchdog ping with a one-line status."""
        self.send("WATCHDOG=1", f"STATUS={status}")
