"""Stateless clients at a process that legacy sessions share as well."""

from collections.abc import Callable
from typing import Generic, TypeVar

from ...validators.jsonrpc import Message, Request
from ..core.attribution import Client
from ..core.front import Front
from ..eras.legacy_adapter import LegacyAdapter
from .shared_members import Stateless
from .shared_process import SharedProcess

M = TypeVar("M", bound=Stateless)


class Attachment(Generic[M]):
    """The way of the stateless clients of one key (`member`) to the shared process.

    `find` returns the process and a translator for it, or raises Rejection.
    """

    __slots__ = ("_find", "_front", "_process")

    def __init__(self, find: Callable[[M], tuple[SharedProcess, LegacyAdapter]]) -> None:
        self._find = find
        # Both None while the clients use no process. Set by `find` and `join`, removed by `leave`.
        self._process: SharedProcess | None = None
        self._front: Front | None = None

    @property
    def process(self) -> SharedProcess | None:
        """The shared process; None while the clients use none."""
        return self._process

    def find(self, member: M) -> LegacyAdapter:
        """Find the process for `join`. Return the translator, which must be in use before. Raises Rejection."""
        self._process, translator = self._find(member)
        self._front = Front(Client(""), translator, translated=True)
        return translator

    def join(self, member: M) -> None:
        """Become a member of the process that was found."""
        if self._process is not None and self._front is not None:
            self._process.join_stateless(self._front, member)

    def leave(self) -> None:
        """Use the process no longer."""
        process, front = self._process, self._front
        self._process = self._front = None
        if process is not None and front is not None:
            process.leave(front)

    def send(self, message: Message) -> None:
        """Send a message to the server. Without a process it is dropped, because its request has failed."""
        if self._process is not None and self._front is not None:
            self._process.send(self._front, message)

    def reassign(self, message: Request, client: Client) -> None:
        """Assign a request of the server to another call of this client."""
        if self._process is not None:
            self._process.unassigned(message, client)
