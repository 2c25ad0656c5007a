"""Send the messages of one queue on a connection of its own, as on WebSocket and on the pipe endpoint."""

import trio

from ..ports import ByteStream
from ..send_queue import SendQueue, Signal

# Queued messages up to this size (bytes) in all are sent in one call.
_ONE_SEND = 64 * 1024


class MessageWriter:
    """Send messages to one client, in the order of its send queue. A subclass gives them the form of a carrier.

    A message is sent as soon as it is enqueued, while the socket takes it (`SendQueue.shortcut`). A task sends the rest.
    """

    def __init__(self, stream: ByteStream, queue: SendQueue) -> None:
        self._stream = stream
        self._queue = queue
        self._sending = trio.Lock()
        # The rest of bytes that the socket took in part.
        self._rest = b""
        # Whether bytes are being sent, or were given up in part.
        self._cut = False

    # ---- given by the carrier

    def _framed(self, message: bytes) -> bytes:
        """Return the bytes of one message."""
        raise NotImplementedError

    def _take_rest(self) -> bytes:
        """Remove and return the bytes that precede the next message."""
        rest, self._rest = self._rest, b""
        return rest

    @property
    def _has_rest(self) -> bool:
        """Whether bytes precede the next message."""
        return bool(self._rest)

    def _on_sent(self) -> None:
        """Handle the end of each send of the task."""

    async def _on_heartbeat(self) -> None:
        """Handle a heartbeat that is due."""

    async def _close(self) -> None:
        """Send what the carrier sends at its end, after the last message."""

    # ----

    def start(self) -> None:
        """Send messages as they are enqueued."""
        self._queue.shortcut = self._send_at_once
        self._queue.eager = True

    async def run(self, scope: trio.CancelScope) -> None:
        """Send what is queued until the queue ends, then close; cancel `scope` at the end."""
        queue = self._queue
        try:
            while True:
                if self._has_rest:
                    await self._send(b"")
                match await queue.dequeue():
                    case Signal.END:
                        break
                    case Signal.HEARTBEAT:
                        # Also the wake-up for the rest of a message: a ping after each would cause a flood of pongs.
                        if not self._has_rest:
                            await self._on_heartbeat()
                    case (_, message):
                        await self._send(self._gathered(message))
            await self._close()
        # The client has disconnected.
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    def _gathered(self, message: bytes) -> bytes:
        more = self._queue.dequeue_more(_ONE_SEND - len(message))
        return b"".join(map(self._framed, (message, *more))) if more else self._framed(message)

    def _send_at_once(self, text: bytes) -> bool:
        if self._rest or self._sending.locked():
            return False
        data = self._framed(text)
        sent = self._stream.send_some(data)
        if 0 < sent < len(data):
            self._rest = data[sent:]
            self._queue.count_unsent(len(self._rest))
            # Wakes the writing task.
            self._queue.heartbeat()
        return sent > 0

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            rest = self._take_rest()
            self._cut = True
            await self._stream.send_all(rest + data if rest else data)
            self._cut = False
        self._on_sent()
