"""Several servers of the daemon as one: a stdio server of our own, of revision 2026-07-28, that the daemon starts.

`python -m mcpbridged.bridge.aggregate SOCKET NAME...`. It is a client of the daemon like any other, over a WebSocket for each
server on the Unix socket, and speaks the stateless era on both sides: what is in front of it translates for earlier
revisions, and what is behind it does so for earlier servers. MCP_BRIDGE_PRINCIPAL says for whom it works.
"""

import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio
import trio_websocket

from ..transports.lines import LineSplitter, Overlong
from ..validators import envelope, members, modern
from ..validators.envelope import Message, Notification, Request, Response
from ..validators.limits import Limits
from ..validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Rejection
from ..validators.shapes import cancelled, read_cancelled
from . import merging
from .for_modern import fault_text, read_fault
from .settings import PRINCIPAL_VARIABLE

_READ: Final = 64 * 1024
_LIMITS: Final = Limits()
# How long a server may take to list what it has, or to grant a subscription, in seconds: the others do not wait longer.
_PATIENCE: Final = 30.0
# Pages of one list, at most.
_PAGES: Final = 100
_LISTEN: Final = "subscriptions/listen"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"

# How often a server that is being replaced is asked again, and after how long, in seconds.
_SUCCESSORS: Final = 3
_SUCCESSION: Final = 0.1

Heard = Callable[[Notification], None]


class Lost(Exception):
    """A server cannot be reached; the text names it."""


class _Asked:
    """A request to a server, and where what belongs to it goes."""

    def __init__(self, heard: Heard | None) -> None:
        self.heard = heard
        self.done = trio.Event()
        self.answer: Response | None = None


class Member:
    """The connection to one server, opened when it is needed."""

    def __init__(self, nursery: trio.Nursery, path: str, name: str, said: Heard) -> None:
        self.name = name
        self._nursery = nursery
        self._path = path
        self._said = said
        self._socket: trio_websocket.WebSocketConnection | None = None
        self._opening = trio.Lock()
        self._asked: dict[bytes, _Asked] = {}
        self._next = 1

    async def ask(self, method: str, params: bytes, heard: Heard | None = None) -> Response:
        """The server's answer. `heard` gets what is told of the subscription that this is. Raises Lost.

        A request that is given up is cancelled at the server. One that is refused because the server is about to be replaced
        is asked again, of its successor.
        """
        answer = await self._ask(method, params, heard)
        for _ in range(_SUCCESSORS):
            if not _is_replaced(answer):
                break
            await trio.sleep(_SUCCESSION)
            answer = await self._ask(method, params, heard)
        return answer

    async def _ask(self, method: str, params: bytes, heard: Heard | None) -> Response:
        socket = await self._connected()
        wire_id = b"%d" % self._next
        self._next += 1
        asked = self._asked[wire_id] = _Asked(heard)
        try:
            await self._send(socket, envelope.request(wire_id, method, params))
            await asked.done.wait()
        except trio.Cancelled:
            with trio.move_on_after(1, shield=True), suppress(Lost):
                params = cancelled(wire_id, b"")
                await self._send(socket, envelope.notification("notifications/cancelled", params))
            raise
        finally:
            self._asked.pop(wire_id, None)
        if asked.answer is None:
            raise Lost(f"the connection to {self.name} is lost")
        return asked.answer

    async def _send(self, socket: trio_websocket.WebSocketConnection, text: bytes) -> None:
        try:
            await socket.send_message(text.decode())
        except trio_websocket.ConnectionClosed:
            raise Lost(f"the connection to {self.name} is lost") from None

    async def _connected(self) -> trio_websocket.WebSocketConnection:
        async with self._opening:
            if self._socket is None:
                try:
                    self._socket = await self._nursery.start(self._serve)
                except (OSError, trio_websocket.HandshakeError) as fault:
                    raise Lost(f"{self.name} cannot be reached: {fault!r}") from None
            socket = self._socket
            if socket is None:
                raise Lost(f"the connection to {self.name} is lost")
            return socket

    async def _serve(self, *, task_status: trio.TaskStatus[trio_websocket.WebSocketConnection]) -> None:
        refused: trio_websocket.HandshakeError | None = None
        try:
            async with await trio.open_unix_socket(self._path) as stream, trio.open_nursery() as nursery:
                principal = os.environ.get(PRINCIPAL_VARIABLE)
                socket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    "localhost",
                    f"/servers/{self.name}/ws",
                    subprotocols=["mcp"],
                    extra_headers=[(b"Mcp-Bridge-Principal", principal.encode())] if principal else [],
                    max_message_size=2 * _LIMITS.line,
                )
                task_status.started(socket)
                with suppress(trio_websocket.ConnectionClosed):
                    while True:
                        self._heard(await socket.get_message())
                nursery.cancel_scope.cancel()
        except* trio_websocket.HandshakeError as group:  # a task of the library raises it
            refused = trio_websocket.HandshakeError(str(group.exceptions[0]))
        except* trio.BrokenResourceError:
            pass
        finally:
            self._socket = None
            for asked in self._asked.values():
                asked.done.set()
        if refused is not None:
            raise refused

    def _heard(self, text: str | bytes) -> None:
        try:
            message = envelope.decode(text.encode() if isinstance(text, str) else text, _LIMITS)
        except Rejection:
            return
        if isinstance(message, Response):
            asked = self._asked.get(message.id)
            if asked is not None:
                asked.answer = message
                asked.done.set()
        elif isinstance(message, Notification):
            meta = members.peek(members.peek(message.params).get("_meta"))
            about = self._asked.get(bytes(meta.get(modern.SUBSCRIPTION_ID, b"")))
            if about is not None and about.heard is not None:
                about.heard(message)
            else:
                self._said(message)


class Aggregate:
    """The server that we are."""

    def __init__(
        self, nursery: trio.Nursery, path: str, names: Sequence[str], say: Callable[[bytes], None]
    ) -> None:
        self._nursery = nursery
        self._say = say
        self._names = names
        self._members = {name: Member(nursery, path, name, self._tell) for name in names}
        self._owners: dict[str, str] = {}  # which server has listed a resource, or a template
        self._running: dict[bytes, trio.CancelScope] = {}

    def heard(self, message: Message) -> None:
        """A message of the daemon."""
        if isinstance(message, Request):
            self._nursery.start_soon(self._serve, message)
        elif isinstance(message, Notification) and message.method == "notifications/cancelled":
            scope = self._running.get(read_cancelled(message.params)[0])
            if scope is not None:
                scope.cancel()

    def _tell(self, message: Notification) -> None:
        self._say(envelope.notification(message.method, message.params))

    async def _serve(self, request: Request) -> None:
        with trio.CancelScope() as scope:
            self._running[request.id] = scope
            try:
                answer = await self._answer(request)
            except Lost as fault:
                answer = Response(request.id, b"", fault_text(INTERNAL_ERROR, str(fault)))
            except Rejection as rejection:
                answer = Response(request.id, b"", fault_text(rejection.code, rejection.text, rejection.data))
            finally:
                del self._running[request.id]
            self._say(envelope.response(request.id, answer))

    async def _answer(self, request: Request) -> Response:
        method, params = request.method, request.params
        if method == "server/discover":
            return Response(request.id, merging.discovered(await self._discover(params)), b"")
        if method in merging.LISTS:
            return Response(request.id, await self._list(method, params), b"")
        if method in ("tools/call", "prompts/get"):
            return await self._call(method, params)
        if method == "resources/read":
            return await self._read(params)
        if method == "completion/complete":
            return await self._complete(params)
        if method == _LISTEN:
            return Response(request.id, await self._listen(request.id, params), b"")
        raise Rejection(404, METHOD_NOT_FOUND, f"there is no method {method!r}")

    # ---- all of them at once

    async def _all(self, method: str, params: bytes) -> dict[str, msgspec.Raw | bytes]:
        """The results of those that have answered in time, in our order. Raises Lost if none has."""
        found: dict[str, msgspec.Raw | bytes] = {}

        async def one(member: Member) -> None:
            with trio.move_on_after(_PATIENCE) as scope:
                try:
                    answer = await member.ask(method, params)
                except Lost as fault:
                    _complain(str(fault))
                    return
                if answer.error:
                    _complain(f"{member.name}: {method}: {read_fault(answer.error).message}")
                else:
                    found[member.name] = answer.result
            if scope.cancelled_caught:
                _complain(f"{member.name}: {method}: no answer within {_PATIENCE:g} s")

        async with trio.open_nursery() as nursery:
            for member in self._members.values():
                nursery.start_soon(one, member)
        if not found:
            raise Lost(f"none of {', '.join(self._names)} answers")
        return {name: found[name] for name in self._names if name in found}

    async def _discover(self, params: bytes) -> dict[str, members.Members]:
        return {
            name: members.peek(result)
            for name, result in (await self._all("server/discover", params)).items()
        }

    async def _list(self, method: str, params: bytes) -> bytes:
        key, _ = merging.LISTS[method]
        first = members.read(params)
        first.pop("cursor", None)  # all is on our first page
        found: dict[str, list[msgspec.Raw]] = {}
        for name, result in (await self._all(method, members.write(first))).items():
            found[name] = await self._pages(self._members[name], method, first, result)
        if method.startswith("resources/"):
            for name, items in found.items():
                for uri in merging.uris(method, items):
                    if self._owners.setdefault(uri, name) != name:
                        _complain(f"{name}: {uri} is that of {self._owners[uri]}")
        text, too_long = merging.listed(method, found)
        for name in too_long:
            _complain(f"left out of {key}, since its name has more than {_LIMITS.name} bytes: {name}")
        return text

    async def _pages(
        self, member: Member, method: str, first: members.Members, result: msgspec.Raw | bytes
    ) -> list[msgspec.Raw]:
        key, _ = merging.LISTS[method]
        page = members.peek(result)
        items = members.items(page.get(key))
        for _ in range(_PAGES):
            if "nextCursor" not in page:
                break
            answer = await member.ask(method, members.write({**first, "cursor": page["nextCursor"]}))
            if answer.error:
                break
            page = members.peek(answer.result)
            items += members.items(page.get(key))
        return items

    # ---- one of them

    async def _call(self, method: str, params: bytes) -> Response:
        name = members.string(members.read(params).get("name"))
        found = merging.split(name, self._names)
        if found is None:
            what = "tool" if method == "tools/call" else "prompt"
            raise Rejection(200, INVALID_PARAMS, f"Unknown {what}: {name}")
        server, rest = found
        return await self._members[server].ask(method, merging.renamed(params, rest))

    async def _read(self, params: bytes) -> Response:
        uri = members.string(members.read(params).get("uri"))
        owner = self._owners.get(uri)
        if owner is not None:
            return await self._members[owner].ask("resources/read", params)
        answer: Response | None = None
        for member in self._members.values():
            try:
                answer = await member.ask("resources/read", params)
            except Lost as fault:
                _complain(str(fault))
                continue
            if not answer.error:
                self._owners[uri] = member.name
                return answer
        if answer is None:
            raise Lost(f"none of {', '.join(self._names)} answers")
        return answer

    async def _complete(self, params: bytes) -> Response:
        kind, value = merging.reference(params)
        if kind == "name":
            found = merging.split(value, self._names)
            if found is not None:
                return await self._members[found[0]].ask(
                    "completion/complete", merging.referring(params, found[1])
                )
        elif value in self._owners:
            return await self._members[self._owners[value]].ask("completion/complete", params)
        raise Rejection(200, INVALID_PARAMS, f"Unknown reference: {value}")

    # ---- subscriptions

    async def _listen(self, subscription: bytes, params: bytes) -> bytes:
        """Listen to all of them until the asker has enough, or none is left; then the result is the end of it."""
        granted: dict[str, members.Members] = {}
        early: list[Notification] = []
        waited_for = set(self._names)
        settled = trio.Event()

        def told(name: str, message: Notification) -> None:
            if message.method == _ACKNOWLEDGED:
                granted[name] = members.peek(members.peek(message.params).get("notifications"))
                heard_of(name)
            elif settled.is_set():
                self._say(envelope.notification(message.method, merging.named(message.params, subscription)))
            else:
                early.append(message)

        def heard_of(name: str) -> None:
            waited_for.discard(name)
            if not waited_for:
                settled.set()

        async def one(member: Member) -> None:
            mine = [
                uri for uri in merging.subscribed(params) if self._owners.get(uri, member.name) == member.name
            ]
            try:
                answer = await member.ask(_LISTEN, merging.wanted(params, mine), partial(told, member.name))
                if answer.error:
                    _complain(f"{member.name}: {_LISTEN}: {read_fault(answer.error).message}")
            except Lost as fault:
                _complain(str(fault))
            heard_of(member.name)

        async with trio.open_nursery() as nursery:
            for member in self._members.values():
                nursery.start_soon(one, member)
            with trio.move_on_after(_PATIENCE):
                await settled.wait()
            settled.set()
            together = merging.acknowledged(list(granted.values()))
            self._say(envelope.notification(_ACKNOWLEDGED, merging.named(together, subscription)))
            for message in early:
                self._say(envelope.notification(message.method, merging.named(message.params, subscription)))
        return merging.named(b'{"resultType":"complete"}', subscription)


def _is_replaced(answer: Response) -> bool:
    if not answer.error:
        return False
    data = members.peek(members.peek(answer.error).get("data"))
    return members.string(data.get("reason")) == "stopping"


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def _run(path: str, names: Sequence[str]) -> None:
    # The daemon reads whatever we write, and has limits of its own.
    send, receive = trio.open_memory_channel[bytes](math.inf)
    splitter = LineSplitter(_LIMITS.line)

    async def write() -> None:
        async with trio.lowlevel.FdStream(os.dup(1)) as stdout:
            async for text in receive:
                await stdout.send_all(text + b"\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        aggregate = Aggregate(nursery, path, names, send.send_nowait)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while data := await stdin.receive_some(_READ):
                for line in splitter.feed(data):
                    if isinstance(line, Overlong):
                        _complain(f"a message has more than {_LIMITS.line} bytes, the limit")
                        continue
                    try:
                        aggregate.heard(envelope.decode(line, _LIMITS))
                    except Rejection as rejection:
                        _complain(f"not understood: {rejection.text}")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_run, sys.argv[1], sys.argv[2:])
