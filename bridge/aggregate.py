"""Several servers of the daemon as one: a stdio server of our own, of revision 2026-07-28, that the daemon starts.

`python -m mcpbridged.bridge.aggregate SOCKET NAME...`. It is a client of the daemon like any other, over a WebSocket for each
server on the Unix socket, and speaks the stateless era on both sides: what is in front of it translates for earlier
revisions, and what is behind it does so for earlier servers. MCP_BRIDGE_PRINCIPAL says for whom it works. The daemon names the
client of each request, and it is passed on in the requests of a connection that works for this client only: a question of a
server then reaches the client whose call caused it.

What a server sends, or fails to, costs its own callers only. A request that a server may have seen is never sent again.
"""

import math
import os
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Final, Generic, NoReturn, TypeVar, cast

import msgspec
import trio
import trio_websocket

from ..transports.lines import LineSplitter, Overlong
from ..transports.peer import CLIENT_HEADER
from ..validators import envelope, members, modern
from ..validators.envelope import Message, Notification, Request, Response
from ..validators.limits import TRUSTING, Limits
from ..validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Rejection,
)
from ..validators.shapes import cancelled, read_cancelled
from . import input_over, merging
from .for_modern import fault_text, read_fault
from .naming import named_client
from .settings import PRINCIPAL_VARIABLE

_READ: Final = 64 * 1024
# How long a server may take for what is asked of all, in seconds: the others do not wait longer.
_PATIENCE: Final = 30.0
# One that has failed only after so long is late, in seconds. From then on the others wait no longer than that for it.
_PROMPT: Final = 1.0
# Pages of one list, at most.
_PAGES: Final = 100
# How often a server that is being replaced is asked again, and after how long, in seconds.
_SUCCESSORS: Final = 4
_SUCCESSION: Final = 0.1
# After how long a subscription that a server has ended is made again, in seconds: each time twice as long, up to the last.
_AGAIN: Final = (1.0, 30.0)

# A connection on which so long nothing was asked is closed (seconds). Its client finds its process by another one.
_REST: Final = 60.0
# Connections at most, before those on which nothing is asked are closed at once.
_CONNECTIONS: Final = 256

_LISTEN: Final = "subscriptions/listen"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
# What a server says in the course of a request. All else belongs to a subscription.
_SAID: Final = frozenset({"notifications/progress", "notifications/message", input_over.METHOD})

# The client that the request of the running task comes from, as the daemon names it, if it does.
_client: ContextVar[str] = ContextVar("client", default="")
# With so many bytes to write to the daemon, no server is read until half of them are left.
_UNSENT: Final = 8 * 1024 * 1024

Heard = Callable[[Notification], None]
Found = TypeVar("Found")


class Lost(Exception):
    """A server cannot be reached; the text names it."""


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

    def __init__(self, wire_id: bytes, heard: Heard | None) -> None:
        self.wire_id = wire_id
        self.heard = heard
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
        self._retired = self._lost = False
        self._used = trio.current_time()
        # A message that is half written when its asker leaves would spoil the stream, so one task writes them all. The
        # daemon lets in no more requests than it has a limit for.
        self._send, self._unsent = trio.open_memory_channel[bytes](math.inf)

    def begin(self, method: str, params: bytes, heard: Heard | None) -> _Asked:
        """Ask. The answer is there when it is `done`, or there is none: the connection is lost."""
        self._used = trio.current_time()
        asked = _Asked(b"%d" % self._next, heard)
        self._next += 1
        if self._lost:
            asked.done.set()
        else:
            self._asked[asked.wire_id] = asked
            self._send.send_nowait(envelope.request(asked.wire_id, method, params))
        return asked

    def leave(self, asked: _Asked) -> None:
        """Its asker is gone. What has no answer by now is cancelled."""
        if self._asked.pop(asked.wire_id, None) is not None:
            params = cancelled(asked.wire_id, b"")
            self._send.send_nowait(envelope.notification("notifications/cancelled", params))
        elif self._retired and not self._asked:
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

    def lose(self) -> None:
        """The socket is closed."""
        self._lost = True
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
            message = envelope.decode(text.encode() if isinstance(text, str) else text, TRUSTING)
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
        meta = members.peek(members.peek(message.params).get("_meta"))
        if modern.SUBSCRIPTION_ID in meta:
            about = self._asked.get(bytes(meta[modern.SUBSCRIPTION_ID]))
            if about is not None and about.heard is not None:
                about.heard(message)
        elif message.method in _SAID:
            self._said(message)


class Member:
    """One server of the daemon. The connection of a client is opened when it is needed, and again after its end."""

    def __init__(
        self,
        nursery: trio.Nursery,
        path: str,
        name: str,
        principal: str,
        said: Heard,
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self.name = name
        self._room = room
        self._nursery = nursery
        self._path = path
        self._principal = principal
        self._said = said
        self._connections: dict[str, _Connection] = {}  # by client
        self._opening: dict[str, trio.Lock] = {}  # by client, while it is held

    async def ask(self, method: str, params: bytes, heard: Heard | None = None) -> Response:
        """The server's answer. `heard` gets what is told of the subscription that this is. Raises Lost.

        A request that is given up is cancelled at the server. One that is refused because the server is being replaced
        is asked of its successor, on a connection of its own: the old one may be needed for some time yet.
        """
        for _ in range(_SUCCESSORS):
            connection = await self._connected()
            asked = connection.begin(method, params, heard)
            try:
                await asked.done.wait()
            finally:
                connection.leave(asked)
            if asked.answer is None:
                raise Lost(f"the connection to {self.name} is lost")
            if not merging.is_refused_by_leaving(asked.answer.error):
                return asked.answer
            self._drop(connection)
            connection.retire()
            await trio.sleep(_SUCCESSION)
        raise Lost(f"{self.name} is being replaced")

    async def result(self, method: str, params: bytes) -> bytes | msgspec.Raw:
        """The server's result. Raises Lost and Refused."""
        answer = await self.ask(method, params)
        if answer.error:
            raise Refused(answer.error)
        return answer.result

    async def _connected(self) -> _Connection:
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
            raise Lost(f"{self.name} cannot be reached: {fault!r}")


class _Subscription:
    """One `subscriptions/listen` at all servers: what they have granted, and what is to be told of it."""

    def __init__(self, raw_id: bytes, names: Sequence[str], say: Callable[[bytes], None]) -> None:
        self._id = raw_id
        self._say = say
        self._waited_for = set(names)
        self._granted: dict[str, members.Members] = {}
        # What comes before all have granted theirs, since it must not precede the acknowledgement; each thing once.
        self._early: dict[bytes, None] = {}
        self._acknowledged = False
        self.settled = trio.Event()

    def told(self, name: str, message: Notification) -> None:
        """What a server tells."""
        if message.method != _ACKNOWLEDGED:
            self._tell(message)
            return
        again = name in self._granted or self._acknowledged
        self._granted[name] = members.peek(members.peek(message.params).get("notifications"))
        self.settle(name)
        if again:
            for change in merging.missed(self._granted[name]):
                self._tell(change)

    def returned(self) -> None:
        """A server is there again whose part the lists lacked."""
        for change in merging.relisted(self._granted.values()):
            self._tell(change)

    @property
    def granted(self) -> bool:
        """Whether any server has granted anything."""
        return bool(self._granted)

    def settle(self, name: str) -> None:
        """The server is not waited for any longer."""
        self._waited_for.discard(name)
        if not self._waited_for:
            self.settled.set()

    def acknowledge(self) -> None:
        """Tell what was granted, and what has happened since."""
        self._acknowledged = True
        together = merging.acknowledged(self._granted.values())
        self._say(envelope.notification(_ACKNOWLEDGED, merging.named(together, self._id)))
        for text in self._early:
            self._say(text)
        self._early.clear()

    def _tell(self, message: Notification) -> None:
        text = envelope.notification(message.method, merging.named(message.params, self._id))
        if self._acknowledged:
            self._say(text)
        else:
            self._early[text] = None


class _Question(Generic[Found]):
    """What is asked of several, and what they have found."""

    def __init__(self, method: str, ask: Callable[[Member], Awaitable[Found]]) -> None:
        self.method = method
        self.found: dict[str, Found] = {}
        self.errors: list[bytes] = []
        self._ask = ask

    async def ask_of(self, member: Member) -> float:
        """Ask one, and say how long it took, in seconds."""
        method, began = self.method, trio.current_time()
        with trio.move_on_after(_PATIENCE) as patience:
            try:
                self.found[member.name] = await self._ask(member)
            except Lost as fault:
                _complain(f"{method}: {fault}")
            except Refused as refused:
                self.errors.append(refused.error)
                if not merging.is_unknown_method(refused.error):
                    _complain(f"{member.name}: {method}: {refused}")
        if patience.cancelled_caught:
            _complain(f"{member.name}: {method}: no answer within {_PATIENCE:g} s")
        return trio.current_time() - began


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
        self._names = names
        self._members = {
            name: Member(nursery, path, name, principal, self._tell, output.room) for name in names
        }
        self._owners = merging.Owners(names)
        self._running: dict[bytes, trio.CancelScope] = {}
        self._late: dict[str, str] = {}  # who is late, and with what
        self._tried: set[str] = set()  # whom of them we are asking
        self._subscriptions: set[_Subscription] = set()

    def heard(self, message: Message) -> None:
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

    def _tell(self, message: Notification) -> None:
        self._say(envelope.notification(message.method, message.params))

    async def _serve(self, request: Request, scope: trio.CancelScope) -> None:
        client, params = named_client(request.params)
        _client.set(client)
        with scope:
            try:
                answer = await self._answer(Request(request.id, request.method, params))
            except Lost as fault:
                answer = _failed(INTERNAL_ERROR, str(fault))
            except Refused as refused:
                answer = Response(b"", b"", refused.error)
            except Rejection as rejection:
                answer = _failed(rejection.code, rejection.text, rejection.data)
            finally:
                del self._running[request.id]
            self._say(envelope.response(request.id, answer))

    async def _answer(self, request: Request) -> Response:
        method, params = request.method, request.params
        if method == "initialize":  # its error says what we speak
            modern.check_supported(members.string(members.peek(params).get("protocolVersion")))
        read = modern.read_envelope(method, params, TRUSTING)
        modern.check_supported(read.version)
        if method == "server/discover":
            return Response(b"", await self._discover(params), b"")
        if method in merging.LISTS:
            return Response(b"", await self._list(method, params), b"")
        if method in ("tools/call", "prompts/get"):
            return await self._call(method, params, read.name)
        if method == "resources/read":
            return await self._of_resource(method, params, read.name)
        if method == "completion/complete":
            return await self._complete(method, params)
        if method == _LISTEN:
            return Response(b"", await self._listen(request.id, params), b"")
        raise Rejection(404, METHOD_NOT_FOUND, f"there is no method {method!r}")

    async def close_resting(self) -> None:
        """Close connections that are not used, for ever."""
        while True:
            await trio.sleep(1)
            crowded = sum(member.connected for member in self._members.values()) > _CONNECTIONS
            for member in self._members.values():
                member.close_resting(1 if crowded else _REST)

    # ---- all of them at once

    async def _all(self, method: str, ask: Callable[[Member], Awaitable[Found]]) -> dict[str, Found]:
        """What those have found that have in time, in our order. Raises Refused and Lost if none has."""
        question = _Question(method, ask)
        tried: list[trio.Event] = []
        for name in self._late.keys() - self._tried:
            tried.append(trio.Event())
            self._nursery.start_soon(self._ask_late, self._members[name], question, tried[-1])
        async with trio.open_nursery() as nursery:
            for member in self._members.values():
                if member.name not in self._late:
                    nursery.start_soon(self._ask_prompt, member, question)
        with trio.move_on_after(_PROMPT):
            for done in tried:
                await done.wait()
        if not question.found:
            self._fail(question.errors)
        return {name: question.found[name] for name in self._names if name in question.found}

    async def _ask_prompt(self, member: Member, question: "_Question[Found]") -> None:
        seconds = await question.ask_of(member)
        if member.name not in question.found and seconds > _PROMPT:
            self._late[member.name] = question.method

    async def _ask_late(self, member: Member, question: "_Question[Found]", done: trio.Event) -> None:
        self._tried.add(member.name)
        await question.ask_of(member)
        self._tried.discard(member.name)
        done.set()
        if member.name in question.found and self._late.get(member.name) == question.method:
            del self._late[member.name]
            for subscription in self._subscriptions:
                subscription.returned()

    def _fail(self, errors: Sequence[bytes]) -> NoReturn:
        if len(errors) == len(self._names) and all(map(merging.is_unknown_method, errors)):
            raise Refused(errors[0])
        raise Lost(f"none of {', '.join(self._names)} answers")

    async def _discover(self, params: bytes) -> bytes:
        asked = members.write(merging.for_all(params))

        async def ask(member: Member) -> members.Members:
            return members.peek(await member.result("server/discover", asked))

        found = await self._all("server/discover", ask)
        return merging.discovered(found, whole=len(found) == len(self._names))

    async def _list(self, method: str, params: bytes) -> bytes:
        found = await self._all(method, partial(_items, method, merging.for_all(params)))
        listed = merging.listed(method, found)
        for name in listed.too_long:
            _complain(f"{method}: left out, since its name has more than {Limits().name} characters: {name}")
        if method.startswith("resources/"):
            for name, items in found.items():
                self._owners.listed(method, name, merging.keys(method, items))
        for name, double in self._owners.untold(method, listed.doubles):
            _complain(f"{method}: left out of {name}, since a server before it has it: {double}")
        return listed.result

    # ---- one of them

    async def _call(self, method: str, params: bytes, name: str) -> Response:
        found = merging.split(name, self._names)
        if found is None:
            what = "tool" if method == "tools/call" else "prompt"
            raise Rejection(200, INVALID_PARAMS, f"Unknown {what}: {name}")
        server, rest = found
        return await self._members[server].ask(method, merging.renamed(params, rest))

    async def _complete(self, method: str, params: bytes) -> Response:
        kind, value = merging.reference(params)
        if kind == "uri":
            return await self._of_resource(method, params, value)
        found = merging.split(value, self._names)
        if found is None:
            raise Rejection(200, INVALID_PARAMS, f"Unknown prompt: {value}")
        server, rest = found
        return await self._members[server].ask(method, merging.referring(params, rest))

    async def _of_resource(self, method: str, params: bytes, uri: str) -> Response:
        owner = self._owners.of(uri)
        if owner is None:
            return await self._anywhere(method, params, uri)
        answer = await self._members[owner].ask(method, params)
        if answer.error:
            self._owners.forget(uri)
        return answer

    async def _anywhere(self, method: str, params: bytes, uri: str) -> Response:
        """The answer of the first that has it; an input that it wants is brought back to it, so it is remembered."""
        errors: list[bytes] = []
        for member in sorted(self._members.values(), key=lambda member: member.name in self._late):
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
            raise Refused(merging.most_telling(errors))
        raise Lost(f"none of {', '.join(self._names)} answers")

    # ---- subscriptions

    async def _listen(self, raw_id: bytes, params: bytes) -> bytes:
        """Listen to all of them until the asker has enough, or none is left; then the result is the end of it."""
        prompt = [name for name in self._names if name not in self._late]
        subscription = _Subscription(raw_id, prompt or self._names, self._say)
        errors: list[bytes] = []

        async def one(member: Member) -> None:
            try:
                await self._listen_to(member, params, subscription)
            except Lost as fault:
                _complain(f"{_LISTEN}: {fault}")
            except Refused as refused:
                errors.append(refused.error)
                _complain(f"{member.name}: {_LISTEN}: {refused}")
            subscription.settle(member.name)

        self._subscriptions.add(subscription)
        try:
            async with trio.open_nursery() as nursery:
                for member in self._members.values():
                    nursery.start_soon(one, member)
                with trio.move_on_after(_PATIENCE):
                    await subscription.settled.wait()
                if subscription.granted or not subscription.settled.is_set():
                    subscription.acknowledge()
        finally:
            self._subscriptions.discard(subscription)
        if not subscription.granted:
            self._fail(errors)
        return merging.named(b'{"resultType":"complete"}', raw_id)

    async def _listen_to(self, member: Member, params: bytes, subscription: _Subscription) -> None:
        """Listen to one, and again when it has ended what it had granted: our asker cannot know. Raises Lost and Refused."""
        pause, longest = _AGAIN
        granted = True
        while granted:
            granted = False

            def told(message: Notification) -> None:
                nonlocal granted
                granted = granted or message.method == _ACKNOWLEDGED
                subscription.told(member.name, message)

            mine = [uri for uri in merging.subscribed(params) if self._owners.of(uri) in (None, member.name)]
            try:
                answer = await member.ask(_LISTEN, merging.wanted(params, mine), told)
            except Lost:
                if not granted:
                    raise
            else:
                if answer.error and not granted:
                    raise Refused(answer.error)
            await trio.sleep(pause)
            pause = min(2 * pause, longest)


async def _items(method: str, asked: members.Members, member: Member) -> list[msgspec.Raw]:
    """All that a server lists. Raises Lost and Refused."""
    items: list[msgspec.Raw] = []
    for _ in range(_PAGES):
        page = members.peek(await member.result(method, members.write(asked)))
        try:
            items += merging.page(method, page, len(items), Limits())
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
        aggregate.heard(envelope.decode(line, TRUSTING))
    except Rejection as rejection:
        raw_id = envelope.readable_id(line)
        if raw_id == b"null":  # an error without an id would break half of the clients (digest 1.3)
            _complain(f"not understood: {rejection.text}")
        else:
            say(envelope.error(raw_id, rejection.code, rejection.text, rejection.data))


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
