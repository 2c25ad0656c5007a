"""Bytes in and out of one client connection, over a plain socket or over TLS."""

import fcntl
import socket
import ssl
import sys
import termios
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ..options import ANONYMOUS
from ..poller import WakeUpSlot
from ..ports import OnInput
from ..turns import backlog_turns, operation_turns

if TYPE_CHECKING:
    from collections.abc import Callable

# Bytes that are read from a socket at once.
READ: Final = 64 * 1024
# Data up to this size (bytes) is sent in one call.
ONE_SEND: Final = 64 * 1024


def unread_by_peer(sock: socket.socket) -> int:
    """Return how many sent bytes the kernel still holds (SIOCOUTQ). The kernel accepts more data in large steps only."""
    try:
        held: bytes = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    # The socket is closed.
    except (OSError, ValueError):
        return 0
    return int.from_bytes(held, sys.byteorder)


class Wire(Protocol):
    """Send and receive bytes of one connection."""

    principal: str

    @property
    def sent(self) -> int:
        """Number of bytes sent with `send`, from which the progress of a slow reader is computed."""
        ...

    async def receive(self, max_bytes: int) -> bytes: ...
    async def send(self, data: bytes | memoryview) -> None: ...
    async def drop(self) -> int: ...
    async def close(self) -> None: ...


class _Turns:
    """Gives up the turn of a connection after a number of operations without a wait."""

    def __init__(self) -> None:
        # Written by the connection when its credential is known.
        self.principal = ANONYMOUS
        # Operations since the last wait.
        self._unblocked = 0

    async def _take_turns(self) -> None:
        self._unblocked += 1
        if self._unblocked >= operation_turns.operations:
            self._unblocked = 0
            operation_turns.take()
            await backlog_turns.wait(self.principal)


class PlainWire(_Turns):
    """A non-blocking socket, registered with `Poller`."""

    def __init__(self, sock: socket.socket, slot: WakeUpSlot) -> None:
        super().__init__()
        self._sock = sock
        self._slot = slot
        # Replaced where descriptors come with the bytes. Raises OSError.
        self.receive_bytes: Callable[[int], bytes] = sock.recv
        self._hung_up = False
        # True, because the first request may precede the registration.
        self.readable = True
        self.sent = 0
        # Set while the task waits in `pass_input`.
        self._on_input: OnInput | None = None
        self._max_bytes = 0
        # What `pass_input` returns or raises.
        self._passed = False
        self._fault: Exception | None = None

    def ready(self, *, left: bool) -> bool:
        """Note that input or an end of file has arrived. After `left` there are no further edges.

        Returns whether this must be called again, because there may be more input, for which no edge comes.
        """
        self.readable = True
        if left:
            self._hung_up = True
        elif self._on_input is not None and self._slot.occupied:
            return self._pass(self._on_input)
        self._slot.wake()
        return False

    def _pass(self, on_input: OnInput) -> bool:
        try:
            data = self.receive_bytes(self._max_bytes)
        except BlockingIOError:
            self.readable = False
            return False
        except OSError:
            data = b""
        # The task reads the end of file, too.
        if data:
            self.readable = len(data) == self._max_bytes
            try:
                if on_input(data):
                    return self.readable
                self._passed = True
            except Exception as fault:  # noqa: BLE001 - raised again in the task
                self._fault = fault
        self._slot.wake()
        return False

    async def pass_input(self, max_bytes: int, on_input: OnInput) -> bool:
        """Pass input to `on_input` in the callback that reads it (ports.UpgradedStream)."""
        if self.readable:
            return False
        self._unblocked = 0
        self._passed, self._max_bytes, self._on_input = False, max_bytes, on_input
        try:
            await self._slot.wait()
        finally:
            self._on_input = None
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return self._passed

    async def receive(self, max_bytes: int) -> bytes:
        """Return some bytes, or none at the end. Raises OSError."""
        while True:
            while not self.readable:
                self._unblocked = 0
                await self._slot.wait()
            try:
                data = self.receive_bytes(max_bytes)
            except BlockingIOError:
                self.readable = False
                continue
            if 0 < len(data) < max_bytes:
                # Further input is another edge, but an end of file may have been reported already.
                self.readable = self._hung_up
            else:
                await self._take_turns()
            return data

    def receive_now(self) -> bytes | None:
        """Return received bytes, if any and less than `READ`. Otherwise `receive` must be called."""
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
        """Send without waiting and return the number of bytes. Raises OSError."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def send(self, data: bytes | memoryview) -> None:
        """Send all data. Raises OSError."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        self.sent += sent
        if sent == len(data):
            await self._take_turns()
            return
        rest = memoryview(data)[sent:]
        while rest:
            await trio.lowlevel.wait_writable(self._sock)
            try:
                sent = self._sock.send(rest)
            except BlockingIOError:  # pragma: no cover - the socket became full again before this call
                continue
            self.sent += sent
            rest = rest[sent:]

    async def drop(self) -> int:
        """Read and drop some bytes. Returns their number, 0 at the end. Raises OSError."""
        return len(await self.receive(READ))

    async def close(self) -> None:
        """Return: a plain connection needs no closing handshake."""


class TlsWire(_Turns):
    """A TLS stream. Faults of the peer are raised as OSError."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        super().__init__()
        self._stream = stream
        self.sent = 0

    async def receive(self, max_bytes: int) -> bytes:
        """Return some bytes, or none at the end. Raises OSError."""
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError as fault:
            raise ConnectionError("TLS") from fault
        await self._take_turns()
        return data

    async def send(self, data: bytes | memoryview) -> None:
        """Send all data. Raises OSError."""
        try:
            for at in range(0, len(data), ONE_SEND):
                piece = memoryview(data)[at : at + ONE_SEND]
                await self._stream.send_all(piece)
                self.sent += len(piece)
                await self._take_turns()
        except trio.BrokenResourceError as fault:
            raise ConnectionError("TLS") from fault

    async def drop(self) -> int:
        """Read and drop some encrypted bytes. Returns their number, 0 at the end. Raises OSError."""
        return len(await self._stream.transport_stream.socket.recv(READ))

    async def close(self) -> None:
        """Send close_notify, if the peer still reads."""
        with trio.move_on_after(1):
            try:
                await self._stream.aclose()
            except (trio.BrokenResourceError, ssl.SSLError, OSError):
                return
