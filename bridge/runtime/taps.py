"""Pass the messages of the processes of one server to commands and pages that follow them.

Without a tap, a message costs an iteration over an empty list.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

# Receives each message: the process, its direction ("to server" or "to client"), and its line.
Tap = Callable[["TappedProcess", str, bytes], None]


class Sender(NamedTuple):
    """The client that a message belongs to, as far as it is known. `session` is the id of a session, `info` a raw clientInfo."""

    principal: str
    session: str = ""
    info: bytes = b""


class SenderFinder(Protocol):
    """The owner of a process."""

    def sender(self, wire_id: bytes, /) -> Sender:
        """Return the client of the request with this id at the server (raw); with another id, of what the process serves."""
        ...


class TappedProcess(Protocol):
    """A process. The owner is None while it is a warm standby."""

    @property
    def pid(self) -> int:
        """The process id, negative for a connection to a remote server."""
        ...

    @property
    def owner(self) -> SenderFinder | None:
        """The owner."""
        ...


class Taps:
    """The taps of one server."""

    def __init__(self) -> None:
        # Added by `add`, removed by `remove`.
        self._taps: list[Tap] = []
        # Key: a process. Value: the function that always gets its messages, if any, and a function for each tap. Added by
        # `watch`, removed by `unwatch`.
        self._watchers: dict[TappedProcess, list[Callable[[str, bytes], None]]] = {}
        self._always: dict[TappedProcess, Callable[[str, bytes], None]] = {}

    def __bool__(self) -> bool:
        """Return whether there is a tap."""
        return bool(self._taps)

    def add(self, tap: Tap) -> None:
        """Pass each message from now on to this tap."""
        self._taps.append(tap)
        self._renew()

    def remove(self, tap: Tap) -> None:
        """Pass no further message to this tap, if it was added."""
        self._taps = [one for one in self._taps if one is not tap]
        self._renew()

    def watch(
        self, process: TappedProcess, always: Callable[[str, bytes], None] | None = None
    ) -> list[Callable[[str, bytes], None]]:
        """Return the list of functions that get each message of a process. It changes with the taps. `always` is the first."""
        if always is not None:
            self._always[process] = always
        watchers = self._watchers[process] = []
        self._renew()
        return watchers

    def unwatch(self, process: TappedProcess) -> None:
        """Drop a process that has exited."""
        # The functions refer to the process, whose connection has their list.
        self._watchers.pop(process, []).clear()
        self._always.pop(process, None)

    def _renew(self) -> None:
        for process, watchers in self._watchers.items():
            always = self._always.get(process)
            watchers[:] = [
                *([] if always is None else [always]),
                *(partial(tap, process) for tap in self._taps),
            ]
