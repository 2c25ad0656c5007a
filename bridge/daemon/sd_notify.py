"""Notify the service manager of the state of the daemon (sd_notify(3))."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000


class Notifier:
    """The connection to the service manager. Without NOTIFY_SOCKET nothing is sent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._usec = environment.get("WATCHDOG_USEC", "")
        self._meant_for = environment.get("WATCHDOG_PID", "")

    @property
    def watchdog_seconds(self) -> float:
        """Return the period of the watchdog (seconds), or 0 without one (sd_watchdog_enabled(3))."""
        if not self._usec.isdecimal() or self._meant_for not in ("", str(os.getpid())):
            return 0.0
        return int(self._usec) / _MICROSECONDS

    def ready(self, status: str) -> None:
        """Send that the daemon serves, at the start or after a reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Send that a reload has begun."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, waits_for: str = "") -> None:
        """Send that the daemon is shutting down, and what it waits for."""
        self._send("STOPPING=1", f"STATUS=stopping: waiting for {waits_for or 'requests in flight'}")

    def status(self, text: str) -> None:
        """Send a status line."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Send a sign of life for the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                # The daemon works without its service manager.
                return
