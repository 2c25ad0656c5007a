"""The owner of a server process: a session, stateless clients, or several of both."""

from collections.abc import Collection
from typing import Protocol

from ...transports.ports import ServerConnection
from ...transports.server_io import ChildBusy, ChildGone, Overlong, Rest
from ..core.client_environment import ClientEnvironment
from .taps import Sender


def send_line(child: ServerConnection | None, line: bytes) -> str:
    """Send a line to a process. Return the reason if its stdin takes no more, and an empty string otherwise.

    Without a process, or if it has exited, the line is dropped: `ProcessOwner.on_exit` fails the requests in flight.
    """
    if child is not None:
        try:
            child.send(line)
        except ChildGone:
            pass
        except ChildBusy as busy:
            return str(busy)
    return ""


class ProcessOwner(Protocol):
    """The receiver of the lines and of the exit of one server process."""

    ended: bool
    principal: str
    client_environment: ClientEnvironment

    @property
    def principals(self) -> Collection[str]:
        """The principals whose requests the process has received."""
        ...

    @property
    def speaks_modern(self) -> bool:
        """Whether the process receives requests of the modern era."""
        ...

    @property
    def calling(self) -> bool:
        """Whether a call is in flight."""
        ...

    @property
    def era_unresolved(self) -> bool:
        """Whether a failure of the process may only mean that the server speaks another era."""
        ...

    @property
    def is_ordinary(self) -> bool:
        """Whether every server should accept the `initialize` that the process receives."""
        ...

    def sender(self, wire_id: bytes, /) -> Sender:
        """Return the client of the request with this id at the server; with another id, of what the process serves."""
        ...

    def is_served_by(self, child: ServerConnection) -> bool:
        """Return whether this process is the current one, and was not discarded."""
        ...

    def on_start(self, child: ServerConnection) -> None:
        """Use this process from now on."""
        ...

    def on_line(self, line: bytes | Overlong, /) -> Rest:
        """Process a line from stdout."""
        ...

    def on_exit(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because the process has exited; with the text and the data of the error."""
        ...

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because no process could be started."""
        ...

    def on_tick(self, now: float) -> None:
        """Apply the time limits. `now` is in seconds."""
        ...

    def discard(self, reason: str) -> None:
        """Stop the process, because another one serves the next request."""
        ...

    def read_on(self) -> None:
        """Read the process to its end, however much is unsent, because it is about to be stopped."""
        ...

    def end(self, reason: str) -> None:
        """Close the session or the subscriptions, and stop the process."""
        ...
