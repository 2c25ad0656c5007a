"""One stdio server with its sessions, its stateless clients and its processes (transports.ports.Backend).

The parts are in modules of their own: `sessions` and `place_finder` find the process for a client, `process_starter` and
`process_pool` start it, `start_checks` and `circuit_breakers` may refuse that, `era_discovery` finds its revision.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Final

import trio

from ...transports.client_process import UNKNOWN, Caller
from ...transports.open_pipes import OpenPipes
from ...transports.ports import ModernRequest
from ...transports.send_queue import OPEN, SendQueue, forwards, transport_of
from ...transports.ticker import HELD_UP
from ...validators.jsonrpc import Notification
from ...validators.rejection import Rejection
from ...validators.revisions import MODERN_REVISION
from ..config.settings import ServerConfig
from ..core import extensions
from ..core.attribution import Client
from ..core.client_environment import NOTHING
from ..core.definition_guard import DefinitionGuard
from ..core.effects import RequestFinished, failed_with, finished
from ..core.grants import Roles
from ..core.requests import ClientRequest
from .client_environments import ClientEnvironments
from .common_parts import DaemonParts
from .connected_clients import ConnectedClient, StatelessClients, connected_clients
from .conversation import LocalConversation
from .message_reader import tick_reader
from .multiplexed_process import MultiplexedProcess
from .policies import RoleTable
from .server_log import ServerLog
from .server_parts import ServerParts
from .tasks import STOPPING, stopping

# The time between two rounds for the time limits (seconds).
_ROUND: Final = 1.0
# The time between two looks at the calls in flight of a server that is to end (seconds).
_DRAIN_ROUND: Final = 0.02


class LocalServer:
    """One server. `run` must be running for `open` and `start_request` to work.

    `roles` may change (`on_permissions_changed`). Without, every principal may use everything.
    """

    def __init__(
        self,
        config: ServerConfig,
        daemon: DaemonParts,
        server_log: ServerLog,
        roles: RoleTable | None = None,
    ) -> None:
        self.name = config.name
        self.server_log = server_log
        server_log.history.begin_again()
        self._environments = ClientEnvironments(config, server_log)
        self.pipes = OpenPipes()
        # Connections that have carried a stateless request. They are closed with the server; those that are closed are
        # removed in each round.
        self._pipes: set[SendQueue] = set()
        self._stateless = StatelessClients()
        self._parts = parts = ServerParts(config, daemon, server_log, Roles() if roles is None else roles)
        # Those that each request needs.
        self._tasks = parts.common.tasks
        self._policies = parts.common.policies
        self._places = parts.places
        self._sessions = parts.sessions
        # The rates of requests.
        self._guard = daemon.rates.guard(config.name)

    # ---- from the start to the end

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Then no process is left, and every request has a response."""
        try:
            async with trio.open_nursery() as nursery:
                self._tasks.nursery = nursery
                try:
                    await self._tick(task_status)
                finally:
                    self._tasks.nursery = None
        finally:
            self._end_all("the bridge has ended its server")
            self.server_log.counted.flush()

    async def _tick(self, task_status: trio.TaskStatus[None]) -> None:
        self._parts.common.checks.begin()
        self._parts.starter.warm()
        task_status.started()
        held_up = False
        while True:
            planned = trio.current_time() + _ROUND
            await trio.sleep_until(planned)
            # After a time in which the whole bridge stood still no limit counts at once.
            held_up = not held_up and trio.current_time() >= planned + HELD_UP
            if not held_up:
                self._on_tick(trio.current_time())

    def _on_tick(self, now: float) -> None:
        self.server_log.on_tick()
        self._sessions.close_expired(now)
        for owner in (*self._sessions, *self._places.upstreams, *self._parts.shared.all):
            with self._tasks.guarding(owner):
                owner.on_tick(now)
                tick_reader(owner.on_line)
        self._pipes = {queue for queue in self._pipes if queue.state == OPEN}
        self._parts.pool.on_tick(now)
        self._parts.common.breakers.on_tick(now)
        for place in self._places:
            reason = place.why_over(self.config.limits, now)
            if reason:
                self._parts.close_place(place, reason)
        self._parts.shared.close_idle(now)
        self.server_log.counted.tick(now)

    def introduce(self, line: bytes) -> None:
        """Send this line to each process, and to each later one before any message (the aggregate)."""
        self._parts.pool.introduce(line)

    def restart(self) -> None:
        """Stop each process when its calls have ended, and drop what went wrong before.

        Sessions stay open: their next request starts another process.
        """
        self.server_log.history.restarts += 1
        self.server_log.history.begin_again()
        self._parts.restart()

    async def drain(self, refusal: str = STOPPING, *, moves: bool = True) -> None:
        """Refuse new requests with this reason, and wait until every call in flight has a response.

        With `moves` the clients of pipe connections connect again, to this or to another daemon or server. Before requests
        are refused, these clients are asked to send none.
        """
        self.pipes.refusal = refusal
        if moves:
            await self.pipes.drain()
        self._tasks.closed = refusal
        self._parts.discovery.drain()
        self._parts.common.checks.drain()
        for conversation in self._sessions:
            conversation.draining = refusal
            conversation.read_on()
        for upstream in self._places.upstreams:
            upstream.read_on()
        while self.in_flight or self.pipes.finishing:  # noqa: ASYNC110 - an event for each call would cost all of them
            await trio.sleep(_DRAIN_ROUND)

    async def close(self, reason: str, exit_code: int = 0) -> None:
        """Close every session and stop its process; `emptied` waits for the exits.

        With an `exit_code` the clients of pipe connections exit with it and do not connect again.
        """
        self._tasks.closed = self._tasks.closed or STOPPING
        self.pipes.refusal = self.pipes.refusal or STOPPING
        if exit_code:
            self.pipes.set_exit_code(exit_code)
        self._end_all(reason)
        await trio.lowlevel.checkpoint()

    def _end_all(self, reason: str) -> None:
        for conversation in self._sessions:
            conversation.end(reason)
        for place in self._places:
            self._parts.close_place(place, reason)
        self._parts.shared.end_all(reason)
        self._parts.pool.stop_standbys()
        while self._pipes:
            # A client that connects again may reach another server.
            self._pipes.pop().close(reason)
        self.pipes.close(reason)

    async def emptied(self) -> None:
        """Wait until every process has exited."""
        await self._parts.common.processes.wait_until_empty()

    async def resolved(self) -> None:
        """Wait until the secrets that are being read have been read, or could not be."""
        await self._parts.common.checks.wait()

    # ---- state

    @property
    def config(self) -> ServerConfig:
        """The configuration, with the secrets that were read."""
        return self._parts.common.checks.config

    @config.setter
    def config(self, config: ServerConfig) -> None:
        self._parts.common.checks.config = config

    @property
    def pids(self) -> tuple[int, ...]:
        """The ids of the running processes."""
        return self._parts.common.processes.pids

    @property
    def transferred(self) -> tuple[int, int]:
        """The bytes that were read from stdout and written to stdin of all its processes, without those of era probes."""
        return self._parts.common.processes.transferred

    @property
    def principals_by_pid(self) -> dict[int, str]:
        """The principal of each running process that has an owner, by pid."""
        return self._parts.common.processes.principals

    @property
    def connections(self) -> int:
        """The number of connections to a remote server."""
        return self._parts.common.processes.connections

    @property
    def directories(self) -> dict[int, str]:
        """The directory of each running process that runs in that of its client, by pid."""
        return self._parts.common.processes.directories

    @property
    def sessions(self) -> int:
        """The number of clients: those with a session, and stateless ones."""
        return len(self.clients)

    @property
    def clients(self) -> tuple[ConnectedClient, ...]:
        """The clients with a session, and the stateless clients of each process."""
        parts = self._parts
        return tuple(connected_clients(self._sessions, self._stateless, self._places, parts.common.processes))

    @property
    def in_flight(self) -> int:
        """The number of sessions and of processes of stateless clients with a call in flight."""
        return sum(owner.calling for owner in (*self._sessions, *self._places.upstreams))

    @property
    def unapproved(self) -> bool:
        """Whether the server is not started, because its command or a file of it is not the pinned one."""
        return self._parts.common.checks.pin_mismatch

    @property
    def login_required(self) -> str:
        """Why a remote server accepts no request before a login; empty if it does, as far as is known."""
        return self._parts.common.connector.login_required

    @property
    def failing(self) -> bool:
        """Whether the processes have exited so often that none is started for now."""
        return self._parts.common.breakers.tripped

    @property
    def open_breakers(self) -> int:
        """The number of circuit breakers that refuse starts: that of the server, and those of principals."""
        return self._parts.common.breakers.open_count

    @property
    def silent(self) -> tuple[int, ...]:
        """The ids of the processes that have not answered their last ping."""
        return self._parts.common.processes.silent

    @property
    def left_out(self) -> dict[str, str]:
        """The servers whose part is missing in the responses of this one, with the reasons (the aggregate)."""
        return self._places.left_out

    @property
    def ready(self) -> bool:
        """Whether a request would be served, as far as is known."""
        return not (
            self._tasks.closed
            or self.config.pending
            or self.config.fault
            or self.failing
            or self.unapproved
            or self.login_required
            or self.silent
            or self.server_log.history.fault is not None
        )

    @property
    def is_starting(self) -> bool:
        """Whether the start with the daemon (eager) has not ended: its secrets are read, or no process has responded yet."""
        return self.config.eager and (bool(self.config.pending) or self._parts.discovery.probe is not None)

    @property
    def state(self) -> str:
        """The state that `status` shows (mcp-bridge(1))."""
        if self.config.fault:
            return "failed"
        if self.login_required:
            return "login required"
        if self.failing:
            return "failing"
        if self.unapproved:
            return "unapproved"
        if self.silent:
            return "silent"
        if self.server_log.history.fault is not None:
            return "failed"
        if self.connections:
            return "connected"
        return "serving" if self.pids else "idle"

    @property
    def failure(self) -> str:
        """The reason of the state "failed", "failing" or "login required", empty in another state."""
        if self.config.fault:
            return self.config.fault
        if self.login_required:
            return self.login_required
        last = "the last process" if self.config.remote is None else "the last connection"
        if self.server_log.history.fault is not None:
            return f"{last} {self.server_log.history.fault.summary}"
        return f"{last} {self.server_log.history.last_exit}" if self.failing else ""

    @property
    def eras(self) -> dict[str, bool | None]:
        """Whether the server speaks each era, None where that is not known."""
        return self._parts.common.facts.known

    @property
    def pending_definitions(self) -> int:
        """The number of tools, prompts and resource templates that are not approved."""
        return self._parts.definitions.pending

    @property
    def definitions(self) -> DefinitionGuard | None:
        """Compares what the server lists with what is approved; None if it is not compared."""
        return self._parts.definitions.guard

    def approve_definitions(self, state: str) -> None:
        """Approve what is pending, if it is in this state, and notify clients. Raises ValueError."""
        if self.definitions is not None:
            self._parts.notify_lists(self.definitions.approve(state))

    # ---- ports.Backend

    async def open(
        self,
        principal: str,
        headers: Mapping[str, str],
        queue: SendQueue | None = None,
        *,
        lasts: bool = False,
    ) -> LocalConversation:
        """Open the session of a legacy client (ports.Backend)."""
        began = monotonic()
        try:
            if self._guard.on:
                transport = transport_of(queue, otherwise="sse")
                self._guard.take(principal, transport, None, began, forwarded=forwards(queue))
            client_environment = await self._environments.find(principal, headers)
            conversation = await self._sessions.open(principal, client_environment, queue, lasts=lasts)
        except Rejection as rejection:
            self.server_log.refused()
            if self.server_log.records_ends:
                outcome = failed_with(rejection.code)
                self.server_log.finish(RequestFinished(b"", "initialize", "", began, outcome, principal))
            raise
        conversation.caller.note_directory(headers)
        return conversation

    def find(self, session_id: str, principal: str) -> LocalConversation:
        """Return the session with this id of a principal (ports.Backend)."""
        return self._sessions.find(session_id, principal)

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
        """Send a request of a modern client to a process that may serve it (ports.Backend)."""
        since = self._begin(request) if self.server_log.records_ends else None
        try:
            if self._tasks.closed:
                raise stopping(self._tasks.closed)
            if self._guard.on:
                self._check_rates(principal, request, queue, pipe=pipe)
            if pipe and queue not in self._pipes:
                self._pipes.add(queue)
            client_environment = await self._environments.find(principal, headers)
            known = caller or Caller(name=UNKNOWN)
            found = await self._parts.finder.find(principal, client_environment, known, request)
            self._stateless.note(found[0], principal, known, request.envelope, queue, trio.current_time())
        except Rejection as rejection:
            self._refused(principal, request, queue, since, rejection)
            raise
        return self._request(found, principal, request, queue, since, caller, pipe=pipe)

    def start_request_now(
        self,
        principal: str,
        request: ModernRequest,
        queue: SendQueue,
        caller: Caller,
        *,
        pipe: bool = False,
    ) -> MultiplexedProcess | None:
        """Send a request to the process of an earlier one that declared the same, if there is one (ports.Backend)."""
        if self._tasks.closed or self._environments.differ or request.envelope.state is not None:
            return None
        # `start_request` adds it.
        if pipe and queue not in self._pipes:
            return None
        found = self._places.look_up(principal, NOTHING, caller, request.envelope)
        if found is None:
            return None
        since = self._begin(request) if self.server_log.records_ends else None
        if self._guard.on:
            try:
                self._check_rates(principal, request, queue, pipe=pipe)
            except Rejection as rejection:
                self._refused(principal, request, queue, since, rejection)
                raise
        return self._request(found, principal, request, queue, since, caller, pipe=pipe)

    def _check_rates(self, principal: str, request: ModernRequest, queue: SendQueue, *, pipe: bool) -> None:
        tool = request.envelope.name if request.request.method == "tools/call" else None
        carrier = queue if pipe else None
        self._guard.take(principal, transport_of(carrier), tool, monotonic(), forwarded=forwards(carrier))

    def _begin(self, request: ModernRequest) -> float:
        """Return the time of a request whose end is recorded."""
        if self.server_log.reads_traces:
            return self.server_log.begin(request.request.params, request.headers)
        return monotonic()

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
        upstream, client = found
        message, envelope, headers = request
        policy = self._policies.find(principal)
        try:
            if self.server_log.gate is not None:
                self.server_log.gate.from_client(message, MODERN_REVISION, principal=principal)
            upstream.request(
                ClientRequest(
                    principal, message, envelope, headers, queue, pipe, policy, since, client, caller
                )
            )
        except Rejection as rejection:
            self._refused(principal, request, queue, since, rejection)
            raise
        self.server_log.calls += 1
        return upstream

    def _refused(
        self,
        principal: str,
        request: ModernRequest,
        queue: SendQueue,
        since: float | None,
        rejection: Rejection,
    ) -> None:
        self.server_log.refused()
        self.server_log.denied(rejection, principal, request.request.method, request.envelope.name)
        refused = ClientRequest(principal, *request, queue, pipe=False, since=since)
        for effect in finished(refused, failed_with(rejection.code)):
            self.server_log.finish(effect)

    async def notify(
        self,
        principal: str,
        headers: Mapping[str, str],
        message: Notification,
        caller: Caller | None = None,
    ) -> None:
        """Send a notification of a modern client to the process that was opened last for it (ports.Backend).

        Notifications of the core mean nothing in the modern era and are dropped.
        """
        if extensions.is_core(message.method) or self._policies.find(principal).denied(message.method):
            return
        client_environment = await self._environments.find(principal, headers)
        await self._parts.finder.notify(
            principal, client_environment, caller or Caller(name=UNKNOWN), message
        )

    def on_permissions_changed(self, principal: str) -> None:
        """Close what a principal has open, because its permissions have changed."""
        for conversation in self._sessions:
            if conversation.principal == principal:
                conversation.end("the rights of its token have changed")
        self._places.drop_lookups()
        for upstream in self._places.upstreams:
            upstream.on_permissions_changed(principal)
