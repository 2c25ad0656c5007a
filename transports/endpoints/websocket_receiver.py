"""The receiving side of a WebSocket: frames are handled in the callback that reads them, or else by the task.

Both call the same functions. A function returns the work that must wait, and the callback leaves that work, and all input
after it, to the task.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

import trio

from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ...validators.ws_frames import TOO_BIG, Close, Event, FrameReader, Ping, Text
from ..ports import UpgradedStream
from .websocket_writer import FrameWriter

# Bytes that are read at once: few, since they can hold a thousand frames, and many in the middle of a large frame.
_READ: Final = 8 * 1024
_READ_LARGE: Final = 64 * 1024
# Time that the input of one client may occupy the event loop (seconds).
_TURN_SECONDS: Final = 0.002
# Time for which the rest of a refused message is read and dropped (seconds).
_DROP_SECONDS: Final = 60.0

# Work of the task, which precedes all further input.
Rest = Callable[[], Awaitable[None]]
# Called with a list that has one text, which may be removed. Must not wait; returns the work that must.
OnText = Callable[[list[bytes]], Rest | None]


class _Unfinished:
    """Count the bytes that a connection holds of an unfinished message, in the total of its principal."""

    def __init__(self, stream: UpgradedStream, stack: ExitStack) -> None:
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


class MessageReceiver:
    """Receive the frames of one client, and pass text messages to `on_text` in order."""

    def __init__(self, stream: UpgradedStream, writer: FrameWriter, limits: Limits, on_text: OnText) -> None:
        self._stream = stream
        self._writer = writer
        self._on_text = on_text
        self._reader = FrameReader(limits.body, limits.json_depth)
        self._stack = ExitStack()
        self._unfinished = _Unfinished(stream, self._stack)
        # Events that were not handled, the next one last.
        self._events: list[Event] = []
        # Work that precedes the events.
        self._rest: Rest | None = None
        # When the turn of this client ends (seconds, perf_counter).
        self._end = 0.0
        # Since when a refused message is dropped (seconds), 0 for none.
        self._dropping_since = 0.0
        # Whether the closing handshake was sent.
        self._over = False

    async def run(self) -> None:
        """Receive until either side closes. Raises what `on_text` and its work raise."""
        stream, reader = self._stream, self._reader
        with self._stack:
            try:
                while not self._over:
                    rest, self._rest = self._rest, None
                    if rest is not None:
                        await rest()
                        self._rest = self._handle_events()
                        continue
                    is_large = reader.missing > _READ
                    if not is_large and await stream.pass_input(_READ, self._on_input):
                        continue
                    data = await stream.receive_some(_READ_LARGE if is_large else _READ)
                    if not data:
                        return
                    if time.perf_counter() > self._end:
                        await self._begin_turn()
                    self._rest = self._feed(data)
            # The client has disconnected.
            except trio.BrokenResourceError:
                return

    async def _begin_turn(self) -> None:
        await trio.lowlevel.checkpoint()
        self._end = time.perf_counter() + _TURN_SECONDS

    def _on_input(self, data: bytes) -> bool:
        """Handle input in the callback (ports.OnInput)."""
        reader = self._reader
        self._end = time.perf_counter() + _TURN_SECONDS
        self._rest = self._feed(data)
        return self._rest is None and reader.missing <= _READ and not reader.held

    def _feed(self, data: bytes) -> Rest | None:
        reader, writer = self._reader, self._writer
        writer.pinged_at = 0.0
        text = reader.read_message(data)
        if text is not None:
            return self._on_text([text])
        events = reader.feed(data, trio.current_time())
        try:
            self._unfinished.follow(reader.held)
        # The message is refused, and the connection stays open.
        except Rejection as rejection:
            reader.refuse(Rejection(rejection.status, rejection.code, rejection.text))
        events.reverse()
        self._events = events
        return self._handle_events()

    def _handle_events(self) -> Rest | None:
        """Handle events until one leaves work, or the turn ends, which leaves a checkpoint."""
        events = self._events
        while events:
            event = events.pop()
            if isinstance(event, Text):
                held = [event.text]
                # A large text has one reference only, which the callee removes.
                del event
                rest = self._on_text(held)
                if rest is not None:
                    return rest
            elif isinstance(event, Ping):
                self._writer.answer_ping(event.payload)
            elif isinstance(event, Close):
                return partial(self._close, event.code)
            # The input can hold thousands of frames.
            if events and time.perf_counter() > self._end:
                return self._begin_turn
        return self._limit_drop()

    def _limit_drop(self) -> Rest | None:
        if not self._reader.dropping:
            self._dropping_since = 0.0
            return None
        now = trio.current_time()
        self._dropping_since = self._dropping_since or now
        return self._give_up if now - self._dropping_since > _DROP_SECONDS else None

    async def _close(self, code: int) -> None:
        reader = self._reader
        self._over = True
        await self._writer.answer_close(code, reader.reason, reader.close_reason)

    async def _give_up(self) -> None:
        self._over = True
        reason = f"the rest of a message that was refused did not come within {_DROP_SECONDS:g} s"
        await self._writer.send_close(TOO_BIG, reason)
