"""One server of the daemon as a member of the aggregate, and its connections."""

import traceback
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, cast

import attrs
import msgspec
import trio
import trio_websocket

from ...transports.client_process import CLIENT_HEADER, PRINCIPAL_HEADER
from ...transports.options import Paths, member_path
from ...validators.client_directory import DIRECTORY_HEADER
from ...validators.jsonrpc import Notification, Response
from ...validators.limits import UNLIMITED
from ..core.errors import read_fault
from ..core.forwarded_client import split_name
from . import merge, timing
from .connection import MemberConnection, OnNotification
from .output import log

READ_SIZE: Final = 64 * 1024
# The status with which the daemon refuses a principal that has no right to a server.
_FORBIDDEN: Final = 403

# The client that has sent the request of the running task, by the name that the daemon uses (forwarded_client.forwarded_name);
# empty if it names none.
current_client: ContextVar[str] = ContextVar("current_client", default="")


class MemberLost(Exception):
    """A server cannot be reached. The text names it, and `data` is for the error of the response."""

    def __init__(self, text: str, data: dict[str, object] | None = None) -> None:
        super().__init__(text)
        self.data = data


class MemberForbidden(MemberLost):
    """The principal has no right to a server."""


class MemberRefused(Exception):
    """A server has responded with this error object."""

    def __init__(self, error: bytes) -> None:
        super().__init__(read_fault(error).message)
        self.error = error


@attrs.frozen
class Daemon:
    """The daemon as its aggregate uses it: its Unix socket, and the principal and the named aggregate that the process is for."""

    path: str
    principal: str
    aggregate: str = ""

    def target(self, server: str) -> str:
        """Return the path of the WebSocket of a server."""
        return member_path(self.aggregate, server) if self.aggregate else Paths.below(server).ws


class Member:
    """One server. The connection of a client is opened for its first request, and again after it was closed."""

    def __init__(
        self,
        nursery: trio.Nursery,
        daemon: "Daemon",
        on_notification: OnNotification,
        room: Callable[[], Awaitable[None]],
        on_input_required: Callable[[str, "Member", MemberConnection], None],
        name: str,
    ) -> None:
        """`on_input_required` gets the `requestState` of each result that requires input."""
        self.name = name
        # The number of the server in the daemon, 0 before the daemon has sent it.
        self.number = 0
        self.answers = Answered()
        # Whether it was late or failed when a list was last requested.
        self.slow = False
        self._removed = trio.Event()
        self._successor: Member | None = None
        self._room = room
        self._on_input_required = on_input_required
        self._nursery = nursery
        self._daemon = daemon
        self._target = daemon.target(name)
        self._on_notification = on_notification
        # By client. Removed when the connection is closed or drained.
        self._connections: dict[str, MemberConnection] = {}
        # By client: held while its connection is being opened.
        self._opening: dict[str, trio.Lock] = {}

    async def request(
        self, method: str, params: bytes, on_notification: OnNotification | None = None
    ) -> Response:
        """Return the response of the server. `on_notification` gets notifications of the subscription that this opens.

        A request whose task is cancelled is cancelled at the server. A request that is refused because the server is being
        replaced is sent to its successor, on a new connection: the old one may be needed for other requests.

        Raises MemberLost.
        """
        for _ in range(timing.SUCCESSORS):
            if self._successor is not None:
                return await self._successor.request(method, params, on_notification)
            connection = await self._connected()
            # The member may have been removed meanwhile.
            if self._removed.is_set():
                self._drain(connection)
                continue
            pending = connection.begin(method, params, on_notification)
            try:
                await pending.done.wait()
            finally:
                connection.release(pending)
            response = pending.response
            if response is None:
                if connection.discarded:
                    raise self._gone()
                await self.check_present()
                raise MemberLost(f"the connection to {self.name} is lost")
            if not merge.is_refused_by_replaced(response.error):
                state = merge.input_state(response.result)
                if state:
                    self._on_input_required(state, self, connection)
                return response
            self._drain(connection)
            await trio.sleep(timing.SUCCESSION)
        raise MemberLost(f"{self.name} is being replaced")

    def notify(self, client: str, message: Notification) -> None:
        """Pass on a notification of a client. Without a connection of that client it is dropped."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.notify(message)

    async def result(self, method: str, params: bytes) -> bytes | msgspec.Raw:
        """Return the result of the server. Raises MemberLost and MemberRefused."""
        response = await self.request(method, params)
        if response.error:
            raise MemberRefused(response.error)
        return response.result

    async def check_present(self) -> None:
        """Raise MemberLost if the member was removed. The daemon may notify of that after it has closed a connection."""
        with trio.move_on_after(timing.REASON):
            await self._removed.wait()
        if self._removed.is_set():
            raise self._gone()

    def _gone(self) -> MemberLost:
        if self._successor is not None:
            text = f"the server {self.name!r} was replaced: its configuration has changed"
            return MemberLost(text, {"reason": "replaced"})
        text = f"the server {self.name!r} is no longer part of the aggregate: the configuration was reloaded"
        return MemberLost(text, {"reason": "removed"})

    async def remove(self, successor: "Member | None", patience: float) -> None:
        """Send no further request to this server. Requests in flight have `patience` to end (seconds)."""
        self._successor = successor
        self._removed.set()
        connections = tuple(self._connections.values())
        self._connections = {}
        for connection in connections:
            connection.drain()
        await trio.sleep(patience)
        for connection in connections:
            connection.discard()

    async def _connected(self) -> MemberConnection:
        if self._removed.is_set():
            raise self._gone()
        client = current_client.get()
        found = self._connections.get(client)
        if found is not None:
            return found
        opening = self._opening.setdefault(client, trio.Lock())
        try:
            async with opening:
                return self._connections.get(client) or await self._open()
        finally:
            if not opening.statistics().tasks_waiting and not opening.locked():
                self._opening.pop(client, None)

    def _drain(self, connection: MemberConnection) -> None:
        self._drop(connection)
        connection.drain()

    def _drop(self, connection: MemberConnection) -> None:
        self._connections = {name: one for name, one in self._connections.items() if one is not connection}

    @property
    def connected(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def close_idle(self, idle: float) -> None:
        """Close the connections without a request for this long (seconds)."""
        now = trio.current_time()
        for connection in tuple(self._connections.values()):
            if connection.idle_seconds(now) > idle:
                self._drain(connection)
        self.answers.keep_only(self._connections, now)

    async def _open(self) -> MemberConnection:
        try:
            with trio.fail_after(timing.PATIENCE):
                opened: MemberConnection = await self._nursery.start(self._serve)
        except trio.TooSlowError:
            raise MemberLost(f"{self.name} cannot be reached within {timing.PATIENCE:g} s") from None
        return opened

    async def _serve(self, *, task_status: trio.TaskStatus[MemberConnection]) -> None:
        """Serve one connection from its opening to its end. Raises MemberLost only before it is open."""
        client = current_client.get()
        name, directory = split_name(client)
        named = {CLIENT_HEADER: name, PRINCIPAL_HEADER: self._daemon.principal, DIRECTORY_HEADER: directory}
        headers = [(name.encode(), value.encode()) for name, value in named.items() if value]
        connection: MemberConnection | None = None
        fault: BaseException | None = None
        try:
            async with (
                await trio.open_unix_socket(self._daemon.path) as stream,
                trio.open_nursery() as nursery,
            ):
                socket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    "localhost",
                    self._target,
                    subprotocols=["mcp"],
                    extra_headers=headers,
                    max_message_size=UNLIMITED.line,
                    receive_buffer_size=READ_SIZE,
                )
                connection = MemberConnection(
                    socket, self._on_notification, nursery.cancel_scope.cancel, self._room
                )
                self._connections[client] = connection
                task_status.started(connection)
                nursery.start_soon(connection.write)
                await connection.read()
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError, trio_websocket.HandshakeError) as group:
            fault = _first(group)
        except* Exception as group:  # noqa: BLE001 - the boundary of one connection: its faults end its requests only
            fault = _first(group)
            log("internal_error", member=self.name, fault="".join(traceback.format_exception(group)))
        finally:
            if connection is not None:
                self._drop(connection)
                connection.on_closed()
        if connection is None:
            if isinstance(fault, trio_websocket.ConnectionRejected) and fault.status_code == _FORBIDDEN:
                raise MemberForbidden(
                    f"the token of {self._daemon.principal!r} has no right to {self.name!r}"
                )
            raise MemberLost(f"{self.name} cannot be reached: {fault!r}")


class Answered:
    """The answers of one server to requests for its lists and its `server/discover`, for each client. Times are of Trio's clock."""

    def __init__(self) -> None:
        # By client: its first request. Removed when the client is gone (`keep_only`).
        self._since: dict[str, float] = {}
        # The clients with an answer.
        self._clients: set[str] = set()
        # By method: the last answer to any client.
        self._found: dict[str, Any] = {}
        # The clients and methods with an answer.
        self._informed: set[tuple[str, str]] = set()

    def first_request(self) -> float:
        """Return the time of the first request of the client, now at the latest."""
        return self._since.setdefault(current_client.get(), trio.current_time())

    def on_answer(self) -> float:
        """Return how long the first answer to the client took, 0 for further answers (seconds)."""
        client = current_client.get()
        if client in self._clients:
            return 0.0
        self._clients.add(client)
        return trio.current_time() - self.first_request()

    def restart(self) -> None:
        """Drop the answers to the client, and allow the server the time of a start again."""
        client = current_client.get()
        self._since[client] = trio.current_time()
        self._informed = {known for known in self._informed if known[0] != client}

    def store(self, method: str, found: object) -> None:
        """Store an answer to the client."""
        self._found[method] = found
        self._informed.add((current_client.get(), method))

    def has(self, method: str) -> bool:
        """Return whether the client had an answer before."""
        return (current_client.get(), method) in self._informed

    def last(self, method: str) -> Any:  # noqa: ANN401 - of the type that `store` got
        """Return the last answer. A list is for a client that had one, since the server may be starting for other clients."""
        return self._found.get(method) if method == "server/discover" or self.has(method) else None

    def keep_only(self, connected: "dict[str, MemberConnection]", now: float) -> None:
        """Drop all clients without a connection whose first request is some time ago."""
        kept = {
            client
            for client, since in self._since.items()
            if client in connected or now - since < timing.IDLE
        }
        self._since = {client: since for client, since in self._since.items() if client in kept}
        self._clients &= kept
        self._informed = {known for known in self._informed if known[0] in kept}


def _first(fault: BaseException) -> BaseException:
    if isinstance(fault, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", fault).exceptions[0])
    return fault
