"""Receive the messages of one client: they are handled in the callback that reads them, or else by the task.

Both call the same functions. A function returns the work that must wait, and the callback leaves that work, and all input
after it, to the task.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final, Generic, TypeVar

import trio

from ...validators.rejection import Rejection
from ..options import ANONYMOUS
from ..ports import ByteStream
from ..turns import backlog_turns, client_turns

# Bytes that are read at once: few, since they can hold a thousand messages, and many in the middle of a large message.
READ: Final = 8 * 1024
_READ_LARGE: Final = 64 * 1024

# Work of the task, which precedes all further input.
Rest = Callable[[], Awaitable[None]]
# Called with a list that has one text, which may be removed. Must not wait; returns the work that must.
OnText = Callable[[list[bytes]], Rest | None]
# What the bytes of a client consist of: messages and, on some carriers, other events.
Event = TypeVar("Event")


class _Unfinished:
    """Count the bytes that a connection holds of an unfinished message, in the total of its principal."""

    def __init__(self, stream: ByteStream, stack: ExitStack) -> None:
        self._stream = stream
        self._stack = stack
        self._count: Callable[[int], None] | None = None
        self._held = 0

    def follow(self, held: int) -> None:
        """Update the number of bytes held. Raises Rejection over the limit of the principal."""
        # Fewer than before: another message has begun.
        if held < self._held:
            self._stack.close()
            self._count, self._held = None, 0
        if held:
            self._count = self._count or self._stack.enter_context(self._stream.receiving())
            self._count(held - self._held)
            self._held = held


class Receiver(Generic[Event]):
    """Receive the input of one client, and pass its messages to `on_text` in order. A subclass finds them in the bytes."""

    def __init__(self, stream: ByteStream, on_text: OnText, principal: str = ANONYMOUS) -> None:
        self._stream = stream
        self._principal = principal
        self._on_text = on_text
        self._stack = ExitStack()
        self._unfinished = _Unfinished(stream, self._stack)
        # Events that were not handled, the next one last.
        self._events: list[Event] = []
        # Work that precedes the events.
        self._rest: Rest | None = None
        # When the turn of this client ends (seconds, perf_counter).
        self._end = 0.0
        # Whether no further input is read.
        self._over = False

    # ---- given by the carrier

    @property
    def _is_large(self) -> bool:
        """Whether the bytes received so far end in the middle of a large message."""
        raise NotImplementedError

    @property
    def _held(self) -> int:
        """The stored bytes of an unfinished message if it is large, otherwise 0."""
        raise NotImplementedError

    def _refuse(self, fault: Rejection) -> None:
        """Drop the unfinished message, and report it with this fault at its end."""
        raise NotImplementedError

    def _read_message(self, data: bytes) -> bytes | None:
        """Return the text of a small message, if the next bytes are exactly that, else None without effect."""
        raise NotImplementedError

    def _find_events(self, data: bytes) -> list[Event]:
        """Return the events that the next bytes complete."""
        raise NotImplementedError

    def _handle_next(self, events: list[Event]) -> Rest | None:
        """Remove and handle the last event of the list."""
        raise NotImplementedError

    def _after_events(self) -> Rest | None:
        """Return the work after all events of the bytes received."""
        return None

    # ---- the loop

    async def run(self) -> None:
        """Receive until either side closes. Raises what `on_text` and its work raise."""
        stream = self._stream
        with self._stack:
            try:
                while not self._over:
                    rest, self._rest = self._rest, None
                    if rest is not None:
                        await rest()
                        self._rest = self._handle_events()
                        continue
                    is_large = self._is_large
                    if not is_large and await stream.pass_input(READ, self._on_input):
                        continue
                    data = await stream.receive_some(_READ_LARGE if is_large else READ)
                    if not data:
                        return
                    if time.perf_counter() > self._end:
                        await self._begin_turn()
                    self._rest = self._feed(data)
            # The client has disconnected.
            except trio.BrokenResourceError:
                return

    async def _begin_turn(self) -> None:
        await backlog_turns.wait(self._principal)
        self._end = time.perf_counter() + client_turns.take()

    def _on_input(self, data: bytes) -> bool:
        """Handle input in the callback (ports.OnInput)."""
        self._end = time.perf_counter() + client_turns.take()
        self._rest = self._feed(data)
        return self._rest is None and not self._is_large and not self._held

    def _feed(self, data: bytes) -> Rest | None:
        text = self._read_message(data)
        if text is not None:
            return self._on_text([text])
        events = self._find_events(data)
        try:
            self._unfinished.follow(self._held)
        # The message is refused, and the connection stays open.
        except Rejection as rejection:
            self._refuse(Rejection(rejection.status, rejection.code, rejection.text))
        events.reverse()
        self._events = events
        return self._handle_events()

    def _handle_events(self) -> Rest | None:
        """Handle events until one leaves work, or the turn ends, which leaves a checkpoint."""
        events = self._events
        while events:
            rest = self._handle_next(events)
            if rest is not None:
                return rest
            # The input can hold thousands of messages.
            if events and time.perf_counter() > self._end:
                return self._begin_turn
        return self._after_events()
