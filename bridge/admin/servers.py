"""The servers of the daemon, as the page uses them."""

from collections.abc import Iterator
from typing import Protocol

from ..runtime.server import LocalServer


class Servers(Protocol):
    """The present servers (daemon.supervisor.Supervisor)."""

    def __iter__(self) -> Iterator[LocalServer]: ...
    def find(self, name: str) -> LocalServer | None:
        """Return the server of this name, or None."""
        ...
