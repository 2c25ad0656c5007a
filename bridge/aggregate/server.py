"""The aggregate: several servers of the daemon as one stdio server of revision 2026-07-28, which the daemon starts.

`python -m mcpbridged.bridge.aggregate.server SOCKET NAME...`

It is a client of the daemon, over a WebSocket for each server on the Unix socket, and speaks the stateless era on both sides: the
daemon translates for clients and servers of earlier revisions. MCP_BRIDGE_PRINCIPAL is the principal that it works for. The
daemon names the client of each request. The request is sent on a connection for this client only, so that a request of a
server reaches the client whose call caused it. The daemon sends the members in its first line, and again after each change
(`aggregate_members`); requests and subscriptions continue.

No request waits long for a member that is late or fails. Its part is left out, and subscriptions get list_changed when it
answers. A message that a member sends, or fails to send, affects the clients of that member only. A request that a server may
have received is never sent again.
"""

import os
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ...transports.process.lines import LineSplitter
from ...transports.server_io import Overlong
from ...validators import json_object, jsonrpc, stateless_request
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import UNLIMITED
from ...validators.mcp_params import read_cancelled
from ...validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Rejection,
)
from ..config.settings import AGGREGATE_VARIABLE, PRINCIPAL_VARIABLE
from ..core import aggregate_members, extensions, input_over
from ..core.aggregate_members import Membership
from ..core.errors import fault_text
from ..core.forwarded_client import named_client
from . import merge, timing
from .catalog import Catalog
from .connection import MemberConnection
from .inquiries import Inquiries
from .listeners import ClientSubscriptions
from .member import READ_SIZE, Daemon, Member, MemberLost, MemberRefused, current_client
from .members import Members
from .output import OutputQueue, log
from .small_surface import SmallSurface
from .tool_names import unknown_tool

if TYPE_CHECKING:
    from .subscription import Subscription

# With more connections, a connection without a request in flight is closed at once.
_MOST_CONNECTIONS: Final = 256
# The calls that wait for input and whose member is stored, at most.
_MOST_ROUNDS: Final = 4096


class AggregateServer:
    """The server, between the messages of the daemon and the members."""

    def __init__(
        self, nursery: trio.Nursery, daemon: Daemon, names: Sequence[str], output: OutputQueue
    ) -> None:
        self._nursery = nursery
        self._send = output.enqueue
        make = partial(Member, nursery, daemon, self._notify, output.room, self._on_input_required)
        self._members = Members(names, make, self._notify)
        subscriptions: dict[Subscription, Callable[[Member], None]] = {}
        self._inquiries = Inquiries(nursery, self._members, subscriptions.keys())
        self._catalog = Catalog(self._members, self._inquiries)
        self._surface = SmallSurface(self._members, self._catalog, self._call_tool)
        self._listeners = ClientSubscriptions(self._members, self._catalog, self._send, subscriptions)
        # By raw id: the scope of each request in flight. Removed with its response.
        self._running: dict[bytes, trio.CancelScope] = {}
        # By the `requestState` of a call that waits for input: the member that requires the input, and its connection.
        # Removed with the retry; the oldest is removed beyond `_MOST_ROUNDS`.
        self._rounds: dict[str, tuple[Member, MemberConnection]] = {}
        # By client: the last capabilities with extensions. The oldest is removed beyond `_MOST_CONNECTIONS`.
        self._declared: dict[str, bytes] = {}

    def on_message(self, message: Message) -> None:
        """Handle a message of the daemon. Raises Rejection."""
        if isinstance(message, Request):
            if message.id in self._running:
                raise jsonrpc.invalid(jsonrpc.ID_IN_USE)
            # A cancellation may be in the same read, before the task has begun.
            scope = self._running[message.id] = trio.CancelScope()
            self._nursery.start_soon(self._serve, message, scope)
        elif isinstance(message, Notification) and message.method == "notifications/cancelled":
            cancelled_scope = self._running.get(read_cancelled(message.params)[0])
            if cancelled_scope is not None:
                cancelled_scope.cancel()
        elif isinstance(message, Notification) and message.method == aggregate_members.METHOD:
            self._update(aggregate_members.read(message.params))
        elif isinstance(message, Notification) and not extensions.is_core(message.method):
            self._pass_on(message)

    def _notify(self, message: Notification) -> None:
        self._send(jsonrpc.notification(message.method, message.params))

    # ---- requests

    async def _serve(self, request: Request, scope: trio.CancelScope) -> None:
        client, params = named_client(request.params)
        current_client.set(client)
        with scope:
            try:
                response = await self._respond(Request(request.id, request.method, params))
            except MemberLost as fault:
                response = _failed(INTERNAL_ERROR, str(fault), fault.data)
            except MemberRefused as refused:
                response = Response(b"", b"", refused.error)
            except Rejection as rejection:
                response = _failed(rejection.code, rejection.text, rejection.data)
            finally:
                del self._running[request.id]
            self._send(jsonrpc.response(request.id, response))

    async def _respond(self, request: Request) -> Response:
        method, params = request.method, request.params
        # The error of an `initialize` names the supported revisions (MCP 2026-07-28 basic/versioning).
        if method == "initialize":
            stateless_request.check_supported(
                json_object.string(json_object.peek(params).get("protocolVersion"))
            )
        envelope = stateless_request.read_envelope(method, params, UNLIMITED)
        stateless_request.check_supported(envelope.version)
        self._store_declared(envelope.capabilities)
        waiting = None if envelope.state is None else self._rounds.pop(envelope.state, None)
        if waiting is None:
            return await self._dispatch(request, envelope)
        member, connection = waiting
        if connection.lost or not self._members.is_present(member):
            await member.check_present()
        response = await self._dispatch(request, envelope)
        if merge.is_expired(response.error):
            await member.check_present()
        return response

    async def _dispatch(self, request: Request, envelope: stateless_request.Envelope) -> Response:
        method, params, name = request.method, request.params, envelope.name
        # A legacy session in front has sent `server/discover` once and cannot send it again.
        session = input_over.declared_in(envelope.capabilities)
        if method == "server/discover":
            return Response(b"", await self._catalog.discover(params, session=session), b"")
        if method == "tools/list" and self._surface.is_used:
            return self._surface.listed()
        if method in merge.LISTS:
            return Response(
                b"", (await self._catalog.list_items(method, params, session=session)).result, b""
            )
        if method == "tools/call":
            if self._surface.is_used:
                return await self._surface.call(params, name, again=envelope.state is not None)
            return await self._call_tool(params, name)
        if method == "prompts/get":
            member, own_name = self._member_of_prompt(name)
            return await member.request(method, merge.with_name(params, own_name))
        if method == "resources/read":
            again = envelope.state is not None
            return await self._catalog.of_resource(method, params, name, again=again)
        if method == "completion/complete":
            return await self._complete(method, params)
        if method == stateless_request.LISTEN:
            await self._listeners.listen(request.id, params)
        if not extensions.is_core(method):
            receiver, params = await self._find_receiver(params, envelope.capabilities)
            if receiver is not None:
                return await receiver.request(method, params)
        raise Rejection(404, METHOD_NOT_FOUND, f"there is no method {method!r}")

    async def _call_tool(self, params: bytes, name: str) -> Response:
        found = self._members.of_tool(name)
        if found is None:
            raise Rejection(200, INVALID_PARAMS, unknown_tool(name))
        member, own_name = found
        response = await member.request("tools/call", merge.with_name(params, own_name))
        error = self._members.tools.error_as_offered(response.error, own_name, name)
        return response if error is response.error else Response(response.id, b"", error)

    def _member_of_prompt(self, name: str) -> tuple[Member, str]:
        found = self._members.of_prompt(name)
        if found is None:
            raise Rejection(200, INVALID_PARAMS, f"Unknown prompt: {name}")
        return found

    async def _complete(self, method: str, params: bytes) -> Response:
        kind, value = merge.reference(params)
        if kind == "uri":
            return await self._catalog.of_resource(method, params, value)
        member, own_name = self._member_of_prompt(value)
        return await member.request(method, merge.with_prompt_name(params, own_name))

    def _store_declared(self, capabilities: bytes) -> None:
        client = current_client.get()
        if extensions.names_in(capabilities) and self._declared.get(client) != capabilities:
            self._declared[client] = capabilities
            if len(self._declared) > _MOST_CONNECTIONS:
                del self._declared[next(iter(self._declared))]

    # ---- input rounds

    def _on_input_required(self, state: str, member: Member, connection: MemberConnection) -> None:
        self._rounds[state] = member, connection
        if len(self._rounds) > _MOST_ROUNDS:
            del self._rounds[next(iter(self._rounds))]

    def _withdraw_input(self, gone: Collection[Member]) -> None:
        """Withdraw the input requests of members that are gone. Their calls end, and the retries get the reason."""
        for state, (member, _) in self._rounds.items():
            if member in gone:
                self._notify(input_over.notification(state))

    # ---- members

    async def close_idle(self) -> None:
        """Close idle connections, without end."""
        while True:
            await trio.sleep(1)
            members = self._members.by_name.values()
            crowded = sum(member.connected for member in members) > _MOST_CONNECTIONS
            for member in members:
                member.close_idle(1 if crowded else timing.IDLE)

    def _update(self, about: Membership) -> None:
        """Take these members. Requests in flight continue, those at a removed member for a limited time."""
        before, former = self._members.by_name, self._members.about
        gone = self._members.update(about)
        owners = self._catalog.owners
        owners.set_servers([*self._members.by_name])
        self._inquiries.drop_removed()
        for name, member in gone.items():
            owners.invalidate(name)
            successor = self._members.by_name.get(name)
            self._nursery.start_soon(member.remove, successor, about.drain_seconds + timing.SLACK)
        self._withdraw_input(gone.values())
        self._listeners.on_members_changed(before, gone.keys())
        if former.offer_of_tools != about.offer_of_tools:
            self._listeners.on_names_changed()

    # ---- extensions

    async def _find_receiver(self, params: bytes, capabilities: bytes) -> tuple[Member | None, bytes]:
        """Return the member for a request of an extension, None if it cannot be determined, and the params for it."""
        kind, value = merge.target(params)
        if kind == "uri":
            await self._catalog.candidates(params, value)
        members = self._members.by_name.values()
        if not all(member.answers.last("server/discover") for member in members):
            await self._catalog.offers(params)
        return self._receiver(params, capabilities)

    def _receiver(self, params: bytes, capabilities: bytes) -> tuple[Member | None, bytes]:
        """Return the result of `_find_receiver` without further requests.

        It is the member of the tool, prompt or resource that the message names, else the only member that shares an
        extension with the client, or that has one.
        """
        kind, value = merge.target(params)
        found = {"name": self._members.of_tool, "ref": self._members.of_prompt}.get(kind)
        named = None if found is None else found(value)
        if named is not None:
            rename = merge.with_name if kind == "name" else merge.with_prompt_name
            return named[0], rename(params, named[1])
        by_name = self._members.by_name
        owners = self._catalog.owners.candidates(value) if kind == "uri" else []
        if owners:
            return by_name[owners[0]], params
        offers: dict[str, json_object.Members] = {
            name: member.answers.last("server/discover") or {} for name, member in by_name.items()
        }
        sharing = merge.servers_with_shared_extension(offers, capabilities)
        return (by_name[sharing[0]] if len(sharing) == 1 else None), params

    def _pass_on(self, message: Notification) -> None:
        """Pass on a notification of a client. It is dropped if its member cannot be determined."""
        client, params = named_client(message.params)
        found = json_object.peek(params)
        # The name of the client may have been the only member.
        if bytes(found.get("_meta", b"")) == b"{}":
            del found["_meta"]
        member, params = self._receiver(json_object.write(found), self._declared.get(client, b"{}"))
        if member is not None:
            member.notify(client, Notification(message.method, params))


def _failed(code: int, text: str, data: object = None) -> Response:
    return Response(b"", b"", fault_text(code, text, data))


def _on_line(aggregate: AggregateServer, line: bytes | Overlong, send: Callable[[bytes], None]) -> None:
    if isinstance(line, Overlong):
        log("message_dropped", reason=f"more than {UNLIMITED.line} bytes, the limit")
        return
    try:
        aggregate.on_message(jsonrpc.decode(line, UNLIMITED))
    except Rejection as rejection:
        raw_id = jsonrpc.readable_id(line)
        # Clients differ in whether they can read an error with `"id": null`, so none is sent.
        if raw_id == b"null":
            log("message_dropped", reason=rejection.text)
        else:
            send(jsonrpc.error(raw_id, rejection.code, rejection.text, rejection.data))


async def run(path: str, names: Sequence[str], principal: str, aggregate_name: str = "") -> None:
    """Serve on stdin and stdout until stdin ends.

    `path` is the Unix socket of the daemon, `names` are the members, and `aggregate_name` is that of a named aggregate.
    """
    output, splitter = OutputQueue(), LineSplitter(UNLIMITED.line)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.write)
        aggregate = AggregateServer(nursery, Daemon(path, principal, aggregate_name), names, output)
        nursery.start_soon(aggregate.close_idle)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while data := await stdin.receive_some(READ_SIZE):
                for line in splitter.feed(data):
                    _on_line(aggregate, line, output.enqueue)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(
        run,
        sys.argv[1],
        sys.argv[2:],
        os.environ.get(PRINCIPAL_VARIABLE, ""),
        os.environ.get(AGGREGATE_VARIABLE, ""),
    )
