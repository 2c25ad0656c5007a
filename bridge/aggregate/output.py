"""The standard output of the aggregate, which the daemon reads, and its log on the standard error."""

import os
import sys
from collections import deque
from typing import Final

import trio

from ..log import escaped, event_text

# With more bytes to write than this, no server is read until half of them are left.
_UNSENT: Final = 8 * 1024 * 1024


class OutputQueue:
    """A queue of messages to the daemon, which reads as slowly as its client does."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._more = trio.Event()
        self._room = trio.Event()
        self._room.set()

    def enqueue(self, text: bytes) -> None:
        """Queue one message. There is always room for one: a sender of many waits in `room` first."""
        self._queue.append(text)
        self._bytes += len(text)
        if self._bytes > _UNSENT and self._room.is_set():
            self._room = trio.Event()
        self._more.set()

    async def room(self) -> None:
        """Wait until there is room for further messages."""
        await self._room.wait()

    async def write(self) -> None:
        """Write the queued messages to stdout in their order, without end."""
        async with trio.lowlevel.FdStream(os.dup(1)) as stdout:
            while True:
                await self._more.wait()
                self._more = trio.Event()
                while self._queue:
                    text = self._queue.popleft()
                    await stdout.send_all(text + b"\n")
                    self._bytes -= len(text)
                    if self._bytes < _UNSENT // 2:
                        self._room.set()


def log(event: str, **fields: object) -> None:
    """Write an event as one line to stderr, which the daemon reads."""
    sys.stderr.write(event_text(event, {key: escaped(str(value)) for key, value in fields.items()}) + "\n")
    sys.stderr.flush()
