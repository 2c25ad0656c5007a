"""Stdin and stdout of this process as the stream of one client (transports.ports.ByteStream)."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import trio

from ....transports.ports import OnInput


def _ignore(_size: int) -> None:
    """Count nothing, because this process has one client."""


class StandardStreams:
    """Both streams until `close`. Their descriptors are duplicates, so that the originals stay open for others."""

    def __init__(self) -> None:
        self._stdin = trio.lowlevel.FdStream(os.dup(0))
        self._stdout = trio.lowlevel.FdStream(os.dup(1))
        self._out = self._stdout.fileno()
        self._gone = False
        # Set when the client has closed stdin.
        self.input_ended = trio.Event()

    async def close(self) -> None:
        """Close both streams, which restores the blocking mode of their files."""
        await trio.aclose_forcefully(self._stdin)
        await trio.aclose_forcefully(self._stdout)

    @property
    def gone(self) -> bool:
        """Whether the client reads stdout no more (ByteStream)."""
        return self._gone

    def receiving(self) -> AbstractContextManager[Callable[[int], None]]:
        """Return a context in which nothing is counted (ByteStream)."""
        return nullcontext(_ignore)

    async def pass_input(self, max_bytes: int, on_input: OnInput) -> bool:  # noqa: ARG002 - ByteStream
        """Return False, because all input is received by the task (ByteStream)."""
        return False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next input, empty at its end (ByteStream)."""
        try:
            data = await self._stdin.receive_some(max_bytes)
        except trio.BrokenResourceError:
            # Such as a directory, or a terminal that was closed.
            data = b""
        if not data:
            self.input_ended.set()
        return data

    async def send_all(self, data: bytes) -> None:
        """Write all data (ByteStream)."""
        try:
            await self._stdout.send_all(data)
        except trio.BrokenResourceError:
            self._gone = True
            raise

    def send_some(self, data: bytes) -> int:
        """Write without waiting (ByteStream). What cannot be written is left to `send_all`, which reports the reason."""
        try:
            return os.write(self._out, data)
        except OSError:
            return 0
