"""Modern requests in front of a legacy server: one child, one `initialize`, any number of stateless callers.

The server turns to its client in the middle of a call; a modern client can only be asked in an answer. So the call is
**held**: its caller gets `input_required` with a state that names the call, the call stays open at the server, and the retry
takes it up again (digest 8.5). To know whose question it is, there must be one call only that can have asked it (digest 8.1, R3).
A server that has never asked is given calls as they come; when it asks while several run, the question waits until the
others have ended. From then on its calls take turns (the interactive lease); while one waits for its human, the next has its
turn, unless the child is shared by several principals.

Pure. Ids towards the server are ours; `requestState` comes and goes in the clear here, the relay in front seals it.
Invariant: a request of the relay ends in exactly one answer, unless the relay has taken it back.
Invariant: what the server says is never an exception here, however wrong it is.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ..validators import members, modern
from ..validators.envelope import Message, Notification, Request, Response
from ..validators.limits import Limits
from ..validators.members import Members
from ..validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from ..validators.shapes import LEGACY_REVISIONS, cancelled, read_cancelled
from . import for_modern
from .effects import Contradiction, Effect, Effects, Later, Note, ToAsker, ToServer
from .for_modern import Profile

# How long, in seconds, other questions of the same call may follow the first and still go out with it (digest 8.5).
GATHERING: Final = 0.015
# How long, in seconds, a server may take to say that what a URL was opened for is complete, before its call is tried again.
COMPLETION: Final = 30.0
# How long, in seconds, a question waits for the calls to end that it is perhaps not of.
PARKED: Final = 30.0
# Calls that may end in `input_required`, and so are run under the lease (digest 1.15).
INTERACTIVE: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
# Everything that is passed on, with the capability that the server must have for it.
_PASSED: Final = {
    "tools/list": "tools",
    "tools/call": "tools",
    "prompts/list": "prompts",
    "prompts/get": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
    "resources/read": "resources",
    "completion/complete": "completions",
}
# The revisions in which servers have begun to declare completions, and to know what else was filled in (digest 1.11).
_COMPLETIONS_SINCE: Final = "2025-03-26"
_CONTEXT_SINCE: Final = "2025-06-18"
_LISTS: Final = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
_OPENING: Final = "opening"
_OPEN: Final = "open"
_REFUSED: Final = "refused"

RUNNING: Final = "running"
QUEUED: Final = "queued"
# Its caller was asked and has not come back.
HELD: Final = "held"

_decode_number = msgspec.json.Decoder(float).decode


class _Leg:
    """A question of the server, in the course of a call."""

    __slots__ = ("answer", "asked", "child_id", "method", "request")

    def __init__(self, child_id: bytes, method: str, request: bytes) -> None:
        self.child_id = child_id  # nothing for one that stands for an opened URL
        self.method = method
        self.request = request
        self.answer: bytes | None = None
        self.asked = False  # whether it was handed out


class _Call:
    """A call at the server, and the request that waits for it, which is another one after each round."""

    __slots__ = (
        "asker",
        "completions",
        "key",
        "lacks",
        "legs",
        "level",
        "method",
        "name",
        "numbered",
        "params",
        "phase",
        "progress",
        "round",
        "said",
        "since",
        "slot",
        "task",
        "tasked",
        "token",
        "upstream",
        "urls",
    )

    def __init__(self, asker: bytes, method: str, params: bytes, name: str) -> None:
        self.asker = asker
        self.method = method
        self.params = params
        self.name = name
        self.token = b""
        self.level = ""
        self.upstream = b""
        self.said = b""  # the id under which it was said, and its progress token, which a task keeps
        self.phase = QUEUED
        self.key = ""
        self.round = 0
        self.progress: float | None = None
        self.legs: dict[str, _Leg] = {}
        self.numbered = 0
        # What its client would have had to declare: if the call fails, that is why (digest 1.6).
        self.lacks: dict[str, dict[str, dict[str, str]]] = {}
        self.slot: Response | None = None
        self.tasked = False  # whether it is said as a task
        self.task = b""  # the raw id of the task that the server has made of it
        self.since: float | None = None  # when the clock first saw it held
        # Of a call that the server refused until URLs are opened (-32042): it is said again when they are.
        self.urls = False
        self.completions: set[bytes] = set()

    def add(self, leg: _Leg) -> str:
        """Number a question; no number is given twice."""
        self.numbered += 1
        name = f"k{self.numbered}"
        self.legs[name] = leg
        return name


class _Listen:
    """A `subscriptions/listen` that is open."""

    __slots__ = ("asked", "kinds", "missed", "uris", "waiting")

    def __init__(self, kinds: set[str], uris: list[str], *, asked: bool) -> None:
        self.kinds = kinds
        self.uris = uris
        self.asked = asked  # whether resources were asked for, so that the acknowledgement must name them
        self.waiting: set[str] = set()  # while there are any, it is not acknowledged
        # What the server has said by then: the last of each kind of change, by its method or its URI.
        self.missed: dict[str, Notification] = {}


class ToLegacy:
    """Speaks the modern era to the relay and a handshake revision to one server process (effects.Translator).

    `mint` makes the random name of a held call. With `strict` the child serves several principals: nothing that cannot
    be attributed exactly reaches anybody, and a held call keeps the lease.
    """

    def __init__(
        self,
        limits: Limits,
        profile: Profile,
        mint: Callable[[], str],
        *,
        version: str = "0",
        strict: bool = False,
    ) -> None:
        self._limits = limits
        self._profile = profile
        self._mint = mint
        self._own_version = version
        self._strict = strict
        self._cursors = f"{mint()[:8]}."  # a cursor means something to the child that gave it only
        self._phase = _OPENING
        self._refusal = ""
        self._opening_since = 0.0
        self._next_id = 1
        self._waiting: list[Request] = []  # for the server to open
        self._initialize_id = b""
        self._revision = ""
        self._capabilities: Members = {}
        self._server_info = msgspec.Raw(b'{"name":"server","version":"0"}')
        self._instructions: msgspec.Raw | None = None
        self._calls: dict[bytes, _Call] = {}  # by upstream id
        self._askers: dict[bytes, _Call] = {}  # by the id of the request that waits
        self._held: dict[str, _Call] = {}  # by key, those that have ever asked
        self._turns: dict[_Call, None] = {}  # the calls that run now and may be asking
        # Whether they take turns: when the server has once asked, and always where several principals are concerned that
        # can be asked, since a question waits in vain for the end of a call that has forgotten it.
        self._leasing = strict and profile != Profile()
        self._parked: dict[
            Request, float | None
        ] = {}  # questions that nobody can be told from yet, since when
        self._queue: deque[_Call] = deque()
        self._questions: dict[bytes, tuple[_Call, str]] = {}  # the server's ids of what it asks
        self._roots: bytes = b""  # the last that the client told; nobody's where there are several principals
        self._tasked: set[str] = set()  # tools that the server runs as tasks only
        self._listens: dict[bytes, _Listen] = {}
        self._wanted: dict[str, int] = {}  # subscribed URIs, and by how many listens
        self._subscribing: dict[
            bytes, str
        ] = {}  # by our requests, the URIs that the server has not answered for
        self._level = ""  # what the server was told to log
        # Calls that were cancelled and may still be at work: on a child of several principals nothing that the server
        # says of itself can be attributed as long as there are any. When there are too many it is so for good.
        self._ghosts: set[bytes] = set()
        self._haunted = False

    @property
    def busy(self) -> bool:
        """Whether anything is going on that ending the child would break."""
        return bool(self._calls or self._askers or self._held or self._listens or self._waiting)

    # ---- effects.Translator

    def started(self) -> Effects:
        """Open the server's session."""
        self._initialize_id = self._mint_id()
        params = members.write(
            {
                "protocolVersion": LEGACY_REVISIONS[-1],
                "capabilities": self._profile.declared(),
                "clientInfo": {"name": "mcp-bridge", "version": self._own_version},
            }
        )
        return (ToServer(Request(self._initialize_id, "initialize", params)),)

    def from_client(self, message: Message) -> Effects:
        """A modern request, or the cancellation of one."""
        if isinstance(message, Request):
            if self._phase == _OPENING:
                self._waiting.append(message)
                return ()
            return self._asked(message)
        if isinstance(message, Notification) and message.method == "notifications/cancelled":
            return self._cancelled(read_cancelled(message.params)[0])
        return (Note("dropped what has no place in front of a legacy server"),)

    def from_server(self, message: Message) -> Effects:
        """A message of the server."""
        if isinstance(message, Response):
            return self._answered(message)
        if isinstance(message, Notification):
            return self._notified(message)
        return self._questioned(message)

    def due(self, key: str) -> Effects:
        """Questions that may go out together have been gathered, or a URL has had its time."""
        what, _, name = key.partition(":")
        call = self._held.get(name)
        if call is None:
            return ()
        if what == "url":
            return self._say_again(call) if call.urls and call.phase == RUNNING else ()
        fresh = any(not leg.asked for leg in call.legs.values())
        return self._hand_out(call) if call.phase == RUNNING and fresh else ()

    def ticked(self, now: float) -> Effects:
        """Calls whose caller has not come back in time are given up."""
        late = [
            call
            for call in self._held.values()
            if call.phase == HELD and now - _since(call, now) > self._limits.held_seconds
        ]
        effects: list[Effect] = []
        if self._phase == _OPENING:
            self._opening_since = self._opening_since or now
            if now - self._opening_since > self._limits.start_seconds:
                text = f"the server did not answer initialize within {self._limits.start_seconds:g} s"
                effects.extend(self._refuse(text))
        for call in late:
            effects.extend(self._give_up(call))
        for message, since in tuple(self._parked.items()):
            if since is None:
                self._parked[message] = now
            elif now - since > PARKED:
                del self._parked[message]
                effects.extend(self._unattributed(message))
        return effects

    # ---- the server's session

    def _opened(self, message: Response) -> Effects:
        if message.error:
            text = for_modern.read_fault(message.error).message
            yield from self._refuse(f"the server refused to initialize: {text}")
            return
        found = members.peek(message.result)
        self._phase = _OPEN
        self._revision = members.string(found.get("protocolVersion"))
        self._capabilities = _copied(members.peek(found.get("capabilities")))
        if "serverInfo" in found:
            self._server_info = msgspec.Raw(bytes(found["serverInfo"]))
        if "instructions" in found:
            self._instructions = msgspec.Raw(bytes(found["instructions"]))
        yield ToServer(Notification("notifications/initialized", b""))
        yield from self._ask_what_waits()

    def _refuse(self, text: str) -> Effects:
        self._phase, self._refusal = _REFUSED, text
        yield Contradiction(text)
        yield from self._ask_what_waits()

    def _ask_what_waits(self) -> Effects:
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            yield from self._asked(request)

    # ---- requests

    def _asked(self, request: Request) -> Effects:
        if self._phase == _REFUSED:
            return _fail(request.id, INTERNAL_ERROR, self._refusal)
        method = request.method
        if method == "server/discover":
            return (self._discovered(request.id),)
        if method == "subscriptions/listen":
            return self._listen(request)
        capability = _PASSED.get(method)
        if capability is None:
            return _fail(request.id, METHOD_NOT_FOUND, "there is no such method")
        if capability not in self._capabilities and not self._cannot_declare(capability):
            return _fail(request.id, METHOD_NOT_FOUND, f"the server has no {capability}")
        found = members.read(request.params)
        state = found.get("requestState") if method in INTERACTIVE else None
        if state is not None:
            return self._retried(request, found, members.string(state))
        params = request.params
        if "cursor" in found:
            cursor = members.string(found["cursor"])
            if not cursor.startswith(self._cursors):
                return _fail(request.id, INVALID_PARAMS, "Invalid cursor")
            found["cursor"] = members.raw(members.text(cursor.removeprefix(self._cursors)))
            params = members.write(found)
        if method == "completion/complete" and self._revision < _CONTEXT_SINCE and "context" in found:
            del found["context"]
            params = members.write(found)
        call = _Call(request.id, method, params, members.string(found.get("uri")))
        self._bind(call, request.id, found)
        if method not in INTERACTIVE or self._profile == _NOBODY:
            return self._say(call)
        self._queue.append(call)
        return self._next()

    def _cannot_declare(self, capability: str) -> bool:
        return capability == "completions" and self._revision < _COMPLETIONS_SINCE

    def _bind(self, call: _Call, asker: bytes, found: Members) -> None:
        meta = members.peek(found.get("_meta"))
        token = meta.get("progressToken")
        call.token = b"" if token is None else bytes(token)
        call.level = members.string(meta.get(modern.LOG_LEVEL))
        call.asker = asker
        self._askers[asker] = call

    def _say(self, call: _Call) -> Effects:
        call.upstream = call.said = self._mint_id()
        call.phase = RUNNING
        self._calls[call.upstream] = call
        params = for_modern.without_envelope(call.params, call.upstream)
        if self._tasked and call.method == "tools/call":
            call.tasked = call.tasked or for_modern.tool_of(params) in self._tasked
        if call.tasked:
            params = for_modern.with_task(params)
        line = ToServer(Request(call.upstream, call.method, params))
        return (*self._log_level(call), line) if call.level else (line,)

    def _next(self) -> Effects:
        while self._queue and not (self._leasing and self._turns):
            call = self._queue.popleft()
            self._turns[call] = None
            if not call.key:
                yield from self._say(call)
            else:
                yield from self._resume(call)

    def _release(self, call: _Call) -> Effects:
        if self._turns.pop(call, self) is not self:
            yield from self._unpark()
            yield from self._next()

    def _discovered(self, asker: bytes) -> Effect:
        found: dict[str, object] = {
            "supportedVersions": list(modern.SUPPORTED),
            "capabilities": {name: value for name, value in self._capabilities.items() if name != "tasks"},
        }
        if self._instructions is not None:
            found["instructions"] = self._instructions
        result = members.read(members.write(found))
        for_modern.with_server_info(result, self._server_info)
        return _answer(asker, members.write(for_modern.complete("server/discover", result)))

    def _log_level(self, call: _Call) -> Effects:
        if "logging" not in self._capabilities:
            return
        wanted = min(
            (other.level for other in (*self._calls.values(), call) if other.level),
            key=modern.LOG_LEVELS.index,
        )
        if wanted != self._level:
            self._level = wanted
            yield ToServer(Request(self._mint_id(), "logging/setLevel", b'{"level":"%b"}' % wanted.encode()))

    def _cancelled(self, asker: bytes) -> Effects:
        if asker in self._listens:
            yield from self._close_listen(asker)
            return
        self._waiting = [request for request in self._waiting if request.id != asker]
        call = self._askers.pop(asker, None)
        if call is None:
            return
        yield from self._drop(call)

    def _drop(self, call: _Call) -> Effects:
        # Its caller is gone for good: the server is told, what it answers or asks is of no interest any more.
        if call.phase == QUEUED:
            self._queue.remove(call)
        self._forget(call)
        if call.upstream in self._calls:
            del self._calls[call.upstream]
            if call.task:
                yield self._cancel_task(call.task)
            if self._strict:
                self._haunted = self._haunted or len(self._ghosts) >= self._limits.in_flight
                if not self._haunted:
                    self._ghosts.add(call.upstream)
            params = cancelled(call.upstream, b"")
            yield ToServer(Notification("notifications/cancelled", params))
        yield from self._release(call)

    def _cancel_task(self, task: bytes) -> Effect:
        return ToServer(Request(self._mint_id(), "tasks/cancel", for_modern.task_params(task)))

    def _forget(self, call: _Call) -> None:
        self._askers.pop(call.asker, None)
        self._held.pop(call.key, None)
        self._ask_no_more(call)

    def _ask_no_more(self, call: _Call) -> None:
        for leg in call.legs.values():
            self._questions.pop(leg.child_id, None)
        call.legs.clear()

    # ---- held calls

    def _retried(self, request: Request, found: Members, state: str) -> Effects:
        key, _, number = state.partition(".")
        call = self._held.get(key)
        if call is None or call.phase != HELD or number != str(call.round) or call.method != request.method:
            return _fail(request.id, INVALID_PARAMS, "Invalid or expired requestState")
        call.round += 1
        self._bind(call, request.id, found)
        given = members.peek(found.get("inputResponses"))
        for name, leg in call.legs.items():
            if leg.answer is None and for_modern.is_answer(leg.method, given.get(name)):
                leg.answer = bytes(given[name])
        if call.slot is not None:
            return self._finish(call, call.slot)
        if any(leg.answer is None for leg in call.legs.values()):
            return self._hand_out(call)
        if call in self._turns:  # it kept its turn
            return self._resume(call)
        call.phase = QUEUED
        self._queue.append(call)
        return self._next()

    def _resume(self, call: _Call) -> Effects:
        call.phase = RUNNING
        if call.level:
            yield from self._log_level(call)
        answered = {leg: leg.answer for leg in call.legs.values() if leg.answer is not None}
        call.legs = {name: leg for name, leg in call.legs.items() if leg.answer is None}
        for leg, answer in answered.items():
            if leg.method == "roots/list" and not self._strict:
                self._roots = answer
            if leg.child_id:
                self._questions.pop(leg.child_id, None)
                yield ToServer(Response(leg.child_id, answer, b""))
        if call.slot is not None:  # it came while this call was in the queue
            yield from self._finish(call, call.slot)
        elif call.urls:
            if any(_action(leg) != "accept" for leg in answered):
                yield from self._finish(call, _not_opened(call))
            elif call.completions:
                yield Later(COMPLETION, f"url:{call.key}")
            else:
                yield from self._say_again(call)
        elif call.legs:  # and this did a task ask meanwhile
            yield Later(GATHERING, f"legs:{call.key}")

    def _say_again(self, call: _Call) -> Effects:
        call.urls = False
        call.completions.clear()
        call.task = b""
        return self._say(call)

    def _hand_out(self, call: _Call) -> Effects:
        asker = call.asker
        if call.phase != HELD and sum(other.phase == HELD for other in self._held.values()) >= (
            self._limits.held_calls
        ):
            text = f"the limit of {self._limits.held_calls} calls that wait for their client is reached"
            yield from self._drop(call)
            yield from _fail(asker, INTERNAL_ERROR, text)
            return
        asked: dict[str, bytes] = {}
        for name, leg in call.legs.items():
            leg.asked = True
            if leg.answer is None:
                asked[name] = leg.request
        call.phase = HELD
        call.since = None
        self._askers.pop(asker, None)
        yield _answer(asker, for_modern.input_required(asked, f"{call.key}.{call.round}", self._server_info))
        if not self._strict:
            yield from self._release(call)

    def _give_up(self, call: _Call) -> Effects:
        for leg in call.legs.values():
            if leg.child_id:
                refusal = for_modern.fault_text(INTERNAL_ERROR, "the client did not answer in time")
                if leg.method == "elicitation/create":
                    yield ToServer(Response(leg.child_id, b'{"action":"cancel"}', b""))
                else:
                    yield ToServer(Response(leg.child_id, b"", refusal))
        yield Note("gave up a call whose client did not come back")
        yield from self._drop(call)

    # ---- what the server says

    def _questioned(self, message: Request) -> Effects:
        method = message.method
        if method == "ping":
            return (ToServer(Response(message.id, b"{}", b"")),)
        asking = self._asking(for_modern.related_task(message.params))
        refusal = for_modern.refusal(method, message.params, self._profile)
        if refusal is not None:
            if len(asking) == 1:
                asking[0].lacks.update(refusal.needs)
            return (ToServer(Response(message.id, b"", refusal.error)),)
        known = message.id in self._questions or any(message.id == other.id for other in self._parked)
        if known or not asking or len(self._parked) >= self._limits.in_flight:
            return self._unattributed(message)
        self._leasing = True
        if len(asking) > 1:
            self._parked[message] = None
            return ()
        return self._attributed(message, asking[0])

    def _asking(self, task: bytes = b"") -> list[_Call]:
        if task:  # it says itself which call it belongs to (digest 8.1, R1)
            return [call for call in self._calls.values() if call.task == task]
        # Those that may have asked: of the calls that run, which are one as soon as they take turns; where none does,
        # the one that waits for its human.
        if self._ghosts or self._haunted:
            return []
        running = [call for call in self._turns if call.phase == RUNNING and call.upstream in self._calls]
        if running or self._turns:
            return running or [call for call in self._turns if call.upstream in self._calls]
        eligible = [call for call in self._calls.values() if call.method in INTERACTIVE]
        return eligible if len(eligible) == 1 or self._profile == _NOBODY else []

    def _attributed(self, message: Request, call: _Call) -> Effects:
        if len(call.legs) >= self._limits.in_flight:
            return self._unattributed(message)
        self._name(call)
        request = for_modern.input_request(message.method, message.params)
        first = all(leg.asked for leg in call.legs.values())
        self._questions[message.id] = (call, call.add(_Leg(message.id, message.method, request)))
        return (Later(GATHERING, f"legs:{call.key}"),) if first and call.phase == RUNNING else ()

    def _unattributed(self, message: Request) -> Effects:
        if message.method == "roots/list" and self._roots:
            return (ToServer(Response(message.id, self._roots, b"")),)
        error = for_modern.fault_text(INTERNAL_ERROR, "cannot attribute server request to a client request")
        return (ToServer(Response(message.id, b"", error)),)

    def _unpark(self) -> Effects:
        # The calls that could not have asked have ended.
        asking = self._asking() if self._parked else []
        if len(asking) == 1:
            parked, self._parked = self._parked, {}
            for message in parked:
                yield from self._attributed(message, asking[0])

    def _name(self, call: _Call) -> None:
        if not call.key:
            call.key = self._mint()
            self._held[call.key] = call

    def _answered(self, message: Response) -> Effects:
        if self._phase == _OPENING and message.id == self._initialize_id:
            return self._opened(message)
        call = self._calls.pop(message.id, None)
        if call is None:
            return self._unawaited(message)
        if not call.task and call.method == "tools/call" and not message.error:
            call.task = self._task_of(message)
            if call.task:  # and this answers when it is done (digest 8.9)
                if call.tasked:
                    self._tasked.add(for_modern.tool_of(call.params))
                call.upstream = self._mint_id()
                self._calls[call.upstream] = call
                return (ToServer(Request(call.upstream, "tasks/result", for_modern.task_params(call.task))),)
        if call.phase != RUNNING:  # nobody waits: for the retry
            call.slot = Response(message.id, bytes(message.result), message.error)
            return ()
        if message.error and call.method in INTERACTIVE:
            fault = for_modern.read_fault(message.error)
            if fault.code == for_modern.URL_ELICITATION_REQUIRED:
                return self._urls_required(call, fault)
            if fault.code == METHOD_NOT_FOUND and self._may_be_tasked(call):
                call.tasked = True
                return self._say(call)
        return self._finish(call, message)

    def _may_be_tasked(self, call: _Call) -> bool:
        # So a server refuses a tool that it runs as a task only, which nobody has listed yet (digest 1.17).
        requests = members.peek(self._setting("tasks", "requests"))
        return (
            call.method == "tools/call"
            and not (call.tasked or call.task)
            and "call" in members.peek(requests.get("tools"))
        )

    def _task_of(self, message: Response) -> bytes:
        return for_modern.task_of(message.result) if "tasks" in self._capabilities else b""

    def _unawaited(self, message: Response) -> Effects:
        cancelled_call = message.id in self._ghosts
        self._ghosts.discard(message.id)
        task = self._task_of(message)
        if task:  # of a call that was cancelled before it had become one
            return (self._cancel_task(task),)
        return () if cancelled_call else self._own_answered(message)

    def _finish(self, call: _Call, message: Response) -> Effects:
        if call.method == "tools/list" and "tasks" in self._capabilities:
            self._tasked |= for_modern.tasked_tools(message.result)
        if call.lacks and for_modern.has_failed(message):
            yield from self._end_with(call, for_modern.missing_capability(call.lacks))
            return
        asker = call.asker
        self._forget(call)
        if message.error:
            error = for_modern.error(message.error, call.name if call.method == "resources/read" else "")
            yield ToAsker(Response(asker, b"", error), asker)
        else:
            found = for_modern.without_task(message.result) if call.task else message.result
            yield _answer(asker, for_modern.result(call.method, found, self._server_info, self._cursors))
        yield from self._release(call)

    def _urls_required(self, call: _Call, fault: for_modern.Fault) -> Effects:
        if not self._profile.url:
            return self._end_with(call, for_modern.missing_capability({"elicitation": {"url": {}}}))
        data = members.peek(None if fault.data is msgspec.UNSET else fault.data)
        self._ask_no_more(call)
        for one in members.items(data.get("elicitations"))[: self._limits.in_flight]:
            found = members.peek(one)
            if "elicitationId" in found:
                call.completions.add(bytes(found["elicitationId"]))
            found["mode"] = members.raw(b'"url"')
            request = for_modern.input_request("elicitation/create", members.write(found))
            call.add(_Leg(b"", "elicitation/create", request))
        if not call.legs:
            text = "the server requires URLs to be opened and names none"
            return self._end_with(call, for_modern.fault_text(INTERNAL_ERROR, text))
        call.urls = True
        self._name(call)
        return self._hand_out(call)

    def _end_with(self, call: _Call, error: bytes) -> Effects:
        asker = call.asker
        self._forget(call)
        yield ToAsker(Response(asker, b"", error), asker)
        yield from self._release(call)

    # ---- notifications of the server

    def _notified(self, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/progress":
            return self._progressed(message.params)
        if method == "notifications/message":
            return self._logged(message)
        if method in _LISTS:
            return self._list_changed(message)
        if method == "notifications/resources/updated":
            return self._updated(message)
        if method == "notifications/cancelled":
            return self._question_cancelled(read_cancelled(message.params)[0])
        if method == "notifications/elicitation/complete":
            return self._url_completed(message.params)
        return (Note("dropped a notification that the modern era does not know"),)

    def _progressed(self, params: bytes) -> Effects:
        found = members.peek(params)
        call = self._progressing(bytes(found.get("progressToken", b"")))
        value = _number(found.get("progress"))
        if call is None or not call.token or call.phase != RUNNING or value is None:
            return ()
        if call.progress is not None and value <= call.progress:
            return ()
        call.progress = value
        found["progressToken"] = members.raw(call.token)
        return (ToAsker(Notification("notifications/progress", members.write(found)), call.asker),)

    def _progressing(self, token: bytes) -> _Call | None:
        tasks = {call.said: call for call in self._calls.values() if call.task}
        return self._calls.get(token) or tasks.get(token)

    def _logged(self, message: Notification) -> Effects:
        level = members.string(members.peek(message.params).get("level"))
        if level not in modern.LOG_LEVELS:
            return ()
        call = self._logging_call()
        if call is None or not call.level:
            return ()
        if modern.LOG_LEVELS.index(level) < modern.LOG_LEVELS.index(call.level):
            return ()
        return (ToAsker(message, call.asker),)

    def _logging_call(self) -> _Call | None:
        if self._strict and (self._ghosts or self._haunted or len(self._calls) != 1):
            return None
        running = [call for call in self._turns if call.phase == RUNNING and call.upstream in self._calls]
        if len(running) != 1:
            wanting = (*self._calls.values(),)
            running = [call for call in wanting if call.phase == RUNNING and call.level]
        return running[-1] if running else None

    def _question_cancelled(self, raw_id: bytes) -> Effects:
        call, name = self._questions.pop(raw_id, (None, ""))
        if call is not None:
            call.legs.pop(name, None)
        self._parked = {one: since for one, since in self._parked.items() if one.id != raw_id}
        return ()

    def _url_completed(self, params: bytes) -> Effects:
        done = bytes(members.peek(params).get("elicitationId", b""))
        for call in list(self._held.values()):
            if done in call.completions:
                call.completions.discard(done)
                if not call.completions and call.urls and call.phase == RUNNING:
                    yield from self._say_again(call)

    # ---- subscriptions/listen, which a legacy server does not know

    def _listen(self, request: Request) -> Effects:
        wanted = members.peek(members.read(request.params).get("notifications"))
        kinds = {
            kind
            for kind, capability in _OFFERED.items()
            if _true(wanted.get(kind)) and _true(self._setting(capability, "listChanged"))
        }
        uris = _uris(wanted.get("resourceSubscriptions"))
        if len(uris) + len(self._wanted) > self._limits.stream_messages:
            return _fail(
                request.id,
                INVALID_PARAMS,
                f"more than {self._limits.stream_messages} resources are subscribed, the limit",
            )
        able = _true(self._setting("resources", "subscribe"))
        listen = _Listen(kinds, uris if able else [], asked="resourceSubscriptions" in wanted and able)
        self._listens[request.id] = listen
        return self._subscribe(request.id, listen)

    def _subscribe(self, asker: bytes, listen: _Listen) -> Effects:
        for uri in listen.uris:
            self._wanted[uri] = self._wanted.get(uri, 0) + 1
            if self._wanted[uri] == 1:
                wire_id = self._mint_id()
                self._subscribing[wire_id] = uri
                yield ToServer(Request(wire_id, "resources/subscribe", members.write({"uri": uri})))
            if uri in self._subscribing.values():
                listen.waiting.add(uri)
        if not listen.waiting:
            yield self._acknowledged(asker, listen)

    def _acknowledged(self, asker: bytes, listen: _Listen) -> Effect:
        granted: dict[str, object] = dict.fromkeys(sorted(listen.kinds), True)
        if listen.asked:
            granted["resourceSubscriptions"] = listen.uris
        params = members.write({"notifications": granted, "_meta": _subscription(asker)})
        return ToAsker(Notification("notifications/subscriptions/acknowledged", params), asker)

    def _own_answered(self, message: Response) -> Effects:
        uri = self._subscribing.pop(message.id, None)
        if uri is None:
            yield Note("dropped an answer of the server that nobody waits for")
            return
        for asker, listen in self._listens.items():
            if uri in listen.waiting:
                listen.waiting.discard(uri)
                if message.error:
                    listen.uris = [other for other in listen.uris if other != uri]
                if not listen.waiting:
                    yield self._acknowledged(asker, listen)
                    yield from self._caught_up(asker, listen)
        if message.error:
            self._wanted.pop(uri, None)

    def _caught_up(self, asker: bytes, listen: _Listen) -> Effects:
        missed, listen.missed = listen.missed, {}
        for what, message in missed.items():
            if what in _LISTS or what in listen.uris:
                yield _published(message, asker)

    def _close_listen(self, asker: bytes) -> Effects:
        for uri in self._listens.pop(asker).uris:
            left = self._wanted.pop(uri) - 1
            if left:
                self._wanted[uri] = left
            else:
                # What the server still says of this subscription must not be taken for the next one's.
                self._subscribing = {one: of for one, of in self._subscribing.items() if of != uri}
                params = members.write({"uri": uri})
                yield ToServer(Request(self._mint_id(), "resources/unsubscribe", params))

    def _list_changed(self, message: Notification) -> Effects:
        kind = _LISTS[message.method]
        if kind == "toolsListChanged":
            # Whoever compares headers with them must know, also where nobody listens.
            yield ToAsker(Notification(message.method, b""))
        for asker, listen in self._listens.items():
            if kind in listen.kinds and listen.waiting:
                listen.missed[message.method] = message
            elif kind in listen.kinds:
                yield _published(message, asker)

    def _updated(self, message: Notification) -> Effects:
        uri = members.string(members.peek(message.params).get("uri"))
        open_ = {asker: listen for asker, listen in self._listens.items() if not listen.waiting}
        matching = [asker for asker, listen in open_.items() if _covers(listen.uris, uri)]
        if not matching and not self._strict:  # a sub-resource by a name of its own (digest B9)
            matching = [asker for asker, listen in open_.items() if listen.uris]
        for asker in matching:
            yield _published(message, asker)
        for listen in self._listens.values():
            if listen.waiting and uri in listen.uris:
                listen.missed[uri] = message

    # ---- bookkeeping

    def _setting(self, capability: str, name: str) -> msgspec.Raw | None:
        return members.peek(self._capabilities.get(capability)).get(name)

    def _mint_id(self) -> bytes:
        raw_id = b"%d" % self._next_id
        self._next_id += 1
        return raw_id


_NOBODY: Final = Profile()
_OFFERED: Final = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}


def _since(call: _Call, now: float) -> float:
    if call.since is None:
        call.since = now
    return call.since


def _answer(asker: bytes, result: bytes) -> ToAsker:
    return ToAsker(Response(asker, result, b""), asker)


def _fail(asker: bytes, code: int, text: str) -> Iterable[ToAsker]:
    return (ToAsker(Response(asker, b"", for_modern.fault_text(code, text)), asker),)


def _number(raw: msgspec.Raw | None) -> float | None:
    if raw is None:
        return None
    try:
        return _decode_number(raw)
    except msgspec.DecodeError:
        return None


def _true(raw: msgspec.Raw | None) -> bool:
    return raw is not None and bytes(raw) == b"true"


def _uris(raw: msgspec.Raw | None) -> list[str]:
    return list(dict.fromkeys(uri for uri in map(members.string, members.items(raw)) if uri))


def _copied(found: Members) -> Members:
    return {name: msgspec.Raw(bytes(value)) for name, value in found.items()}  # so that no buffer is pinned


def _covers(uris: Iterable[str], uri: str) -> bool:
    return any(uri == one or uri.startswith(one.rstrip("/") + "/") for one in uris)


def _subscription(asker: bytes) -> dict[str, object]:
    return {modern.SUBSCRIPTION_ID: msgspec.Raw(asker)}


def _published(message: Notification, asker: bytes) -> ToAsker:
    found = members.peek(message.params)
    meta = members.peek(found.get("_meta"))
    meta[modern.SUBSCRIPTION_ID] = msgspec.Raw(asker)
    found["_meta"] = members.raw(members.write(meta))
    return ToAsker(Notification(message.method, members.write(found)), asker)


def _action(leg: _Leg) -> str:
    return members.string(members.peek(leg.answer).get("action"))


def _not_opened(call: _Call) -> Response:
    text = "the URL that the server requires was not opened"
    if call.method == "tools/call":
        return Response(
            call.upstream, members.write({"content": [{"type": "text", "text": text}], "isError": True}), b""
        )
    return Response(call.upstream, b"", for_modern.fault_text(INTERNAL_ERROR, text))
