"""One connection to the daemon: the upgrade, then lines in both directions."""

import _socket

from .daemon_socket import Upgrade
from .lines import PIECE, Line, Splitter
from .outgoing import Outgoing

_FLAGS = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
# The longest line of the daemon (bytes). The daemon has limits of its own for each server, which are lower.
_LONGEST = 256 * 1024 * 1024


class Lost(Exception):
    """The connection has ended; the text is the reason."""


class Link:
    """A connection that `daemon_socket.connect` has made."""

    def __init__(self, sock: "_socket.socket", name: str) -> None:
        self.sock = sock
        self._name = name
        self._upgrade = Upgrade(name)
        self._splitter = Splitter()
        # Whether the daemon has accepted the upgrade.
        self.is_open = False
        # Whether nothing more can be sent: our half is closed, or the other end is gone.
        self.is_half_closed = False
        # Whether the kernel takes no more bytes at present.
        self.is_blocked = False

    def send_opening(self, opening: bytes) -> None:
        """Request the endpoint of the server."""
        try:
            self.sock.send(opening, _FLAGS)
        except OSError:
            # A daemon that rejects the connection has responded already; otherwise the end is read.
            return

    @property
    def is_between_lines(self) -> bool:
        """Return whether all that was received are whole lines."""
        return self.is_open and not self._splitter.unfinished

    def receive(self) -> "list[Line]":
        """Receive once. Raises Lost at the end of the connection, and before it is open Unreachable and Refused."""
        try:
            data = self.sock.recv(PIECE, _socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            # ECONNRESET, which follows all data that was received.
            data = b""
        if not self.is_open:
            rest = self._upgrade.feed(self.sock, data)
            if rest is None:
                return []
            self.is_open = True
            return self._splitter.feed(rest)
        if not data:
            raise Lost(f"{self._name} closed the connection")
        lines = self._splitter.feed(data)
        if self._splitter.unfinished > _LONGEST:
            raise Lost(f"{self._name} sent a line of more than {_LONGEST} bytes")
        return lines

    def send(self, outgoing: Outgoing, *, ahead: bool, waiting: bool) -> "list[Line]":
        """Send what the kernel takes, and return the lines that it has taken as a whole."""
        sent: list[Line] = []
        self.is_blocked = False
        while not self.is_half_closed and (pieces := outgoing.pieces(ahead=ahead, waiting=waiting)):
            try:
                count = self.sock.sendmsg(pieces, (), _FLAGS)
            except (BlockingIOError, InterruptedError):
                self.is_blocked = True
                break
            except OSError:
                # The end is read after all that was received.
                self.is_half_closed = True
                break
            sent += outgoing.advance(count)
        return sent

    def half_close(self) -> None:
        """Report to the daemon that no more lines follow."""
        if not self.is_half_closed:
            self.is_half_closed = True
            try:
                self.sock.shutdown(_socket.SHUT_WR)
            except OSError:
                return

    def close(self) -> None:
        self.sock.close()
