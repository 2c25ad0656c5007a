"""The sending side of a WebSocket: messages, pings and pongs, and close frames."""

from typing import Final

import trio

from ...validators.limits import Limits
from ...validators.ws_frames import (
    GOING_AWAY,
    INTERNAL,
    TRY_LATER,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from ..ports import Log, UpgradedStream
from ..rate_limited_log import RateLimitedLog
from ..send_queue import DISCONNECTED, OVERFLOWED, ConnectionQueue, SendQueue
from .message_writer import MessageWriter

# Time that a client may leave pings unanswered (seconds), because its program may be stopped, which its kernel does not
# report. With heartbeats shorter than the default the limit is `_MISSED` of them. A host that is gone acknowledges nothing,
# and TCP_USER_TIMEOUT closes its connection earlier.
_PONG_SECONDS: Final = 300.0
_USUAL_HEARTBEAT: Final = Limits().heartbeat_seconds
_MISSED: Final = 5
# Time that a client may take for the response to a close frame (seconds).
_CLOSE_SECONDS: Final = 1.0
# Reasons of closes that have no other (RFC 6455 section 5.5.1).
_ENDED: Final = "the session has ended"
_ECHO: Final = "closed by the client"


class CloseLog:
    """Log the close frames that are sent: each code of each side once a second, with the number of those between."""

    def __init__(self, log: Log) -> None:
        self._log = log
        # Key: the close code of the bridge, or 0 for responses to close frames of clients. Entries are never removed.
        self._by_code: dict[int, RateLimitedLog] = {}

    def note(self, code: int, reason: str, *, by_client: bool) -> None:
        """Log one close frame."""
        rate_limited = self._by_code.setdefault(0 if by_client else code, RateLimitedLog(self._log))
        rate_limited.info(
            "websocket_closed", side="client" if by_client else "bridge", code=code, reason=reason
        )


class FrameWriter(MessageWriter):
    """Send frames to one client, in the order of its send queue."""

    def __init__(
        self,
        stream: UpgradedStream,
        queue: SendQueue,
        limits: Limits,
        log: RateLimitedLog,
        closes: CloseLog | None = None,
    ) -> None:
        super().__init__(stream, queue)
        self._upgraded = stream
        self._limits = limits
        self._log = log
        self._closes = closes
        # Why the bridge closed the connection, if it was first.
        self.closed_because = ""
        # Code and reason of the close frame of the client, if it was first.
        self.closed_by_client = ""
        # The payload of the newest ping without a pong (RFC 6455 section 5.5.3).
        self._pong: bytes | None = None
        # When the client was pinged (seconds). The reading side sets 0 when the client sends something.
        self.pinged_at = 0.0

    def _framed(self, message: bytes) -> bytes:
        return text_frame(message)

    @property
    def _has_rest(self) -> bool:
        return bool(self._rest) or self._pong is not None

    def _take_rest(self) -> bytes:
        rest = super()._take_rest()
        if self._pong is not None:
            rest, self._pong = rest + pong_frame(self._pong), None
        return rest

    async def _on_heartbeat(self) -> None:
        await self.heartbeat()

    def answer_ping(self, payload: bytes) -> None:
        """Send a pong, now or with the next frame.

        Does not wait: a client that does not read may first send what the reading side waits for.
        """
        if self._rest or self._sending.locked():
            self._pong = payload
            return
        frame = pong_frame(payload)
        sent = self._stream.send_some(frame)
        if 0 < sent < len(frame):
            self._rest = frame[sent:]
        elif not sent:
            self._pong = payload
        if sent < len(frame):
            # Wakes the writing task.
            self._queue.heartbeat()

    async def heartbeat(self) -> None:
        """Send a ping, or close the connection of a client that has left pings unanswered for too long."""
        now, limit = trio.current_time(), _MISSED * self._limits.heartbeat_seconds
        if self._limits.heartbeat_seconds >= _USUAL_HEARTBEAT:
            limit = max(limit, _PONG_SECONDS)
        if self._upgraded.exempt_from_pings:
            return
        if not self.pinged_at:
            self.pinged_at = now
            await self._send(ping_frame())
        elif now - self.pinged_at >= limit:
            self._log.info("websocket_pings_unanswered", seconds=limit)
            await self.send_close(INTERNAL, f"no pong within {limit:g} s")
            self._queue.on_disconnect()
        else:
            await self._send(ping_frame())

    async def answer_close(self, code: int, reason: str, given: str) -> None:
        """Close for this reason, or without one answer the close frame of the client with its own code."""
        # With `closed_because` the frame of the client is itself the response.
        if reason or self.closed_because:
            await self.send_close(code, reason)
            return
        self.closed_by_client = f"{code or 'no code'} {given}".rstrip()
        if self._closes is not None:
            self._closes.note(code, given, by_client=True)
        await self._send(close_frame(code, _ECHO))

    async def send_close(self, code: int, reason: str) -> None:
        """Send a close frame and log it, unless one was sent before (RFC 6455 section 5.5.1)."""
        if self.closed_because or self.closed_by_client:
            return
        self.closed_because = reason
        if self._closes is not None:
            self._closes.note(code, reason, by_client=False)
        await self._send(close_frame(code, reason))

    async def fail(self) -> None:
        """Close after an exception of the bridge, if the last frame was sent in whole."""
        with trio.move_on_after(_CLOSE_SECONDS):
            try:
                if not self._cut:
                    await self.send_close(INTERNAL, "internal error")
            # The client has disconnected.
            except trio.BrokenResourceError:
                return

    async def _close(self) -> None:
        if self._queue.state == DISCONNECTED:
            return
        if self._queue.state == OVERFLOWED:
            await self.send_close(TRY_LATER, "more is waiting for this client than may (limits.unsent_bytes)")
        else:
            overused = isinstance(self._queue, ConnectionQueue) and self._queue.overused
            await self.send_close(TRY_LATER if overused else GOING_AWAY, self._queue.close_reason or _ENDED)
        # The response of the client ends the reading, which cancels this.
        await trio.sleep(_CLOSE_SECONDS)

    async def _send(self, data: bytes) -> None:
        began = trio.current_time()
        await super()._send(data)
        now = trio.current_time()
        # The pong of a client that was slow to read is on its way, so its time begins anew.
        if self.pinged_at and now - began > 1:
            self.pinged_at = now
