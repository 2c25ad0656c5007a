"""What the carriers share: the messages that are to be sent, and the pause of reading."""

from collections import deque
from contextlib import suppress
from typing import Final

import trio

from ...validators import jsonrpc
from ...validators.limits import Limits
from ...validators.rejection import INTERNAL_ERROR
from .ports import CarrierBusy, Lost, OnMessage

_NULL: Final = b"null"
_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")
# Messages that are passed on without waiting, before other tasks run.
_MOST_AT_ONCE: Final = 16


class Outbox:
    """Messages that are to be sent, oldest first, up to `limits.stdin_bytes`."""

    def __init__(self, limits: Limits) -> None:
        # Whether messages are accepted.
        self.open = False
        self._limits = limits
        self._lines: deque[bytes] = deque()
        # Of all messages that were put and not settled.
        self._unsent = 0
        self._wake = trio.Event()

    def put(self, line: bytes) -> None:
        """Add a message without its line end. Raises CarrierBusy and Lost."""
        if not self.open:
            raise Lost("there is no connection")
        line = line.rstrip(b"\r\n")
        limit = self._limits.stdin_bytes
        if self._unsent and self._unsent + len(line) > limit:
            raise CarrierBusy(
                f"{self._unsent} bytes wait to be sent and the limit is {limit} (limits.stdin_bytes)"
            )
        self._unsent += len(line)
        self._lines.append(line)
        self._wake.set()

    async def get(self) -> bytes:
        """Return the next message, and wait for it."""
        while not self._lines:
            self._wake = trio.Event()
            await self._wake.wait()
        return self._lines.popleft()

    def settled(self, line: bytes) -> None:
        """Count a message as sent."""
        self._unsent -= len(line)


class Inbox:
    """Passes on the messages of a server, unless it is paused."""

    def __init__(self, limits: Limits, outbox: Outbox) -> None:
        self.paused = False
        self._limits = limits
        self._outbox = outbox
        self._resumed = trio.Event()
        self._on_message: OnMessage | None = None
        self._passed = 0

    def pause(self) -> None:
        """Pass on nothing until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Continue to pass on messages."""
        self.paused = False
        self._resumed.set()

    async def ready(self) -> None:
        """Wait until messages may be read."""
        while self.paused:
            self._resumed = trio.Event()
            await self._resumed.wait()

    def start(self, on_message: OnMessage) -> None:
        """Set the receiver of the messages."""
        self._on_message = on_message

    async def take(self, text: bytes) -> None:
        """Pass on one message, which may have line ends between its tokens."""
        await self.ready()
        self.put(text.translate(_LINE_ENDS) if b"\n" in text or b"\r" in text else text)
        self._passed += 1
        if not self._passed % _MOST_AT_ONCE:
            await trio.lowlevel.checkpoint()

    def put(self, line: bytes) -> None:
        """Pass on one line at once."""
        if self._on_message is not None and line and not line.isspace():
            self._on_message(line, b"")

    async def take_cut(self, edges: bytes) -> None:
        """Answer for a message over the limit of which only the edges are left: the request, or the server.

        A notification is dropped.
        """
        text = f"the message of the server exceeds the limit of {self._limits.line} bytes (limits.line)"
        call = jsonrpc.call_of_invalid_line(edges)
        if call:
            await self.take(jsonrpc.error(call, INTERNAL_ERROR, text, {"reason": "too large"}))
            return
        raw_id = jsonrpc.request_id_in_prefix(edges)
        if raw_id != _NULL:
            with suppress(CarrierBusy, Lost):
                self._outbox.put(jsonrpc.error(raw_id, INTERNAL_ERROR, text))
