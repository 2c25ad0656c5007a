"""The streams of the client of one session, and the unsent bytes."""

from ...transports.send_queue import Backlog, SendQueue
from ...validators.limits import Limits
from .session_log import SessionLog


class SessionStreams:
    """The streams of one session. `pipe` is the only stream of HTTP+SSE and WebSocket, None for Streamable HTTP."""

    __slots__ = ("_limits", "_log", "_lost", "_stays_open", "backlog", "pipe")

    def __init__(self, limits: Limits, log: SessionLog, pipe: SendQueue | None) -> None:
        self._limits = limits
        self._log = log
        self.pipe = pipe
        # The unsent bytes of the client over all its streams.
        self.backlog = (pipe.client if pipe is not None else None) or Backlog(limits)
        if pipe is not None:
            pipe.bind(self.backlog)
        # How many messages that `backlog` has refused are in the log.
        self._lost = 0
        # Whether `pipe` stays open after the session, because the client may try again.
        self._stays_open = False

    def on_tick(self, now: float) -> str:
        """Log what was lost. Return why the session is to end, or an empty string. `now` is in seconds."""
        backlog = self.backlog
        if backlog.has_stalled(now):
            return f"the client has not read for {self._limits.write_stall_seconds:g} s"
        if backlog.dropped > self._lost:
            self._log.messages_lost(backlog.dropped, backlog.at_most)
            self._lost = backlog.dropped
        return ""

    def keep_open(self) -> None:
        """Leave `pipe` open for another session."""
        self._stays_open = True

    def set_reason(self, text: str) -> None:
        """Set the reason that the client gets with the end of `pipe`."""
        if self.pipe is not None:
            self.pipe.close_reason = text

    def enqueue(self, queue: SendQueue | None, message: bytes) -> None:
        """Send a message on this stream, or else on `pipe`."""
        stream = self.pipe if queue is None else queue
        if stream is not None:
            stream.enqueue(message)

    def close(self, queue: object) -> None:
        """Close a stream. Queued messages are still sent."""
        if isinstance(queue, SendQueue) and not self._stays_open:
            queue.close()
