"""Which sessions there are, whose they are, and which one must go when there are too many.

Pure: time is an argument, ids are minted by the caller. A session of another principal and one that never was are the
same to a caller: the same Rejection, byte for byte (attacks V16).
"""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import attrs

from ...validators.limits import Limits
from ...validators.rejection import SERVER_ERROR, SESSION_NOT_FOUND, Rejection


class Busy(Protocol):
    """What the registry must know of a session."""

    @property
    def busy(self) -> bool:
        """Whether a call is in flight or a stream is open: such a session is never idle."""
        ...


Member = TypeVar("Member", bound=Busy)


@attrs.define(eq=False)
class _Entry(Generic[Member]):
    principal: str
    member: Member
    born: float
    touched: float


class SessionTable(Generic[Member]):
    """The table of sessions of one server. Times in seconds on any steady clock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: dict[str, _Entry[Member]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Member]:
        return iter([entry.member for entry in self._entries.values()])

    def make_room(self, principal: str) -> Member | None:
        """The principal's own longest idle session, which must end so that another can begin; None if there is room.

        Raises Rejection 503 where room can only be had from others, or from sessions that are at work.
        """
        mine = [entry for entry in self._entries.values() if entry.principal == principal]
        if len(mine) < self._limits.sessions_per_principal and len(self._entries) < self._limits.sessions:
            return None
        idle = [entry for entry in mine if not entry.member.busy]
        if not idle:
            raise Rejection(
                503,
                SERVER_ERROR,
                f"the limit of {self._limits.sessions_per_principal} sessions of one principal, or of "
                f"{self._limits.sessions} in all, is reached",
                headers=((b"Retry-After", b"5"),),
            )
        return min(idle, key=lambda entry: entry.touched).member

    def add(self, session_id: str, principal: str, member: Member, now: float) -> None:
        """A session begins."""
        self._entries[session_id] = _Entry(principal, member, now, now)

    def find(self, session_id: str, principal: str, now: float) -> Member:
        """The session, if it is this principal's. Raises Rejection 404."""
        entry = self._entries.get(session_id)
        if entry is None or entry.principal != principal:
            raise Rejection(404, SESSION_NOT_FOUND, "Session not found")
        entry.touched = now
        return entry.member

    def remove(self, session_id: str) -> None:
        """A session is over."""
        self._entries.pop(session_id, None)

    def expired(self, now: float) -> list[Member]:
        """The sessions that have been idle, or have lived, for too long."""
        limits = self._limits
        return [
            entry.member
            for entry in self._entries.values()
            if now - entry.born > limits.session_seconds
            or (now - entry.touched > limits.session_idle_seconds and not entry.member.busy)
        ]
