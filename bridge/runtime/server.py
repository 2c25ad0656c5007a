"""One stdio server and everybody's conversations with it (transports.ports.Backend).

Decides where a child lives: with the session of a legacy client, with the client or the principal of modern ones, or
one for all. Starts children, ends them with whom they serve, and keeps a server that dies at once from being started
for ever.
"""

import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Protocol, TypeVarTuple, Unpack

import attrs
import trio

from ...transports.client_process import UNKNOWN, Caller
from ...transports.options import LOCAL, Launch, SpawnFailed
from ...transports.poller import Poller
from ...transports.ports import Log, ModernRequest
from ...transports.process.child import Child, ChildBusy, ChildGone, Exit, Rest
from ...transports.process.lines import Overlong
from ...transports.process.spawner import Spawner
from ...transports.send_queue import OPEN, SendQueue
from ...transports.ticker import HELD_UP
from ...validators.jsonrpc import Notification, Response
from ...validators.rejection import INVALID_PARAMS, SERVER_ERROR, Rejection
from ...validators.stateless_request import Envelope
from ..config.credentials import PRINCIPAL
from ..config.executable import explained
from ..config.package_spec import downloads_without_lock
from ..config.settings import PRINCIPAL_VARIABLE, ServerConfig, TokenConfig
from ..config.trust import replaceable_server_files
from ..core import era_cache, extensions
from ..core.access_policy import AccessPolicy
from ..core.attribution import Client, Origins
from ..core.circuit_breaker import CircuitBreaker
from ..core.client_environment import NOTHING, ClientEnvironment, environment_from_headers
from ..core.effects import failed_with
from ..core.era_cache import FACT_SECONDS, EraCache
from ..core.errors import read_fault
from ..core.multiplexer import Multiplexer
from ..core.request_state import StateSigner, binding
from ..core.requests import ClientRequest
from ..core.session_table import SessionTable
from ..core.shared_upstream import SharedUpstream
from ..core.start_errors import Output, StartFault
from ..eras.client_handshake import DEFAULT_LEVEL
from ..eras.legacy_adapter import LegacyAdapter
from ..eras.modern_adapter import ModernAdapter
from ..eras.rules_legacy_to_modern import EVERY_PROFILE, Profile
from .conversation import STOPPING, LocalConversation, stopping
from .era_probe import asked_for_era, confirms, takes_initialize
from .era_store import EraStore
from .liveness import Liveness
from .multiplexed_process import MultiplexedProcess, call_of
from .pinning import PinChecker, PinMismatch
from .placement import Declared, ForwardingUpstream, Key, Place, client_of, declared, fingerprint, of_session
from .server_log import Call, ServerLog
from .shared_process import SharedProcess
from .startup import Startup
from .threads import off_loop

# A process that waits to be used and exits within this time after its start has failed to start, in seconds.
_SOON = 10.0
# A client that leaves after this time without an answer to its `initialize` is counted as a failed start, in seconds.
_WAITED = 2.0
# How long nothing is looked up of the files of a command after they were looked at, in seconds.
_LOOKED = 10.0
# How long the process beside a sibling that gave no answer is waited for, in seconds.
_SETTLING = 5.0
# How long a process that is not needed any more may take to leave before another is started, in seconds.
_LEAVING = 0.5
# How long the question for the era may be open after a process beside it has opened its session, in seconds.
_OPENED = 1.0
# How long to wait between looks at the clock for idle sessions, in seconds.
_ROUND = 1.0
# And between looks at the calls in flight of a server that is to end.
_DRAIN_ROUND = 0.02


Arguments = TypeVarTuple("Arguments")

# The reasons that one line of the log has room for.
_MOST_REASONS = 5
# The pauses after secrets could not be read, before a request has them read again, in seconds.
_FIRST_RESOLVE_PAUSE = 1.0
_LONGEST_RESOLVE_PAUSE = 30.0

# Requests whose process is found without a look at what they declare, and the bytes of theirs that are compared for it.
_QUICK = 1024
_QUICK_BYTES = 2048
# The client of requests in whose course nothing can be asked.
_NOBODY = Client("", known=False)
# What a process that several clients share is told.
_EVERYTHING_DECLARED = Declared(EVERY_PROFILE)


class NotResolved(SpawnFailed):
    """A value of the configuration that depends on the machine cannot be had; the text says which."""


class NotOfThisEra(SpawnFailed):
    """A process does not speak the era that its server spoke before the start of the daemon."""


class ProcessOwner(Protocol):
    """Whom a child serves."""

    ended: bool
    principal: str
    client_environment: ClientEnvironment

    @property
    def principals(self) -> Collection[str]: ...
    @property
    def speaks_modern(self) -> bool: ...
    @property
    def calling(self) -> bool: ...
    @property
    def era_unknown(self) -> bool: ...
    @property
    def is_ordinary(self) -> bool: ...
    def is_served_by(self, child: Child) -> bool: ...
    def on_start(self, child: Child) -> None: ...
    def on_line(self, line: bytes | Overlong) -> Rest: ...
    def on_exit(self, text: str, data: dict[str, object]) -> None: ...
    def failed(self, text: str, data: dict[str, object]) -> None: ...
    def on_tick(self, now: float) -> None: ...
    def give_up(self, reason: str) -> None: ...
    def read_on(self) -> None: ...
    def end(self, reason: str) -> None: ...


@attrs.define(eq=False)
class _Probing:
    """A question for the era, and why it has no answer."""

    over: trio.Event = attrs.field(factory=trio.Event)
    fault: str = ""
    # The process that is started as that of a legacy server beside it, until the answer.
    beside: Place | None = None
    # Set when that has opened its session, and when it has done so, refused, or exited.
    opened: trio.Event = attrs.field(factory=trio.Event)
    settled: trio.Event = attrs.field(factory=trio.Event)
    refused: bool = False


class LocalServer:
    """The conversations of one server. `run` must be running for `open` and `ask` to work."""

    def __init__(
        self,
        config: ServerConfig,
        spawner: Spawner,
        poller: Poller,
        server_log: ServerLog,
        version: str = "0",
        roles: Mapping[str, TokenConfig] | None = None,
        facts: EraStore | None = None,
    ) -> None:
        """`roles` are those of the principals that may not use everything, and may change."""
        self.name = config.name
        self.config = config
        self.server_log = server_log
        server_log.withheld, server_log.start_fault = config.withheld, None
        self._spawner = spawner
        self._poller = poller
        self._limits = limits = config.limits
        self._log: Log = server_log
        self._version = version
        self._roles: Mapping[str, TokenConfig] = {} if roles is None else roles
        self._policy = config.policy
        self._choices: dict[str, AccessPolicy] = {}  # of principals with a role
        self._session_table: SessionTable[LocalConversation] = SessionTable(limits)
        self._breaker = CircuitBreaker()
        # A client that brings what the server dies of must not keep it from others.
        self._breakers: dict[str, CircuitBreaker] = {}
        self._wanted = config.from_headers
        self._nursery: trio.Nursery | None = None
        self._introduction = b""  # the first line that each process is sent, before any message
        self._children: dict[Child, ProcessOwner | None] = {}  # nobody yet, if it is a spare
        self._standbys: deque[Child] = deque()
        self._warming = 0  # spares that are being started, or wait for their time
        self._ahead = 0  # how many spares there should be
        self._livenesss: dict[Child, Liveness] = {}
        # What each child has written before its first answer, with the time of its start (seconds).
        self._startups: dict[Child, tuple[Startup, float]] = {}
        # Why a start has failed, if the server should turn out not to speak another era; until that is known.
        self._era_unknown: dict[ProcessOwner, StartFault] = {}
        self._one_less = trio.lowlevel.ParkingLot()
        self._closed = ""  # why no request is taken any more
        self._approval = PinChecker()
        self.unapproved = False  # whether it would not be started, as far as was looked
        self._files_looked_at = False  # whether others could replace what it executes
        # Set when the secrets that are being read have been read; None while they are not.
        self._resolving: trio.Event | None = None
        self._resolve_at = -math.inf  # when secrets that could not be read are read again, at a request
        self._resolve_pause = _FIRST_RESOLVE_PAUSE
        self._era_cache = EraCache(config.era)
        self._facts = facts if config.era == "auto" else None
        # Under which name its facts are stored, what is stored there, and when its files were looked at (seconds).
        self._fact_name = ""
        self._stored: dict[str, bool | None] = {}
        self._believed = FACT_SECONDS
        self._recalled_at = -math.inf
        self._recalling = trio.Lock()
        self._probing: _Probing | None = None
        self._signer = StateSigner(secrets.token_bytes(32))
        # The processes that are not a session's, by name, until they are ended; and by key those that get new calls.
        self._places: dict[str, Place] = {}
        # Legacy processes that several sessions share, those that were replaced, and the wire ids of all of them.
        self._processes: dict[Key, SharedProcess] = {}
        self._leaving: set[SharedProcess] = set()
        self._ids = count(1)
        self._current: dict[Key, Place] = {}
        # WebSockets that have carried a stateless request. They are closed with the server; those that are over are
        # removed in each round.
        self._pipes: set[SendQueue] = set()
        # Desk and client by principal, caller, brought variables, clientInfo and capabilities of earlier requests.
        self._quick: dict[
            tuple[str, str, tuple[tuple[str, str], ...], bytes, bytes], tuple[MultiplexedProcess, Client]
        ] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the children until cancelled; then none of them is left, and nobody waits for one."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    await self._live(task_status)
                finally:
                    self._nursery = None
        finally:
            self._end_all("the bridge has ended its server")

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        if self.config.pending:
            self._begin_to_resolve()
        elif self.config.fault:
            self._log.error("server_failed", reason=self.config.fault)
            self.server_log.not_started(self._why_not())
        self._begin_ahead()
        task_status.started()
        held_up = False
        while True:
            planned = trio.current_time() + _ROUND
            await trio.sleep_until(planned)
            held_up = not held_up and trio.current_time() >= planned + HELD_UP
            if not held_up:
                self._look_at_the_clock(trio.current_time())

    def _soon(self, work: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        # Where nothing is served any more, whoever waits is told so by `_end_all`.
        if self._nursery is not None:
            self._nursery.start_soon(work, *arguments)

    def _look_at_the_clock(self, now: float) -> None:
        for conversation in self._session_table.expired(now):
            conversation.end("it was idle, or old, for too long")
        for owner in (
            *self._session_table,
            *self._multiplexed_processes.values(),
            *self._processes.values(),
            *self._leaving,
        ):
            with self._guarding(owner):
                owner.on_tick(now)
        self._pipes = {queue for queue in self._pipes if queue.state == OPEN}
        self._look_for_life(now)
        self._breakers = {who: one for who, one in self._breakers.items() if not one.is_closed(now)}
        for place in list(self._places.values()):
            reason = self._why_over(place, now)
            if reason:
                self._close_place(place, reason)
        for process in tuple(self._processes.values()):
            if now - process.touched > self._limits.session_idle_seconds:
                self._end(process, "it was idle for too long")

    def _begin_ahead(self) -> None:
        self._ahead = max(self.config.spare, 1 if self.config.eager else 0)
        if self.config.shares and self.config.eager:
            self._soon(self._learn_era_first)
            return
        self._soon(self._make_standbys)
        if self.config.eager:
            self._soon(self._learn_era)

    async def _learn_era_first(self) -> None:
        # A sibling that is asked for its era must not take a lock or a port from the process that serves.
        await self._learn_era()
        await self._make_standbys()

    def introduce(self, line: bytes) -> None:
        """Send this line to each process, to those to come before any message (the aggregate)."""
        if line != self._introduction:
            self._introduction = line
            for child in self._children:
                self._soon(self._send_introduction, child)

    async def _send_introduction(self, child: Child) -> None:
        while child in self._children:
            try:
                child.send(self._introduction)
            except ChildBusy:  # it is not dropped, unlike other messages
                await trio.sleep(_DRAIN_ROUND)
                continue
            except ChildGone:
                pass  # whatever takes its place gets the line
            return

    def restart(self) -> None:
        """Let the processes leave that there are, each when it has answered what it was asked.

        Sessions go on: their next request finds another process. What has gone wrong before does not count any more.
        """
        self._breaker = CircuitBreaker()
        self.server_log.start_fault = None
        self._breakers.clear()
        self._era_cache = EraCache(self.config.era, self._believed)
        self._resolve_pause = _FIRST_RESOLVE_PAUSE
        self._files_looked_at = False
        if self.config.fault and self._resolving is None:
            self._begin_to_resolve()
        while self._standbys:
            self._standbys.popleft().stop()
        leaving: dict[ProcessOwner, None] = dict.fromkeys(
            [
                *self._multiplexed_processes.values(),
                *self._processes.values(),
                *(one for one in self._children.values() if one is not None),
            ]
        )
        self._leaving.update(self._processes.values())
        self._processes.clear()
        self._current.clear()
        self._quick.clear()
        for place in self._places.values():
            place.replaced = True
        for conversation in self._session_table:
            conversation.part()
        for owner in leaving:
            owner.read_on()
        self._soon(self._renew, leaving)
        self._begin_ahead()

    async def _renew(self, leaving: dict[ProcessOwner, None]) -> None:
        end = trio.current_time() + self._limits.drain_seconds
        while leaving:
            over = trio.current_time() >= end
            for owner in [one for one in leaving if over or not one.calling]:
                del leaving[owner]
                with self._guarding(owner):
                    owner.give_up("the server was restarted")
                if isinstance(owner, MultiplexedProcess):
                    self._forget(owner)
                elif isinstance(owner, SharedProcess):
                    self._leaving.discard(owner)
            await trio.sleep(_DRAIN_ROUND)

    async def drain(self, refusal: str = STOPPING) -> None:
        """Take nothing new, and wait until every call in flight is answered."""
        self._closed = refusal
        if self._probing is not None:
            self._probing.over.set()  # whoever waits for the era would be served too late
        if self._resolving is not None:
            self._resolving.set()
        for conversation in self._session_table:
            conversation.draining = refusal
            conversation.read_on()
        for multiplexed in self._multiplexed_processes.values():
            multiplexed.read_on()
        while self.in_flight:  # noqa: ASYNC110 - an event for each call would cost all of them
            await trio.sleep(_DRAIN_ROUND)

    async def close(self, reason: str) -> None:
        """End every session. Their children get their time to leave; `emptied` waits for them."""
        self._closed = self._closed or STOPPING
        self._end_all(reason)
        await trio.lowlevel.checkpoint()

    def _end_all(self, reason: str) -> None:
        for conversation in self._session_table:
            conversation.end(reason)
        for place in list(self._places.values()):
            self._close_place(place, reason)
        for process in tuple(self._processes.values()):
            self._end(process, reason)
        while self._leaving:
            self._leaving.pop().end(reason)
        while self._standbys:
            self._standbys.popleft().stop()
        while self._pipes:
            self._pipes.pop().close(reason)  # on another connection there may be another server

    async def emptied(self) -> None:
        """Wait until no child is left."""
        while self._children:
            await self._one_less.park()

    # ---- how it is

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that were started and are alive."""
        return tuple(child.pid for child in self._children)

    @property
    def sessions(self) -> int:
        """How many sessions there are; processes of clients of the stateless era count as one each."""
        return len(self._session_table) + len(self._current) + len(self._processes)

    @property
    def in_flight(self) -> int:
        """How many sessions wait for the answer to a call."""
        return sum(one.calling for one in (*self._session_table, *self._multiplexed_processes.values()))

    @property
    def _multiplexed_processes(self) -> dict[str, MultiplexedProcess]:
        return {name: place.multiplexed for name, place in self._places.items()}

    @property
    def failing(self) -> bool:
        """Whether it has ended so often that it is not started for now."""
        return self._breaker.is_open(trio.current_time())

    @property
    def silent(self) -> tuple[int, ...]:
        """The processes that do not answer when they are asked whether they live."""
        return tuple(child.pid for child, liveness in self._livenesss.items() if liveness.silent)

    @property
    def left_out(self) -> dict[str, str]:
        """The servers whose part the answers of this one lack, with the reasons (the aggregate)."""
        multiplexed_processes = [
            multiplexed
            for multiplexed in self._multiplexed_processes.values()
            if isinstance(multiplexed, ForwardingUpstream)
        ]
        return {
            name: reason
            for multiplexed in multiplexed_processes
            for name, reason in multiplexed.left_out.items()
        }

    @property
    def ready(self) -> bool:
        """Whether a client would be served, as far as is known."""
        return not (
            self._closed
            or self.config.pending
            or self.config.fault
            or self.failing
            or self.unapproved
            or self.silent
            or self.server_log.start_fault is not None
        )

    @property
    def state(self) -> str:
        """What `status` shows (mcp-bridge(1))."""
        if self.config.fault:
            return "failed"
        if self.failing:
            return "failing"
        if self.unapproved:
            return "unapproved"
        if self.silent:
            return "silent"
        if self.server_log.start_fault is not None:
            return "failed"
        return "serving" if self.pids else "idle"

    @property
    def failure(self) -> str:
        """Why it is failed or failing, empty otherwise."""
        if self.config.fault:
            return self.config.fault
        if self.server_log.start_fault is not None:
            return f"the last process {self.server_log.start_fault.summary}"
        return f"the last process {self.server_log.last_exit}" if self.failing else ""

    @property
    def eras(self) -> dict[str, bool | None]:
        """Which eras it speaks, as far as is known."""
        return self._era_cache.facts(trio.current_time())

    # ---- ports.Backend

    async def open(
        self, principal: str, headers: Mapping[str, str], queue: SendQueue | None = None
    ) -> LocalConversation:
        """Start the conversation of a legacy client (ports.Backend)."""
        began = trio.current_time()
        try:
            return await self._open(principal, headers, queue)
        except Rejection as rejection:
            self.server_log.refused()
            if self.server_log.tells:
                call = Call(principal, "", b"", "initialize", "", began)
                self.server_log.done(call, failed_with(rejection.code))
            raise

    async def _open(
        self, principal: str, headers: Mapping[str, str], queue: SendQueue | None
    ) -> LocalConversation:
        now = trio.current_time()
        client_environment = environment_from_headers(headers, self._wanted) if self._wanted else NOTHING
        self._check_open(now, self._breaker_of(principal, client_environment), principal)
        idle = self._session_table.make_room(principal)
        if idle is not None:
            idle.end("its principal has too many sessions and this one was idle longest")
        conversation = LocalConversation(
            principal,
            self._limits,
            self._log,
            pipe=queue,
            hooks=self,
            server_log=self.server_log,
            policy=self._policy_of(principal),
            client_environment=client_environment,
            ids=self._ids if self.config.shares else None,
        )
        self._session_table.add(conversation.id, principal, conversation, now)
        try:
            if self.config.knows_principal:
                conversation.client = of_session(principal, conversation.caller)
            if not self._fact_name:
                await self._recall()
            if not self.config.shares:  # or else a process is started by its first message
                era = self._era_cache.for_legacy_client(now)
                conversation.doubtful = not era
                conversation.believed = era == era_cache.LEGACY and self.config.era == "auto"
                conversation.make = self._to_modern if era == era_cache.MODERN else None
                try:
                    await self._start(conversation)
                except NotOfThisEra:
                    conversation.make, conversation.doubtful = None, True
                    await self._start(conversation)
        except SpawnFailed as fault:
            self._not_started(fault)
            conversation.not_begun(str(fault))
            self._log.error("the server cannot be started", reason=str(fault))
            raise Rejection(503, SERVER_ERROR, str(fault)) from None
        except BaseException:
            conversation.end("the client left")
            raise
        self._log.info("session begins", session=conversation.id[:8], principal=principal)
        return conversation

    def find(self, session_id: str, principal: str) -> LocalConversation:
        """The principal's conversation with this id (ports.Backend)."""
        return self._session_table.find(session_id, principal, trio.current_time())

    async def start_request(
        self,
        principal: str,
        headers: Mapping[str, str],
        request: ModernRequest,
        queue: SendQueue,
        *,
        pipe: bool,
        caller: Caller | None = None,
    ) -> MultiplexedProcess:
        """Hand a modern client's request to a child that may serve it (ports.Backend)."""
        since = trio.current_time() if self.server_log.tells else None
        try:
            if self._closed:
                raise stopping(self._closed)
            if pipe and queue not in self._pipes:
                self._pipes.add(queue)
            client_environment = environment_from_headers(headers, self._wanted) if self._wanted else NOTHING
            found = await self._find_multiplexed(
                principal, client_environment, caller or Caller(name=UNKNOWN), request
            )
        except Rejection as rejection:
            self._refused(principal, request, queue, since, rejection)
            raise
        return self._ask(found, principal, request, queue, since, caller, pipe=pipe)

    def start_request_now(
        self, principal: str, request: ModernRequest, queue: SendQueue, caller: Caller
    ) -> MultiplexedProcess | None:
        """Hand a request to the child that serves others like it, if there is one (ports.Backend)."""
        if self._closed or self._wanted or request.envelope.state is not None:
            return None
        found = self._known_multiplexed(principal, NOTHING, caller, request.envelope)
        if found is None:
            return None
        since = trio.current_time() if self.server_log.tells else None
        return self._ask(found, principal, request, queue, since, caller, pipe=False)

    def _ask(
        self,
        found: tuple[MultiplexedProcess, Client],
        principal: str,
        request: ModernRequest,
        queue: SendQueue,
        since: float | None,
        caller: Caller | None,
        *,
        pipe: bool,
    ) -> MultiplexedProcess:
        multiplexed, client = found
        message, envelope, headers = request
        policy = self._policy_of(principal)
        try:
            multiplexed.ask(
                ClientRequest(
                    principal, message, envelope, headers, queue, pipe, policy, since, client, caller
                )
            )
        except Rejection as rejection:
            self._refused(principal, request, queue, since, rejection)
            raise
        self.server_log.calls += 1
        return multiplexed

    def _refused(
        self,
        principal: str,
        request: ModernRequest,
        queue: SendQueue,
        since: float | None,
        rejection: Rejection,
    ) -> None:
        self.server_log.refused()
        if since is not None:
            ask = ClientRequest(principal, *request, queue, pipe=False, since=since)
            self.server_log.done(call_of(ask), failed_with(rejection.code))

    async def notify(
        self,
        principal: str,
        headers: Mapping[str, str],
        message: Notification,
        caller: Caller | None = None,
    ) -> None:
        """Hand a notification of a modern client to the process that serves it last (ports.Backend).

        Those of the core mean nothing there, and without a process there is nothing that it can be about.
        """
        if extensions.is_core(message.method) or self._policy_of(principal).denied(message.method):
            return
        client_environment = environment_from_headers(headers, self._wanted) if self._wanted else NOTHING
        caller = caller or Caller(name=UNKNOWN)
        sharer = self._sharer(principal) if self.config.shares else principal
        places = [
            place
            for place in self._places.values()
            if place.key.principal == sharer
            and place.key.client_environment == client_environment
            and not place.replaced
        ]
        if self.config.knows_principal or any(place.key.client for place in places):
            await caller.look_up()
        serving = [place.multiplexed for place in places if place.key.client in ("", caller.name)]
        if serving and not serving[-1].ended:
            serving[-1].notify(message, of_session(principal, caller))

    def on_permissions_changed(self, principal: str) -> None:
        """What this principal may use is another thing now: what it has open, and would go on as before, ends."""
        self._choices.pop(principal, None)
        for conversation in tuple(self._session_table):
            if conversation.principal == principal:
                conversation.end("the rights of its token have changed")
        self._quick.clear()
        for multiplexed in self._multiplexed_processes.values():
            multiplexed.on_permissions_changed(principal)

    def _policy_of(self, principal: str) -> AccessPolicy:
        role = self._roles.get(principal)
        if role is None:
            return self._policy
        if principal not in self._choices:
            self._choices[principal] = AccessPolicy(role.allow, role.deny, role.without, within=self._policy)
        return self._choices[principal]

    def _breaker_of(self, principal: str, client_environment: ClientEnvironment) -> CircuitBreaker:
        return (
            self._breakers.setdefault(principal, CircuitBreaker())
            if client_environment.variables
            else self._breaker
        )

    def _check_open(self, now: float, breaker: CircuitBreaker, principal: str) -> None:
        if self._closed or self._nursery is None:
            raise stopping(self._closed or STOPPING)
        if breaker.is_open(now):
            pause = math.ceil(breaker.pause(now))
            raise Rejection(
                503,
                SERVER_ERROR,
                self._why_tripped(breaker, now, principal),
                headers=((b"Retry-After", b"%d" % pause),),
                data={"reason": "restarts", "retry_after": pause},
            )

    def _why_tripped(self, breaker: CircuitBreaker, now: float, principal: str) -> str:
        text = (
            f"the server ended unexpectedly {breaker.failures} times within {breaker.window:g} s; "
            f"the next start is in {breaker.pause(now):.0f} s"
        )
        last = self.server_log.last_failure(principal)
        return f"{text}; the last time it {last}" if last else text

    # ---- modern clients: desks

    async def _find_multiplexed(
        self, principal: str, client_environment: ClientEnvironment, caller: Caller, request: ModernRequest
    ) -> tuple[MultiplexedProcess, Client]:
        """Return the desk of a request, and the client that it comes from. Raises Rejection."""
        read = request.envelope
        if read.state is not None:
            bound_to = binding(principal, request.request.method, read.name)
            returned = self._returned(principal, client_environment, bound_to, read.state)
            if returned is not None:
                client = returned.client or await self._client(principal, caller, read, returned.key.declared)
                return returned.multiplexed, client
        found = self._known_multiplexed(principal, client_environment, caller, read)
        if found is not None:
            return found
        await self._recall()
        if not self._era_cache.for_modern_client(trio.current_time()) and self._has_own_process(modern=False):
            await caller.look_up()
            beside = partial(self._place_beside, principal, client_environment, caller, read)
            said = await self._declared(principal, client_environment, read.capabilities, beside)
        else:
            said = await self._declared(principal, client_environment, read.capabilities)
        if self._has_own_process(modern=said is None):
            await caller.look_up()
            place = self._own_place(principal, client_environment, caller, read, said)
            multiplexed, client = place.multiplexed, place.client or _NOBODY
        else:
            client = await self._client(principal, caller, read, said)
            multiplexed = self._shared_place(principal, client_environment, said, read.info).multiplexed
        if len(read.info) + len(read.capabilities) <= _QUICK_BYTES:
            if len(self._quick) >= _QUICK:
                self._quick.clear()
            self._quick[
                principal, caller.name, client_environment.variables, read.info, read.capabilities
            ] = (
                multiplexed,
                client,
            )
        return multiplexed, client

    def _known_multiplexed(
        self, principal: str, client_environment: ClientEnvironment, caller: Caller, read: Envelope
    ) -> tuple[MultiplexedProcess, Client] | None:
        found = self._quick.get(
            (principal, caller.name, client_environment.variables, read.info, read.capabilities)
        )
        return None if found is None or found[0].ended else found

    def _own_place(
        self,
        principal: str,
        client_environment: ClientEnvironment,
        caller: Caller,
        read: Envelope,
        said: Declared | None,
    ) -> Place:
        client = client_of(principal, caller, read.info)
        # A request that declares nothing gets a server that knows so, as it would without the bridge.
        alone = said if said == Declared() else None
        key = Key(principal, client_environment, alone, caller.name, fingerprint(read.info))
        return self._place_of_client(key, said, client, caller, read.info)

    def _place_beside(
        self, principal: str, client_environment: ClientEnvironment, caller: Caller, read: Envelope
    ) -> Place | None:
        """Return a place for a legacy process, to be started beside the question for the era. None where that may not be.

        Two processes at a time must be within the limits, and must not fetch the same package.
        """
        limits, now = self._limits, trio.current_time()
        mine = sum(place.key.principal == principal for place in self._places.values())
        if (
            mine + 2 > limits.processes_per_principal
            or self.sessions + 2 > limits.sessions
            or self.server_log.start_fault is not None
            or not self._breaker_of(principal, client_environment).is_closed(now)
            or downloads_without_lock(self.config.launch.argv)
        ):
            return None
        said = declared(self._policy_of(principal).declared(read.capabilities))
        return self._own_place(principal, client_environment, caller, read, said)

    def _returned(
        self, principal: str, client_environment: ClientEnvironment, bound_to: bytes, state: str
    ) -> Place | None:
        """Return the place of the call that a state continues. None where any process of a modern server may continue it.

        Raises Rejection 200 -32602.
        """
        name = self._signer.process_of(bound_to, state)
        elsewhere = name is None
        if name is None:
            name = self._signer_of_modern(client_environment).process_of(bound_to, state)
        place = self._places.get(name or "")
        if place is not None and not place.multiplexed.ended:
            if place.key.principal in ("", principal, self._sharer(principal)):
                return place
        elif elsewhere and name is not None:
            return None
        raise Rejection(200, INVALID_PARAMS, "Invalid or expired requestState")

    def _signer_of_modern(self, client_environment: ClientEnvironment) -> StateSigner:
        # Another process may continue from the state of a modern server, but only one with the same variables.
        return self._signer.derive(repr(client_environment.variables).encode())

    async def _declared(
        self,
        principal: str,
        client_environment: ClientEnvironment,
        capabilities: bytes,
        beside: Callable[[], Place | None] | None = None,
    ) -> Declared | None:
        """Return what a legacy server is told of these capabilities, None for a modern server. Raises Rejection."""
        if self.config.shares:
            era = await self._shared_era(Key(self._sharer(principal), client_environment))
        else:
            if not self._era_cache.for_modern_client(trio.current_time()):
                await self._probe(principal, beside)
            era = self._era_cache.for_modern_client(trio.current_time())
        if era == era_cache.MODERN:
            return None
        return declared(self._policy_of(principal).declared(capabilities))

    def _has_own_process(self, *, modern: bool) -> bool:
        # "session" has no meaning for clients without sessions, so they get what suits the server.
        share = self.config.share
        return share == "client" or (not modern and share in ("", "session"))

    async def _client(self, principal: str, caller: Caller, read: Envelope, said: Declared | None) -> Client:
        # Nothing is looked up where nothing depends on it.
        if not self.config.knows_principal and (said is None or said.profile == Profile()):
            return _NOBODY
        await caller.look_up()
        return client_of(principal, caller, read.info)

    def _place_of_client(
        self, key: Key, said: Declared | None, client: Client, caller: Caller, info: bytes
    ) -> Place:
        """Return the process of one client, another one where it declares more than before."""
        if caller.ended:
            raise stopping()
        before = self._current.get(key)
        if before is not None:
            if before.declared is None or said is None or before.declared.covers(said):
                return before
            # With both, a client whose requests declare now this and now that has one process soon.
            said = before.declared.joined(said)
        place = self._open_place(key, said, info)
        place.client, place.process = client, caller.process
        if before is not None:
            before.replaced = True
            self._drop_quick(before.multiplexed)
        if caller.known and caller.process is None:
            caller.add_end_callback(self, self._caller_ended)
        return place

    def _shared_place(
        self, principal: str, client_environment: ClientEnvironment, said: Declared | None, info: bytes = b""
    ) -> Place:
        settings: extensions.Found = {}
        if self.config.shares:
            principal = self._sharer(principal)
            if said is not None:
                settings, said = {**said.settings}, _EVERYTHING_DECLARED
        key = Key(principal, client_environment, said)
        place = self._current.get(key) or self._open_place(key, said, info)
        if settings:
            self._process_of(Key(principal, client_environment)).introduce(info, settings)
        return place

    def _open_place(self, key: Key, said: Declared | None, info: bytes) -> Place:
        now = trio.current_time()
        self._check_open(now, self._breaker_of(key.principal, key.client_environment), key.principal)
        self._make_room(key.principal)
        strict = self.config.share == "server"
        name = secrets.token_hex(8)
        signer = self._signer_of_modern(key.client_environment) if said is None else self._signer
        multiplexed = (ForwardingUpstream if self.config.knows_principal else MultiplexedProcess)(
            key.principal,
            self._limits,
            self._log,
            Multiplexer(self._limits, signer.for_process(name), shared=strict and said is None),
            self.server_log,
            translator=None
            if said is None
            else partial(self._to_legacy, said, info, several=not key.client or key.client == UNKNOWN),
            start=self._start_again,
            later=self.later,
            doubt=self._doubt,
            client_environment=key.client_environment,
            attach=partial(self._attach, info) if self.config.shares and said is not None else None,
        )
        multiplexed.touched = now
        place = self._places[name] = self._current[key] = Place(name, multiplexed, key, said)
        return place

    def _make_room(self, principal: str) -> None:
        limits = self._limits
        places = [place for place in self._places.values() if not place.multiplexed.attached]
        mine: list[MultiplexedProcess | SharedProcess] = [
            *(place.multiplexed for place in places if place.key.principal == principal),
            *(one for one in self._processes.values() if one.principal == principal),
        ]
        if len(mine) < limits.processes_per_principal:
            if len(places) + len(self._processes) + len(self._session_table) < limits.sessions:
                return
            limit = f"sessions = {limits.sessions}"
        else:
            limit = f"processes_per_principal = {limits.processes_per_principal}"
        idle = [owner for owner in mine if not owner.busy]
        if not idle:
            raise Rejection(
                503,
                SERVER_ERROR,
                f"the limit {limit} of server processes is reached, and each of this principal's has a call or a subscription",
                headers=((b"Retry-After", b"5"),),
            )
        self._end(
            min(idle, key=lambda owner: owner.touched),
            "its principal has too many server processes and this one was idle longest",
        )

    def _why_over(self, place: Place, now: float) -> str:
        """Return why a process is to end now, or nothing."""
        multiplexed, limits = place.multiplexed, self._limits
        if place.replaced and not multiplexed.busy:
            return "another process has taken its place"
        if place.process is not None:
            if place.exited is None and place.process.exited:
                place.exited = now
            if (
                place.exited is not None
                and not multiplexed.calling
                and now - place.exited > limits.client_exit_seconds
            ):
                return "its client has exited"
        return "it was idle for too long" if now - multiplexed.touched > limits.session_idle_seconds else ""

    def _caller_ended(self, caller: Caller) -> None:
        for place in list(self._places.values()):
            if place.key.client == caller.name:
                self._close_place(place, "its client has closed the connection")

    def _to_legacy(self, said: Declared, info: bytes, *, several: bool) -> LegacyAdapter:
        origins = Origins(self._limits.held_seconds, several=several)
        return LegacyAdapter(
            self._limits,
            said.profile,
            lambda: secrets.token_hex(16),
            capabilities=said.capabilities(),
            version=self._version,
            info=info,
            origins=origins,
        )

    def _close_place(self, place: Place, reason: str) -> None:
        self._forget(place.multiplexed)
        child = self._child_of(place.multiplexed)
        if child is not None:
            self._left(place.multiplexed, trio.current_time() - self._startups[child][1])
        place.multiplexed.end(reason)

    def _forget(self, multiplexed: MultiplexedProcess) -> None:
        """Remove a desk from the tables."""
        self._drop_quick(multiplexed)
        for place in [one for one in self._places.values() if one.multiplexed is multiplexed]:
            del self._places[place.name]
            if self._current.get(place.key) is place:
                del self._current[place.key]

    def _drop_quick(self, multiplexed: MultiplexedProcess) -> None:
        self._quick = {key: found for key, found in self._quick.items() if found[0] is not multiplexed}

    def _doubt(self, multiplexed: MultiplexedProcess, text: str) -> None:
        if self._probing is not None and self._is_beside(multiplexed):
            self._probing.refused = self._has_refused(multiplexed)
            self._probing.settled.set()
            self._end(multiplexed, text)
            return
        old = self._era_cache.is_restored
        self.mismatched(text)
        if old and not multiplexed.speaks_modern and self._has_refused(multiplexed):
            self._move(multiplexed, text)
            return
        if not multiplexed.speaks_modern:
            multiplexed.not_opened(*self.late(multiplexed, text))
        self._end(multiplexed, text)

    # ---- legacy clients that share a legacy process

    def shared_process(self, conversation: LocalConversation) -> SharedProcess | None:
        """The process for a session that shares it (conversation.Around)."""
        key = Key(self._sharer(conversation.principal), conversation.client_environment)
        known = self._era_cache.for_modern_client(trio.current_time())
        if known == era_cache.MODERN and key not in self._processes:
            conversation.translate_shared(self._to_modern)
            return None
        return self._process_of(key)

    def _sharer(self, principal: str) -> str:
        # The default token and the Unix socket are both for the user of the daemon.
        if self.config.share == "server":
            return ""
        return PRINCIPAL if principal == LOCAL and not self.config.knows_principal else principal

    def _attach(self, info: bytes, multiplexed: MultiplexedProcess) -> tuple[SharedProcess, LegacyAdapter]:
        """The same process for stateless clients, the first of them with this clientInfo. Raises Rejection."""
        process = self._process_of(Key(multiplexed.principal, multiplexed.client_environment))
        process.introduce(info, {})
        translator = LegacyAdapter(
            self._limits,
            EVERY_PROFILE,
            lambda: secrets.token_hex(16),
            version=self._version,
            origins=process.origins,
            ids=self._mint_id,
            shared=True,
        )
        return process, translator

    async def _shared_era(self, key: Key) -> str:
        # A sibling that is asked for its era could not have what only one process can have, such as a lock or a port.
        process = self._processes.get(key)
        if process is not None and process.doubtful and process.opening:
            await process.settled.wait()
            process = self._processes.get(key)
        if process is not None and not process.doubtful:
            return era_cache.LEGACY
        if not self._era_cache.for_modern_client(trio.current_time()):
            await self._probe()
        return self._era_cache.for_modern_client(trio.current_time())

    def _process_of(self, key: Key) -> SharedProcess:
        process = self._processes.get(key)
        if process is not None:
            return process
        now = trio.current_time()
        self._check_open(now, self._breaker_of(key.principal, key.client_environment), key.principal)
        self._make_room(key.principal)
        process = SharedProcess(
            key.principal,
            self._limits,
            self._log,
            SharedUpstream(self._limits, self._mint_id, self._policy, self._version),
            self,
            doubtful=self.config.era == "auto",
            unmatched=self.server_log.unmatched,
            client_environment=key.client_environment,
        )
        process.touched = now
        self._processes[key] = process
        return process

    def _mint_id(self) -> bytes:
        return b"%d" % next(self._ids)

    def wake(self, process: SharedProcess) -> None:
        """It needs a child (shared_process.ProcessOwner)."""
        self._start_again(process)

    def opened(self, _process: SharedProcess) -> None:
        """A child has accepted `initialize` (shared_process.ProcessOwner)."""
        if not self._era_cache.facts(trio.current_time())[era_cache.LEGACY]:
            self._era_cache.on_initialize(trio.current_time(), legacy=True)

    def unopened(self, process: SharedProcess, otherwise: Callable[[], None], *, refused: bool) -> None:
        """A child has not accepted `initialize` (shared_process.ProcessOwner)."""
        if refused:
            self._era_cache.on_mismatch()
            self._remember()
        self._soon(self._guarded, process, self._shared_opinion, process, otherwise)

    def fault(self, fault: Exception) -> None:
        """An error of ours has cost one session (shared_process.ProcessOwner)."""
        self._log.error("internal error", fault=fault)

    async def _shared_opinion(self, process: SharedProcess, otherwise: Callable[[], None]) -> None:
        try:
            legacy = not await self._is_modern() or await self._takes_initialize()
        except Rejection:
            legacy = True
        if legacy:
            self._settle_doubt(process)
            otherwise()
            return
        self._era_cache.on_initialize(trio.current_time(), legacy=False)
        self._translate_members(process)

    def _translate_members(self, process: SharedProcess) -> None:
        for member in process.members:
            if isinstance(member, LocalConversation):
                member.translate_shared(self._to_modern)
            elif isinstance(member, MultiplexedProcess):
                self._move(member, "the server speaks the modern era")
        self._end(process, "the server speaks the modern era")

    def _end(self, owner: ProcessOwner, reason: str) -> None:
        self._era_unknown.pop(owner, None)
        if isinstance(owner, MultiplexedProcess):
            self._forget(owner)
        self._processes = {key: one for key, one in self._processes.items() if one is not owner}
        owner.end(reason)

    @contextmanager
    def _guarding(self, owner: ProcessOwner) -> Generator[None]:
        """The boundary of one session or desk: a fault of ours costs it only (invariant I9)."""
        try:
            yield
        except Exception as fault:  # noqa: BLE001 - see above
            self._log.error("internal error", fault=fault)
            self._end(owner, "an internal error")

    async def _probe(self, principal: str = "", beside: Callable[[], Place | None] | None = None) -> None:
        """Wait until it is known whether it speaks the modern era. Raises Rejection, for this principal.

        `beside` returns the place of a process that is started at the same time, in case that it does not.
        """
        if self._probing is None:
            self._check_open(trio.current_time(), self._breaker, principal)
            self._probing = _Probing(beside=None if beside is None else beside())
            self._soon(self._ask_for_era, self._probing)
        probing = self._probing
        await probing.over.wait()
        if self._closed:
            raise stopping(self._closed)
        if probing.fault:
            raise Rejection(503, SERVER_ERROR, probing.fault)

    async def _ask_for_era(self, probing: "_Probing") -> None:
        # In a task of its own: whoever asked first may leave, and others wait for the same.
        probing.fault = "the server cannot be asked for its era"
        try:
            await self._check_approved()
            modern = await self._answer_or_silence(probing)
            if modern is None:
                self._era_cache.on_probe_timeout(trio.current_time())
            else:
                self._era_cache.on_probe(trio.current_time(), modern=modern)
            if probing.opened.is_set() and not modern:
                self._era_cache.on_initialize(trio.current_time(), legacy=True)
            self._log.info("the server was asked for its era", modern=modern)
            probing.fault = ""
            self._remember()
            await self._end_beside(probing)
        except SpawnFailed as fault:
            self._not_started(fault, self._breaker)
            probing.fault = str(fault)
            await self._end_beside(probing)
        except Exception as fault:  # noqa: BLE001 - the boundary of one process that serves nobody
            self._log.error("internal error", fault=fault)
        finally:
            self._probing = None
            probing.over.set()

    async def _answer_or_silence(self, probing: "_Probing") -> bool | None:
        """Ask a sibling, until it answers or the process beside it has been open for a while."""
        found: bool | None = None
        not_started: SpawnFailed | None = None

        def started() -> None:
            if probing.beside is not None:
                probing.beside.multiplexed.start()

        async def give_up() -> None:
            await probing.opened.wait()
            await trio.sleep(_OPENED)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            try:
                launch = self.config.launch
                with explained(launch):
                    found = await asked_for_era(launch, self._spawner, self._poller, self._limits, started)
            except SpawnFailed as fault:
                not_started = fault
            nursery.cancel_scope.cancel()
        if not_started is not None:
            raise not_started
        if found is None and probing.beside is not None:
            with trio.move_on_after(min(_SETTLING, self._limits.start_seconds)):
                await probing.settled.wait()
            if probing.refused:
                # The sibling may have lacked what the process beside it had, such as a lock or a port.
                await self._until_gone(probing.beside.multiplexed)
                found = await asked_for_era(self.config.launch, self._spawner, self._poller, self._limits)
        return found

    async def _end_beside(self, probing: "_Probing") -> None:
        """End the process beside the question, unless the server is a legacy one."""
        place, probing.beside = probing.beside, None
        if place is not None and self._era_cache.for_modern_client(trio.current_time()) != era_cache.LEGACY:
            self._close_place(place, "the server is not known to be a legacy one")
            with trio.move_on_after(_LEAVING):
                await self._until_gone(place.multiplexed)

    async def _until_gone(self, owner: ProcessOwner) -> None:
        while owner in self._children.values():
            await self._one_less.park()

    def _is_beside(self, owner: ProcessOwner) -> bool:
        """Whether it is known only later what the end of its process means."""
        place = None if self._probing is None else self._probing.beside
        return place is not None and place.multiplexed is owner

    # ---- legacy clients: sessions

    def _to_modern(self) -> ModernAdapter:
        own = self.config.knows_principal
        level = "" if self._policy.denied("logging/setLevel") else DEFAULT_LEVEL
        return ModernAdapter(self._limits, lambda: secrets.token_hex(16), self.name, own=own, level=level)

    def over(self, conversation: LocalConversation) -> None:
        """It has ended (conversation.Around)."""
        self._left(conversation, conversation.unanswered)
        self._session_table.remove(conversation.id)

    def revive(self, conversation: LocalConversation) -> None:
        """It needs another child (conversation.Around)."""
        self._start_again(conversation)

    def mismatched(self, text: str) -> None:
        """What is known of its eras is wrong (conversation.Around)."""
        self._log.warning("the server does not speak the era that was expected", reason=text)
        self._era_cache.on_mismatch()
        self._remember()

    def fetch_multiplexed(self, conversation: LocalConversation, capabilities: bytes) -> None:
        """It needs a desk (conversation.Around)."""
        self._soon(self._guarded, conversation, self._fetch_multiplexed, conversation, capabilities)

    async def _guarded(
        self,
        owner: ProcessOwner,
        work: Callable[[Unpack[Arguments]], Awaitable[None]],
        *arguments: *Arguments,
    ) -> None:
        with self._guarding(owner):
            await work(*arguments)

    async def _fetch_multiplexed(self, conversation: LocalConversation, capabilities: bytes) -> None:
        try:
            said = await self._declared(conversation.principal, conversation.client_environment, capabilities)
            multiplexed = self._shared_place(
                conversation.principal, conversation.client_environment, said
            ).multiplexed
        except Rejection as rejection:
            conversation.not_joined(rejection)
        else:
            conversation.join(multiplexed)

    def tried(self, conversation: LocalConversation, *, opened: bool) -> None:
        """A server whose eras are not known has answered `initialize`, or has not (conversation.Around)."""
        now = trio.current_time()
        if opened:
            self._era_cache.on_initialize(now, legacy=True)
            self._remember()
            return
        self._soon(self._guarded, conversation, self._second_opinion, conversation)

    async def _is_modern(self) -> bool:
        if self._era_cache.for_modern_client(trio.current_time()) != era_cache.MODERN:
            await self._probe()
        return self._era_cache.for_modern_client(trio.current_time()) == era_cache.MODERN

    async def _takes_initialize(self) -> bool:
        # Perhaps the client has asked for what no server would take: that says nothing of the server.
        try:
            await self._check_approved()
            launch = self.config.launch
            with explained(launch):
                return await takes_initialize(launch, self._spawner, self._poller, self._limits)
        except SpawnFailed as fault:
            self._not_started(fault, self._breaker)
            raise Rejection(503, SERVER_ERROR, str(fault)) from None

    def _settle_doubt(self, owner: ProcessOwner) -> None:
        """The server speaks no other era, so what has happened to its process was a failure."""
        fault = self._era_unknown.pop(owner, None)
        if fault is not None:
            self._era_cache.on_start_failed()
            self._note_failure(owner, fault)

    async def _second_opinion(self, conversation: LocalConversation) -> None:
        try:
            legacy = not await self._is_modern() or await self._takes_initialize()
        except Rejection:
            legacy = True
        if legacy:
            self._settle_doubt(conversation)
            conversation.settle(None)
            return
        self._era_unknown.pop(conversation, None)
        self._era_cache.on_initialize(trio.current_time(), legacy=False)
        conversation.settle(self._to_modern)
        try:
            await self._start(conversation)
        except SpawnFailed as fault:
            self._not_started(fault)
            conversation.failed(str(fault), {"reason": "not started"})

    # ---- children

    async def _start(self, owner: ProcessOwner) -> None:
        if self._standbys and not owner.client_environment.variables:  # a spare was started without
            child = self._standbys.popleft()
            self._startups[child][0].attach(owner.on_line)
            self._children[child] = owner
        else:
            await self._resolve()
            self._breaker_of(owner.principal, owner.client_environment).on_start(trio.current_time())
            launch = self.config.launch
            if self.config.knows_principal:
                launch = attrs.evolve(launch, env={**launch.env, PRINCIPAL_VARIABLE: owner.principal})
            if owner.client_environment.variables:
                launch = attrs.evolve(launch, env={**launch.env, **dict(owner.client_environment.variables)})
            child = await self._spawn(launch, owner)
        self._ahead = self.config.spare
        self._soon(self._make_standbys)
        if self._introduction:
            await self._send_introduction(child)
        if owner.speaks_modern and self._era_cache.is_restored:
            await self._confirm(child, owner)
        owner.on_start(child)

    # ---- what is known from before the start of the daemon

    async def _recall(self) -> None:
        """Take over what is known of its eras, and forget what is known of files that have changed since."""
        now = trio.current_time()
        if self._facts is None or now - self._recalled_at < _LOOKED:
            return
        if self._resolving is not None:
            await self._resolving.wait()
        if self.config.pending or self.config.fault:
            return
        async with self._recalling:
            if now < self._recalled_at:
                return  # meanwhile
            launch, before = self.config.launch, self._fact_name
            name, valid, fact = await trio.to_thread.run_sync(self._facts.recall, launch)
            self._recalled_at = trio.current_time()
            if name == before:
                return
            if before:
                self._era_cache.on_mismatch()
            self._fact_name = name
            self._believed = valid
            known = self._era_cache.facts(now)
            self._era_cache.set_lifetime(self._believed)
            if fact is not None and known[era_cache.MODERN] is known[era_cache.LEGACY] is None:
                age = max(0.0, time.time() - fact.since)
                self._era_cache.restore(now, age, modern=fact.modern, legacy=fact.legacy)
                self._stored = {era_cache.MODERN: fact.modern, era_cache.LEGACY: fact.legacy}
            self._remember()

    def _remember(self) -> None:
        """Store what is known of its eras where that has changed."""
        known = self._era_cache.facts(trio.current_time())
        if self._facts is not None and self._fact_name and known != self._stored:
            self._stored = known
            self._soon(self._store, self._facts, self._fact_name, known)

    async def _store(self, facts: EraStore, name: str, known: dict[str, bool | None]) -> None:
        if any(fact is not None for fact in known.values()):
            await trio.to_thread.run_sync(facts.keep, name, known[era_cache.MODERN], known[era_cache.LEGACY])
        else:
            await trio.to_thread.run_sync(facts.forget, name)
        if facts.fault:
            self._log.debug("era_not_stored", reason=facts.fault)

    async def _confirm(self, child: Child, owner: ProcessOwner) -> None:
        """Ask a process whether it speaks the modern era, before it is given anything. Raises NotOfThisEra."""
        startup, _ = self._startups[child]
        if await confirms(child, startup.attach, self._limits):
            self._era_cache.on_probe(trio.current_time(), modern=True)
            startup.attach(owner.on_line)
            return
        child.stop()
        text = "the server does not answer server/discover as it did before"
        self.mismatched(text)
        raise NotOfThisEra(text)

    def _has_refused(self, owner: ProcessOwner) -> bool:
        return any(
            self._startups[child][0].refused
            for child, of in self._children.items()
            if of is owner and owner.is_served_by(child)
        )

    def _move(self, multiplexed: MultiplexedProcess, text: str) -> None:
        """Give the requests of a desk, none of which its process was given, to a process in another era."""
        self._log.info("requests_moved", reason=text)
        multiplexed.take_back()
        self._end(multiplexed, text)
        self._soon(self._guarded, multiplexed, self._place_again, multiplexed, text)

    async def _place_again(self, multiplexed: MultiplexedProcess, text: str) -> None:
        while (asked := multiplexed.next_moving()) is not None:
            caller = asked.caller if isinstance(asked.caller, Caller) else Caller(name=UNKNOWN)
            request = ModernRequest(asked.request, asked.envelope, asked.headers)
            try:
                if asked.moved:
                    raise Rejection(503, SERVER_ERROR, text)
                found, client = await self._find_multiplexed(
                    asked.principal, multiplexed.client_environment, caller, request
                )
                if multiplexed.next_moving() is asked:
                    found.ask(asked._replace(client=client, moved=True))
                    multiplexed.move(asked, found)
            except Rejection as rejection:
                if multiplexed.next_moving() is asked:
                    multiplexed.refuse(asked, rejection)

    # ---- the first answer of a process

    def _answered(self, child: Child, message: Response | None) -> None:
        """A process has answered its first request, or its first batch."""
        owner = self._children.get(child)
        if owner is None:
            return
        beside = self._is_beside(owner)
        if message is not None and message.error and not owner.speaks_modern:
            startup, _ = self._startups[child]
            startup.refused = True
            if beside:
                return
            reason = f"refused to initialize: {read_fault(message.error).message}"
            if owner.is_ordinary and not self._another_serves(child):
                self._start_failed(owner, StartFault(reason, self._output(child)))
            return
        self.server_log.start_succeeded()
        known = self._era_cache.facts(trio.current_time())
        if beside and self._probing is not None:
            self._probing.opened.set()
            self._probing.settled.set()
        elif not owner.speaks_modern and not (
            known[era_cache.LEGACY] and known[era_cache.MODERN] is not None
        ):
            self._era_cache.on_initialize(trio.current_time(), legacy=True)
            self._remember()
        self._livenesss[child] = Liveness(
            child, owner.on_line, self._limits, trio.current_time(), modern=owner.speaks_modern
        )

    def _another_serves(self, child: Child) -> bool:
        return any(
            one.over and not one.refused for other, (one, _) in self._startups.items() if other is not child
        )

    def _start_failed(self, owner: ProcessOwner, fault: StartFault) -> None:
        self._era_cache.on_start_failed()
        if owner.era_unknown:
            self._era_unknown[owner] = fault
        else:
            self._note_failure(owner, fault)

    def _note_failure(self, owner: ProcessOwner, fault: StartFault) -> None:
        # A client that brings what the server dies of says nothing of the server.
        if not owner.client_environment.variables:
            self.server_log.start_failed(fault, owner.principals)

    def late(self, owner: ProcessOwner, text: str) -> tuple[str, dict[str, object]]:
        """Return how to tell a client that its process has not opened its session, for this reason (conversation.Around)."""
        # A doubt stays until it is settled, which also forgets what was presumed of the eras.
        fault = self._era_unknown.get(owner) or self._silence(owner, text.removeprefix("the server "))
        self._era_cache.on_start_failed()
        self._note_failure(owner, fault)
        return _told(fault, {"reason": "not started"}, alone=len(owner.principals) <= 1)

    def _silence(self, owner: ProcessOwner, reason: str) -> StartFault:
        child = self._child_of(owner)
        if child is None:
            return StartFault(reason)
        return StartFault(reason, self._output(child), hangs=not self._startups[child][0].over)

    def _child_of(self, owner: ProcessOwner) -> Child | None:
        """Return the process that serves it now."""
        return next(
            (
                one
                for one, of in self._children.items()
                if of is not None and of is owner and of.is_served_by(one)
            ),
            None,
        )

    def _left(self, owner: ProcessOwner, waited: float) -> None:
        """Record a failed start where a client has ended its session after waiting so long (seconds) for the first answer."""
        child = self._child_of(owner)
        if waited < _WAITED or child is None or self._closed or self._is_beside(owner):
            return
        if self._startups[child][0].over or child.ended:
            return
        reason = f"had not answered initialize after {waited:.0f} s, when its client ended the session"
        self.server_log.errors += 1
        self._era_cache.on_start_failed()
        self._note_failure(owner, self._silence(owner, reason))

    def _output(self, child: Child) -> Output:
        output = self.server_log.output(child.pid, child.unfinished)
        if output.stdout:
            return output
        return output._replace(stdout=self.server_log.messages(self._startups[child][0].sent))

    async def _resolve(self) -> None:
        """Wait until all that is kept outside of the configuration has been read. Raises NotResolved."""
        if self.config.fault and self._resolving is None and trio.current_time() >= self._resolve_at:
            self._begin_to_resolve()
        if self._resolving is not None:
            await self._resolving.wait()
        if self.config.pending:
            raise NotResolved(self._closed or STOPPING)
        if self.config.fault:
            raise NotResolved(self._why_not())

    def _why_not(self) -> str:
        config = self.config
        return f"cannot start {config.launch.argv[0]!r}: {config.fault}" if config.not_there else config.fault

    def _begin_to_resolve(self) -> None:
        self._resolving = trio.Event()
        self._soon(self._read_outside, self._resolving)

    async def _read_outside(self, over: trio.Event) -> None:
        # In a task of its own: others wait for the same.
        before = self.config.fault
        try:
            config = await off_loop(self.config.resolved, self._limits.helper_seconds)
            self.server_log.hide(config.secrets)
            self.config = config
            self.server_log.withheld = config.withheld
            if config.fault:
                self._resolve_at = trio.current_time() + self._resolve_pause
                self._resolve_pause = min(2 * self._resolve_pause, _LONGEST_RESOLVE_PAUSE)
                if config.fault != before:
                    self._log.error("server_failed", reason=config.fault)
                self.server_log.not_started(self._why_not())
            else:
                self._resolve_pause = _FIRST_RESOLVE_PAUSE
                if before:
                    self._log.info("server_resolved")
        finally:
            self._resolving = None
            over.set()

    async def resolved(self) -> None:
        """Wait until it is known whether it can be started, if that is being found out."""
        if self._resolving is not None:
            await self._resolving.wait()

    async def _look_at_files(self) -> None:
        """Warn of a program that other users could replace, before the first start and the first after a restart."""
        if self._files_looked_at:
            return
        self._files_looked_at = True
        reasons = await trio.to_thread.run_sync(replaceable_server_files, self.config)
        if reasons:
            self._log.warning("command_replaceable", reason="; ".join(reasons[:_MOST_REASONS]))

    async def _check_approved(self) -> None:
        await self._resolve()
        await self._look_at_files()
        if not (self.config.pin or self.config.needs_pin):
            return
        try:
            await trio.to_thread.run_sync(self._approval.check, self.config)
        except PinMismatch as fault:
            if not self.unapproved:
                self._log.error("it is not started", reason=str(fault))
            self.unapproved = True
            raise
        self.unapproved = False

    async def _spawn(self, launch: Launch, owner: ProcessOwner | None) -> Child:
        await self._check_approved()
        hidden = owner.client_environment.secrets if owner is not None else ()
        self.server_log.hide(hidden)
        try:
            with explained(launch):
                child = await self._spawner.spawn(launch, limits=self._limits, poller=self._poller)
            if self._nursery is None:
                await _dispose_of(child)
                raise stopping()
        except BaseException:
            self.server_log.unhide(hidden)
            raise
        child.watchers = self.server_log.watchers
        startup = Startup(
            child, self._limits, partial(self.server_log.stdout, child.pid), partial(self._answered, child)
        )
        self._startups[child] = startup, trio.current_time()
        if owner is not None:
            startup.attach(owner.on_line)
        self._children[child] = owner
        self._soon(self._serve_child, child)
        self.server_log.started(child.pid)
        return child

    def _not_started(self, fault: SpawnFailed, breaker: CircuitBreaker | None = None) -> None:
        self.server_log.not_started(str(fault))
        if not isinstance(fault, PinMismatch | NotResolved):
            self.server_log.start_failed(StartFault(f"was not started: {fault}"))
        # The breaker counts processes, and none was started.
        if breaker is not None and not isinstance(fault, PinMismatch | NotResolved):
            breaker.on_failure(trio.current_time())

    async def _make_standbys(self) -> None:
        """Start what is missing of the spare processes, each after the pause that deaths demand, unless we are about to end."""
        while len(self._standbys) + self._warming < self._ahead and not self._closed:
            self._warming += 1
            try:
                await trio.sleep(self._breaker.pause(trio.current_time()))
                if self._closed or len(self._standbys) + self._warming > self._ahead:
                    return  # meanwhile
                await self._resolve()
                self._breaker.on_start(trio.current_time())
                child = await self._spawn(self.config.launch, None)
                if self._closed:  # meanwhile
                    child.stop()
                else:
                    self._standbys.append(child)
            except SpawnFailed as fault:
                self._not_started(fault, self._breaker)
                self._log.warning("no spare process can be started", reason=str(fault))
                return  # the next session tries again
            finally:
                self._warming -= 1

    async def _learn_era(self) -> None:
        # Also how a server that cannot be started is known before a client asks.
        if not self._era_cache.for_modern_client(trio.current_time()):
            try:
                await self._probe()
            except Rejection as rejection:
                self._log.warning("the server cannot be asked for its era", reason=str(rejection))

    def _look_for_life(self, now: float) -> None:
        for child, liveness in self._livenesss.items():
            before = liveness.silent
            liveness.on_tick(now)
            if liveness.silent and not before:
                self._log.warning(
                    "a process does not answer", pid=child.pid, seconds=self._limits.ping_seconds
                )

    async def _serve_child(self, child: Child) -> None:
        log = partial(self.server_log.stderr, child.pid)
        try:
            await child.run(log, partial(self._exited, child), self.server_log.redactor())
        except Exception as fault:  # noqa: BLE001 - the boundary of one child: a fault of ours costs its callers only
            self._log.error("internal error", pid=child.pid, fault=fault)
            owner = self._children[child]
            if owner is not None:
                self._end(owner, "an internal error")
        finally:
            last = self._children.pop(child)
            if last is not None:
                self.server_log.unhide(last.client_environment.secrets)
            self._livenesss.pop(child, None)
            del self._startups[child]
            self._one_less.unpark_all()

    def _exited(self, child: Child, exit_: Exit) -> None:
        owner = self._children[child]
        startup, since = self._startups[child]
        if owner is None and child in self._standbys:
            self._standbys.remove(child)
            self._breaker.on_failure(trio.current_time())
            self.server_log.died(child.pid, exit_)
            if trio.current_time() - since < _SOON:
                self.server_log.start_failed(StartFault(exit_.describe(), self._output(child), ended=True))
            self._soon(self._make_standbys)
        if owner is None or owner.ended or not owner.is_served_by(child):
            return
        if self._probing is not None and self._is_beside(owner):
            self._probing.settled.set()
            # It may have lacked what its sibling had, such as a lock or a port, and is started again by the first request.
            self._log.info("process_beside_exited", pid=child.pid, how=exit_.describe())
            owner.on_exit(f"the server {exit_.describe()}", {"reason": "exited"})
            return
        self._breaker_of(owner.principal, owner.client_environment).on_failure(trio.current_time())
        self.server_log.died(child.pid, exit_)
        # What it has written may be about any principal that it has served.
        alone = len(owner.principals) <= 1
        text = f"the server {exit_.describe()}"
        data: dict[str, object] = {
            "reason": "exited",
            "code": exit_.code,
            "signal": exit_.signal,
            "stderr": self.server_log.tail(child.pid) if alone else [],
        }
        if not startup.over:
            before = "before its first answer" if owner.speaks_modern else "before it answered initialize"
            fault = StartFault(f"{exit_.describe()} {before}", self._output(child), ended=True)
            self._start_failed(owner, fault)
            text, data = _told(fault, data, alone=alone)
        owner.on_exit(text, data)

    def _start_again(self, owner: ProcessOwner) -> None:
        self._soon(self._guarded, owner, self._revive, owner)

    def _is_ending(self, process: SharedProcess) -> bool:
        # Its predecessor may hold what only one process can have.
        return any(
            isinstance(other, SharedProcess)
            and other.ended
            and (other.principal, other.client_environment) == (process.principal, process.client_environment)
            for other in self._children.values()
        )

    async def _revive(self, owner: ProcessOwner) -> None:
        if isinstance(owner, SharedProcess) and self._probing is not None:
            # The sibling may hold what only one process can have, such as a lock or a port.
            await self._probing.over.wait()
            if self._era_cache.for_modern_client(trio.current_time()) == era_cache.MODERN:
                self._translate_members(owner)
                return
        while isinstance(owner, SharedProcess) and self._is_ending(owner):
            await self._one_less.park()
        breaker = self._breaker_of(owner.principal, owner.client_environment)
        now = trio.current_time()
        if not breaker.is_open(now):
            await trio.sleep(breaker.pause(now))
            now = trio.current_time()  # others have waited as well, and one may be on trial
        if breaker.is_open(now):
            owner.failed(
                self._why_tripped(breaker, now, owner.principal),
                {"reason": "restarts", "retry_after": math.ceil(breaker.pause(now))},
            )
            return
        if owner.ended:  # meanwhile
            return
        try:
            await self._start(owner)
        except NotOfThisEra as fault:
            if isinstance(owner, MultiplexedProcess):
                self._move(owner, str(fault))
                return
            if isinstance(owner, LocalConversation):
                owner.make = None
            await self._start(owner)
        except SpawnFailed as fault:
            self._not_started(fault, breaker)
            owner.failed(str(fault), {"reason": "not started"})

    def later(self, owner: ProcessOwner, seconds: float, call: Callable[[], None]) -> None:
        """Call back after so many seconds (conversation.Around)."""
        self._soon(self._guarded, owner, self._wait_and_call, seconds, call)

    async def _wait_and_call(self, seconds: float, call: Callable[[], None]) -> None:
        await trio.sleep(seconds)
        call()


def _told(fault: StartFault, data: dict[str, object], *, alone: bool) -> tuple[str, dict[str, object]]:
    """Return the text and the data of an error; what was printed is for a client that is `alone` with the process."""
    if not alone:
        return f"the server {fault.reason}", data
    stdout, stderr = map(list, fault.output)
    found: dict[str, object] = {**data, "stdout": stdout, "stderr": stderr}
    if fault.hint:
        found["hint"] = fault.hint
    return f"the server {fault.summary}", found


async def _dispose_of(child: Child) -> None:
    with trio.CancelScope() as over:
        over.cancel()
        await child.run(_unheard, _unheard)


def _unheard(_told: object) -> None:
    """Nobody is there to be told."""
