"""Bytes in and out of one client connection, over a plain socket or over TLS."""

import fcntl
import socket
import ssl
import sys
import termios
from typing import Final, Protocol

import trio

from ..poller import WakeUpSlot

# Bytes that are read from a socket at once.
READ: Final = 64 * 1024
# Data up to this size (bytes) is sent in one call.
ONE_SEND: Final = 64 * 1024
# Operations that did not have to wait before other tasks get their turn.
_FAIR: Final = 16


def unread_by_peer(sock: socket.socket) -> int:
    """Return how many bytes the kernel still holds of what was sent: it takes more in large steps only (SIOCOUTQ)."""
    try:
        held: bytes = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # it is closed
        return 0
    return int.from_bytes(held, sys.byteorder)


class Wire(Protocol):
    """Bytes in and out of one connection."""

    @property
    def sent(self) -> int:
        """How many bytes were sent with `send`: a peer that reads slowly makes progress."""
        ...

    async def receive(self, max_bytes: int) -> bytes: ...
    async def send(self, data: bytes | memoryview) -> None: ...
    async def drop(self) -> int: ...
    async def close(self) -> None: ...


class PlainWire:
    """A non-blocking socket of which `Poller` says when it is worth reading."""

    def __init__(self, sock: socket.socket, slot: WakeUpSlot) -> None:
        self._sock = sock
        self._slot = slot
        self._unblocked = 0
        self._left = False
        self.readable = True  # a client may have sent its first request before its connection was accepted
        self.sent = 0

    def ready(self, *, left: bool) -> None:
        """There is something to read, or the end; after `left` there will be no other edge."""
        self.readable = True
        if left:
            self._left = True
        self._slot.wake()

    async def receive(self, max_bytes: int) -> bytes:
        """Some bytes, or none at the end. Raises OSError."""
        while True:
            while not self.readable:
                self._unblocked = 0
                await self._slot.wait()
            try:
                data = self._sock.recv(max_bytes)
            except BlockingIOError:
                self.readable = False
                continue
            if 0 < len(data) < max_bytes:
                self.readable = self._left  # what comes from now on is another edge, but for the end
            else:
                await self._be_fair()
            return data

    def receive_now(self) -> bytes | None:
        """Return what has come, if it is some bytes and less than `READ`. Else `receive` is to be called."""
        self.readable = True
        try:
            data = self._sock.recv(READ)
        except OSError:
            return None
        if not data:
            return None
        self.readable = len(data) == READ
        return data

    def send_some(self, data: bytes) -> int:
        """As much as goes without waiting; its length. Raises OSError."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def send(self, data: bytes | memoryview) -> None:
        """All of the data. Raises OSError."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        self.sent += sent
        if sent == len(data):
            await self._be_fair()
            return
        rest = memoryview(data)[sent:]
        while rest:
            await trio.lowlevel.wait_writable(self._sock)
            try:
                sent = self._sock.send(rest)
            except BlockingIOError:  # pragma: no cover - writable, and full again before we came
                continue
            self.sent += sent
            rest = rest[sent:]

    async def drop(self) -> int:
        """Read and drop some bytes; their number, 0 at the end. Raises OSError."""
        return len(await self.receive(READ))

    async def close(self) -> None:
        """Nothing to say at the end of a plain connection."""

    async def _be_fair(self) -> None:
        self._unblocked += 1
        if self._unblocked >= _FAIR:
            self._unblocked = 0
            await trio.lowlevel.checkpoint()


class TlsWire:
    """The same over TLS. Faults of the peer surface as OSError."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        self._stream = stream
        self.sent = 0

    async def receive(self, max_bytes: int) -> bytes:
        """Some bytes, or none at the end. Raises OSError."""
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError as fault:
            raise ConnectionError("TLS") from fault

    async def send(self, data: bytes | memoryview) -> None:
        """All of the data. Raises OSError."""
        try:
            for at in range(0, len(data), ONE_SEND):
                piece = memoryview(data)[at : at + ONE_SEND]
                await self._stream.send_all(piece)
                self.sent += len(piece)
        except trio.BrokenResourceError as fault:
            raise ConnectionError("TLS") from fault

    async def drop(self) -> int:
        """Read and drop some bytes as they come, without decryption; their number, 0 at the end. Raises OSError."""
        return len(await self._stream.transport_stream.socket.recv(READ))

    async def close(self) -> None:
        """Say goodbye properly where the peer still listens."""
        with trio.move_on_after(1):
            try:
                await self._stream.aclose()
            except (trio.BrokenResourceError, ssl.SSLError, OSError):
                return
