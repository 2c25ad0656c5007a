"""One stdio server and everybody's conversations with it (transports.ports.Backend).

Decides where a child lives: with the session of a legacy client, with the client or the principal of modern ones, or
one for all. Starts children, ends them with whom they serve, and keeps a server that dies at once from being started
for ever.
"""

import math
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

import trio

from ...transports.client_process import UNKNOWN, Caller
from ...transports.options import LOCAL, SpawnFailed
from ...transports.poller import Poller
from ...transports.ports import Log, ModernRequest
from ...transports.process.spawner import Spawner
from ...transports.send_queue import OPEN, SendQueue
from ...transports.ticker import HELD_UP
from ...validators.jsonrpc import Notification
from ...validators.rejection import INVALID_PARAMS, SERVER_ERROR, Rejection
from ...validators.stateless_request import Envelope
from ..config.credentials import PRINCIPAL
from ..config.package_spec import downloads_without_lock
from ..config.settings import ServerConfig, TokenConfig
from ..core import era_cache, extensions
from ..core.access_policy import AccessPolicy
from ..core.attribution import Client, Origins
from ..core.client_environment import NOTHING, ClientEnvironment, environment_from_headers
from ..core.effects import failed_with
from ..core.multiplexer import Multiplexer
from ..core.request_state import StateSigner, binding
from ..core.requests import ClientRequest
from ..core.session_table import SessionTable
from ..core.shared_upstream import SharedUpstream
from ..eras.client_handshake import DEFAULT_LEVEL
from ..eras.legacy_adapter import LegacyAdapter
from ..eras.modern_adapter import ModernAdapter
from ..eras.rules_legacy_to_modern import EVERY_PROFILE, Profile
from .circuit_breakers import CircuitBreakers
from .conversation import LocalConversation
from .era_discovery import EraDiscovery, NotOfThisEra
from .era_facts import EraFacts
from .era_store import EraStore
from .multiplexed_process import MultiplexedProcess, call_of
from .placement import Declared, ForwardingUpstream, Key, Place, client_of, declared, fingerprint, of_session
from .process_owner import ProcessOwner
from .process_pool import ProcessPool
from .process_table import ProcessTable
from .server_log import Call, ServerLog
from .shared_process import SharedProcess
from .start_checks import StartChecks
from .start_monitor import StartMonitor
from .tasks import STOPPING, ServerTasks, stopping

# How long to wait between looks at the clock for idle sessions, in seconds.
_ROUND = 1.0
# And between looks at the calls in flight of a server that is to end.
_DRAIN_ROUND = 0.02


# Requests whose process is found without a look at what they declare, and the bytes of theirs that are compared for it.
_QUICK = 1024
_QUICK_BYTES = 2048
# The client of requests in whose course nothing can be asked.
_NOBODY = Client("", known=False)
# What a process that several clients share is told.
_EVERYTHING_DECLARED = Declared(EVERY_PROFILE)


class LocalServer:
    """The conversations of one server. `run` must be running for `open` and `start_request` to work."""

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
        self.server_log = server_log
        server_log.start_fault = None
        self._limits = limits = config.limits
        self._log: Log = server_log
        self._version = version
        self._roles: Mapping[str, TokenConfig] = {} if roles is None else roles
        self._policy = config.policy
        self._choices: dict[str, AccessPolicy] = {}  # of principals with a role
        self._session_table: SessionTable[LocalConversation] = SessionTable(limits)
        self._wanted = config.from_headers
        self._tasks = ServerTasks(server_log, self._end)
        self._checks = StartChecks(config, server_log, self._tasks)
        self._breakers = CircuitBreakers(server_log)
        self._table = ProcessTable(server_log)
        self._facts = EraFacts(self._checks, server_log, self._tasks, facts)
        self._discovery = EraDiscovery(
            spawner,
            poller,
            self._checks,
            self._breakers,
            self._table,
            self._facts,
            server_log,
            self._tasks,
            self._close_place,
        )
        self._monitor = StartMonitor(
            limits, self._breakers, self._table, self._facts, self._discovery, server_log, self._tasks
        )
        self._pool = ProcessPool(
            spawner,
            poller,
            self._checks,
            self._breakers,
            self._table,
            self._monitor,
            server_log,
            self._tasks,
        )
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
                self._tasks.nursery = nursery
                try:
                    await self._live(task_status)
                finally:
                    self._tasks.nursery = None
        finally:
            self._end_all("the bridge has ended its server")

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        self._checks.begin()
        self._begin_ahead()
        task_status.started()
        held_up = False
        while True:
            planned = trio.current_time() + _ROUND
            await trio.sleep_until(planned)
            held_up = not held_up and trio.current_time() >= planned + HELD_UP
            if not held_up:
                self._look_at_the_clock(trio.current_time())

    def _look_at_the_clock(self, now: float) -> None:
        for conversation in self._session_table.expired(now):
            conversation.end("it was idle, or old, for too long")
        for owner in (
            *self._session_table,
            *self._multiplexed_processes.values(),
            *self._processes.values(),
            *self._leaving,
        ):
            with self._tasks.guarding(owner):
                owner.on_tick(now)
        self._pipes = {queue for queue in self._pipes if queue.state == OPEN}
        self._pool.on_tick(now)
        self._breakers.on_tick(now)
        for place in list(self._places.values()):
            reason = self._why_over(place, now)
            if reason:
                self._close_place(place, reason)
        for process in tuple(self._processes.values()):
            if now - process.touched > self._limits.session_idle_seconds:
                self._end(process, "it was idle for too long")

    def _begin_ahead(self) -> None:
        config = self.config
        self._pool.want(max(config.spare, 1 if config.eager else 0))
        if config.shares and config.eager:
            self._tasks.start_soon(self._learn_era_first)
            return
        self._tasks.start_soon(self._pool.warm)
        if config.eager:
            self._tasks.start_soon(self._discovery.learn)

    async def _learn_era_first(self) -> None:
        # A probe must not take a lock or a port from the process that serves.
        await self._discovery.learn()
        await self._pool.warm()

    def introduce(self, line: bytes) -> None:
        """Send this line to each process, and to each later one before any message (the aggregate)."""
        self._pool.introduce(line)

    def restart(self) -> None:
        """Let the processes leave that there are, each when it has answered what it was asked.

        Sessions go on: their next request finds another process. What has gone wrong before does not count any more.
        """
        self._breakers.reset()
        self.server_log.start_fault = None
        self._facts.restart()
        self._checks.restart()
        self._pool.stop_standbys()
        leaving: dict[ProcessOwner, None] = dict.fromkeys(
            [
                *self._multiplexed_processes.values(),
                *self._processes.values(),
                *self._table.owners,
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
        self._tasks.start_soon(self._renew, leaving)
        self._begin_ahead()

    async def _renew(self, leaving: dict[ProcessOwner, None]) -> None:
        end = trio.current_time() + self._limits.drain_seconds
        while leaving:
            over = trio.current_time() >= end
            for owner in [one for one in leaving if over or not one.calling]:
                del leaving[owner]
                with self._tasks.guarding(owner):
                    owner.discard("the server was restarted")
                if isinstance(owner, MultiplexedProcess):
                    self._forget(owner)
                elif isinstance(owner, SharedProcess):
                    self._leaving.discard(owner)
            await trio.sleep(_DRAIN_ROUND)

    async def drain(self, refusal: str = STOPPING) -> None:
        """Take nothing new, and wait until every call in flight is answered."""
        self._tasks.closed = refusal
        self._discovery.drain()
        self._checks.drain()
        for conversation in self._session_table:
            conversation.draining = refusal
            conversation.read_on()
        for multiplexed in self._multiplexed_processes.values():
            multiplexed.read_on()
        while self.in_flight:  # noqa: ASYNC110 - an event for each call would cost all of them
            await trio.sleep(_DRAIN_ROUND)

    async def close(self, reason: str) -> None:
        """End every session. Their children get their time to leave; `emptied` waits for them."""
        self._tasks.closed = self._tasks.closed or STOPPING
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
        self._pool.stop_standbys()
        while self._pipes:
            self._pipes.pop().close(reason)  # on another connection there may be another server

    async def emptied(self) -> None:
        """Wait until no child is left."""
        await self._table.wait_until_empty()

    async def resolved(self) -> None:
        """Wait until it is known whether the server can be started, if that is being found out."""
        await self._checks.wait()

    # ---- how it is

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that were started and are alive."""
        return self._table.pids

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
    def config(self) -> ServerConfig:
        """The configuration, with the secrets that were read."""
        return self._checks.config

    @config.setter
    def config(self, config: ServerConfig) -> None:
        self._checks.config = config

    @property
    def unapproved(self) -> bool:
        """Whether the server is not started, because its command or a file of it is not the pinned one."""
        return self._checks.pin_mismatch

    @property
    def failing(self) -> bool:
        """Whether the processes have exited so often that none is started for now."""
        return self._breakers.tripped

    @property
    def silent(self) -> tuple[int, ...]:
        """The ids of the processes that have not answered their last ping."""
        return self._table.silent

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
            self._tasks.closed
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
        return self._facts.known

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
        self._check_open(principal, client_environment)
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
            if not self._facts.was_recalled:
                await self._facts.recall()
            if not self.config.shares:  # or else a process is started by its first message
                era = self._facts.cache.for_legacy_client(now)
                conversation.doubtful = not era
                conversation.believed = era == era_cache.LEGACY and self.config.era == "auto"
                conversation.make = self._to_modern if era == era_cache.MODERN else None
                try:
                    await self._start(conversation)
                except NotOfThisEra:
                    conversation.make, conversation.doubtful = None, True
                    await self._start(conversation)
        except SpawnFailed as fault:
            self._breakers.not_started(fault)
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
            if self._tasks.closed:
                raise stopping(self._tasks.closed)
            if pipe and queue not in self._pipes:
                self._pipes.add(queue)
            client_environment = environment_from_headers(headers, self._wanted) if self._wanted else NOTHING
            found = await self._find_multiplexed(
                principal, client_environment, caller or Caller(name=UNKNOWN), request
            )
        except Rejection as rejection:
            self._refused(principal, request, queue, since, rejection)
            raise
        return self._request(found, principal, request, queue, since, caller, pipe=pipe)

    def start_request_now(
        self, principal: str, request: ModernRequest, queue: SendQueue, caller: Caller
    ) -> MultiplexedProcess | None:
        """Hand a request to the child that serves others like it, if there is one (ports.Backend)."""
        if self._tasks.closed or self._wanted or request.envelope.state is not None:
            return None
        found = self._known_multiplexed(principal, NOTHING, caller, request.envelope)
        if found is None:
            return None
        since = trio.current_time() if self.server_log.tells else None
        return self._request(found, principal, request, queue, since, caller, pipe=False)

    def _request(
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
            multiplexed.request(
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

    def _check_open(self, principal: str, client_environment: ClientEnvironment) -> None:
        self._tasks.check_open()
        self._breakers.check(principal, client_environment)

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
        await self._facts.recall()
        if not self._facts.for_modern_client and self._has_own_process(modern=False):
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
            or not self._breakers.find(principal, client_environment).is_closed(now)
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
            if not self._facts.for_modern_client:
                await self._discovery.run_probe(principal, beside)
            era = self._facts.for_modern_client
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
        self._check_open(key.principal, key.client_environment)
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
            start=self.start_again,
            later=self._tasks.call_later,
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
        process = self._table.current(place.multiplexed)
        if process is not None:
            self._monitor.on_client_left(place.multiplexed, trio.current_time() - process.started)
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
        probe = self._discovery.probe_beside(multiplexed)
        if probe is not None:
            probe.refused = self._table.has_refused(multiplexed)
            probe.settled.set()
            self._end(multiplexed, text)
            return
        old = self._facts.cache.is_restored
        self.mismatched(text)
        if old and not multiplexed.speaks_modern and self._table.has_refused(multiplexed):
            self._move(multiplexed, text)
            return
        if not multiplexed.speaks_modern:
            multiplexed.not_opened(*self._monitor.late(multiplexed, text))
        self._end(multiplexed, text)

    # ---- legacy clients that share a legacy process

    def shared_process(self, conversation: LocalConversation) -> SharedProcess | None:
        """The process for a session that shares it (conversation.Around)."""
        key = Key(self._sharer(conversation.principal), conversation.client_environment)
        known = self._facts.for_modern_client
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
        if not self._facts.for_modern_client:
            await self._discovery.run_probe()
        return self._facts.for_modern_client

    def _process_of(self, key: Key) -> SharedProcess:
        process = self._processes.get(key)
        if process is not None:
            return process
        now = trio.current_time()
        self._check_open(key.principal, key.client_environment)
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
        self.start_again(process)

    def opened(self, _process: SharedProcess) -> None:
        """A child has accepted `initialize` (shared_process.ProcessOwner)."""
        if not self._facts.known[era_cache.LEGACY]:
            self._facts.opened(legacy=True)

    def unopened(self, process: SharedProcess, otherwise: Callable[[], None], *, refused: bool) -> None:
        """A child has not accepted `initialize` (shared_process.ProcessOwner)."""
        if refused:
            self._facts.cache.on_mismatch()
            self._facts.remember()
        self._tasks.start_guarded(process, self._shared_opinion, process, otherwise)

    def fault(self, fault: Exception) -> None:
        """An error of ours has cost one session (shared_process.ProcessOwner)."""
        self._log.error("internal error", fault=fault)

    async def _shared_opinion(self, process: SharedProcess, otherwise: Callable[[], None]) -> None:
        if await self._discovery.is_legacy_only():
            self._monitor.resolve(process)
            otherwise()
            return
        self._facts.opened(legacy=False)
        self._translate_members(process)

    def _translate_members(self, process: SharedProcess) -> None:
        for member in process.members:
            if isinstance(member, LocalConversation):
                member.translate_shared(self._to_modern)
            elif isinstance(member, MultiplexedProcess):
                self._move(member, "the server speaks the modern era")
        self._end(process, "the server speaks the modern era")

    def _end(self, owner: ProcessOwner, reason: str) -> None:
        self._monitor.drop(owner)
        if isinstance(owner, MultiplexedProcess):
            self._forget(owner)
        self._processes = {key: one for key, one in self._processes.items() if one is not owner}
        owner.end(reason)

    # ---- legacy clients: sessions

    def _to_modern(self) -> ModernAdapter:
        own = self.config.knows_principal
        level = "" if self._policy.denied("logging/setLevel") else DEFAULT_LEVEL
        return ModernAdapter(self._limits, lambda: secrets.token_hex(16), self.name, own=own, level=level)

    def over(self, conversation: LocalConversation) -> None:
        """It has ended (conversation.Around)."""
        self._monitor.on_client_left(conversation, conversation.unanswered)
        self._session_table.remove(conversation.id)

    def revive(self, conversation: LocalConversation) -> None:
        """It needs another child (conversation.Around)."""
        self.start_again(conversation)

    def mismatched(self, text: str) -> None:
        """What is known of its eras is wrong (conversation.Around)."""
        self._facts.mismatched(text)

    def late(self, owner: ProcessOwner, text: str) -> tuple[str, dict[str, object]]:
        """Return the text and the data of the error that ends a start, which has failed for this reason (conversation.Around)."""
        return self._monitor.late(owner, text)

    def later(self, owner: ProcessOwner, seconds: float, call: Callable[[], None]) -> None:
        """Call back after so many seconds (conversation.Around)."""
        self._tasks.call_later(owner, seconds, call)

    def fetch_multiplexed(self, conversation: LocalConversation, capabilities: bytes) -> None:
        """It needs a desk (conversation.Around)."""
        self._tasks.start_guarded(conversation, self._fetch_multiplexed, conversation, capabilities)

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
        if opened:
            self._facts.opened(legacy=True)
            self._facts.remember()
            return
        self._tasks.start_guarded(conversation, self._second_opinion, conversation)

    async def _second_opinion(self, conversation: LocalConversation) -> None:
        if await self._discovery.is_legacy_only():
            self._monitor.resolve(conversation)
            conversation.settle(None)
            return
        self._monitor.drop(conversation)
        self._facts.opened(legacy=False)
        conversation.settle(self._to_modern)
        try:
            await self._start(conversation)
        except SpawnFailed as fault:
            self._breakers.not_started(fault)
            conversation.failed(str(fault), {"reason": "not started"})

    # ---- children

    async def _start(self, owner: ProcessOwner) -> None:
        process = await self._pool.assign(owner)
        if owner.speaks_modern and self._facts.cache.is_restored:
            await self._discovery.confirm(process, owner)
        owner.on_start(process.child)

    def _move(self, multiplexed: MultiplexedProcess, text: str) -> None:
        """Give the requests of a desk, none of which its process was given, to a process in another era."""
        self._log.info("requests_moved", reason=text)
        multiplexed.take_back()
        self._end(multiplexed, text)
        self._tasks.start_guarded(multiplexed, self._place_again, multiplexed, text)

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
                    found.request(asked._replace(client=client, moved=True))
                    multiplexed.move(asked, found)
            except Rejection as rejection:
                if multiplexed.next_moving() is asked:
                    multiplexed.refuse(asked, rejection)

    def start_again(self, owner: ProcessOwner) -> None:
        """Start a process for an owner that had one, or needs its first."""
        self._tasks.start_guarded(owner, self._revive, owner)

    def _is_ending(self, process: SharedProcess) -> bool:
        # Its predecessor may hold what only one process can have.
        return any(
            isinstance(other, SharedProcess)
            and other.ended
            and (other.principal, other.client_environment) == (process.principal, process.client_environment)
            for other in self._table.owners
        )

    async def _revive(self, owner: ProcessOwner) -> None:
        probe = self._discovery.probe
        if isinstance(owner, SharedProcess) and probe is not None:
            # The probe may hold what only one process can have, such as a lock or a port.
            await probe.finished.wait()
            if self._facts.for_modern_client == era_cache.MODERN:
                self._translate_members(owner)
                return
        while isinstance(owner, SharedProcess) and self._is_ending(owner):
            await self._table.changed.park()
        breaker = self._breakers.find(owner.principal, owner.client_environment)
        now = trio.current_time()
        if not breaker.is_open(now):
            await trio.sleep(breaker.pause(now))
            now = trio.current_time()  # others have waited as well, and one may be on trial
        if breaker.is_open(now):
            owner.failed(
                self._breakers.why_tripped(breaker, now, owner.principal),
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
            self._breakers.not_started(fault, breaker)
            owner.failed(str(fault), {"reason": "not started"})
