"""Store the sessions of a server by id, with their principals, and choose the sessions that must end. Pure.

An unknown id and an id of another principal raise equal Rejections, so a client cannot find out which ids exist
(MCP 2025-11-25 basic/security_best_practices, session hijacking).
"""

import math
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import attrs

from ...validators.counted import counted
from ...validators.limits import Limits
from ...validators.rejection import SERVER_ERROR, SESSION_NOT_FOUND, Rejection, retry_after


class Busy(Protocol):
    """The state of a session that the table reads."""

    @property
    def busy(self) -> bool:
        """Whether a call is in flight or a stream is open. Such a session is never idle."""
        ...

    @property
    def received(self) -> int:
        """How many messages of the client were received."""
        ...


Member = TypeVar("Member", bound=Busy)


@attrs.define(eq=False)
class _Entry(Generic[Member]):
    principal: str
    member: Member
    # Infinite for a session whose age has no limit.
    created: float
    opened: float
    # When the last message of the client was noticed, and their number then. Written by `find` and `expired`.
    used: float
    received: int = 0


class SessionTable(Generic[Member]):
    """The sessions of one server. Times are in seconds on any steady clock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # By session id. `remove` drops an entry.
        self._entries: dict[str, _Entry[Member]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Member]:
        return iter([entry.member for entry in self._entries.values()])

    def times(self) -> Iterator[tuple[Member, float, float]]:
        """Return each session, when it was opened, and when the last message of its client was noticed."""
        return iter([(entry.member, entry.opened, entry.used) for entry in self._entries.values()])

    def make_room(self, principal: str, most: int | None = None) -> Member | None:
        """Return the session that must end before the principal can add another, None if there is room.

        It is the principal's own session that was idle for longest. `most` is the limit of the principal, if it differs from
        `sessions_per_principal`. Raises Rejection 503 if the principal has no idle session.
        """
        mine = [entry for entry in self._entries.values() if entry.principal == principal]
        own = self._limits.sessions_per_principal if most is None else most
        if len(mine) < own and len(self._entries) < self._limits.sessions:
            return None
        idle = [entry for entry in mine if not entry.member.busy]
        if not idle:
            raise Rejection(
                503,
                SERVER_ERROR,
                f"the limit of {counted(own, 'session')} of one principal, or of "
                f"{self._limits.sessions} in all, is reached",
                headers=retry_after(5),
            )
        return min(idle, key=lambda entry: entry.used).member

    def add(
        self, session_id: str, principal: str, member: Member, now: float, *, lasts: bool = False
    ) -> None:
        """Add a session. With `lasts` its age has no limit."""
        self._entries[session_id] = _Entry(principal, member, math.inf if lasts else now, now, now)

    def find(self, session_id: str, principal: str, now: float) -> Member:
        """Return the session of this principal. Raises Rejection 404 if there is none with this id."""
        entry = self._entries.get(session_id)
        if entry is None or entry.principal != principal:
            raise Rejection(404, SESSION_NOT_FOUND, "Session not found")
        entry.used = now
        return entry.member

    def remove(self, session_id: str) -> None:
        self._entries.pop(session_id, None)

    def expired(self, now: float) -> list[Member]:
        """Return the sessions beyond the limit of their age or of their idle time. Call it in each round."""
        limits = self._limits
        for entry in self._entries.values():
            if entry.received != entry.member.received:
                entry.received, entry.used = entry.member.received, now
        return [
            entry.member
            for entry in self._entries.values()
            if now - entry.created > limits.session_seconds
            or (now - entry.used > limits.session_idle_seconds and not entry.member.busy)
        ]
