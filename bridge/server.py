"""One stdio server and everybody's sessions with it (transports.ports.Backend): one child for each session.

Starts children, ends them with their sessions, and keeps a server that dies at once from being started for ever.
"""

import math
from functools import partial

import attrs
import trio

from ..transports.child import Child, Exit
from ..transports.outlet import Outlet
from ..transports.ports import Log
from ..transports.readiness import Readiness
from ..transports.spawner import Launch, Spawner, SpawnFailed
from ..validators.limits import Limits
from ..validators.rejection import SERVER_ERROR, Rejection
from .breaker import Breaker
from .conversation import LocalConversation
from .registry import Registry

# How long to wait between looks at the clock for idle sessions, in seconds.
_ROUND = 1.0


@attrs.frozen
class ServerConfig:
    """One stdio server as the operator describes it."""

    name: str
    launch: Launch


class LocalServer:
    """The sessions of one server. `run` must be running for `open` to work."""

    def __init__(
        self, config: ServerConfig, spawner: Spawner, readiness: Readiness, limits: Limits, log: Log
    ) -> None:
        self.name = config.name
        self._config = config
        self._spawner = spawner
        self._readiness = readiness
        self._limits = limits
        self._log = log
        self._registry: Registry[LocalConversation] = Registry(limits)
        self._breaker = Breaker()
        self._nursery: trio.Nursery | None = None
        self._children = 0
        self._one_less = trio.lowlevel.ParkingLot()
        self._closed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the children until cancelled; then none of them is left."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                await trio.sleep(_ROUND)
                now = trio.current_time()
                for conversation in self._registry.expired(now):
                    conversation.end("it was idle, or old, for too long")
                for conversation in self._registry:
                    conversation.ticked(now)

    async def close(self) -> None:
        """End every session. Their children get their time to leave; `emptied` waits for them."""
        self._closed = True
        for conversation in self._registry:
            conversation.end("the bridge is stopping")
        await trio.lowlevel.checkpoint()

    async def emptied(self) -> None:
        """Wait until no child is left."""
        while self._children:
            await self._one_less.park()

    # ---- ports.Backend

    async def open(self, principal: str, outlet: Outlet | None = None) -> LocalConversation:
        """Start a conversation with a child of its own (ports.Backend)."""
        now = trio.current_time()
        if self._closed:
            raise Rejection(
                503, SERVER_ERROR, "the bridge is stopping", headers=((b"Retry-After", b"5"),), close=True
            )
        if self._breaker.tripped(now):
            pause = self._breaker.pause(now)
            raise Rejection(
                503,
                SERVER_ERROR,
                f"the server ended unexpectedly {self._breaker.deaths} times within {self._breaker.window:g} s; "
                f"the next start is in {pause:.0f} s",
                headers=((b"Retry-After", b"%d" % math.ceil(pause)),),
            )
        idle = self._registry.make_room(principal)
        if idle is not None:
            idle.end("its principal has too many sessions and this one was idle longest")
        conversation = LocalConversation(
            principal, self._limits, self._log, pipe=outlet, revive=self._start_again, over=self._forget
        )
        self._registry.add(conversation.id, principal, conversation, now)
        try:
            await self._start(conversation)
        except SpawnFailed as fault:
            conversation.end(str(fault))
            self._log.error("the server cannot be started", server=self.name, reason=str(fault))
            raise Rejection(503, SERVER_ERROR, str(fault)) from None
        except BaseException:
            conversation.end("the client left")
            raise
        self._log.info("session begins", session=conversation.id[:8], principal=principal)
        return conversation

    def find(self, session_id: str, principal: str) -> LocalConversation:
        """The principal's conversation with this id (ports.Backend)."""
        return self._registry.find(session_id, principal, trio.current_time())

    # ---- children

    async def _start(self, conversation: LocalConversation) -> None:
        assert self._nursery is not None  # noqa: S101 - `run` is running
        child = await self._spawner.spawn(self._config.launch, limits=self._limits, readiness=self._readiness)
        self._children += 1
        self._nursery.start_soon(self._serve_child, child, conversation)
        self._log.debug("child started", server=self.name, pid=child.pid, session=conversation.id[:8])
        conversation.started(child)

    async def _serve_child(self, child: Child, conversation: LocalConversation) -> None:
        log = partial(self._heard_stderr, child.pid)
        try:
            await child.run(conversation.heard, log, partial(self._exited, conversation))
        except Exception as fault:  # noqa: BLE001 - the boundary of one child: a fault of ours costs this session only
            self._log.error("internal error", server=self.name, pid=child.pid, fault=fault)
            conversation.end("an internal error")
        finally:
            self._children -= 1
            self._one_less.unpark_all()

    def _exited(self, conversation: LocalConversation, exit_: Exit) -> None:
        if conversation.ended:
            return
        self._breaker.died(trio.current_time())
        self._log.warning(
            "the server is gone", server=self.name, how=exit_.describe(), session=conversation.id[:8]
        )
        conversation.lost(exit_)

    def _start_again(self, conversation: LocalConversation) -> None:
        assert self._nursery is not None  # noqa: S101 - `run` is running
        self._nursery.start_soon(self._revive, conversation)

    async def _revive(self, conversation: LocalConversation) -> None:
        now = trio.current_time()
        pause = self._breaker.pause(now)
        if self._breaker.tripped(now):
            conversation.failed(
                f"the server ended unexpectedly {self._breaker.deaths} times within {self._breaker.window:g} s; "
                f"the next start is in {pause:.0f} s",
                {"reason": "restarts", "retry_after": math.ceil(pause)},
            )
            return
        await trio.sleep(pause)
        try:
            await self._start(conversation)
        except SpawnFailed as fault:
            self._breaker.died(trio.current_time())
            conversation.failed(str(fault), {"reason": "not started"})

    def _heard_stderr(self, pid: int, line: bytes) -> None:
        self._log.info("stderr", server=self.name, pid=pid, line=line)

    def _forget(self, conversation: LocalConversation) -> None:
        self._registry.remove(conversation.id)
