"""Find out with the first `initialize` of a session whether its server speaks a handshake revision. Pure."""

import enum
from typing import Final, NamedTuple

from ...validators.jsonrpc import Response

# `initialize` has no response yet.
TRYING: Final = "trying"
# It has failed, and the era of the server is looked for.
FAILED: Final = "failed"
# The server speaks the modern era. Its process has not started.
RESTARTING: Final = "restarting"
# The era is known.
OVER: Final = "over"


class Exited(NamedTuple):
    """The process has exited, with the text and the data of the error for its requests."""

    text: str
    data: dict[str, object]


class TimedOut(NamedTuple):
    """The process has not answered `initialize` in time."""

    text: str


Failure = Response | Exited | TimedOut


class Verdict(enum.Enum):
    """The meaning of an event for the era."""

    # Nothing: it is handled now.
    HANDLE = enum.auto()
    # The server speaks a handshake revision. The event is handled now.
    OPENED = enum.auto()
    # The failure is held. The era must be found out, and `resolve` called.
    FAILED = enum.auto()
    # The failure is held, or dropped because an earlier one is held.
    HELD = enum.auto()


class EraTrial:
    """The first handshake of a session at a server whose era is not certain.

    A failure is held until `resolve`, because it may only mean that the server speaks the modern era. With `cached` an
    earlier process has accepted `initialize`. An exit or a timeout then says nothing about the era.
    """

    __slots__ = ("_cached", "_failures", "_opening", "phase")

    def __init__(self, phase: str = TRYING, *, cached: bool = False) -> None:
        self.phase = phase
        self._cached = cached
        # The line with `initialize`. Kept for a process of the modern era, removed by `take_opening`.
        self._opening = b""
        # In the order of the events. Removed by `resolve`.
        self._failures: list[Failure] = []

    @property
    def unresolved(self) -> bool:
        """Whether the era is not known."""
        return self.phase in (TRYING, FAILED)

    def on_sent(self, line: bytes) -> None:
        """Store the first line to the server, which has `initialize`."""
        if self.phase != OVER and not self._opening:
            self._opening = line

    def on_response(self, message: Response) -> Verdict:
        """Handle a response of the server. The first is that to `initialize`, because no other request was sent."""
        if self.phase != TRYING:
            return Verdict.HANDLE
        if message.error:
            # A copy, because the payload may be a view of a buffer that is used again.
            return self._fail(Response(message.id, b"", message.error))
        self.phase = OVER
        self._opening = b""
        return Verdict.OPENED

    def on_exit(self, text: str, data: dict[str, object]) -> Verdict:
        """Handle the exit of the process."""
        if not self.unresolved or (self.phase == TRYING and self._cached):
            return Verdict.HANDLE
        return self._fail(Exited(text, data))

    def on_timeout(self, text: str) -> Verdict:
        """Handle the end of the time for the response to `initialize`."""
        if self.phase == FAILED:
            return Verdict.HELD
        if self.phase != TRYING or self._cached:
            return Verdict.HANDLE
        return self._fail(TimedOut(text))

    def resolve(self, *, legacy: bool) -> tuple[Failure, ...]:
        """End the trial. Return the failures to handle: all if the server is `legacy`, none otherwise."""
        failures, self._failures = tuple(self._failures), []
        if not legacy:
            self.phase = RESTARTING
            return ()
        self.phase = OVER
        self._opening = b""
        return failures

    def take_opening(self) -> bytes:
        """Remove and return the line that a process has to receive first because it is of the modern era, or nothing."""
        if self.phase != RESTARTING:
            return b""
        self.phase = OVER
        opening, self._opening = self._opening, b""
        return opening

    def _fail(self, failure: Failure) -> Verdict:
        self._failures.append(failure)
        if self.phase == FAILED:
            return Verdict.HELD
        self.phase = FAILED
        return Verdict.FAILED
