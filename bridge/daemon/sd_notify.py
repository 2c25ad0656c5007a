"""What we tell the service manager of ourselves: sd_notify(3) over the socket it names, and nothing where it names none."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000


class Notifier:
    """The service manager's ear."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._usec = environment.get("WATCHDOG_USEC", "")
        self._meant_for = environment.get("WATCHDOG_PID", "")

    @property
    def watchdog_seconds(self) -> float:
        """How often the manager wants a sign of life, in seconds; 0 for never (sd_watchdog_enabled(3))."""
        if not self._usec.isdecimal() or self._meant_for not in ("", str(os.getpid())):
            return 0.0
        return int(self._usec) / _MICROSECONDS

    def ready(self, status: str) -> None:
        """We serve, from the start or again after a reload."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is read again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """We are about to end."""
        self._tell("STOPPING=1", "STATUS=stopping: waiting for calls in flight")

    def status(self, text: str) -> None:
        """How it is now, in a sentence."""
        self._tell(f"STATUS={text}")

    def alive(self) -> None:
        """The loop turns."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return  # the manager's loss; what we are here for goes on
