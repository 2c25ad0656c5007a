"""Places for connections, and bytes for the bodies that are being received (invariants I2 and I6).

A connection first takes a place among those without a credential. Where all of these are taken, an older connection
without a credential is closed for it, so that a peer without a credential keeps no other peer out. With its
credential the connection moves to the places of its principal, or to the few that are reserved for the control
endpoints; if there are none left, its request is refused, and no other connection is closed.

Invariant: each Seat is counted in exactly one account until it is evicted or `leave` is called.
"""

import array
import contextlib
import fcntl
import itertools
import socket
import termios
from collections.abc import Callable, Generator
from typing import Final

from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, SERVER_ERROR, Rejection
from ..options import ANONYMOUS
from .gate import unknown_origin
from .responses import RETRY_SOON

# The states of a connection without a credential, in the order in which such connections are evicted.
REFUSED: Final = "refused"
HANDSHAKE: Final = "handshake"
NO_HEAD: Final = "no head"
_EVICTED_FIRST: Final = (REFUSED, HANDSHAKE, NO_HEAD)
# A whole head is in hand and its credential is being checked: never evicted.
CHECKING: Final = "checking"

# The account of the control endpoints; no principal has this name.
_CONTROL: Final = "\0control"
# How many of the oldest connections are examined for one without unread bytes, before the oldest is evicted anyway.
_EXAMINED: Final = 8

# Called with the state of a connection and its peer when it is evicted.
OnEvict = Callable[[str, str], None]


def _ignore(state: str, peer: str) -> None:
    """Do nothing."""


class Quota:
    """Count connections, in all, by principal, and by kind of listener while they have no credential."""

    def __init__(self, limits: Limits, on_evict: OnEvict = _ignore) -> None:
        self._limits = limits
        self._on_evict = on_evict
        self._total = 0  # without those of the control endpoints
        self._by_account: dict[str, int] = {}
        self._body_bytes: dict[str, int] = {}
        self._waiting: dict[int, _WaitingRoom] = {}

    @property
    def connections(self) -> int:
        """The number of connections with a credential, without those of the control endpoints."""
        return self._total

    @property
    def unauthenticated(self) -> int:
        """The number of connections without a credential."""
        return sum(len(room) for room in self._waiting.values())

    def admit(self, sock: socket.socket, peer: str, state: str = NO_HEAD) -> "Seat":
        """Return a place for a new connection, for which an older one without a credential may be closed.

        TCP and Unix sockets have rooms of their own. Raises Rejection 503 where the credentials of all that wait
        are being checked at this moment.
        """
        room = self._waiting.get(sock.family)
        if room is None:
            room = self._waiting[sock.family] = _WaitingRoom()
        if len(room) >= self._limits.connections_unauthenticated and not self._evict(room):
            raise _full("connections without a credential", "connections_unauthenticated", len(room))
        seat = Seat(self, room, sock, peer, state)
        room.add(seat)
        return seat

    def make_room(self) -> bool:
        """Evict one connection without a credential, because descriptors are used up. Returns whether there was one."""
        return any(self._evict(room) for room in self._waiting.values())

    def _evict(self, room: "_WaitingRoom") -> bool:
        seat = room.next_to_evict()
        if seat is None:
            return False
        state = seat.state
        seat.evict()
        self._on_evict(state, seat.peer)
        return True

    def acquire(self, account: str) -> None:
        """Count one more connection of this account. Raises Rejection 503."""
        limits, count = self._limits, self._by_account.get(account, 0)
        if account == _CONTROL:
            if count >= limits.connections_control:
                raise _full("connections to control endpoints", "connections_control", count)
        elif count >= limits.connections_per_principal:
            raise _full("connections of one principal", "connections_per_principal", count)
        elif self._total >= limits.connections:
            raise _full("connections", "connections", limits.connections)
        self._by_account[account] = count + 1
        self._total += account != _CONTROL

    def release(self, account: str) -> None:
        """Count one connection less of this account."""
        _subtract(self._by_account, account, 1)
        self._total -= account != _CONTROL

    @contextlib.contextmanager
    def receiving(self, principal: str) -> Generator[Callable[[int], None]]:
        """Count the bytes of a body that is being received, in a block.

        The function that is yielded counts further bytes, and raises Rejection 429 over the limit of the principal.
        """
        held = 0

        def count(more: int) -> None:
            nonlocal held
            total = self._body_bytes.get(principal, 0) + more
            if total > self._limits.unfinished_bytes:
                raise _too_much_unfinished(self._limits.unfinished_bytes)
            self._body_bytes[principal] = total
            held += more

        try:
            yield count
        finally:
            if held:
                _subtract(self._body_bytes, principal, held)


class _WaitingRoom:
    """The connections of one kind of listener that have no credential, by state, the oldest first."""

    def __init__(self) -> None:
        self._seats: dict[str, dict[Seat, None]] = {state: {} for state in (*_EVICTED_FIRST, CHECKING)}

    def __len__(self) -> int:
        return sum(map(len, self._seats.values()))

    def add(self, seat: "Seat") -> None:
        self._seats[seat.state][seat] = None

    def remove(self, seat: "Seat") -> None:
        del self._seats[seat.state][seat]

    def next_to_evict(self) -> "Seat | None":
        for state in _EVICTED_FIRST:
            seats = self._seats[state]
            if seats:
                oldest = list(itertools.islice(seats, _EXAMINED))
                if state == REFUSED:
                    return oldest[0]
                # Unread bytes may complete a head with a credential.
                return next((seat for seat in oldest if not seat.has_unread()), oldest[0])
        return None


class Seat:
    """The place of one connection. `principal` is ANONYMOUS until a request has passed the gate."""

    __slots__ = (
        "_account",
        "_quota",
        "_room",
        "_sock",
        "evicted",
        "is_foreign",
        "peer",
        "principal",
        "state",
    )

    def __init__(self, quota: Quota, room: _WaitingRoom, sock: socket.socket, peer: str, state: str) -> None:
        self.principal = ANONYMOUS
        self.peer = peer
        self.state = state
        self.evicted = False
        # Whether the peer is known to be a process of another uid; replaced where the connection is one of this machine.
        self.is_foreign = unknown_origin
        self._quota = quota
        self._room: _WaitingRoom | None = room
        self._sock = sock
        self._account: str = ANONYMOUS

    def set_state(self, state: str) -> None:
        """Change the state, for as long as the connection has no credential."""
        room = self._room
        if room is not None and state != self.state:
            room.remove(self)
            self.state = state
            room.add(self)

    def identify(self, principal: str, *, control: bool = False) -> None:
        """Move the connection to the places of its principal, or to those of the control endpoints.

        Raises Rejection 503, and the connection stays where it was; ConnectionError if it was evicted meanwhile.
        """
        account = _CONTROL if control else principal
        if account in (self._account, ANONYMOUS):
            return
        if self.evicted:
            raise ConnectionError("evicted")
        self._quota.acquire(account)
        self.release()
        self._account, self.principal = account, principal

    def has_unread(self) -> bool:
        """Return whether the kernel holds bytes that were not read yet."""
        count = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._sock.fileno(), termios.FIONREAD, count)
        return count[0] > 0

    def evict(self) -> None:
        """End the connection: its task finds an end of file."""
        self.release()
        self.evicted = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the place back, once."""
        if self._room is not None:
            self._room.remove(self)
            self._room = None
        elif self._account:
            self._quota.release(self._account)
            self._account = ANONYMOUS


def _subtract(counts: dict[str, int], key: str, count: int) -> None:
    left = counts[key] - count
    if left:
        counts[key] = left
    else:
        del counts[key]


def _too_much_unfinished(limit: int) -> Rejection:
    return Rejection(
        429,
        SERVER_ERROR,
        f"the unfinished messages of one principal exceed the limit of {limit} bytes (limits.unfinished_bytes)",
        headers=RETRY_SOON,
        close=True,
        reason="unfinished_bytes",
    )


def _full(what: str, key: str, limit: int) -> Rejection:
    return Rejection(
        503,
        INVALID_REQUEST,
        f"the limit of {limit} {what} is reached (limits.{key})",
        headers=RETRY_SOON,
        close=True,
        reason=key,
    )
