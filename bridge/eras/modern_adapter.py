"""A legacy client's session in front of a modern server: the handshake it expects, over requests that stand alone.

The session believes that it talks to a legacy server of its own. Here `initialize` is answered from `server/discover`, every
request gets its envelope, `input_required` is driven as real requests to the client (digest 8.4), and one
`subscriptions/listen` carries what a legacy server would have said by itself.

Pure. Ids towards the server are ours and never used twice.
Invariant: a request of the session ends in exactly one answer, unless the session has taken it back.
Invariant: what the server says is never an exception here, however wrong it is.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object, stateless_request
from ...validators.json_object import Members
from ...validators.jsonrpc import Message, Notification, Request, Response, wire_id
from ...validators.limits import Limits
from ...validators.mcp_params import LEGACY_REVISIONS, cancelled, cancelled_again, read_cancelled
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Rejection
from ..core import extensions, input_over
from ..core.abandoned_requests import AbandonedRequests
from ..core.attribution import INTERACTIVE
from ..core.effects import Effect, Effects, EraMismatch, LogDebug, SetTimer, Timer, ToRequester, ToServer
from ..core.errors import Fault, fault_text, is_without_stream, read_fault
from . import rules_modern_to_legacy
from .timers import ListenDue, RetryDue, TaskPollDue

# Rounds of questions in one call; the SDKs stop at 8 and 10 (digest 8.4).
ROUNDS: Final = 8
# How long, in seconds, a round waits that only hands a state back; how long a client may take for one question.
PACE: Final = 0.25
LEG_SECONDS: Final = 600.0
# How long, in seconds, between two looks at a task that does not say, and at least.
POLL: Final = 1.0
LEAST_POLL: Final = 0.1
# After the server has ended a subscription, in seconds; twice as long after each attempt that fails, and at most.
LISTEN_AGAIN: Final = 1.0
LISTEN_SELDOM: Final = 60.0
# The log level until the client has set one: a legacy server logs before, a modern one only where a request says so.
DEFAULT_LEVEL: Final = "info"

_CAPABILITY: Final = {
    "tools/list": "tools",
    "tools/call": "tools",
    "prompts/list": "prompts",
    "prompts/get": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
    "resources/read": "resources",
    "completion/complete": "completions",
}
_LISTS: Final = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
_PUBLISHED: Final = frozenset(
    {"notifications/resources/updated"} | {f"notifications/{name}/list_changed" for name in _LISTS.values()}
)
_CANCEL: Final = b'{"action":"cancel"}'
_SUBSCRIPTION_ENDED: Final = Fault(message="the server has ended the subscription")


class _InputRound(NamedTuple):
    """A question to the client: its key in the round, its method, and of a URL (raw, or nothing) the id it was given."""

    key: str
    method: str
    url: bytes
    url_id: str


class _Call:
    """A request of the session, over all its rounds."""

    __slots__ = (
        "answers",
        "input_rounds",
        "method",
        "params",
        "progress",
        "requester",
        "rounds",
        "since",
        "state",
        "task",
        "tasks",
        "told",
        "upstream",
        "urls",
    )

    def __init__(self, requester: bytes, method: str, params: Members) -> None:
        self.requester = requester
        self.method = method
        self.params = params
        self.upstream = b""
        self.rounds = 0
        self.state: bytes | None = None
        self.input_rounds: dict[bytes, _InputRound] = {}  # by our ids
        self.answers: dict[str, bytes] = {}
        self.since: float | None = None  # when the clock first saw its questions
        self.progress: float | None = None
        self.urls: dict[bytes, str] = {}  # the ids of the URLs that were agreed to
        self.tasks = False  # whether the tasks extension is declared
        self.task = b""  # the raw id of the task that the call has become
        self.told: set[str] = set()  # the keys of what it has been told


class _Change:
    """A subscription that is being opened in the place of the one before."""

    __slots__ = ("id", "keep", "requester", "uri", "uris")

    def __init__(self, requester: bytes = b"", uri: str = "", *, keep: bool = False) -> None:
        self.requester = requester  # of resources/subscribe, or nothing
        self.uri = uri  # what comes (`keep`) or goes, or nothing
        self.keep = keep
        self.uris: tuple[str, ...] = ()  # what is asked for, once it is
        self.id = b""

    def of(self, uris: tuple[str, ...]) -> tuple[str, ...]:
        """What these become by it."""
        others = tuple(uri for uri in uris if uri != self.uri)
        return (*others, self.uri) if self.keep else others


class ModernAdapter:
    """Speaks a handshake revision to a session and the modern era to its server (effects.Translator).

    `mint` makes ids for URLs that a client is asked to open; `name` stands for a server that does not say its own. An
    `own` server is a part of the bridge, and knows its extension `input_over`. `level` is the log level until the client sets one, empty for no log lines.
    """

    def __init__(
        self,
        limits: Limits,
        mint: Callable[[], str],
        name: str = "server",
        *,
        own: bool = False,
        level: str = DEFAULT_LEVEL,
    ) -> None:
        self._limits = limits
        self._own = own
        self._mint = mint
        self._name = name
        self._next_id = 1
        self._not_awaited = AbandonedRequests()
        self._next_input_round = 1
        self.version = ""
        self._capabilities = b"{}"
        self._declared: Members = {}
        self._client_info: msgspec.Raw | None = None
        self._level = level
        self._offered: Members = {}
        self._extended = False  # whether the server has declared an extension
        self._initialize: tuple[bytes, bytes] | None = None  # the session's id and ours
        self._calls: dict[bytes, _Call] = {}  # by the session's id
        self._upstream: dict[bytes, _Call] = {}  # by ours
        self._input_rounds: dict[bytes, _Call] = {}
        self._uris: tuple[str, ...] = ()
        self._listening = b""  # our id of the subscription that counts
        self._change: _Change | None = None
        self._changes: deque[_Change] = deque()
        self._ready = False  # the client has said notifications/initialized
        self._gap = False  # whether there was a time in which nothing was listened to
        self._pause = LISTEN_AGAIN

    # ---- effects.Translator

    def on_start(self) -> Effects:
        """Nothing is said before the client does."""
        return ()

    def from_client(self, message: Message) -> Effects:
        """A message of the session."""
        if isinstance(message, Request):
            return self._asked(message)
        if isinstance(message, Response):
            return self._input_round_answered(message)
        if message.method == "notifications/cancelled":
            return self._cancelled(read_cancelled(message.params)[0], message.params)
        if message.method == "notifications/initialized" and not self._ready and self._kinds():
            self._ready = True
            return self._changed(_Change())
        if self._extends(message.method):
            return (ToServer(message),)
        return ()  # the modern era has no carrier for it (digest 8.10)

    def from_server(self, message: Message) -> Effects:
        """A message of the server."""
        if isinstance(message, Response):
            return self._answered(message)
        if isinstance(message, Notification):
            if not json_object.has_room(message.params):
                return (LogDebug("dropped a notification: " + json_object.TOO_MANY),)
            return self._notified(message)
        return (LogDebug("dropped a request of a modern server: it must not ask"),)

    def on_timer(self, timer: Timer) -> Effects:
        """Return a state to the server, poll a task, or open the subscription again."""
        match timer:
            case ListenDue() if not self._listening and self._change is None:
                return self._changed(_Change())
            case RetryDue(requester) if (call := self._idle(requester)) is not None:
                return self._retry(call)
            case TaskPollDue(requester) if (call := self._idle(requester)) is not None:
                return self._poll(call)
            case _:
                return ()

    def _idle(self, requester: bytes) -> _Call | None:
        call = self._calls.get(requester)
        return None if call is None or call.upstream or call.input_rounds else call

    def on_tick(self, now: float) -> Effects:
        """Questions that the client has not answered in time are given up."""
        for call in tuple(self._calls.values()):
            if call.input_rounds and call.since is None:
                call.since = now
            elif call.input_rounds and call.since is not None and now - call.since > LEG_SECONDS:
                yield from self._give_up(call, f"the client did not answer within {LEG_SECONDS:g} s")

    # ---- requests of the client

    def _asked(self, request: Request) -> Effects:
        method = request.method
        if not json_object.has_room(request.params):
            return _fail(request.id, INVALID_PARAMS, json_object.TOO_MANY)
        if method == "initialize":
            return self._begin(request)
        if method == "ping":
            return _done(request.id)
        if method == "logging/setLevel":
            return self._set_level(request)
        if method in ("resources/subscribe", "resources/unsubscribe"):
            return self._subscribe(request)
        capability = _CAPABILITY.get(method)
        if capability is None and not self._extends(method):
            return _fail(request.id, METHOD_NOT_FOUND, "there is no such method")
        if capability is not None and capability not in self._offered:
            return _fail(request.id, METHOD_NOT_FOUND, f"the server has no {capability}")
        params = json_object.read(request.params)
        if method == "tools/call":
            params.pop("task", None)
        call = _Call(request.id, method, params)
        self._calls[request.id] = call
        return self._send(call, method, dict(params))

    def _extends(self, method: str) -> bool:
        # A method of an extension passes as it is.
        return self._extended and not extensions.is_core(method)

    def _begin(self, request: Request) -> Effects:
        params = json_object.read(request.params)
        wanted = json_object.string(params.get("protocolVersion"))
        self.version = wanted if wanted in LEGACY_REVISIONS else LEGACY_REVISIONS[-1]
        self._capabilities = rules_modern_to_legacy.modern_client_capabilities(
            self.version, params.get("capabilities")
        )
        self._declared = json_object.peek(self._capabilities)
        if self._own:
            self._capabilities = rules_modern_to_legacy.add_extension(
                self._capabilities, input_over.EXTENSION
            )
        info = params.get("clientInfo")
        self._client_info = None if info is None else msgspec.Raw(bytes(info))
        upstream = self._mint_id()
        self._initialize = (request.id, upstream)
        return (ToServer(Request(upstream, "server/discover", self._enveloped({}, self._capabilities))),)

    def _set_level(self, request: Request) -> Effects:
        level = json_object.string(json_object.peek(request.params).get("level"))
        if level not in stateless_request.LOG_LEVELS:
            return _fail(
                request.id,
                INVALID_PARAMS,
                f"the level must be one of {', '.join(stateless_request.LOG_LEVELS)}",
            )
        self._level = level
        return _done(request.id)

    def _enveloped(self, params: dict[str, object], capabilities: bytes, level: str = "") -> bytes:
        meta: dict[str, object] = {**json_object.peek(_raw_of(params.get("_meta")))}
        meta[stateless_request.PROTOCOL_VERSION] = stateless_request.MODERN_REVISION
        meta[stateless_request.CLIENT_CAPABILITIES] = json_object.raw(capabilities)
        if self._client_info is not None:
            meta[stateless_request.CLIENT_INFO] = self._client_info
        if level:
            meta[stateless_request.LOG_LEVEL] = level
        params["_meta"] = meta
        return json_object.write(params)

    def _send(self, call: _Call, method: str, params: dict[str, object]) -> Effects:
        call.upstream = self._mint_id()
        self._upstream[call.upstream] = call
        meta = json_object.peek(_raw_of(params.get("_meta")))
        if "progressToken" in meta:
            meta["progressToken"] = json_object.raw(call.upstream)
            params["_meta"] = json_object.raw(json_object.write(meta))
        capabilities = (
            rules_modern_to_legacy.add_tasks_extension(self._capabilities)
            if call.tasks
            else self._capabilities
        )
        enveloped = self._enveloped(params, capabilities, self._level)
        return (ToServer(Request(call.upstream, method, enveloped)),)

    def _cancelled(self, requester: bytes, params: bytes) -> Effects:
        call = self._calls.get(requester)
        if call is None:
            return
        if call.upstream:
            self._not_awaited.add(call.upstream)
            yield ToServer(Notification("notifications/cancelled", cancelled_again(params, call.upstream)))
        yield from self._take_back(call)
        self._forget(call)

    def _withdraw(self, call: _Call) -> Effects:
        for input_round in call.input_rounds:
            del self._input_rounds[input_round]
            yield ToRequester(
                Notification("notifications/cancelled", cancelled(input_round, b"")), call.requester
            )
        call.input_rounds.clear()

    def _take_back(self, call: _Call) -> Effects:
        yield from self._withdraw(call)
        if call.task:
            yield self._cancel_task(call.task)

    def _cancel_task(self, task: bytes) -> Effect:
        params: dict[str, object] = {"taskId": json_object.raw(task)}
        capabilities = rules_modern_to_legacy.add_tasks_extension(self._capabilities)
        own_id = self._not_awaited.add(self._mint_id())
        return ToServer(Request(own_id, "tasks/cancel", self._enveloped(params, capabilities)))

    def _forget(self, call: _Call) -> None:
        self._calls.pop(call.requester, None)
        self._upstream.pop(call.upstream, None)

    # ---- answers of the server

    def _answered(self, message: Response) -> Effects:
        if self._initialize is not None and message.id == self._initialize[1]:
            return self._discovered(self._initialize[0], message)
        if message.id == self._listening or (self._change is not None and message.id == self._change.id):
            return self._listen_over(message)
        call = self._upstream.pop(message.id, None)
        if call is None:
            return self._abandoned(message)
        call.upstream = b""
        if not json_object.has_room(message.result):
            return self._end(
                call, Response(call.requester, b"", fault_text(INTERNAL_ERROR, json_object.TOO_MANY))
            )
        if message.error:
            if not call.tasks and rules_modern_to_legacy.requires_tasks_extension(message.error):
                call.tasks = True
                return self._send(call, call.method, dict(call.params))
            rule = (
                rules_modern_to_legacy.legacy_error
                if call.method in _CAPABILITY
                else rules_modern_to_legacy.legacy_extension_error
            )
            return self._end(
                call, Response(call.requester, b"", rule(call.method, message.error, self.version))
            )
        found = json_object.peek(message.result)
        kind = json_object.string(found.get("resultType")) if "resultType" in found else "complete"
        if call.task:
            return self._task_seen(call, found)
        if kind == "complete":
            return self._complete(call, message.result)
        if kind == "input_required" and call.method in INTERACTIVE:
            return self._input_required(call, found)
        if kind == "task" and call.tasks and "taskId" in found:
            call.task = bytes(found["taskId"])
            return (self._poll_later(call, found),)
        if self._extended:  # a kind of the extension
            return self._end(call, Response(call.requester, bytes(message.result), b""))
        return self._end(
            call,
            Response(
                call.requester,
                b"",
                fault_text(INTERNAL_ERROR, "the server's result is of a kind that is not known"),
            ),
        )

    def _abandoned(self, message: Response) -> Effects:
        known = self._not_awaited.take(message.id)
        found = json_object.peek(message.result)
        if "taskId" in found and json_object.string(found.get("resultType")) == "task":
            return (self._cancel_task(bytes(found["taskId"])),)  # of a call that was cancelled before
        if known:
            return (LogDebug("dropped an answer of the server that nobody waits for"),)
        return (LogDebug("dropped an answer of the server that nobody waits for", ("server", message.id)),)

    def _discovered(self, requester: bytes, message: Response) -> Effects:
        self._initialize = None
        if message.error:
            fault = read_fault(message.error)
            text = f"the server refused server/discover: {fault.message}"
            return (*_fail(requester, INTERNAL_ERROR, text, fault.data), EraMismatch(text))
        result = rules_modern_to_legacy.initialize_result(self.version, message.result, self._name)
        offered = bytes(json_object.peek(result)["capabilities"])
        self._offered = json_object.peek(offered)
        self._extended = bool(extensions.names_in(offered))
        return (ToRequester(Response(requester, result, b""), requester),)

    def _complete(self, call: _Call, modern_result: bytes | msgspec.Raw) -> Effects:
        yield from self._urls_complete(call)
        if call.method not in _CAPABILITY:
            yield from self._end(
                call,
                Response(
                    call.requester, rules_modern_to_legacy.legacy_extension_result(bytes(modern_result)), b""
                ),
            )
            return
        try:
            result = rules_modern_to_legacy.legacy_result(
                call.method, modern_result, self.version, self._limits
            )
            answer = Response(call.requester, result, b"")
        except Rejection as rejection:  # too large for what has to be changed in it
            answer = Response(call.requester, b"", fault_text(rejection.code, rejection.text))
        yield from self._end(call, answer)

    def _end(self, call: _Call, answer: Response) -> Effects:
        self._forget(call)
        yield ToRequester(answer, call.requester)

    def _urls_complete(self, call: _Call, asked_again: frozenset[bytes] = frozenset()) -> Effects:
        urls, call.urls = call.urls, {}
        for url, url_id in urls.items():
            if url in asked_again:
                continue
            params = json_object.write({"elicitationId": url_id})
            yield ToRequester(Notification("notifications/elicitation/complete", params), call.requester)

    def _give_up(self, call: _Call, text: str) -> Effects:
        yield from self._take_back(call)
        if call.method == "tools/call":
            result = json_object.write({"content": [{"type": "text", "text": text}], "isError": True})
            yield from self._end(call, Response(call.requester, result, b""))
        else:
            yield from self._end(call, Response(call.requester, b"", fault_text(INTERNAL_ERROR, text)))

    # ---- rounds (digest 8.4)

    def _input_required(self, call: _Call, found: Members) -> Effects:
        call.rounds += 1
        if call.rounds > ROUNDS:
            return self._give_up(call, f"the server asked in more than {ROUNDS} rounds")
        requests = json_object.peek(found.get("inputRequests"))
        state = found.get("requestState")
        call.state = None if state is None else bytes(state)
        call.answers = {}
        if requests:
            return self._ask(call, requests)
        if call.state is None:
            return self._give_up(call, "the server requires input and names none")
        return (*self._urls_complete(call), SetTimer(PACE, RetryDue(call.requester)))

    def _ask(self, call: _Call, requests: Members) -> Effects:
        asked: list[tuple[str, str, Members]] = []
        for key, raw in requests.items():
            request = json_object.peek(raw)
            method, params = (
                json_object.string(request.get("method")),
                json_object.peek(request.get("params")),
            )
            if not rules_modern_to_legacy.is_declared(method, params, self._declared):
                yield from self._give_up(
                    call, f"the server requires {method or 'input'}, which the client has not declared"
                )
                return
            if method == "sampling/createMessage" and self.version < rules_modern_to_legacy.BLOCKS_SINCE:
                try:
                    rules_modern_to_legacy.downgrade_sampling_messages(self.version, params, self._limits)
                except Rejection as rejection:
                    yield from self._give_up(call, rejection.text)
                    return
            asked.append((key, method, params))
        yield from self._urls_complete(
            call, frozenset(bytes(params.get("url", b"")) for _, _, params in asked)
        )
        call.since = None
        for key, method, params in asked:
            if method == "elicitation/create" and not self._fit(params):
                call.answers[key] = _CANCEL
                continue
            input_round = b'"input-%d"' % self._next_input_round
            self._next_input_round += 1
            url, url_id = b"", ""
            if json_object.string(params.get("mode")) == "url":
                url, url_id = bytes(params.get("url", b"")), self._mint()
                params["elicitationId"] = json_object.raw(json_object.text(url_id))
            call.input_rounds[input_round] = _InputRound(key, method, url, url_id)
            self._input_rounds[input_round] = call
            text = json_object.write(params) if params else b""
            yield ToRequester(Request(input_round, method, text), call.requester)
        if not call.input_rounds:
            yield from self._go_on(call)

    def _fit(self, params: Members) -> bool:
        return self.version >= rules_modern_to_legacy.URL_MODE_SINCE or rules_modern_to_legacy.downgrade_form(
            params
        )

    def _input_round_answered(self, message: Response) -> Effects:
        call = self._input_rounds.pop(message.id, None)
        if call is None:
            yield LogDebug("dropped an answer of the client to nothing that is asked", ("client", message.id))
            return
        input_round = call.input_rounds.pop(message.id)
        # An elicitation can be cancelled; but to cancel each one that could not be shown would begin endless rounds.
        if message.error and (input_round.method != "elicitation/create" or is_without_stream(message.error)):
            yield from self._give_up(
                call, f"the client refused {input_round.method}: {read_fault(message.error).message}"
            )
            return
        answer = _CANCEL if message.error else bytes(message.result)
        call.answers[input_round.key] = answer
        if input_round.url_id and json_object.string(json_object.peek(answer).get("action")) == "accept":
            call.urls[input_round.url] = input_round.url_id
        if not call.input_rounds:
            yield from self._go_on(call)

    def _go_on(self, call: _Call) -> Effects:
        if not call.task:
            return self._retry(call)
        params: dict[str, object] = {
            "taskId": json_object.raw(call.task),
            "inputResponses": self._responses(call),
        }
        return self._send(call, "tasks/update", params)

    def _responses(self, call: _Call) -> Members:
        return {key: json_object.raw(answer) for key, answer in call.answers.items()}

    def _retry(self, call: _Call) -> Effects:
        params: dict[str, object] = dict(call.params)
        if call.answers:
            params["inputResponses"] = self._responses(call)
        if call.state is not None:
            params["requestState"] = json_object.raw(call.state)
        return self._send(call, call.method, params)

    # ---- tasks, which the client does not see (digest 8.9)

    def _poll_later(self, call: _Call, found: Members) -> SetTimer:
        interval = json_object.number(found.get("pollIntervalMs"))
        seconds = POLL if interval is None else max(LEAST_POLL, interval / 1000)
        return SetTimer(seconds, TaskPollDue(call.requester))

    def _poll(self, call: _Call) -> Effects:
        return self._send(call, "tasks/get", {"taskId": json_object.raw(call.task)})

    def _task_seen(self, call: _Call, found: Members) -> Effects:
        status = json_object.string(found.get("status"))
        if status == "completed":
            return self._complete(call, bytes(found.get("result", b"")))
        if status == "failed":
            error = (
                bytes(found["error"]) if "error" in found else fault_text(INTERNAL_ERROR, "the task failed")
            )
            return self._end(
                call,
                Response(
                    call.requester, b"", rules_modern_to_legacy.legacy_error(call.method, error, self.version)
                ),
            )
        if status == "cancelled":
            return self._end(
                call, Response(call.requester, b"", fault_text(INTERNAL_ERROR, "the task was cancelled"))
            )
        # The server may not have seen an answer yet, and names its question again; no key means two (digest 1.17).
        inputs = json_object.peek(found.get("inputRequests"))
        requests = {key: request for key, request in inputs.items() if key not in call.told}
        if status == "input_required" and requests:
            call.told |= set(requests)
            call.answers = {}
            return self._ask(call, requests)
        return (self._poll_later(call, found),)

    # ---- notifications of the server

    def _notified(self, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/progress":
            return self._progressed(message)
        if method == "notifications/message":
            asking = list(self._calls)
            return (ToRequester(message, asking[0] if len(asking) == 1 else b""),)
        if method == "notifications/cancelled":
            return self._listen_cancelled(read_cancelled(message.params)[0])
        if method == input_over.METHOD:
            return self._input_over(json_object.text(input_over.state_of(message.params)))
        meta = json_object.peek(json_object.peek(message.params).get("_meta"))
        named = wire_id(bytes(meta.get(stateless_request.SUBSCRIPTION_ID, b"")))
        if method == "notifications/subscriptions/acknowledged":
            return self._acknowledged(named, message)
        if method in _PUBLISHED and named == self._listening and named:
            return (ToRequester(Notification(method, _unsubscribed(message.params))),)
        if self._extends(method):
            asking = list(self._calls)
            params = message.params if not named else _unsubscribed(message.params)
            return (ToRequester(Notification(method, params), asking[0] if len(asking) == 1 else b""),)
        return (
            LogDebug("dropped a notification that a legacy client does not know, or has not subscribed to"),
        )

    def _input_over(self, state: bytes) -> Effects:
        call = next((one for one in self._calls.values() if one.input_rounds and one.state == state), None)
        if call is None:
            return (LogDebug("input_over_unmatched"),)
        return (*self._withdraw(call), *self._retry(call))

    def _progressed(self, message: Notification) -> Effects:
        found = json_object.peek(message.params)
        call = self._upstream.get(wire_id(bytes(found.get("progressToken", b""))))
        value = json_object.number(found.get("progress"))
        if call is None or value is None:
            return ()
        token = json_object.peek(_raw_of(call.params.get("_meta"))).get("progressToken")
        if token is None or (call.progress is not None and value <= call.progress):
            return ()  # another round begins at the beginning
        call.progress = value
        found["progressToken"] = token
        return (ToRequester(Notification(message.method, json_object.write(found)), call.requester),)

    # ---- the subscription

    def _kinds(self) -> dict[str, object]:
        return {
            kind: True
            for kind, name in _LISTS.items()
            if bytes(json_object.peek(self._offered.get(name)).get("listChanged", b"")) == b"true"
        }

    def _subscribe(self, request: Request) -> Effects:
        if bytes(json_object.peek(self._offered.get("resources")).get("subscribe", b"")) != b"true":
            return _fail(request.id, METHOD_NOT_FOUND, "the server has no subscriptions to resources")
        uri = json_object.string(json_object.peek(request.params).get("uri"))
        if len(self._changes) >= self._limits.in_flight:
            text = f"{self._limits.in_flight} changes of subscriptions wait for the server"
            return _fail(request.id, INTERNAL_ERROR, text)
        if request.method == "resources/unsubscribe":
            return (*_done(request.id), *self._changed(_Change(b"", uri)))
        change = _Change(request.id, uri, keep=True)
        wanted = self._change.uris if self._change else self._uris
        for one in (*self._changes, change):
            wanted = one.of(wanted)
        if len(wanted) > self._limits.stream_messages:
            text = f"the limit of {self._limits.stream_messages} subscribed resources is reached"
            return _fail(request.id, INVALID_PARAMS, text)
        return self._changed(change)

    def _changed(self, change: _Change) -> Effects:
        self._changes.append(change)
        return self._next_change() if self._change is None else ()

    def _next_change(self) -> Effects:
        while self._changes and self._change is None:
            change = self._changes.popleft()
            change.uris = change.of(self._uris)
            wanted = self._kinds()
            if change.uris:
                wanted["resourceSubscriptions"] = list(change.uris)
            if not wanted:
                self._uris = ()
                yield from self._close(self._listening)
                self._listening = b""
                continue
            self._change = change
            change.id = self._mint_id()
            params = self._enveloped({"notifications": wanted}, self._capabilities)
            yield ToServer(Request(change.id, "subscriptions/listen", params))

    def _close(self, listening: bytes) -> Effects:
        if listening:
            self._not_awaited.add(listening)
            yield ToServer(Notification("notifications/cancelled", cancelled(listening, b"")))

    def _acknowledged(self, named: bytes, message: Notification) -> Effects:
        change = self._change
        if change is None or named != change.id:
            yield LogDebug("dropped an acknowledgement of nothing that was asked")
            return
        granted = json_object.peek(json_object.peek(message.params).get("notifications"))
        uris = {json_object.string(uri) for uri in json_object.items(granted.get("resourceSubscriptions"))}
        old, self._listening = self._listening, change.id
        self._uris = tuple(uri for uri in change.uris if uri in uris)
        self._change = None
        yield from self._close(old)
        if self._gap:
            self._gap, self._pause = False, LISTEN_AGAIN
            yield from self._missed(granted)
        if change.requester:
            if change.uri in uris:
                yield from _done(change.requester)
            else:
                yield from _fail(
                    change.requester,
                    INVALID_PARAMS,
                    "the server does not offer this resource for subscription",
                )
        yield from self._next_change()

    def _missed(self, granted: Members) -> Effects:
        # The server was perhaps started anew meanwhile: nobody would tell of what has changed (digest 8.3).
        for kind, name in _LISTS.items():
            if kind in granted:
                yield ToRequester(Notification(f"notifications/{name}/list_changed", b""))
        for uri in self._uris:
            yield ToRequester(
                Notification("notifications/resources/updated", json_object.write({"uri": uri}))
            )

    def _listen_cancelled(self, named: bytes) -> Effects:
        # How a server may end a subscription on a pipe, and nothing else (digest B1).
        if named and (named == self._listening or (self._change is not None and named == self._change.id)):
            return self._listen_over(Response(self._not_awaited.add(named), b"{}", b""))
        return (LogDebug("ignored the server's cancellation of what is no subscription"),)

    def _listen_over(self, message: Response) -> Effects:
        if message.id == self._listening:
            self._listening, self._gap = b"", True
            yield self._listen_again()
            return
        change, self._change = self._change, None
        if change is not None and change.requester:
            fault = read_fault(message.error) if message.error else _SUBSCRIPTION_ENDED
            yield from _fail(change.requester, INVALID_PARAMS, fault.message, fault.data)
        if self._gap and not self._changes:
            yield self._listen_again()
        yield from self._next_change()

    def _listen_again(self) -> Effect:
        pause, self._pause = self._pause, min(2 * self._pause, LISTEN_SELDOM)
        return SetTimer(pause, ListenDue())

    def _mint_id(self) -> bytes:
        raw_id = b"%d" % self._next_id
        self._next_id += 1
        return raw_id


def _done(requester: bytes) -> Effects:
    return (ToRequester(Response(requester, b"{}", b""), requester),)


def _fail(
    requester: bytes, code: int, text: str, data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
) -> Effects:
    error = fault_text(code, text, None if data is msgspec.UNSET else data)
    return (ToRequester(Response(requester, b"", error), requester),)


def _raw_of(value: object) -> msgspec.Raw | None:
    return value if isinstance(value, msgspec.Raw) else None


def _unsubscribed(params: bytes) -> bytes:
    found = json_object.peek(params)
    meta = json_object.peek(found.get("_meta"))
    meta.pop(stateless_request.SUBSCRIPTION_ID, None)
    if meta:
        found["_meta"] = json_object.raw(json_object.write(meta))
    else:
        found.pop("_meta", None)
    return json_object.write(found) if found else b""
