"""Values that pass between a connection to a server and its user, whether the server is a process or remote."""

import signal
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

# Called with each message and its direction.
Watchers = Sequence[Callable[[str, bytes], None]]
# Called with each line of stderr.
OnStderr = Callable[[bytes], None]


class ChildGone(Exception):
    """The server reads no further lines."""


class ChildBusy(Exception):
    """The server does not read its input, and too much is queued."""


@attrs.frozen
class Overlong:
    """A dropped line: bytes received when it was reported, its beginning, and its end if the beginning has no id."""

    size_seen: int
    prefix: bytes
    suffix: bytes = attrs.field(default=b"", eq=False)


# Work on a line that is left for the next turn of the event loop, before any further line.
Rest = Callable[[], None] | None
OnLine = Callable[[bytes | Overlong], Rest]


def ignore(_line: bytes | Overlong) -> None:
    """Drop a line (OnLine)."""


def do_nothing(*_of_event: object) -> None:
    """Drop an event of a process that has ended."""


@attrs.frozen
class Exit:
    """How a server ended. `reason` is set where the bridge ended it, and for a remote server."""

    code: int | None = None
    signal: int | None = None
    reason: str = ""

    def describe(self) -> str:
        """Return a predicate for the subject "the server"."""
        if self.reason:
            return self.reason
        if self.signal is not None:
            try:
                name = f" ({signal.Signals(self.signal).name})"
            except ValueError:
                name = ""
            return f"was killed by signal {self.signal}{name}"
        return f"exited with code {self.code}"


class Filter(Protocol):
    """A filter of stderr before it is split into lines, for redaction."""

    @property
    def holds(self) -> bool:
        """Whether bytes are held back."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Add bytes and return filtered ones."""
        ...

    def tick(self) -> tuple[bytes, bool]:
        """Return bytes that are not held back any longer, and whether others still are."""
        ...

    def gap(self) -> bytes:
        """Return the bytes held back, because the next bytes were dropped."""
        ...

    def peek(self) -> bytes:
        """Return the filtered form of what is held back, without removing it."""
        ...

    def end(self) -> bytes:
        """Return the filtered rest."""
        ...
