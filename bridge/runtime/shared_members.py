"""The sessions and stateless clients that share one legacy process, and the delivery of its messages to them."""

from collections.abc import Callable, Collection, Iterator
from typing import Protocol, assert_never

from ...validators.jsonrpc import Message, Request
from ..core.attribution import Origin
from ..core.front import Front, find_front
from ..core.shared_effects import Assigned, CallsLost, FrontOpened, Undeclared
from .taps import Sender


class Member(Protocol):
    """A session, or the stateless clients of one key, that share the process."""

    @property
    def principal(self) -> str: ...
    def on_shared_message(self, message: Message, about: bytes) -> None: ...
    def sender(self, wire_id: bytes, /) -> Sender: ...
    def calls_lost(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> None: ...
    def end(self, reason: str) -> None: ...


class Stateless(Member, Protocol):
    """The stateless clients of one key, through a translator."""

    @property
    def busy(self) -> bool: ...
    @property
    def principals(self) -> Collection[str]: ...
    def shared_opened(self, result: bytes) -> None: ...
    def assigned(self, message: Request, origin: Origin) -> None: ...
    def undeclared(self, message: Request, origin: Origin) -> None: ...


class SharedMembers:
    """The members of one process by front. A message for a front without a member is dropped.

    `on_fault` logs an error of the bridge, which ends the member that has caused it and no other.
    """

    __slots__ = ("_members", "_on_fault", "_served", "_stateless")

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault
        # All members, and those among them that are stateless clients. Removed by `remove` and `clear`.
        self._members: dict[Front, Member] = {}
        self._stateless: dict[Front, Stateless] = {}
        # The principals of sessions, and of stateless clients that have left, whose requests the process has received.
        self._served: set[str] = set()

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members.values()))

    @property
    def busy(self) -> bool:
        """Whether there is a session, or a stateless client waits for a message."""
        sessions = len(self._members) - len(self._stateless)
        return sessions > 0 or any(member.busy for member in self._stateless.values())

    @property
    def principals(self) -> set[str]:
        """The principals whose requests the process has received."""
        return self._served.union(*(member.principals for member in self._stateless.values()))

    def add(self, front: Front, member: Member) -> None:
        """Add a session."""
        self._members[front] = member
        self._served.add(member.principal)

    def add_stateless(self, front: Front, member: Stateless) -> None:
        """Add the stateless clients of a key."""
        self._members[front] = self._stateless[front] = member

    def remove(self, front: Front) -> bool:
        """Remove a member, and return whether there was one."""
        stateless = self._stateless.pop(front, None)
        if stateless is not None:
            self._served.update(stateless.principals)
        return self._members.pop(front, None) is not None

    def sender(self, owner: object, wire_id: bytes) -> Sender | None:
        """Return the client of a call with this owner (`Origin.owner`), None if it has left."""
        front = find_front(self._members, owner)
        member = None if front is None else self._members.get(front)
        return None if member is None else member.sender(wire_id)

    def clear(self) -> None:
        """Remove all members."""
        self._members.clear()
        self._stateless.clear()

    def on_start(self) -> None:
        """Drop the principals of the last process, because another is started."""
        self._served = {
            member.principal for front, member in self._members.items() if front not in self._stateless
        }

    # ---- effects

    def deliver(self, front: Front, message: Message, about: bytes) -> None:
        """Send a message to a member. `about` is the wire id of the call that it belongs to, or nothing."""
        member = self._members.get(front)
        if member is None:
            return
        try:
            member.on_shared_message(message, about)
        except Exception as fault:  # noqa: BLE001 - the boundary of one session: a fault of ours must not cost the others
            self._on_fault(fault)
            member.end("an internal error")

    def fail(self, lost: CallsLost) -> None:
        """Notify a member of the end of its requests."""
        member = self._members.get(lost.front)
        if member is not None:
            member.calls_lost(lost.wire_ids, lost.text, lost.data)

    def deliver_to_stateless(self, effect: Assigned | Undeclared | FrontOpened) -> None:
        """Carry out an effect for stateless clients."""
        member = self._stateless.get(effect.front)
        if member is None:
            return
        match effect:
            case FrontOpened(_, result):
                member.shared_opened(result)
            case Assigned(_, message, origin):
                member.assigned(message, origin)
            case Undeclared(_, message, origin):
                member.undeclared(message, origin)
            case _:
                assert_never(effect)
