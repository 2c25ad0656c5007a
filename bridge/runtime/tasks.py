"""Background tasks of one server, and the boundary that keeps a fault in the work for one session from the others."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeVarTuple, Unpack

import trio

from ...transports.ports import Log
from ...validators.rejection import SERVER_ERROR, Rejection, retry_after
from .process_owner import ProcessOwner

STOPPING: Final = "the bridge is stopping"

Arguments = TypeVarTuple("Arguments")


def stopping(text: str = STOPPING) -> Rejection:
    """Return the rejection of a request that arrives too late and that no server has received, with this reason."""
    return Rejection(503, SERVER_ERROR, text, headers=retry_after(5), close=True, data={"reason": "stopping"})


class ServerTasks:
    """The nursery of one server while it runs. `end` closes the owner of a process, with a reason."""

    def __init__(self, log: Log, end: Callable[[ProcessOwner, str], None]) -> None:
        # None before the server runs and after it.
        self.nursery: trio.Nursery | None = None
        # The reason why no request is accepted any more, set by `LocalServer.drain`; empty until then.
        self.closed = ""
        self._log = log
        self.end = end

    def check_open(self) -> None:
        """Raise Rejection 503 where no request is accepted."""
        if self.closed or self.nursery is None:
            raise stopping(self.closed or STOPPING)

    def start_soon(
        self, work: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments
    ) -> None:
        """Start a task. A server that does not run starts none, because its end has answered every request."""
        if self.nursery is not None:
            self.nursery.start_soon(work, *arguments)

    def start_guarded(
        self,
        owner: ProcessOwner,
        work: Callable[[Unpack[Arguments]], Awaitable[None]],
        *arguments: *Arguments,
    ) -> None:
        """Start a task for one owner of a process."""
        self.start_soon(self._guarded, owner, work, *arguments)

    def call_later(self, owner: ProcessOwner, seconds: float, call: Callable[[], None]) -> None:
        """Call a function of an owner after this time (seconds)."""
        self.start_guarded(owner, _wait_and_call, seconds, call)

    @contextmanager
    def guarding(self, owner: ProcessOwner) -> Generator[None]:
        """Close the owner where the work in this context raises an error of the bridge."""
        try:
            yield
        except Exception as fault:  # noqa: BLE001 - the boundary of one session or of its like
            self._log.error("internal_error", fault=fault)
            self.end(owner, "an internal error")

    async def _guarded(
        self,
        owner: ProcessOwner,
        work: Callable[[Unpack[Arguments]], Awaitable[None]],
        *arguments: *Arguments,
    ) -> None:
        with self.guarding(owner):
            await work(*arguments)


async def _wait_and_call(seconds: float, call: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    call()
