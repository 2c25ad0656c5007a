"""Answer the requests of the commands: status, sessions, reload, restart, definitions, logs and tap. Served on the Unix socket only.

No request can start a program, or read a file, that the configuration does not name.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol
from urllib.parse import parse_qs

import msgspec

from ...transports.endpoints.rejections import method_not_allowed
from ...transports.endpoints.sse_writer import write_events
from ...transports.options import JSON, LOCAL
from ...transports.ports import Endpoint, Exchange
from ...transports.send_queue import SendQueue
from ...validators.counted import counted
from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, Rejection, retry_after
from ..config.settings import CONTROL, EMPTY
from ..core.suggestion import alternatives
from ..runtime.server import LocalServer
from ..runtime.server_log import ServerLog
from .daemon_info import DaemonInfo
from .message_tap import MessageTap
from .session_list import session_list
from .status import Status
from .supervisor import Supervisor

# Control connections that streams leave free for commands with a single answer.
_FOR_COMMANDS: Final = 4


class Reload(Protocol):
    """Reload the configuration, and return the changes. Raises ValueError if it is refused."""

    def __call__(self, *, may_be_empty: bool = False) -> Awaitable[object]: ...


class ControlApi:
    """The endpoints of the control API. `reload` returns the changes. `reload` and `restart` raise ValueError if refused."""

    def __init__(
        self,
        supervisor: Supervisor,
        status: Callable[[], Status],
        reload: Reload,
        restart: Callable[[str], Awaitable[None]],
        limits: Limits,
        daemon_info: Callable[[], DaemonInfo],
        token_uses: Callable[[], Mapping[str, float]],
    ) -> None:
        self._token_uses = token_uses
        self._daemon_info = daemon_info
        self._streams = 0
        self._most_streams = max(1, limits.connections_control - _FOR_COMMANDS)
        self._supervisor = supervisor
        self._status = status
        self._reload = reload
        self._restart = restart

    def table(self) -> dict[str, Endpoint]:
        """Return the endpoint of every path."""
        return {
            f"{CONTROL}/status": self._answer_status,
            f"{CONTROL}/sessions": self._answer_sessions,
            f"{CONTROL}/daemon": self._answer_daemon,
            f"{CONTROL}/tokens": self._answer_tokens,
            f"{CONTROL}/reload": self._answer_reload,
            f"{CONTROL}/restart": self._answer_restart,
            f"{CONTROL}/definitions": self._answer_definitions,
            f"{CONTROL}/logs": self._answer_logs,
            f"{CONTROL}/tap": self._answer_tap,
        }

    async def _answer_status(self, exchange: Exchange) -> None:
        _check(exchange, "GET")
        await exchange.answer(200, JSON, msgspec.json.encode(self._status()))

    async def _answer_sessions(self, exchange: Exchange) -> None:
        _check(exchange, "GET")
        await exchange.answer(200, JSON, msgspec.json.encode(session_list(self._supervisor)))

    async def _answer_daemon(self, exchange: Exchange) -> None:
        _check(exchange, "GET")
        await exchange.answer(200, JSON, msgspec.json.encode(self._daemon_info()))

    async def _answer_tokens(self, exchange: Exchange) -> None:
        _check(exchange, "GET")
        await exchange.answer(200, JSON, msgspec.json.encode(self._token_uses()))

    async def _answer_reload(self, exchange: Exchange) -> None:
        _check(exchange, "POST")
        try:
            changes = await self._reload(may_be_empty=exchange.head.query == EMPTY)
        except ValueError as fault:
            raise Rejection(409, INVALID_REQUEST, str(fault)) from None
        await exchange.answer(200, JSON, msgspec.json.encode(changes))

    async def _answer_restart(self, exchange: Exchange) -> None:
        _check(exchange, "POST")
        server = self._named(exchange)
        try:
            await self._restart(server.name)
        except ValueError as fault:
            raise Rejection(409, INVALID_REQUEST, str(fault)) from None
        await exchange.answer(200, JSON, b"{}")

    async def _answer_definitions(self, exchange: Exchange) -> None:
        """Return what is not approved of a server (GET), or approve it, if its state is still that of the query (POST)."""
        state = parse_qs(exchange.head.query).get("state", [""])[0]
        _check(exchange, "POST" if state else "GET")
        server = self._named(exchange)
        guard = server.definitions
        if state:
            try:
                server.approve_definitions(state)
            except ValueError as fault:
                raise Rejection(409, INVALID_REQUEST, str(fault)) from None
        found = (
            {"state": "", "changes": ()}
            if guard is None
            else {"state": guard.state, "changes": guard.changes()}
        )
        await exchange.answer(200, JSON, msgspec.json.encode(found))

    async def _answer_logs(self, exchange: Exchange) -> None:
        _check(exchange, "GET")
        logs = self._server_logs(exchange)
        entries = sorted((entry for log in logs for entry in log.buffer.entries()), key=lambda one: one.at)
        if "follow" not in parse_qs(exchange.head.query, keep_blank_values=True):
            await exchange.answer(200, JSON, msgspec.json.encode(entries))
            return
        queue = exchange.queue()
        queue.enqueue(msgspec.json.encode(entries))
        await self._follow(
            exchange,
            queue,
            logs,
            lambda log: log.buffer.follow_new(queue),
            lambda log: log.buffer.unfollow(queue),
        )

    async def _answer_tap(self, exchange: Exchange) -> None:
        _check(exchange, "GET")
        queue = exchange.queue()
        tap = MessageTap(queue.enqueue)
        await self._follow(exchange, queue, self._server_logs(exchange), tap.begin, tap.end)

    async def _follow(
        self,
        exchange: Exchange,
        queue: SendQueue,
        logs: Iterable[ServerLog],
        begin: Callable[[ServerLog], None],
        end: Callable[[ServerLog], None],
    ) -> None:
        """Send the queue as a stream. `begin` and `end` add it to a log and remove it, also of servers that are added later."""
        followed: list[ServerLog] = []

        def add(log: ServerLog) -> None:
            begin(log)
            followed.append(log)

        follows_all = not _server_in(exchange)
        if follows_all:
            self._supervisor.log_observers.append(add)
        try:
            for log in logs:
                add(log)
            await self._stream(exchange, queue)
        finally:
            if follows_all:
                self._supervisor.log_observers.remove(add)
            for log in followed:
                end(log)

    async def _stream(self, exchange: Exchange, queue: SendQueue) -> None:
        if self._streams >= self._most_streams:
            raise Rejection(
                503,
                INVALID_REQUEST,
                f"the limit of {counted(self._most_streams, 'stream')} to control endpoints is reached (limits.connections_control)",
                headers=retry_after(1),
                reason="connections_control",
            )
        self._streams += 1
        try:
            exchange.attach(queue, ends_with_client=True)
            await exchange.begin_stream()
            await write_events(exchange, queue)
        finally:
            self._streams -= 1

    def _server_logs(self, exchange: Exchange) -> tuple[ServerLog, ...]:
        """Return the log of the server that a request names, and the logs of all servers if it names none. Raises Rejection."""
        return (self._named(exchange).server_log,) if _server_in(exchange) else self._supervisor.server_logs

    def _named(self, exchange: Exchange) -> LocalServer:
        name = _server_in(exchange)
        server = self._supervisor.find(name)
        if server is None:
            known = [one.name for one in self._supervisor]
            raise Rejection(404, INVALID_REQUEST, f"there is no server {name!r}{alternatives(name, known)}")
        return server


def _server_in(exchange: Exchange) -> str:
    return parse_qs(exchange.head.query).get("server", [""])[0]


def _check(exchange: Exchange, method: str) -> None:
    """Raise Rejection 403 for a request in the name of a token, which has rights to servers only, and 405."""
    if exchange.principal != LOCAL:
        raise Rejection(
            403, INVALID_REQUEST, f"the token of {exchange.principal!r} has no right to the control API"
        )
    if exchange.head.method != method:
        raise method_not_allowed(method.encode())
