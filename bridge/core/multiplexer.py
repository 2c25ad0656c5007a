"""Stateless requests of many callers in front of one modern server: who asked what, under which id, with which token.

The server may really be modern, or a legacy one behind a translator: here they are the same. Ids and progress tokens are
ours on the server's side; a subscription is named by the id of the request that opened it; a requestState goes out
under a seal and comes back only from whoever got it (digest 8.5, 8.11). Everything else passes as it is.

Pure. Invariant I1: a message leaves only on the outlet of the request that it belongs to.
Invariant I7: a request that was handed to the server ends in exactly one answer, unless its caller has left.
"""

from collections.abc import Container, Iterable, Mapping
from functools import partial
from typing import Final

import msgspec

from ...validators import json_object, jsonrpc, stateless_request
from ...validators.jsonrpc import Message, Notification, Request, Response, canonical_id
from ...validators.limits import Limits
from ...validators.mcp_params import (
    cancelled,
    cancelled_again,
    read_cancelled,
    read_items,
    read_list,
    read_progress,
)
from ...validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    TIMEOUT,
    Rejection,
)
from ...validators.stateless_request import NAMED, Mirror
from . import errors, extensions, input_over
from .abandoned_requests import AbandonedRequests
from .attribution import INTERACTIVE
from .call_timeouts import CallTimeouts
from .effects import (
    CANCELLED,
    OK,
    EraMismatch,
    LogDebug,
    RequestFinished,
    StartProcess,
    ToClient,
    ToServer,
    failed_with,
)
from .request_state import StateSigner, binding
from .requests import ClientRequest

# What the modern era has taken out; a server that still knows it must not be asked (digest 3.3).
_GONE: Final = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
    | {"tasks/list", "tasks/result"}
)
_LISTEN: Final = "subscriptions/listen"
_OVER: Final = b'{"resultType":"complete"}'
_STATUS: Final = {
    INVALID_REQUEST: 400,
    METHOD_NOT_FOUND: 404,
    stateless_request.HEADER_MISMATCH: 400,
    stateless_request.MISSING_CAPABILITY: 400,
    stateless_request.UNSUPPORTED_VERSION: 400,
}
# How many names of tools, with their headers, are known at most; of those that were not looked for, the oldest go.
_TOOLS: Final = 16 * 1024
_INPUT_REQUIRED: Final = b'"input_required"'


# The header annotations of tools by their names, or why they cannot be read.
Tools = dict[str, tuple[Mirror, ...] | Rejection]
Effect = ToServer | ToClient | StartProcess | EraMismatch | RequestFinished | LogDebug
Effects = Iterable[Effect]


class _Tools:
    """The header annotations of the tools that a server has listed, by name. At the limit the oldest are dropped."""

    def __init__(self) -> None:
        self._mirrors: Tools = {}
        self._size = 0
        self.incomplete = False  # whether some were dropped

    def get(self, name: str) -> tuple[Mirror, ...] | Rejection | None:
        """Return the annotations of this tool, or why they cannot be read; None if it is not known."""
        return self._mirrors.get(name)

    def learn(self, name: str, mirrors: tuple[Mirror, ...] | Rejection, wanted: Container[str] = ()) -> None:
        """Store the annotations of a tool. A name that is wanted is not dropped for others."""
        self._forget(name)
        self._mirrors[name] = mirrors
        self._size += _weight(mirrors)
        while self._size > _TOOLS:
            self.incomplete = True
            oldest = next((one for one in self._mirrors if one != name and one not in wanted), None)
            if oldest is None:
                return
            self._forget(oldest)

    def _forget(self, name: str) -> None:
        mirrors = self._mirrors.pop(name, None)
        if mirrors is not None:
            self._size -= _weight(mirrors)


def _weight(mirrors: tuple[Mirror, ...] | Rejection) -> int:
    return 1 if isinstance(mirrors, Rejection) else 1 + len(mirrors)


class Multiplexer:
    """The state machine in front of one server. `seal` is shared by all relays of the daemon.

    With `shared` the callers may be several principals, of a server that is really modern.
    """

    def __init__(self, limits: Limits, signer: StateSigner, *, shared: bool = False) -> None:
        self._limits = limits
        # Whose task each is, where the server serves several principals (digest 1.17).
        self._tasks: dict[str, str] | None = {} if shared else None
        self._signer = signer
        self._next_id = 1
        self._calls: dict[bytes, ClientRequest] = {}
        self._abandoned = AbandonedRequests()
        self._listens = 0  # how many of them are subscriptions
        self._timeouts = CallTimeouts(limits)
        # Calls that the server has been given, and those that wait until it has fewer: some take one at a time.
        self._given: set[bytes] = set()
        self._queued: dict[bytes, ToServer] = {}
        self._queues: dict[object, dict[bytes, bytes]] = {}  # the callers' ids and ours
        # Rounds whose client learns that they are over (`input_over`): by the server's state, the stream and its state.
        self._rounds: dict[str, tuple[object, str]] = {}
        self._alive = False  # whether there is a server to talk to
        self._starting = False
        self._held: list[ToServer] = []  # for the server to be started
        # The header annotations of the tools, as the server has listed them; None before it did.
        self._tools: _Tools | None = None
        self._listing: bytes = b""  # our own tools/list
        self._listed = _Tools()
        self._pages = 0
        self._unchecked: list[ClientRequest] = []  # for the tools to be listed
        self._changed = False  # whether anything has happened that may have changed the tools
        self._outdated = False  # whether the server has said that they have changed

    @property
    def in_flight(self) -> int:
        """How many requests have not been answered, open subscriptions among them."""
        return len(self._calls) + len(self._unchecked)

    @property
    def calling(self) -> int:
        """How many requests wait for an answer that is to come by itself: a subscription lasts."""
        return self.in_flight - self._listens

    @property
    def queues(self) -> set[object]:
        """The outlets of those whose requests have not been answered."""
        return {ask.queue for ask in (*self._calls.values(), *self._unchecked)}

    # ---- events from callers

    def on_request(self, ask: ClientRequest) -> Effects:
        """A request. Raises Rejection."""
        method = ask.request.method
        # Subscriptions are in `_calls` as well, so below the smaller limit there is room for either.
        if method == _LISTEN or len(self._calls) + len(self._unchecked) >= self._limits.in_flight:
            self._check_room(method)
        if self._held or self._queued or self._unchecked:
            self._check_bytes(len(ask.request.params))
        if method in _GONE:
            raise Rejection(404, METHOD_NOT_FOUND, "there is no such method in this revision")
        mine = self._queues.get(ask.queue)
        if mine is not None and canonical_id(ask.request.id) in mine:
            raise Rejection(400, INVALID_REQUEST, "this id is in use by a request in flight")
        policy = ask.policy
        if policy.restricts:
            if policy.denied(method):
                raise policy.refusal(method, 404)
            if method == "tools/call":
                policy.check(ask.envelope.name)
        if self._tasks is not None and NAMED.get(method) == "taskId":
            _check_task(ask, self._tasks)
        params = self._params(ask)
        if method == "tools/call" and ask.headers is not None:
            return self._checked(ask, params)
        return self._forward(ask, params)

    def _check_room(self, method: str) -> None:
        # Every session that shares the server listens as long as it lasts, so that takes no call's place.
        if method == _LISTEN:
            taken, limit, what = self._listens, self._limits.sessions, "open subscriptions"
        else:
            taken, limit, what = self.calling, self._limits.in_flight, "calls in flight"
        if taken >= limit:
            raise _full(f"the limit of {limit} {what} is reached")

    def _check_bytes(self, more: int) -> None:
        # What waits here, for a start or its turn, has the limit of what waits in front of a server that does not read.
        orders = (order.message for order in (*self._held, *self._queued.values()))
        waiting = sum(len(one.params) for one in orders if isinstance(one, Request))
        waiting += sum(len(one.request.params) for one in self._unchecked)
        if waiting + more > self._limits.stdin_bytes:
            raise _full(f"{waiting} bytes wait for the server and the limit is {self._limits.stdin_bytes}")

    def on_disconnect(self, queue: object) -> Effects:
        """The caller has closed its stream: that cancels what it asked (digest 3.7)."""
        self._rounds = {one: round_ for one, round_ in self._rounds.items() if round_[0] is not queue}
        gone = [ask for ask in self._unchecked if ask.queue is queue]
        self._unchecked = [ask for ask in self._unchecked if ask.queue is not queue]
        for ask in gone:
            yield from _done(ask, CANCELLED)
        for raw_id in tuple(self._queues.get(queue, ())):
            yield from self.on_cancelled(queue, raw_id)

    def on_cancelled(
        self, queue: object, raw_id: bytes, outcome: str = CANCELLED, params: bytes = b""
    ) -> Effects:
        """The caller takes one request back, on a stream that carries others as well.

        `params` are those of its notification, if it has sent one.
        """
        wire_id = self._queues.get(queue, {}).get(canonical_id(raw_id))
        if wire_id is None:
            return
        known = wire_id in self._given or self._calls[wire_id].request.method == _LISTEN
        yield from _done(self._settle(wire_id), outcome)
        if not known:  # it waits for its turn still
            return
        if self._alive:
            self._abandoned.add(wire_id)
            yield ToServer(Notification("notifications/cancelled", cancelled_again(params, wire_id)))
        else:
            self._held = [
                one
                for one in self._held
                if not (isinstance(one.message, Request) and one.message.id == wire_id)
            ]
        yield from self._next()

    def on_notification(self, message: Notification) -> Effects:
        """A notification of a caller, of an extension."""
        return (ToServer(message),) if self._alive else (LogDebug("notification_without_server"),)

    def on_permissions_changed(self, principal: str) -> Effects:
        """What this principal may use is another thing now: its subscriptions end, and it opens those that it may."""
        for ask in tuple(self._calls.values()):
            if ask.principal == principal and ask.request.method == _LISTEN:
                yield from self.on_cancelled(ask.queue, ask.request.id, OK)
                yield from _listen_over(ask, _named(_OVER, ask.request.id))

    def _params(self, ask: ClientRequest) -> bytes:
        # The token and the state are ours to change; most requests have neither.
        request, read = ask.request, ask.envelope
        inner = None
        if read.state is not None and request.method in INTERACTIVE:  # a forged one costs nothing else
            inner = self._signer.verify(_bound_to(ask), partial(_arguments, ask), read.state)
            if inner is None:
                raise Rejection(200, INVALID_PARAMS, "Invalid or expired requestState")
        params = (
            ask.policy.request(request.method, request.params) if ask.policy.restricts else request.params
        )
        tasks = self._tasks if request.method == _LISTEN else None
        if not read.token and read.state is None and tasks is None:
            return params
        found = json_object.read(params)
        if tasks is not None:
            _listen_to_own_tasks(found, tasks, ask.principal, self._limits)
        if read.token:
            meta = json_object.read(found["_meta"])
            meta["progressToken"] = json_object.raw(b"%d" % self._next_id)
            found["_meta"] = json_object.raw(json_object.write(meta))
        if inner is not None:
            found["requestState"] = json_object.raw(json_object.text(inner))
        return json_object.write(found)

    def _forward(self, ask: ClientRequest, params: bytes) -> Effects:
        wire_id = b"%d" % self._next_id
        self._next_id += 1
        self._calls[wire_id] = ask
        self._listens += ask.request.method == _LISTEN
        if self._timeouts.limited and ask.request.method != _LISTEN:
            self._timeouts.add(wire_id)
        self._queues.setdefault(ask.queue, {})[canonical_id(ask.request.id)] = wire_id
        order = ToServer(Request(wire_id, ask.request.method, params), ask)
        if ask.request.method != _LISTEN:
            if len(self._given) >= self._limits.calls_at_once:
                self._queued[wire_id] = order
                return ()
            self._given.add(wire_id)
        return self._say(order)

    def _say(self, order: ToServer) -> Effects:
        if self._alive:
            return (order,)
        self._held.append(order)
        if self._starting:
            return ()
        self._starting = True
        return (StartProcess(),)

    def _next(self) -> Effects:
        while self._queued and len(self._given) < self._limits.calls_at_once:
            wire_id = next(iter(self._queued))
            order = self._queued.pop(wire_id)
            self._given.add(wire_id)
            yield from self._say(order)

    # ---- headers that mirror a tool's arguments (digest 3.5)

    def _checked(self, ask: ClientRequest, params: bytes, *, listed: bool = False) -> Effects:
        tools = self._tools
        if tools is None or self._outdated:
            self._unchecked.append(ask)
            return self._list_tools()
        mirrors = tools.get(ask.envelope.name)
        if mirrors is None and (self._changed or (tools.incomplete and not listed)):
            self._unchecked.append(ask)
            return self._list_tools()
        if isinstance(mirrors, Rejection):
            raise Rejection(mirrors.status, mirrors.code, mirrors.text)
        if mirrors:
            assert ask.headers is not None  # noqa: S101 - the caller has looked
            try:
                stateless_request.check_params(ask.headers, ask.request.params, mirrors)
            except Rejection:
                if not self._changed:
                    raise
                self._unchecked.append(ask)  # the tool may be another by now
                return self._list_tools()
        self._changed = True
        return self._forward(ask, params)

    def _list_tools(self, cursor: bytes = b"") -> Effects:
        if self._listing and not cursor:
            return ()
        if not cursor:
            self._listed, self._pages = _Tools(), 0
        wire_id = b"%d" % self._next_id
        self._next_id += 1
        self._listing = wire_id
        if self._timeouts.limited:
            self._timeouts.add(wire_id)
        found: dict[str, object] = {"_meta": stateless_request.OWN_META}
        if cursor:
            found["cursor"] = json_object.raw(cursor)
        return self._say(ToServer(Request(wire_id, "tools/list", json_object.write(found))))

    def _tools_listed(self, message: Response) -> Effects:
        self._timeouts.remove(message.id)
        try:
            found = self._learn(message.result, self._listed)
        except Rejection as rejection:
            return self._unreadable(rejection)
        self._pages += 1
        cursor = found.get("nextCursor")
        if cursor is not None and bytes(cursor) != b"null" and self._pages < self._limits.list_pages:
            return self._list_tools(bytes(cursor))
        self._listing = b""
        self._tools, self._changed, self._outdated = self._listed, False, False
        return self._check_again()

    def _overheard(self, ask: ClientRequest, result: bytes | msgspec.Raw, tools: _Tools) -> None:
        try:
            found = self._learn(result, tools)
        except Rejection:
            self._outdated = True
            return
        whole = bytes(found.get("nextCursor", b"null")) == b"null"
        if whole and b'"cursor"' not in ask.request.params and not ask.policy.restricts:
            self._outdated = False

    def _learn(self, result: bytes | msgspec.Raw, tools: _Tools) -> json_object.Members:
        """Read the header annotations of one page. Raises Rejection for a page beyond the limits."""
        found = read_list(result, self._limits)
        schemas = stateless_request.Schemas(self._limits)
        wanted = {ask.envelope.name for ask in self._unchecked}
        for one in read_items(found.get("tools"), self._limits):
            tool = json_object.peek(one)
            mirrors: tuple[Mirror, ...] | Rejection
            try:
                mirrors = schemas.mirrors(bytes(tool.get("inputSchema", b"{}")))
            except (
                ValueError
            ):  # the client must drop such a tool, or it does not look: there is nothing to compare
                mirrors = ()
            except Rejection as rejection:
                mirrors = rejection
            name = json_object.string(tool.get("name"))
            if len(name) <= self._limits.name:  # a longer one cannot be called
                tools.learn(name, mirrors, wanted)
        return found

    def _unreadable(self, rejection: Rejection) -> Effects:
        # What the headers must be is not known, so no call that has some can be let pass.
        self._listing = b""
        waiting, self._unchecked = self._unchecked, []
        for ask in waiting:
            yield ToClient(
                ask.queue, jsonrpc.error(ask.request.id, rejection.code, rejection.text), last=not ask.pipe
            )
            yield from _done(ask, failed_with(rejection.code))

    def _not_listed(self, how: str) -> Effects:
        # Nobody knows what the headers must say, so what waits for that has taken as long as it may.
        self._timeouts.remove(self._listing)
        if self._alive:
            self._abandoned.add(self._listing)
            yield ToServer(Notification("notifications/cancelled", cancelled(self._listing, b"")))
        self._listing = b""
        waiting, self._unchecked = self._unchecked, []
        for ask in waiting:
            yield _late(ask, f"the list of tools that the call waits for {how}")

    def _check_again(self) -> Effects:
        waiting, self._unchecked = self._unchecked, []
        for ask in waiting:
            try:
                yield from self._checked(ask, self._params(ask), listed=True)
            except Rejection as rejection:
                text = jsonrpc.error(ask.request.id, rejection.code, rejection.text, rejection.data)
                yield ToClient(ask.queue, text, last=not ask.pipe, status=rejection.status)
                yield from _done(ask, failed_with(rejection.code))

    # ---- events from the server

    def start_process(self) -> Effects:
        """Have the server started before a request needs it."""
        if self._alive or self._starting:
            return ()
        self._starting = True
        return (StartProcess(),)

    def remove_requests(self) -> list[ClientRequest]:
        """Remove and return all requests. The server must not have been given any of them."""
        taken = [*self._calls.values(), *self._unchecked]
        for wire_id in (*self._calls, self._listing):
            self._timeouts.remove(wire_id)
        for table in (self._calls, self._queues, self._given, self._queued, self._held, self._unchecked):
            table.clear()
        self._listens, self._listing = 0, b""
        self._alive = self._starting = False
        return taken

    def on_server_start(self) -> Effects:
        """The server is there: it gets what has waited."""
        self._starting, self._alive = False, True
        held, self._held = self._held, []
        return held

    def on_server_exit(self, text: str, data: dict[str, object]) -> Effects:
        """The server is gone, or could not be started: what is in flight fails, subscriptions end (digest 2.3).

        A caller opens its subscription again and looks at the lists anew, so no change is missed.
        """
        self._alive = self._starting = False
        self._abandoned = AbandonedRequests()
        self._held.clear()
        self._queued.clear()
        self._timeouts.remove(self._listing)
        self._tools, self._listing = None, b""
        for wire_id in tuple(self._calls):
            ask = self._settle(wire_id)
            if ask.request.method == _LISTEN and data.get("reason") != "not started":
                yield from _listen_over(ask, _named(_OVER, ask.request.id))
                yield from _done(ask, OK)
            else:
                yield _failed(ask, text, data)
                yield from _done(ask, failed_with(INTERNAL_ERROR))
        waiting, self._unchecked = self._unchecked, []
        for ask in waiting:
            yield _failed(ask, text, data)
            yield from _done(ask, failed_with(INTERNAL_ERROR))

    def on_server_message(self, message: Message, about: bytes = b"") -> Effects:
        """A message of the server. `about` is the id of the request that it belongs to, where that is known."""
        if isinstance(message, Response):
            return self._answered(message)
        if isinstance(message, Notification):
            return self._notified(message, about)
        return (LogDebug("server_request_in_modern_era"),)

    def _answered(self, message: Response) -> Effects:
        wire_id = message.id
        if wire_id == self._listing:
            return self._tools_listed(message)
        if wire_id not in self._calls:
            if self._abandoned.take(wire_id):
                return (LogDebug("response_not_awaited"),)
            return (LogDebug("response_unmatched", ("server", wire_id)),)
        ask = self._settle(wire_id)
        if ask.policy.restricts:
            message = ask.policy.answer(ask.request.method, message, self._limits)
        effects = self._settled(ask, message)
        if ask.since is not None:
            outcome = failed_with(errors.read_fault(message.error).code) if message.error else OK
            effects = (*effects, RequestFinished(ask, outcome))
        return (*effects, *self._next()) if self._queued else effects

    def _settled(self, ask: ClientRequest, message: Response) -> Effects:
        if message.error:
            return self._refused(ask, message)
        method = ask.request.method
        if method in INTERACTIVE:
            if self._tasks is not None:
                self._learn_task(ask, message, self._tasks)
            if type(message.result) is not bytes or _INPUT_REQUIRED in message.result:
                message = self._sealed(ask, message)
        elif method == "tools/list":
            if self._tools is not None:
                self._overheard(ask, message.result, self._tools)
        elif method == _LISTEN:
            return _listen_over(ask, _named(bytes(message.result), ask.request.id))
        elif method == "server/discover":
            message = _spoken(message)
        return (ToClient(ask.queue, jsonrpc.response(ask.request.id, message), last=not ask.pipe),)

    def _learn_task(self, ask: ClientRequest, message: Response, tasks: dict[str, str]) -> None:
        # What is so large that it is a view is no task.
        if type(message.result) is not bytes or b'"taskId"' not in message.result:
            return
        found = json_object.peek(message.result)
        if json_object.string(found.get("resultType")) == "task":
            tasks[json_object.string(found.get("taskId"))] = ask.principal
            if len(tasks) > self._limits.stream_messages:
                del tasks[next(iter(tasks))]

    def _refused(self, ask: ClientRequest, message: Response) -> Effects:
        fault = errors.read_fault(message.error)
        if fault.code in (
            stateless_request.UNSUPPORTED_VERSION,
            stateless_request.HEADER_MISMATCH,
        ):  # these are about our hop (digest 8.3)
            text = f"the server refused our way of asking: {fault.message}"
            yield _failed(ask, text, {"originalCode": fault.code}, 200)
            if fault.code == stateless_request.UNSUPPORTED_VERSION:
                yield EraMismatch(text)
            return
        yield ToClient(
            ask.queue,
            jsonrpc.response(ask.request.id, message),
            last=not ask.pipe,
            status=_STATUS.get(fault.code, 200),
        )

    def _sealed(self, ask: ClientRequest, message: Response) -> Response:
        found = json_object.peek(message.result)
        if json_object.string(found.get("resultType")) != "input_required" or "requestState" not in found:
            return message
        inner = json_object.string(found["requestState"])
        state = self._signer.sign(_bound_to(ask), _arguments(ask), inner)
        found["requestState"] = json_object.raw(json_object.text(state))
        if ask.pipe and input_over.declared_in(ask.envelope.capabilities):
            self._rounds[inner] = (ask.queue, state)
            if len(self._rounds) > self._limits.held_calls:
                del self._rounds[next(iter(self._rounds))]
        return Response(message.id, json_object.write(found), b"")

    def _notified(self, message: Notification, about: bytes) -> Effects:
        if not json_object.has_room(message.params):
            return (LogDebug("notification_with_too_many_members"),)
        method = message.method
        if method == "notifications/progress":
            wire_id = about or jsonrpc.wire_id(read_progress(message.params))
            ask = self._calls.get(wire_id)
            if ask is None or not ask.envelope.token or ask.request.method == _LISTEN:
                return (LogDebug("progress_unmatched"),)
            if self._timeouts.limited:
                self._timeouts.on_progress(wire_id)
            found = json_object.peek(message.params)
            found["progressToken"] = json_object.raw(ask.envelope.token)
            return (_told(ask, method, json_object.write(found)),)
        if method == "notifications/message":
            ask = self._calls.get(about) if about else self._logging(message.params)
            if ask is None or ask.policy.denied(method):
                return ()
            return (_told(ask, method, message.params),)
        if method == "notifications/cancelled":
            return self._listen_ended(read_cancelled(message.params)[0])
        if method == input_over.METHOD:
            return self._input_over(input_over.state_of(message.params))
        if method == "notifications/tools/list_changed":
            self._outdated = True
        if not extensions.is_core(method):
            return self._extended(message, about)
        return self._published(message)

    def _input_over(self, inner: str) -> Effects:
        queue, state = self._rounds.pop(inner, (None, ""))
        if queue is None:
            return (LogDebug("input_over_unmatched"),)
        message = input_over.notification(state)
        return (ToClient(queue, jsonrpc.notification(message.method, message.params)),)

    def _listen_ended(self, wire_id: bytes) -> Effects:
        # On a pipe a server may end a subscription so, and nothing else (digest B1).
        ask = self._calls.get(wire_id)
        if ask is None or ask.request.method != _LISTEN:
            return (LogDebug("cancellation_unmatched"),)
        self._settle(self._abandoned.add(wire_id))
        return _listen_over(ask, _named(_OVER, ask.request.id))

    def _logging(self, params: bytes) -> ClientRequest | None:
        # A pipe does not say whose log line it is. It is not sent where there are several principals, or several
        # clients with calls; of several requests of one client that want it, it is the newest's.
        level = json_object.string(json_object.peek(params).get("level"))
        if level not in stateless_request.LOG_LEVELS:
            return None
        rank = stateless_request.LOG_LEVELS.index(level)
        wanting = [
            ask
            for ask in self._calls.values()
            if ask.request.method != _LISTEN  # it hears of changes only (digest 1.16)
            and ask.envelope.log_level
            and stateless_request.LOG_LEVELS.index(ask.envelope.log_level) <= rank
        ]
        if len({ask.principal for ask in self._calls.values()}) != 1:
            return None
        calling = {_sender(ask) for ask in self._calls.values() if ask.request.method != _LISTEN}
        if len(calling) > 1:
            return None
        return wanting[-1] if wanting else None

    def _extended(self, message: Notification, about: bytes) -> Effects:
        """A notification of an extension: of a request or subscription that is named, else of the only caller's newest."""
        ask = self._calls.get(about or _subscription(message.params)) or self._newest_of_the_only_caller()
        if ask is None or ask.policy.denied(message.method):
            return (LogDebug("extension_notification_not_sent"),)
        listens = ask.request.method == _LISTEN
        params = _named(message.params, ask.request.id) if listens else message.params
        return (_told(ask, message.method, params),)

    def _newest_of_the_only_caller(self) -> ClientRequest | None:
        if len({(ask.principal, ask.client) for ask in self._calls.values()}) != 1:
            return None
        newest = [*self._calls.values()][::-1]
        return next((ask for ask in newest if ask.request.method != _LISTEN), newest[0])

    def _published(self, message: Notification) -> Effects:
        ask = self._calls.get(_subscription(message.params))
        if ask is None or ask.request.method != _LISTEN:
            return (LogDebug("notification_without_subscription"),)
        if ask.policy.denied(message.method):
            return (LogDebug("notification_denied"),)
        return (_told(ask, message.method, _named(message.params, ask.request.id)),)

    def on_tick(self, now: float) -> Effects:
        """Time has passed (seconds on any steady clock): calls that take longer than they may are given up."""
        if not self._timeouts.limited:
            return
        for wire_id, how in self._timeouts.on_tick(now):
            if wire_id == self._listing:
                yield from self._not_listed(how)
                continue
            ask = self._calls[wire_id]
            yield from self.on_cancelled(ask.queue, ask.request.id, failed_with(TIMEOUT))
            yield _late(ask, f"the call {how}")

    def close(self, text: str) -> Effects:
        """There will be no more: subscriptions end in order, what is in flight fails."""
        return self.on_server_exit(text, {"reason": "stopping"})

    def _settle(self, wire_id: bytes) -> ClientRequest:
        ask = self._calls.pop(wire_id)
        self._listens -= ask.request.method == _LISTEN
        self._given.discard(wire_id)
        self._queued.pop(wire_id, None)
        if self._timeouts.limited:
            self._timeouts.remove(wire_id)
        mine = self._queues[ask.queue]
        del mine[canonical_id(ask.request.id)]
        if not mine:
            del self._queues[ask.queue]
        return ask


def _full(text: str) -> Rejection:
    return Rejection(429, INTERNAL_ERROR, text, headers=((b"Retry-After", b"1"),))


def _done(ask: ClientRequest, outcome: str) -> Effects:
    return () if ask.since is None else (RequestFinished(ask, outcome),)


def _sender(ask: ClientRequest) -> tuple[str, object]:
    """Return the client of a request, as far as it is known: a connection with several answers is one client's."""
    return ask.principal, ask.queue if ask.pipe else ask.client


def _bound_to(ask: ClientRequest) -> bytes:
    return binding(ask.principal, ask.request.method, ask.envelope.name)


def _arguments(ask: ClientRequest) -> bytes:
    return bytes(json_object.read(ask.request.params).get("arguments", b""))


def _check_task(ask: ClientRequest, tasks: Mapping[str, str]) -> None:
    if tasks.get(ask.envelope.name) != ask.principal:
        raise Rejection(200, INVALID_PARAMS, "Unknown task")


def _listen_to_own_tasks(
    found: json_object.Members, tasks: Mapping[str, str], principal: str, limits: Limits
) -> None:
    wanted = json_object.peek(found.get("notifications"))
    if "taskIds" in wanted:
        named = map(json_object.string, read_items(wanted["taskIds"], limits))
        mine = [task for task in named if tasks.get(task) == principal]
        found["notifications"] = json_object.raw(json_object.write({**wanted, "taskIds": mine}))


def _named(payload: bytes, client_id: bytes) -> bytes:
    """With the subscription's name as its client knows it."""
    found = json_object.peek(payload)
    meta = json_object.peek(found.get("_meta"))
    meta[stateless_request.SUBSCRIPTION_ID] = json_object.raw(client_id)
    found["_meta"] = json_object.raw(json_object.write(meta))
    return json_object.write(found)


def _subscription(params: bytes) -> bytes:
    """Return the raw id of the subscription that a notification belongs to, or nothing."""
    meta = json_object.peek(json_object.peek(params).get("_meta"))
    return jsonrpc.wire_id(bytes(meta.get(stateless_request.SUBSCRIPTION_ID, b"")))


def _spoken(discovered: Response) -> Response:
    """Without the revisions that the server speaks and we do not (digest 8.2)."""
    found = json_object.peek(discovered.result)
    offered = list(map(json_object.string, json_object.items(found.get("supportedVersions"))))
    spoken = [version for version in offered if version in stateless_request.SUPPORTED]
    if spoken == offered:
        return discovered
    return Response(discovered.id, json_object.write({**found, "supportedVersions": spoken}), b"")


def _told(ask: ClientRequest, method: str, params: bytes) -> ToClient:
    return ToClient(ask.queue, jsonrpc.notification(method, params))


def _listen_over(ask: ClientRequest, result: bytes) -> Effects:
    """The end of a subscription: its result, and where more than one goes over the pipe the other way of saying it (digest B1)."""
    over = jsonrpc.response(ask.request.id, Response(b"", result, b""))
    yield ToClient(ask.queue, over, last=not ask.pipe)
    if ask.pipe:
        yield _told(ask, "notifications/cancelled", cancelled(ask.request.id, b""))


def _late(ask: ClientRequest, text: str) -> ToClient:
    error = jsonrpc.error(ask.request.id, TIMEOUT, text, {"reason": "timeout"})
    return ToClient(ask.queue, error, last=not ask.pipe)


def _failed(ask: ClientRequest, text: str, data: dict[str, object], status: int = 503) -> ToClient:
    error = jsonrpc.error(ask.request.id, INTERNAL_ERROR, text, data)
    return ToClient(ask.queue, error, last=not ask.pipe, status=status)
