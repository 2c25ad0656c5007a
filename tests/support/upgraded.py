"""An upgraded connection in memory, whose client is the test (ports.UpgradedStream)."""

import contextlib

import trio
import trio.testing

from mcpbridged.validators.rejection import Rejection

from .wire import frame


class FakeUpgrade:
    """What the bridge sends, and what the client sends.

    `room` is how many bytes `send_some` takes in all, None for any number. While `blocked`, `send_all` waits.
    """

    def __init__(self, room=None):
        self.sent = b""
        self.room = room
        self.exempt_from_pings = False
        self.blocked = False
        self.broken = False
        # Whether the client reads no more.
        self.gone = False
        # Bytes of unfinished messages, and the limit of them.
        self.held = 0
        self.most = 1 << 30
        self._unblocked = trio.Event()
        self._input, self._far_end = trio.testing.memory_stream_one_way_pair()

    async def from_client(self, *data):
        """Send bytes of the client."""
        for piece in data:
            await self._input.send_all(piece)

    async def text(self, text):
        """Send a text message of the client."""
        await self.from_client(frame(1, text))

    async def leave(self):
        """Close the sending side of the client."""
        await self._input.aclose()

    def unblock(self):
        self.blocked = False
        self._unblocked.set()
        self._unblocked = trio.Event()

    @contextlib.contextmanager
    def receiving(self):
        before = self.held

        def count(more):
            if self.held + more > self.most:
                raise Rejection(429, -32000, "too much unfinished", close=True)
            self.held += more

        yield count
        self.held = before

    async def receive_some(self, max_bytes=None):
        return bytes(await self._far_end.receive_some(max_bytes))

    async def pass_input(self, max_bytes, on_input):
        """Leave all input to `receive_some`, as over TLS."""
        return False

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        while self.blocked:
            await self._unblocked.wait()
        if self.broken:
            raise trio.BrokenResourceError
        self.sent += data

    @contextlib.contextmanager
    def lent_descriptors(self):
        yield None

    def call_when_revoked(self, call):
        self.revoke = call

    def send_some(self, data):
        taken = len(data) if self.room is None else min(self.room, len(data))
        if self.room is not None:
            self.room -= taken
        self.sent += data[:taken]
        return taken
