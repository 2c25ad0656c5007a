"""The transports of one connection to a remote server, and what they share (link.Link)."""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ..server_io import ChildBusy, Overlong, do_nothing
from .deliveries import Deliveries
from .detection import SSE, WEBSOCKET, RemoteMemory
from .http_calls import Endpoint
from .http_client import http_url
from .http_sse import HttpSse
from .link import GiveBack, Http
from .messages import Sent, read_sent
from .options import RemoteOptions
from .ports import Carrier
from .stream_session import StreamSession
from .streamable_http import StreamableHttp
from .websocket import WebSocket

# Makes the carrier of a transport, "sse" or "websocket".
MakeCarrier = Callable[[str], Carrier]

# Time for what was sent to reach the server, before the connection is closed (seconds).
_FLUSH_SECONDS: Final = 1.0


class Connection:
    """One connection (link.Link). `note` writes to the log of the server, `end` ends the connection with a reason."""

    def __init__(
        self,
        options: RemoteOptions,
        memory: RemoteMemory,
        make_carrier: MakeCarrier | None,
        deliveries: Deliveries,
        *,
        note: Callable[[str], None],
        end: Callable[[str], None],
    ) -> None:
        self.origin = http_url(options.url).origin
        self.note = note
        self.end = end
        self.is_new = True
        # The bytes of the messages to which the server has not begun a response.
        self.unsent = 0
        self._options = options
        self._memory = memory
        self._make_carrier = make_carrier
        # Bytes of unfinished messages of the server.
        self._held = 0
        self._deliveries = deliveries
        # Lines that were not read yet, oldest first.
        self._lines: deque[bytes] = deque()
        self._wake = trio.Event()
        # The transport of all messages; None before `run`.
        self._transport: StreamableHttp | StreamSession | None = None
        self._nursery: trio.Nursery | None = None

    # ---- the client

    def send(self, line: bytes) -> None:
        """Send a line. Raises ChildBusy over `limits.stdin_bytes`."""
        limit = self.limits.stdin_bytes
        if self.unsent and self.unsent + len(line) > limit:
            raise ChildBusy(
                f"the server does not respond: {self.unsent} bytes wait for it and the limit is {limit} (limits.stdin_bytes)"
            )
        self.unsent += len(line)
        self._lines.append(line)
        self._wake.set()

    async def run(self, http: Http) -> None:
        """Send what is to be sent, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            transport = self._memory.transport_for(self._options)
            if transport in (SSE, WEBSOCKET):
                self._use_stream(self._nursery, transport)
            else:
                self._transport = StreamableHttp(Endpoint(http, self._options, self), self, self._nursery)
                self._nursery.start_soon(self._transport.run)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._lines:
                    self._send(self._lines.popleft())
                    # Decoding a large line takes time, and the task of a request begins before that of the next one.
                    await trio.lowlevel.checkpoint()

    def _send(self, line: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - set by `run`
        try:
            sent = read_sent(line)
        except Rejection as rejection:
            self.unsent -= len(line)
            self.note(f"a line was not sent: {rejection.text}")
            return
        self._transport.send(sent)

    def _use_stream(
        self, nursery: trio.Nursery, transport: str, give_back: GiveBack | None = None
    ) -> StreamSession:
        make_carrier = self._make_carrier or self._carrier
        session = StreamSession(lambda: make_carrier(transport), self, transport, give_back)
        self._transport = session
        if self._deliveries.paused:
            session.pause()
        nursery.start_soon(session.run)
        return session

    def _carrier(self, transport: str) -> Carrier:
        return HttpSse(self._options) if transport == SSE else WebSocket(self._options)

    async def flush(self) -> None:
        """Wait a short time until the server has begun its responses to all messages."""
        with trio.move_on_after(_FLUSH_SECONDS):
            while self.unsent:  # noqa: ASYNC110 - each transport has its own events
                await trio.sleep(0.01)

    async def end_session(self) -> None:
        """Ask the server to end the session, if there is one that it could end."""
        if isinstance(self._transport, StreamableHttp):
            await self._transport.end_session()

    def detach(self) -> None:
        """Drop the functions and the transport, when all tasks have ended. They refer to the owner and to this object."""
        self.note = self.end = do_nothing
        self._transport = None

    def pause(self) -> None:
        """Read nothing until `resume`."""
        if isinstance(self._transport, StreamSession):
            self._transport.pause()

    def resume(self) -> None:
        """Continue to read."""
        if isinstance(self._transport, StreamSession):
            self._transport.resume()

    # ---- the transports (link.Link)

    @property
    def limits(self) -> Limits:
        """The limits of the server."""
        return self._options.limits

    @property
    def connect_seconds(self) -> float:
        """How long attempts to connect are repeated (seconds)."""
        return self._options.connect_seconds

    def put(self, line: bytes | Overlong, related: bytes = b"") -> None:
        """Pass on a line of the server."""
        self._deliveries.put(line, related)

    async def room(self) -> None:
        """Wait until more may be read from the server."""
        await self._deliveries.room()

    def hold(self, size: int) -> bool:
        """Count bytes of unfinished messages. Returns False over the limit, which counts nothing."""
        if size > 0 and self._held + size > self.limits.unfinished_bytes:
            return False
        self._held += size
        return True

    def settled(self, sent: Sent) -> None:
        """Count a message as read by the server."""
        if sent.unsent:
            sent.unsent = False
            self.unsent -= len(sent.line)

    def answered(self, transport: str) -> None:
        """Note that the server has answered over this transport."""
        self.is_new = False
        self._memory.found(transport)

    def forget(self) -> None:
        """Let the next connection find the transport again."""
        self._memory.found("")

    @property
    def has_answered(self) -> bool:
        """Whether the server has ever answered, over this or another connection."""
        return bool(self._memory.transport)

    def change_transport(self, messages: list[Sent], give_back: GiveBack) -> bool:
        """Send messages over HTTP+SSE instead, if the transport is not known yet or another connection has found this one."""
        if self._options.transport != "auto" or self._nursery is None:
            return False
        if self._memory.transport not in ("", SSE):
            # A server may change back to HTTP+SSE. The next connection finds it.
            self.forget()
            return False
        former = self._transport

        def return_to_former(reason: str, unsent: list[Sent]) -> None:
            self._transport = former
            give_back(reason, unsent)

        session = self._use_stream(self._nursery, SSE, return_to_former)
        for sent in messages:
            session.send(sent)
        return True
