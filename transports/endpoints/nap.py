"""The nap of an idle client of the pipe endpoint, whose program is not in memory until there is something to do.

The client sends `#sleep WORD` with its stdin attached. It gets `#asleep WORD` when everything for it is sent, and later `#wake`
before anything else, or when its stdin is readable or ends; `#awake` where its stdin cannot be watched. Any line of the client
ends its nap. By the word the client knows an answer that a line of its own has overtaken: it would sleep without being watched.
"""

from collections.abc import Callable
from typing import Final, Protocol

from ...validators.pipe_lines import ASLEEP, AWAKE, WAKE
from ..poller import OnFault, Ready
from ..send_queue import SendQueue

# Longest word that is returned (bytes).
_WORD: Final = 32


class Lent(Protocol):
    """The stdin that a client lends (lent_descriptors.LentDescriptors)."""

    def watch(self, ready: Ready, on_fault: OnFault) -> bool: ...
    def unwatch(self) -> None: ...


class Nap:
    """Whether one client sleeps, or wants to."""

    def __init__(self, queue: SendQueue, lent: Lent | None, on_fault: Callable[[Exception], None]) -> None:
        self._queue = queue
        self._lent = lent
        self._on_fault = on_fault
        # Whether the client sleeps, or wants to.
        self.active = False
        # Whether the client sleeps: `wake` must precede anything that is sent.
        self.asleep = False
        self._word = b""

    def begin(self, word: bytes = b"") -> None:
        """Have the client sleep as soon as everything for it is sent. `word` is returned to it."""
        self.active = True
        self._word = word[:_WORD]
        self.try_again()

    def try_again(self) -> None:
        """Have a client that wants to sleep do so, if everything for it is sent."""
        if self.asleep or not self.active or self._queue.unsent:
            return
        if self._lent is None or not self._lent.watch(self._on_ready, self._on_fault):
            self.active = False
            self._queue.enqueue(AWAKE)
            return
        self._queue.enqueue(b"%b %b" % (ASLEEP, self._word) if self._word else ASLEEP)
        self.asleep = True
        # The socket did not take the line, so that what follows could not be preceded by another.
        if self._queue.unsent:
            self.wake()

    def wake(self) -> None:
        """Have the client wake, if it sleeps."""
        if self.asleep:
            self.end()
            self._queue.enqueue(WAKE)

    def end(self) -> None:
        """Note that the client is awake."""
        self.active = self.asleep = False
        if self._lent is not None:
            self._lent.unwatch()

    def _on_ready(self, _left: bool) -> None:  # noqa: FBT001 - signature of poller.Ready
        self.wake()
