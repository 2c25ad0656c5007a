"""Limits of connections, and of the bytes of bodies that are being received.

A new connection takes a place without a credential. If none is free, an older connection without a credential is evicted, so
that such peers cannot keep others out. With its credential a connection moves to the places of its principal, or to those
reserved for control endpoints. If none is free there, its request is refused, and no connection is evicted.

Invariant: each Seat is counted in exactly one account until it is evicted or `release` is called.
"""

import array
import contextlib
import fcntl
import itertools
import socket
import termios
import time
from collections.abc import Callable, Generator, Mapping
from typing import Final

from ...validators.counted import counted
from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, SERVER_ERROR, Rejection, retry_after
from ..memory import LARGE, large_messages
from ..options import ANONYMOUS
from .gate import UNKNOWN_PEER, unknown_origin

# States of a connection without a credential, in the order of eviction.
REFUSED: Final = "refused"
HANDSHAKE: Final = "handshake"
NO_HEAD: Final = "no head"
_EVICTED_FIRST: Final = (REFUSED, HANDSHAKE, NO_HEAD)
# A whole head was received and its credential is being checked. Such a connection is never evicted.
CHECKING: Final = "checking"

# The account of the control endpoints. No principal has this name.
_CONTROL: Final = "\0control"
# Keys of `Quota.by_account` for what is no principal. Names of principals have no parentheses.
CONTROL_ACCOUNT: Final = "(control)"
UNAUTHENTICATED: Final = "(unauthenticated)"
# Number of the oldest connections among which one without unread bytes is preferred for eviction.
_EXAMINED: Final = 8
# For how many accounts the time of the last connection is stored. There are as many as tokens, and a few more.
_MOST_CLOSED: Final = 1024

# Called with state and peer of an evicted connection.
OnEvict = Callable[[str, str], None]


def _ignore(state: str, peer: str) -> None:
    """Do nothing."""


class Quota:
    """Count connections: in total, by principal, and by kind of listener while they have no credential."""

    def __init__(self, limits: Limits, on_evict: OnEvict = _ignore) -> None:
        self._limits = limits
        self._on_evict = on_evict
        # Without connections of the control endpoints.
        self._total = 0
        # By principal, the limits that differ from `connections_per_principal`. The daemon replaces it.
        self.most_of: Mapping[str, int] = {}
        self._by_account: dict[str, int] = {}
        # By account, when its last connection was closed (seconds since the epoch). Bounded by `_MOST_CLOSED`.
        self._closed: dict[str, float] = {}
        self._body_bytes: dict[str, int] = {}
        self._waiting: dict[int, _WaitingRoom] = {}

    @property
    def connections(self) -> int:
        """Number of connections with a credential, without those of the control endpoints."""
        return self._total

    @property
    def unauthenticated(self) -> int:
        """Number of connections without a credential."""
        return sum(len(room) for room in self._waiting.values())

    @property
    def by_account(self) -> dict[str, int]:
        """The number of open connections by principal, of of control endpoints, and without a credential."""
        counts = {
            CONTROL_ACCOUNT if account == _CONTROL else account: count
            for account, count in self._by_account.items()
        }
        return {**counts, UNAUTHENTICATED: self.unauthenticated}

    def use_of(self, principal: str) -> tuple[int, float]:
        """Return the number of connections of a principal, and when its last one was closed (seconds since the epoch, or 0)."""
        return self._by_account.get(principal, 0), self._closed.get(principal, 0.0)

    def admit(self, sock: socket.socket, peer: str, state: str = NO_HEAD) -> "Seat":
        """Return a place for a new connection. An older connection without a credential may be evicted for it.

        TCP and Unix sockets are counted apart. Raises Rejection 503 where all connections without a credential are
        having theirs checked.
        """
        room = self._waiting.get(sock.family)
        if room is None:
            room = self._waiting[sock.family] = _WaitingRoom()
        if len(room) >= self._limits.connections_unauthenticated and not self._evict(room):
            raise _full(" without a credential", "connections_unauthenticated", len(room))
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
        """Count one more connection of this account. Raises Rejection 503 over a limit."""
        limits, count = self._limits, self._by_account.get(account, 0)
        if account == _CONTROL:
            if count >= limits.connections_control:
                raise _full(" to control endpoints", "connections_control", count)
        elif count >= self.most_of.get(account, limits.connections_per_principal):
            if account in self.most_of:
                raise _full(" of this token", f"tokens.{account}.limits.connections", count)
            raise _full(" of one principal", "connections_per_principal", count)
        elif self._total >= limits.connections:
            raise _full("", "connections", limits.connections)
        self._by_account[account] = count + 1
        self._total += account != _CONTROL

    def release(self, account: str) -> None:
        """Count one connection less of this account."""
        _subtract(self._by_account, account, 1)
        self._total -= account != _CONTROL
        self._closed.pop(account, None)
        self._closed[account] = time.time()
        if len(self._closed) > _MOST_CLOSED:
            del self._closed[next(iter(self._closed))]

    @contextlib.contextmanager
    def receiving(self, principal: str) -> Generator[Callable[[int], None]]:
        """Return a context in which the bytes of an unfinished body are counted.

        The context yields a function that adds bytes, and raises Rejection 429 over the limit of the principal.
        """
        held = 0

        def count(more: int) -> None:
            nonlocal held
            total = self._body_bytes.get(principal, 0) + more
            if total > self._limits.unfinished_bytes:
                raise _too_much_unfinished(self._limits.unfinished_bytes)
            self._body_bytes[principal] = total
            held += more
            if held > LARGE:
                large_messages.count += 1

        try:
            yield count
        finally:
            if held:
                _subtract(self._body_bytes, principal, held)


class _WaitingRoom:
    """The connections of one kind of listener without a credential, by state, the oldest first."""

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
                # Unread bytes may complete a head that has a credential.
                return next((seat for seat in oldest if not seat.has_unread()), oldest[0])
        return None


class Seat:
    """The place of one connection. `principal` is ANONYMOUS until the gate has admitted a request."""

    __slots__ = (
        "_account",
        "_quota",
        "_room",
        "_sock",
        "client",
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
        # What is known of the peer; replaced for TCP connections, and after the TLS handshake.
        self.client = UNKNOWN_PEER
        # Returns whether the peer is known to be a process of another uid; replaced for TCP connections.
        self.is_foreign = unknown_origin
        self._quota = quota
        self._room: _WaitingRoom | None = room
        self._sock = sock
        self._account: str = ANONYMOUS

    def set_state(self, state: str) -> None:
        """Change the state of a connection without a credential. Has no effect on others."""
        room = self._room
        if room is not None and state != self.state:
            room.remove(self)
            self.state = state
            room.add(self)

    def identify(self, principal: str, *, control: bool = False) -> None:
        """Move the connection to the places of its principal, or to those of the control endpoints.

        Raises Rejection 503 without a change, and ConnectionError if the connection was evicted meanwhile.
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
        """Return whether the kernel holds unread bytes."""
        count = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._sock.fileno(), termios.FIONREAD, count)
        return count[0] > 0

    def evict(self) -> None:
        """Close the connection: its task reads an end of file."""
        self.release()
        self.evicted = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Release the place. Further calls have no effect."""
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
        headers=retry_after(1),
        close=True,
        reason="unfinished_bytes",
    )


def _full(kind: str, key: str, limit: int) -> Rejection:
    return Rejection(
        503,
        INVALID_REQUEST,
        f"the limit of {counted(limit, 'connection')}{kind} is reached "
        f"({key if key.startswith('tokens.') else f'limits.{key}'})",
        headers=retry_after(1),
        close=True,
        reason="connections_per_principal" if key.startswith("tokens.") else key,
    )
