"""Several servers of the daemon as one: a stdio server of our own, of revision 2026-07-28, that the daemon starts.

`python -m mcpbridged.bridge.aggregate.server SOCKET NAME...`. It is a client of the daemon like any other, over a WebSocket for each
server on the Unix socket, and speaks the stateless era on both sides: what is in front of it translates for earlier
revisions, and what is behind it does so for earlier servers. MCP_BRIDGE_PRINCIPAL says for whom it works. The daemon names the
client of each request, and it is passed on in the requests of a connection that works for this client only: a question of a
server then reaches the client whose call caused it. Which servers there are, the daemon says in its first line, and again after
each change (`membership`): requests and subscriptions go on.

No request waits long for a server that is late or fails. Its part is left out, and subscriptions get list_changed when it is
there. What a server sends, or fails to send, costs its own callers only. A request that a server may have seen is never sent
again.
"""

import math
import os
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar, cast

import msgspec
import trio
import trio_websocket

from ...transports.client_process import CLIENT_HEADER
from ...transports.process.lines import LineSplitter, Overlong
from ...validators import json_object, jsonrpc, stateless_request
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import TRUSTING, Limits
from ...validators.mcp_params import cancelled, read_cancelled
from ...validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Rejection,
)
from ..config.settings import PRINCIPAL_VARIABLE
from ..core import aggregate_members, extensions, input_over
from ..core.aggregate_members import Membership
from ..core.errors import fault_text, read_fault
from ..core.forwarded_client import named_client
from . import merge

_READ: Final = 64 * 1024
# How long a server may take for what is asked of all, in seconds.
_PATIENCE: Final = 30.0
# How long the others wait for a server that they need not wait for, in seconds: what it has comes later.
_PROMPT: Final = 0.3
# How long the first question of a client waits for a server that has never answered it, in seconds.
_FIRST: Final = 0.6
# How long a list waits for a server that may be starting, in seconds since that was first asked for anything: at least,
# and at most. Between, it is three times as long as another server has taken. A list waits for the latter also where there
# is nothing yet from any server.
_STARTING: Final = (1.0, 3.0)
# Pages of one list, at most.
_PAGES: Final = 100
# How often a server that is being replaced is asked again, and after how long, in seconds.
_SUCCESSORS: Final = 4
_SUCCESSION: Final = 0.1
# By how much a removed server may be late with its last answers: the daemon ends what it removes as well (seconds).
_SLACK: Final = 0.5
# After how long a subscription is made again that a server has ended or refused, in seconds: each time twice as long, up to
# the last.
_AGAIN: Final = (1.0, 60.0)

# A connection on which so long nothing was asked is closed (seconds). Its client finds its process by another one.
_REST: Final = 60.0
# Connections at most, before those on which nothing is asked are closed at once.
_CONNECTIONS: Final = 256
# How long the reason is waited for that a server has closed a connection (seconds).
_REASON: Final = 0.5
# Of so many calls that wait for input is known which server has asked.
_ROUNDS: Final = 4096

# The status with which the daemon refuses a principal that has no right to a server.
_FORBIDDEN: Final = 403

_LISTEN: Final = "subscriptions/listen"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
# What a server says in the course of a request. All else belongs to a subscription.
_SAID: Final = frozenset({"notifications/progress", "notifications/message", input_over.METHOD})

# The client that the request of the running task comes from, as the daemon names it, if it does.
_client: ContextVar[str] = ContextVar("client", default="")
# With so many bytes to write to the daemon, no server is read until half of them are left.
_UNSENT: Final = 8 * 1024 * 1024

# Messages that wait to be written to a server, before a notification is dropped.
_NOTIFICATIONS: Final = 1024

Heard = Callable[[Notification], None]
Found = TypeVar("Found")


class Lost(Exception):
    """A server cannot be reached; the text names it."""

    def __init__(self, text: str, data: dict[str, object] | None = None) -> None:
        super().__init__(text)
        self.data = data


class Forbidden(Lost):
    """The principal has no right to a server."""


class Refused(Exception):
    """A server has answered with an error."""

    def __init__(self, error: bytes) -> None:
        super().__init__(read_fault(error).message)
        self.error = error


class _Output:
    """What waits to be written to the daemon, which reads as slowly as its client does."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._more = trio.Event()
        self._room = trio.Event()
        self._room.set()

    def put(self, text: bytes) -> None:
        """Queue one message. It always fits: who has many waits for room before."""
        self._queue.append(text)
        self._bytes += len(text)
        if self._bytes > _UNSENT and self._room.is_set():
            self._room = trio.Event()
        self._more.set()

    async def room(self) -> None:
        """Wait until little enough is left to write."""
        await self._room.wait()

    async def write(self) -> None:
        """Write to stdout what is queued, in its order, for ever."""
        async with trio.lowlevel.FdStream(os.dup(1)) as stdout:
            while True:
                await self._more.wait()
                self._more = trio.Event()
                while self._queue:
                    text = self._queue.popleft()
                    await stdout.send_all(text + b"\n")
                    self._bytes -= len(text)
                    if self._bytes < _UNSENT // 2:
                        self._room.set()


class _Asked:
    """A request to a server, and where what belongs to it goes."""

    def __init__(self, wire_id: bytes, on_message: Heard | None) -> None:
        self.wire_id = wire_id
        self.on_message = on_message
        self.done = trio.Event()
        self.answer: Response | None = None


class _Connection:
    """An open WebSocket to one server, and what is asked on it."""

    def __init__(
        self,
        socket: trio_websocket.WebSocketConnection,
        said: Heard,
        over: Callable[[], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._socket = socket
        self._room = room
        self._said = said
        self._over = over
        self._asked: dict[bytes, _Asked] = {}
        self._next = 1
        self._retired = False
        self.lost = False  # whether the socket is closed
        self.given_up = False  # whether it was closed though something was asked
        self._used = trio.current_time()
        # A message that is half written when its asker leaves would spoil the stream, so one task writes them all. The
        # daemon lets in no more requests than it has a limit for.
        self._send, self._unsent = trio.open_memory_channel[bytes](math.inf)

    def begin(self, method: str, params: bytes, on_message: Heard | None) -> _Asked:
        """Ask. The answer is there when it is `done`, or there is none: the connection is lost."""
        self._used = trio.current_time()
        asked = _Asked(b"%d" % self._next, on_message)
        self._next += 1
        if self.lost:
            asked.done.set()
        else:
            self._asked[asked.wire_id] = asked
            self._send.send_nowait(jsonrpc.request(asked.wire_id, method, params))
        return asked

    def notify(self, message: Notification) -> None:
        """Send a notification. With too much unsent it is dropped."""
        self._used = trio.current_time()
        if self._send.statistics().current_buffer_used < _NOTIFICATIONS:
            self._send.send_nowait(jsonrpc.notification(message.method, message.params))

    def leave(self, asked: _Asked) -> None:
        """Its asker is gone. What has no answer by now is cancelled."""
        if self._asked.pop(asked.wire_id, None) is not None:
            params = cancelled(asked.wire_id, b"")
            self._send.send_nowait(jsonrpc.notification("notifications/cancelled", params))
        if self._retired and not self._asked:
            self._over()

    def rest(self, now: float) -> float:
        """Return for how long nothing was asked here (seconds), 0 while something is."""
        if self._asked:
            self._used = now
        return now - self._used

    def retire(self) -> None:
        """Nothing more is asked here: it ends with the last answer."""
        self._retired = True
        if not self._asked:
            self._over()

    def give_up(self) -> None:
        """Close it, whatever is asked."""
        self.given_up = bool(self._asked)
        self._over()

    def lose(self) -> None:
        """The socket is closed."""
        self.lost = True
        for asked in self._asked.values():
            asked.done.set()
        self._asked.clear()

    async def write(self) -> None:
        """Write what is asked, until the socket is closed."""
        with suppress(trio_websocket.ConnectionClosed):
            async for text in self._unsent:
                await self._socket.send_message(text.decode())

    async def read(self) -> None:
        """Hear what the server says, until the socket is closed."""
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await self._room()
                self._heard(await self._socket.get_message())

    def _heard(self, text: str | bytes) -> None:
        try:
            message = jsonrpc.decode(text.encode() if isinstance(text, str) else text, TRUSTING, deep=True)
        except Rejection as rejection:
            _complain(f"not understood: {rejection.text}")
            return
        if isinstance(message, Response):
            asked = self._asked.pop(message.id, None)
            if asked is not None:
                asked.answer = message
                asked.done.set()
        elif isinstance(message, Notification):
            self._told(message)

    def _told(self, message: Notification) -> None:
        meta = json_object.peek(json_object.peek(message.params).get("_meta"))
        if stateless_request.SUBSCRIPTION_ID in meta:
            about = self._asked.get(bytes(meta[stateless_request.SUBSCRIPTION_ID]))
            if about is not None and about.on_message is not None:
                about.on_message(message)
        elif message.method in _SAID or not extensions.is_core(message.method):
            self._said(message)


class Member:
    """One server of the daemon. The connection of a client is opened when it is needed, and again after its end."""

    def __init__(
        self,
        nursery: trio.Nursery,
        path: str,
        principal: str,
        said: Heard,
        room: Callable[[], Awaitable[None]],
        begun: Callable[[str, "Member", _Connection], None],
        name: str,
    ) -> None:
        """`begun` gets the `requestState` of each answer that asks for input."""
        self.name = name
        self.number = 0  # of the server in the daemon, 0 while that has not said it
        # When each client has first asked it for anything (times of the clock of Trio), while the client is there, and
        # the clients that it has answered.
        self._since: dict[str, float] = {}
        self._answered: set[str] = set()
        # Whether it was late, or failed, the last time that it was asked for a list.
        self.slow = False
        # What it has found last by method, and the clients and methods that it has done so for.
        self._known: dict[str, Any] = {}
        self._informed: set[tuple[str, str]] = set()
        self._removed = False
        self._leaving = trio.Event()
        self._successor: Member | None = None
        self._room = room
        self._begun = begun
        self._nursery = nursery
        self._path = path
        self._principal = principal
        self._said = said
        self._connections: dict[str, _Connection] = {}  # by client
        self._opening: dict[str, trio.Lock] = {}  # by client, while it is held

    async def ask(self, method: str, params: bytes, on_message: Heard | None = None) -> Response:
        """The server's answer. `heard` gets what is told of the subscription that this is. Raises Lost.

        A request that is given up is cancelled at the server. One that is refused because the server is being replaced
        is asked of its successor, on a connection of its own: the old one may be needed for some time yet.
        """
        for _ in range(_SUCCESSORS):
            if self._successor is not None:
                return await self._successor.ask(method, params, on_message)
            connection = await self._connected()
            if self._removed:  # meanwhile
                self._drop(connection)
                connection.retire()
                continue
            asked = connection.begin(method, params, on_message)
            try:
                await asked.done.wait()
            finally:
                connection.leave(asked)
            if asked.answer is None:
                if connection.given_up:
                    raise self._gone()
                await self.check_there()
                raise Lost(f"the connection to {self.name} is lost")
            if not merge.is_refused_by_leaving(asked.answer.error):
                state = merge.round_in(asked.answer.result)
                if state:
                    self._begun(state, self, connection)
                return asked.answer
            self._drop(connection)
            connection.retire()
            await trio.sleep(_SUCCESSION)
        raise Lost(f"{self.name} is being replaced")

    def notify(self, client: str, message: Notification) -> None:
        """Hand on a notification of a client. Without a connection of that client it is dropped."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.notify(message)

    async def result(self, method: str, params: bytes) -> bytes | msgspec.Raw:
        """The server's result. Raises Lost and Refused."""
        answer = await self.ask(method, params)
        if answer.error:
            raise Refused(answer.error)
        return answer.result

    def asked(self) -> float:
        """Return when the client has first asked it for anything, now at the latest."""
        return self._since.setdefault(_client.get(), trio.current_time())

    def answered(self) -> float:
        """It has answered the client. Returns after how long the first time (seconds), else 0."""
        client = _client.get()
        if client in self._answered:
            return 0.0
        self._answered.add(client)
        return trio.current_time() - self.asked()

    def start_again(self) -> None:
        """Forget what it has found for the client, and count the time from now on that it may need for its first answers."""
        client = _client.get()
        self._since[client] = trio.current_time()
        self._informed = {one for one in self._informed if one[0] != client}

    def keep(self, method: str, found: object) -> None:
        """Keep what it has found for the client."""
        self._known[method] = found
        self._informed.add((_client.get(), method))

    def is_known(self, method: str) -> bool:
        """Return whether it has found something for the client before."""
        return (_client.get(), method) in self._informed

    def known(self, method: str) -> Any:  # noqa: ANN401 - of the type that `keep` got
        """Return what it has found before: a list only for a client that has got one, since it may be starting for others."""
        return self._known.get(method) if method == "server/discover" or self.is_known(method) else None

    async def check_there(self) -> None:
        """Raise Lost if it is none of the members any more, which the daemon may send after it has closed a connection."""
        with trio.move_on_after(_REASON):
            await self._leaving.wait()
        if self._removed:
            raise self._gone()

    def _gone(self) -> Lost:
        if self._successor is not None:
            return Lost(
                f"the server {self.name!r} was replaced: its configuration has changed",
                {"reason": "replaced"},
            )
        text = f"the server {self.name!r} is no longer part of the aggregate: the configuration was reloaded"
        return Lost(text, {"reason": "removed"})

    async def remove(self, successor: "Member | None", patience: float) -> None:
        """Ask this server nothing any more. What is in flight has so long to end (seconds)."""
        self._removed, self._successor = True, successor
        self._leaving.set()
        connections = tuple(self._connections.values())
        self._connections = {}
        for connection in connections:
            connection.retire()
        await trio.sleep(patience)
        for connection in connections:
            connection.give_up()

    async def _connected(self) -> _Connection:
        if self._removed:
            raise self._gone()
        client = _client.get()
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

    def _drop(self, connection: _Connection) -> None:
        self._connections = {name: one for name, one in self._connections.items() if one is not connection}

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def close_resting(self, rest: float) -> None:
        """Close the connections on which nothing was asked for so long (seconds)."""
        now = trio.current_time()
        for connection in tuple(self._connections.values()):
            if connection.rest(now) > rest:
                self._drop(connection)
                connection.retire()
        kept = {
            client
            for client, since in self._since.items()
            if client in self._connections or now - since < _REST
        }
        self._since = {client: since for client, since in self._since.items() if client in kept}
        self._answered &= kept
        self._informed = {one for one in self._informed if one[0] in kept}

    async def _open(self) -> _Connection:
        try:
            with trio.fail_after(_PATIENCE):
                opened: _Connection = await self._nursery.start(self._serve)
        except trio.TooSlowError:
            raise Lost(f"{self.name} cannot be reached within {_PATIENCE:g} s") from None
        return opened

    async def _serve(self, *, task_status: trio.TaskStatus[_Connection]) -> None:
        """One connection from its opening to its end. Raises Lost before it is open only."""
        client = _client.get()
        named = {CLIENT_HEADER: client, "mcp-bridge-principal": self._principal}
        headers = [(name.encode(), value.encode()) for name, value in named.items() if value]
        connection: _Connection | None = None
        fault: BaseException | None = None
        try:
            async with await trio.open_unix_socket(self._path) as stream, trio.open_nursery() as nursery:
                socket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    "localhost",
                    f"/servers/{self.name}/ws",
                    subprotocols=["mcp"],
                    extra_headers=headers,
                    max_message_size=TRUSTING.line,
                    receive_buffer_size=_READ,
                )
                connection = _Connection(socket, self._said, nursery.cancel_scope.cancel, self._room)
                self._connections[client] = connection
                task_status.started(connection)
                nursery.start_soon(connection.write)
                await connection.read()
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError, trio_websocket.HandshakeError) as group:
            fault = _first(group)
        except* Exception as group:  # noqa: BLE001 - the boundary of one connection: a fault of ours costs its requests only
            fault = _first(group)
            _complain("".join(traceback.format_exception(group)))
        finally:
            if connection is not None:
                self._drop(connection)
                connection.lose()
        if connection is None:
            if isinstance(fault, trio_websocket.ConnectionRejected) and fault.status_code == _FORBIDDEN:
                raise Forbidden(f"the token of {self._principal!r} has no right to {self.name!r}")
            raise Lost(f"{self.name} cannot be reached: {fault!r}")


class _Subscription:
    """One `subscriptions/listen` at all servers: what they have granted, and the notifications that follow from it.

    `kinds` are the changes of lists that were asked for. They are granted, whatever servers there are.
    """

    def __init__(
        self,
        raw_id: bytes,
        client: str,
        kinds: json_object.Members,
        say: Callable[[bytes], None],
    ) -> None:
        self.client = client
        self._id = raw_id
        self._kinds = kinds
        self._say = say
        self._waited_for: set[str] = set()
        self._granted: dict[str, json_object.Members] = {}
        # What comes before all have granted theirs, since it must not precede the acknowledgement; each thing once.
        self._early: dict[bytes, None] = {}
        self._acknowledged = False
        # The tasks that listen to a server, by its name, and their errors.
        self._tasks: dict[str, trio.CancelScope] = {}
        self.errors: dict[str, bytes] = {}  # empty where the server cannot be reached
        # By method and server: what an answer to the client had in the place of what the server lists.
        self._missing: dict[tuple[str, str], object] = {}
        self._progress = trio.Event()  # set and replaced when a server need not be waited for any longer

    def wait_for(self, names: Iterable[str]) -> None:
        """Wait for these servers before the acknowledgement."""
        self._waited_for = set(names)

    async def opened(self, until: Callable[[Collection[str], bool], float]) -> None:
        """Wait until the servers have granted something or failed.

        `until` returns how long to wait for servers, depending on whether any has granted something.
        """
        while self._waited_for or not (self._granted or self.failed):
            deadline = until(self._waited_for, bool(self._granted))
            with trio.move_on_at(deadline):
                await self._progress.wait()
            if trio.current_time() >= deadline:
                return

    def follow(self, name: str, scope: trio.CancelScope) -> None:
        """This task listens to the server from now on. `leave` has ended the one before."""
        self._tasks[name] = scope

    def leave(self, name: str) -> None:
        """The server is another one now, or none of ours any more."""
        scope = self._tasks.pop(name, None)
        if scope is not None:
            scope.cancel()
        self._granted.pop(name, None)
        self.errors.pop(name, None)
        self._missing = {key: value for key, value in self._missing.items() if key[1] != name}
        self._settle(name)

    def told(self, name: str, message: Notification) -> bool:
        """Take a notification of a server. Returns whether its lists may have changed."""
        if message.method == _ACKNOWLEDGED:
            return self.present(name, json_object.peek(json_object.peek(message.params).get("notifications")))
        self._tell(message)
        return merge.is_change(message.method)

    def present(self, name: str, granted: json_object.Members) -> bool:
        """A server is there, and has granted this. Returns whether it was missed before: all of its lists may be others."""
        again = name in self._granted or self._acknowledged
        self._granted[name] = granted
        self.errors.pop(name, None)
        self._settle(name)
        if again:
            self.changed()
            for update in merge.updates(granted):
                self._tell(update)
        return again

    def absent(self, name: str, error: bytes) -> None:
        """A server cannot be reached, or has refused with this error."""
        self.errors[name] = error
        self._settle(name)

    def changed(self) -> None:
        """Every list may be another one."""
        for change in merge.relisted([self._kinds]):
            self._tell(change)

    def lacks(self, method: str, name: str, instead: object) -> None:
        """The client got a list that has this in the place of what the server lists."""
        if merge.KINDS.get(method, "") in self._kinds:
            self._missing[method, name] = instead

    def listed(self, method: str, name: str, found: object) -> None:
        """The server has listed this."""
        if self._missing.pop((method, name), found) != found:
            self._tell(merge.changed(merge.KINDS[method]))

    @property
    def failed(self) -> bool:
        """Whether all servers have failed."""
        return not self._granted and self._tasks.keys() == self.errors.keys()

    def _settle(self, name: str) -> None:
        self._waited_for.discard(name)
        self._progress.set()
        self._progress = trio.Event()

    def acknowledge(self) -> None:
        """Tell what was granted, and what has happened since."""
        self._acknowledged = True
        together = merge.acknowledged([self._kinds, *self._granted.values()])
        self._say(jsonrpc.notification(_ACKNOWLEDGED, merge.named(together, self._id)))
        for text in self._early:
            self._say(text)
        self._early.clear()

    def _tell(self, message: Notification) -> None:
        text = jsonrpc.notification(message.method, merge.named(message.params, self._id))
        if self._acknowledged:
            self._say(text)
        else:
            self._early[text] = None


class _Inquiry(Generic[Found]):
    """What is asked of one server for a request that all are asked. It goes on when its asker does not wait any longer."""

    def __init__(self, member: Member, method: str) -> None:
        self.member = member
        self.method = method
        self.scope = trio.CancelScope()
        self.over = False
        self.began = trio.current_time()
        self.found: Found | None = None
        self.error = b""
        self.failure = ""  # why there is nothing, as a sentence
        self.forbidden = False  # whether that is because the principal has no right to the server

    @property
    def has_none(self) -> bool:
        """Whether the server has answered that it has nothing of the kind."""
        return bool(self.error) and merge.is_unknown_method(self.error)


class _Answers(NamedTuple, Generic[Found]):
    """What servers have found, in our order, and their errors; `late` says that another one may still answer."""

    found: dict[str, Found]
    errors: list[bytes]
    late: bool
    whole: bool


class Aggregate:
    """The server that we are."""

    def __init__(
        self,
        nursery: trio.Nursery,
        path: str,
        names: Sequence[str],
        principal: str,
        output: _Output,
    ) -> None:
        self._nursery = nursery
        self._say = output.put
        self._make = partial(Member, nursery, path, principal, self._tell, output.room, self._began)
        self._about = Membership(dict.fromkeys(names, 0))
        self._members = {name: self._make(name) for name in names}
        self._owners = merge.Owners(names)
        self._running: dict[bytes, trio.CancelScope] = {}
        # By client, method and server: what goes on without its asker, each for `_PATIENCE` at most.
        self._late: dict[tuple[str, str, str], _Inquiry[Any]] = {}
        self._progress = trio.Event()  # set and replaced at the end of each inquiry
        # How long the first answer of a server took at most (seconds), 0 before there is one. Late ones do not count.
        self._slowest = 0.0
        # Why a server is left out, by its name. Reported to a daemon, which sends its members before all else.
        self._left_out: dict[str, str] = {}
        self._reports = False
        # What was last complained of, by server and method.
        self._complaints: dict[tuple[str, str], str] = {}
        self._subscriptions: dict[_Subscription, Callable[[Member], None]] = {}
        # By the `requestState` of a call that waits for its client's input: the server that asked for it, and on which
        # connection. Entries end with the retry; of too many the oldest is dropped.
        self._rounds: dict[str, tuple[Member, _Connection]] = {}
        # What clients with extensions have declared last, of so many of them as there are connections at most.
        self._declared: dict[str, bytes] = {}

    def on_message(self, message: Message) -> None:
        """A message of the daemon. Raises Rejection."""
        if isinstance(message, Request):
            if message.id in self._running:
                raise Rejection(400, INVALID_REQUEST, "this id is in use by a request in flight")
            # What takes it back may be in the same read, before the task has begun.
            scope = self._running[message.id] = trio.CancelScope()
            self._nursery.start_soon(self._serve, message, scope)
        elif isinstance(message, Notification) and message.method == "notifications/cancelled":
            scope_of = self._running.get(read_cancelled(message.params)[0])
            if scope_of is not None:
                scope_of.cancel()
        elif isinstance(message, Notification) and message.method == aggregate_members.METHOD:
            self._become(aggregate_members.read(message.params))
        elif isinstance(message, Notification) and not extensions.is_core(message.method):
            self._notify(message)

    def _tell(self, message: Notification) -> None:
        self._say(jsonrpc.notification(message.method, message.params))

    def _began(self, state: str, member: Member, connection: _Connection) -> None:
        self._rounds[state] = member, connection
        if len(self._rounds) > _ROUNDS:
            del self._rounds[next(iter(self._rounds))]

    def _end_rounds(self, removed: Collection[Member]) -> None:
        """Withdraw what these servers have asked of clients: their calls end with the servers, and the retries say so."""
        for state, (member, _) in self._rounds.items():
            if member in removed:
                self._tell(input_over.notification(state))

    async def _serve(self, request: Request, scope: trio.CancelScope) -> None:
        client, params = named_client(request.params)
        _client.set(client)
        with scope:
            try:
                answer = await self._answer(Request(request.id, request.method, params))
            except Lost as fault:
                answer = _failed(INTERNAL_ERROR, str(fault), fault.data)
            except Refused as refused:
                answer = Response(b"", b"", refused.error)
            except Rejection as rejection:
                answer = _failed(rejection.code, rejection.text, rejection.data)
            finally:
                del self._running[request.id]
            self._say(jsonrpc.response(request.id, answer))

    async def _answer(self, request: Request) -> Response:
        method, params = request.method, request.params
        if method == "initialize":  # its error says what we speak
            stateless_request.check_supported(
                json_object.string(json_object.peek(params).get("protocolVersion"))
            )
        read = stateless_request.read_envelope(method, params, TRUSTING)
        stateless_request.check_supported(read.version)
        self._declare(read.capabilities)
        asked = None if read.state is None else self._rounds.pop(read.state, None)
        if asked is None:
            return await self._dispatch(request, read)
        requester, connection = asked
        if connection.lost or self._members.get(requester.name) is not requester:
            await requester.check_there()
        answer = await self._dispatch(request, read)
        if merge.is_expired(answer.error):
            await requester.check_there()
        return answer

    async def _dispatch(self, request: Request, read: stateless_request.Envelope) -> Response:
        method, params = request.method, request.params
        # A session has asked once what there is, and cannot ask again.
        session = input_over.declared_in(read.capabilities)
        if method == "server/discover":
            return Response(b"", await self._discover(params, session=session), b"")
        if method in merge.LISTS:
            return Response(b"", await self._list(method, params, session=session), b"")
        if method in ("tools/call", "prompts/get"):
            return await self._call(method, params, read.name)
        if method == "resources/read":
            return await self._of_resource(method, params, read.name, again=read.state is not None)
        if method == "completion/complete":
            return await self._complete(method, params)
        if method == _LISTEN:
            return Response(b"", await self._listen(request.id, params), b"")
        if not extensions.is_core(method):
            member, params = await self._extended(params, read.capabilities)
            if member is not None:
                return await member.ask(method, params)
        raise Rejection(404, METHOD_NOT_FOUND, f"there is no method {method!r}")

    def _declare(self, capabilities: bytes) -> None:
        client = _client.get()
        if extensions.names_in(capabilities) and self._declared.get(client) != capabilities:
            self._declared[client] = capabilities
            if len(self._declared) > _CONNECTIONS:
                del self._declared[next(iter(self._declared))]

    async def close_resting(self) -> None:
        """Close connections that are not used, for ever."""
        while True:
            await trio.sleep(1)
            crowded = sum(member.connected for member in self._members.values()) > _CONNECTIONS
            for member in self._members.values():
                member.close_resting(1 if crowded else _REST)

    # ---- which servers there are

    def _become(self, about: Membership) -> None:
        """Take these members. Requests in flight go on where they are, those to a removed one for a limited time."""
        self._reports = True
        before, self._about = self._members, about
        self._members = {name: self._same(before.get(name), name, about) for name in about.members}
        gone = [name for name, member in before.items() if self._members.get(name) is not member]
        for name in gone:
            self._left_out.pop(name, None)
        self._report()
        self._owners.become([*self._members])
        for key, inquiry in tuple(self._late.items()):
            if self._members.get(key[2]) is not inquiry.member:
                del self._late[key]
                inquiry.scope.cancel()
        for name in gone:
            self._owners.outdate(name)
            self._complaints = {key: text for key, text in self._complaints.items() if key[0] != name}
            successor = self._members.get(name)
            self._nursery.start_soon(before[name].remove, successor, about.drain_seconds + _SLACK)
        self._end_rounds([before[name] for name in gone])
        for subscription, follow in self._subscriptions.items():
            for name in gone:
                subscription.leave(name)
            if any(name not in self._members for name in gone):
                subscription.changed()
            for name, member in self._members.items():
                if before.get(name) is not member:
                    follow(member)

    def _same(self, member: Member | None, name: str, about: Membership) -> Member:
        number = about.members[name]
        if member is None or member.number not in (0, number):
            member = self._make(name)
        member.number = number
        return member

    def _complain_of(self, name: str, method: str, text: str) -> None:
        """Write this to the log, unless it was the last of the kind."""
        if self._complaints.get((name, method)) != text:
            self._complaints[name, method] = text
            _complain(text)

    # ---- all of them at once

    async def _all(
        self, method: str, ask: Callable[[Member], Awaitable[Found]], names: Container[str] | None = None
    ) -> _Answers[Found]:
        """Return what these servers have found, or all of them. One that is late is not waited for.

        In its place stands what it has found before, if it has (`Member.known`).
        """
        client, began = _client.get(), trio.current_time()
        inquiries: dict[str, _Inquiry[Found]] = {}
        for name, member in self._members.items():
            if names is None or name in names:
                inquiries[name] = self._late.get((client, method, name)) or self._inquire(member, method, ask)
        late = {name for name in inquiries if (client, method, name) in self._late}
        waited = False
        try:
            # What is late is waited for when its server is there.
            prompt = [one for name, one in inquiries.items() if name not in late or not one.member.slow]
            await self._wait_for(prompt, began)
            waited = True
        finally:
            for name, one in inquiries.items():
                if not waited and name not in late:  # the asker has left
                    one.scope.cancel()
        return self._found(client, method, inquiries)

    def _inquire(
        self, member: Member, method: str, ask: Callable[[Member], Awaitable[Found]]
    ) -> _Inquiry[Found]:
        inquiry = _Inquiry[Found](member, method)
        member.asked()
        self._nursery.start_soon(self._carry_on, inquiry, ask)
        return inquiry

    async def _carry_on(self, inquiry: _Inquiry[Found], ask: Callable[[Member], Awaitable[Found]]) -> None:
        member, method, client = inquiry.member, inquiry.method, _client.get()
        inquiry.scope.deadline = trio.current_time() + _PATIENCE
        with inquiry.scope:
            try:
                inquiry.found = await ask(member)
            except Lost as fault:
                inquiry.failure = str(fault)
                inquiry.forbidden = isinstance(fault, Forbidden)
            except Refused as refused:
                inquiry.error = refused.error
                inquiry.failure = "" if inquiry.has_none else str(refused)
            except Rejection as rejection:
                inquiry.failure = rejection.text
        if inquiry.scope.cancelled_caught and trio.current_time() >= inquiry.scope.deadline:
            inquiry.failure = f"no answer within {_PATIENCE:g} s"
        if inquiry.failure:
            self._complain_of(member.name, method, f"{member.name}: {method}: {inquiry.failure}")
        inquiry.over = True
        if self._late.get((client, method, member.name)) is inquiry:
            del self._late[client, method, member.name]
        if self._members.get(member.name) is member and (inquiry.found is not None or inquiry.has_none):
            self._keep(client, inquiry)
        self._progress.set()
        self._progress = trio.Event()

    def _keep(self, client: str, inquiry: _Inquiry[Any]) -> None:
        member, method = inquiry.member, inquiry.method
        self._has_answered(member)
        member.keep(method, inquiry.found)
        self._complaints.pop((member.name, method), None)
        for subscription in self._subscriptions:
            if subscription.client == client:
                subscription.listed(method, member.name, inquiry.found)

    def _leave_out(self, member: Member, method: str, reason: str) -> None:
        if not member.slow:
            member.slow = True
            _complain(f"member_left_out member={member.name} method={method} reason={reason!r}")
        if self._left_out.get(member.name) != reason:
            self._left_out[member.name] = reason
            self._report()

    def _has_answered(self, member: Member) -> None:
        seconds = member.answered()
        if member.slow:
            member.slow = False
            member.start_again()
            _complain(f"member_answers member={member.name}")
        else:
            self._slowest = max(self._slowest, seconds)
        if self._left_out.pop(member.name, None) is not None:
            self._report()

    def _report(self) -> None:
        if self._reports:
            self._tell(aggregate_members.left_out(self._left_out))

    async def _wait_for(self, inquiries: Collection[_Inquiry[Any]], began: float) -> None:
        while waiting := [one for one in inquiries if not one.over]:
            deadline = max(self._deadline(one, began + _soon(inquiries)) for one in waiting)
            with trio.move_on_at(deadline):
                await self._progress.wait()
            if trio.current_time() >= deadline:
                return

    def _deadline(self, inquiry: _Inquiry[Any], soon: float) -> float:
        """Return until when a request waits for this server. A list gives one that may be starting more time."""
        member = inquiry.member
        if member.slow or member.is_known(inquiry.method):
            return soon
        if inquiry.method == "server/discover":
            return soon if member.known(inquiry.method) else max(soon, inquiry.began + _FIRST)
        return max(soon, self._starting_until(member))

    def _starting_until(self, member: Member) -> float:
        """Return until when a server may be starting for the client, a time of the clock of Trio."""
        first, last = _STARTING
        patience = min(max(first, 3 * self._slowest), last) if self._slowest else last
        return member.asked() + patience

    def _found(self, client: str, method: str, inquiries: Mapping[str, _Inquiry[Found]]) -> _Answers[Found]:
        found: dict[str, Found] = {}
        late = False
        for name, one in inquiries.items():
            instead: Found | None = None
            if one.found is not None:
                found[name] = one.found
                continue
            if not one.over:
                late = True
                self._late[client, method, name] = one
                instead = one.member.known(method)
                if instead is not None:
                    found[name] = instead
                if method != "server/discover":
                    self._leave_out(one.member, method, "it has not answered yet")
            elif one.has_none:
                continue
            elif one.forbidden:  # as it should be
                one.member.slow = True
            else:
                self._leave_out(one.member, method, one.failure)
            for subscription in self._subscriptions:
                if subscription.client == client:
                    subscription.lacks(method, name, instead)
        errors = [one.error for one in inquiries.values() if one.error]
        return _Answers(found, errors, late, not late and len(found) == len(inquiries))

    def _fail(self, errors: Sequence[bytes]) -> NoReturn:
        if len(errors) == len(self._members) and all(map(merge.is_unknown_method, errors)):
            raise Refused(errors[0])
        raise Lost(f"none of {', '.join(self._members)} answers")

    async def _discover(self, params: bytes, *, session: bool) -> bytes:
        answers = await self._offers(params)
        if not answers.found and not answers.late:
            self._fail(answers.errors)
        everything = session or not answers.whole
        return merge.discovered(answers.found, whole=answers.whole, about=self._about, everything=everything)

    async def _offers(self, params: bytes) -> _Answers[json_object.Members]:
        asked = json_object.write(merge.about_nothing(params))

        async def ask(member: Member) -> json_object.Members:
            return json_object.peek(await member.result("server/discover", asked))

        return await self._all("server/discover", ask)

    async def _list(self, method: str, params: bytes, *, session: bool) -> bytes:
        answers = await self._items_of(method, merge.for_all(params))
        found, errors = answers.found, answers.errors
        nothing = len(errors) == len(self._members) and all(map(merge.is_unknown_method, errors))
        if not found and not answers.late and not (nothing and session):
            self._fail(errors)
        listed = merge.listed(method, found)
        for name in listed.too_long:
            _complain(f"{method}: left out, since its name has more than {Limits().name} characters: {name}")
        for name, double in self._owners.untold(method, listed.doubles):
            _complain(f"{method}: left out of {name}, since a server before it has it: {double}")
        return listed.result

    async def _items_of(
        self, method: str, asked: json_object.Members, names: Container[str] | None = None
    ) -> _Answers[list[msgspec.Raw]]:
        """Return what these servers list, or all of them, and remember which resources they have."""

        async def ask(member: Member) -> list[msgspec.Raw]:
            try:
                items = await _items(method, asked, member)
            except Refused as refused:
                if merge.is_unknown_method(refused.error):
                    self._learn(method, member, [])
                raise
            self._learn(method, member, items)
            return items

        return await self._all(method, ask, names)

    def _learn(self, method: str, member: Member, items: Iterable[msgspec.Raw]) -> None:
        if method.startswith("resources/") and self._members.get(member.name) is member:
            self._owners.listed(method, member.name, merge.keys(method, items))

    # ---- one of them

    async def _call(self, method: str, params: bytes, name: str) -> Response:
        found = merge.split(name, [*self._members])
        if found is None:
            what = "tool" if method == "tools/call" else "prompt"
            raise Rejection(200, INVALID_PARAMS, f"Unknown {what}: {name}")
        server, rest = found
        return await self._members[server].ask(method, merge.renamed(params, rest))

    async def _complete(self, method: str, params: bytes) -> Response:
        kind, value = merge.reference(params)
        if kind == "uri":
            return await self._of_resource(method, params, value)
        found = merge.split(value, [*self._members])
        if found is None:
            raise Rejection(200, INVALID_PARAMS, f"Unknown prompt: {value}")
        server, rest = found
        return await self._members[server].ask(method, merge.referring(params, rest))

    async def _of_resource(self, method: str, params: bytes, uri: str, *, again: bool = False) -> Response:
        """Ask the server that lists this, else those that have a template for it, else one after the other."""
        candidates = await self._candidates(params, uri, again=again)
        if len(candidates) == 1:
            answer = await self._members[candidates[0]].ask(method, params)
            if answer.error:
                self._owners.forget(uri)
            else:
                self._owners.read(uri, candidates[0])
            return answer
        return await self._first(method, params, uri, candidates)

    async def _candidates(self, params: bytes, uri: str, *, again: bool = False) -> list[str]:
        if self._owners.listing(uri) is None and not again:
            await self._learn_resources(params)
        return self._owners.candidates(uri, again=again)

    async def _learn_resources(self, params: bytes) -> None:
        """Ask those servers for their resources and templates of which they are not known."""
        unlisted = [name for name in self._owners.unlisted if not self._members[name].slow]
        if not unlisted:
            return
        asked = merge.about_nothing(params)
        async with trio.open_nursery() as nursery:
            for method in ("resources/list", "resources/templates/list"):
                nursery.start_soon(self._items_of, method, asked, unlisted)

    async def _first(self, method: str, params: bytes, uri: str, candidates: Sequence[str]) -> Response:
        """The answer of the first that has it; an input that it wants is brought back to it, so it is remembered."""
        errors: list[bytes] = []
        asked = [self._members[name] for name in candidates]
        if not asked:
            asked = sorted(self._members.values(), key=lambda member: member.slow)
        for member in asked:
            try:
                with trio.fail_after(_PATIENCE):
                    result = await member.result(method, params)
            except Lost as fault:
                _complain(f"{method}: {fault}")
            except trio.TooSlowError:
                _complain(f"{member.name}: {method}: no answer within {_PATIENCE:g} s")
            except Refused as refused:
                errors.append(refused.error)
            else:
                self._owners.read(uri, member.name)
                return Response(b"", result, b"")
        if errors:
            raise Refused(merge.most_telling(errors))
        raise Lost(f"none of {', '.join(member.name for member in asked)} answers")

    # ---- extensions

    async def _extended(self, params: bytes, capabilities: bytes) -> tuple[Member | None, bytes]:
        """Return the server for a request of an extension, None where it cannot be determined, and the params for it."""
        kind, value = merge.target(params)
        if kind == "uri":
            await self._candidates(params, value)
        if not all(member.known("server/discover") for member in self._members.values()):
            await self._offers(params)
        return self._receiver(params, capabilities)

    def _receiver(self, params: bytes, capabilities: bytes) -> tuple[Member | None, bytes]:
        """As `_extended`, from what is known.

        It is the one whose tool, prompt or resource the message names, else the only one that shares an extension with the
        client, or that has one.
        """
        kind, value = merge.target(params)
        if kind in ("name", "ref"):
            found = merge.split(value, [*self._members])
            if found is not None:
                rename = merge.renamed if kind == "name" else merge.referring
                return self._members[found[0]], rename(params, found[1])
        owners = self._owners.candidates(value) if kind == "uri" else []
        if owners:
            return self._members[owners[0]], params
        offers: dict[str, json_object.Members] = {
            name: member.known("server/discover") or {} for name, member in self._members.items()
        }
        sharing = merge.sharing(offers, capabilities)
        return (self._members[sharing[0]] if len(sharing) == 1 else None), params

    def _notify(self, message: Notification) -> None:
        """Hand on a notification of a client. One for no server that is known is dropped."""
        client, params = named_client(message.params)
        found = json_object.peek(params)
        if bytes(found.get("_meta", b"")) == b"{}":  # it was the name only
            del found["_meta"]
        member, params = self._receiver(json_object.write(found), self._declared.get(client, b"{}"))
        if member is not None:
            member.notify(client, Notification(message.method, params))

    # ---- subscriptions

    async def _listen(self, raw_id: bytes, params: bytes) -> bytes:
        """Listen to all of them, and to those to come, until the asker has enough; or until all have failed at once."""
        subscription = _Subscription(raw_id, _client.get(), merge.asked(params), self._say)
        owners = [await self._candidates(params, uri) for uri in merge.subscribed(params)]
        # Those that have the resources, all of them for a resource that none is known to have.
        awaited = {name for found in owners for name in (found or self._prompt()) if name in self._members}
        subscription.wait_for({*awaited, *self._prompt()})
        began = trio.current_time()

        def until(names: Collection[str], granted: bool) -> float:  # noqa: FBT001 - a callback
            if not awaited.isdisjoint(names):
                return began + _PATIENCE
            soon = began + (_PROMPT if granted else _STARTING[-1])
            return max([soon, *(self._starting_until(self._members[name]) for name in names)])

        async with trio.open_nursery() as nursery:

            def follow(member: Member) -> None:
                scope = trio.CancelScope()
                subscription.follow(member.name, scope)
                nursery.start_soon(self._follow, member, params, subscription, scope)

            self._subscriptions[subscription] = follow
            try:
                for member in self._members.values():
                    follow(member)
                await subscription.opened(until)
                if subscription.failed:
                    nursery.cancel_scope.cancel()
                else:
                    subscription.acknowledge()
                await trio.sleep_forever()
            finally:  # before the nursery is closed: a member that comes then has nothing to follow
                self._subscriptions.pop(subscription, None)
        self._fail(list(subscription.errors.values()))

    def _prompt(self) -> list[str]:
        return [name for name, member in self._members.items() if not member.slow]

    async def _follow(
        self, member: Member, params: bytes, subscription: _Subscription, scope: trio.CancelScope
    ) -> None:
        """Listen to one server, and again when it has failed, or has ended what it had granted: our asker cannot know."""
        _client.set(subscription.client)  # a reload starts this task as well
        pause, longest = _AGAIN
        with scope:
            while True:
                began = trio.current_time()
                if not await self._listen_to(member, params, subscription):
                    return
                if trio.current_time() - began > longest:
                    pause = _AGAIN[0]
                await trio.sleep(pause)
                pause = min(2 * pause, longest)

    async def _listen_to(self, member: Member, params: bytes, subscription: _Subscription) -> bool:
        """Listen to one server until it ends that. Returns False for one that has no subscriptions."""
        name = member.name
        granted = False

        def told(message: Notification) -> None:
            nonlocal granted
            if message.method == _ACKNOWLEDGED:
                granted = True
                self._has_answered(member)
            elif message.method == merge.RESOURCES_CHANGED:
                self._owners.outdate(name)
            # What it has listed before is not what it lists now.
            if subscription.told(name, message):
                member.start_again()

        owners = {uri: self._owners.candidates(uri) for uri in merge.subscribed(params)}
        mine = [uri for uri, found in owners.items() if not found or name in found]
        error = b""
        try:
            answer = await member.ask(_LISTEN, merge.wanted(params, mine), told)
        except Lost as fault:
            text = str(fault)
        else:
            error = answer.error
            text = f"{name}: {read_fault(error).message}" if error else f"{name} has ended it"
        if granted:
            self._owners.outdate(name)
        elif error and merge.is_unknown_method(error):
            subscription.present(name, {})
            return False
        else:
            self._complain_of(name, _LISTEN, f"{_LISTEN}: {text}")
            subscription.absent(name, error)
        return True


def _soon(inquiries: Collection[_Inquiry[Any]]) -> float:
    """Return how long a request waits for servers that it need not wait for (seconds)."""
    if any(one.found is not None or one.has_none for one in inquiries):
        return _PROMPT
    discovers = any(one.method == "server/discover" for one in inquiries)
    # Where servers have failed already, it matters whether all of them have.
    return _PROMPT if discovers and not any(one.over for one in inquiries) else _STARTING[-1]


async def _items(method: str, asked: json_object.Members, member: Member) -> list[msgspec.Raw]:
    """All that a server lists. Raises Lost and Refused."""
    items: list[msgspec.Raw] = []
    for _ in range(_PAGES):
        page = json_object.peek(await member.result(method, json_object.write(asked)))
        try:
            items += merge.page(method, page, len(items), Limits())
        except Rejection as rejection:
            raise Refused(fault_text(rejection.code, rejection.text)) from None
        if "nextCursor" not in page:
            return items
        asked = {**asked, "cursor": page["nextCursor"]}
    _complain(f"{member.name}: {method}: it has more than {_PAGES} pages, the limit")
    return items


def _failed(code: int, text: str, data: object = None) -> Response:
    return Response(b"", b"", fault_text(code, text, data))


def _first(fault: BaseException) -> BaseException:
    if isinstance(fault, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", fault).exceptions[0])
    return fault


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _hear(aggregate: Aggregate, line: bytes | Overlong, say: Callable[[bytes], None]) -> None:
    if isinstance(line, Overlong):
        _complain(f"a message has more than {TRUSTING.line} bytes, the limit")
        return
    try:
        aggregate.on_message(jsonrpc.decode(line, TRUSTING))
    except Rejection as rejection:
        raw_id = jsonrpc.readable_id(line)
        if raw_id == b"null":  # an error without an id would break half of the clients (digest 1.3)
            _complain(f"not understood: {rejection.text}")
        else:
            say(jsonrpc.error(raw_id, rejection.code, rejection.text, rejection.data))


async def _run(path: str, names: Sequence[str], principal: str) -> None:
    output, splitter = _Output(), LineSplitter(TRUSTING.line)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.write)
        aggregate = Aggregate(nursery, path, names, principal, output)
        nursery.start_soon(aggregate.close_resting)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while data := await stdin.receive_some(_READ):
                for line in splitter.feed(data):
                    _hear(aggregate, line, output.put)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_run, sys.argv[1], sys.argv[2:], os.environ.get(PRINCIPAL_VARIABLE, ""))
