"""Calls of a legacy client at a modern server, and the input requests that the client receives in their course.

A modern server requests input in a result (MCP 2026-07-28 basic/patterns/mrtr). A legacy client receives each input as a
request of its own, and the call is sent to the server again with the answers. Pure.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple

from ...validators import json_object
from ...validators.json_object import Members
from ...validators.jsonrpc import Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled
from ...validators.rejection import Rejection
from ...validators.revisions import BLOCKS_SINCE, URL_MODE_SINCE
from ..core.effects import Effect, Effects, ToRequester
from ..core.errors import is_without_stream, read_fault
from . import rules_modern_to_legacy
from .client_handshake import ClientHandshake

_CANCEL: Final = b'{"action":"cancel"}'


class ModernPhase(Enum):
    """The party that a call waits for.

    | phase   | waits for | leaves it with                                          |
    |---------|-----------|---------------------------------------------------------|
    | SENT    | server    | its response: any other phase, or the end of the call   |
    | INPUT   | client    | the last answer: SENT; a timeout or a refusal: the end  |
    | PAUSED  | timer     | `RetryDue`: SENT                                        |
    | POLLING | timer     | `TaskPollDue`: SENT                                     |
    """

    SENT = auto()
    INPUT = auto()
    PAUSED = auto()
    POLLING = auto()


class RequiredInput(NamedTuple):
    """A request to the client. `key` is its name in the round. `url` is the raw URL that it opens, `url_id` its elicitationId."""

    key: str
    method: str
    url: bytes
    url_id: str


class ModernCall:
    """A request of the client, over all its rounds."""

    __slots__ = (
        "answers",
        "inputs",
        "method",
        "params",
        "phase",
        "progress",
        "requested",
        "requester",
        "rounds",
        "since",
        "state",
        "task",
        "tasks",
        "urls",
        "wire_id",
    )

    def __init__(self, requester: bytes, method: str, params: Members) -> None:
        self.requester = requester
        self.method = method
        self.params = params
        self.phase = ModernPhase.SENT
        # The id of the last request to the server.
        self.wire_id = b""
        # The number of `input_required` results.
        self.rounds = 0
        # The `requestState` of the last round (raw), None if it had none.
        self.state: bytes | None = None
        # The requests to the client without a response, by their ids. Not empty in the phase INPUT only.
        self.inputs: dict[bytes, RequiredInput] = {}
        # The raw answers of this round, by key.
        self.answers: dict[str, bytes] = {}
        # When `on_tick` first saw the phase INPUT (seconds), None before.
        self.since: float | None = None
        # The last progress that the client has received.
        self.progress: float | None = None
        # The elicitationId of each URL that the client has accepted, by URL (raw), until the server goes on.
        self.urls: dict[bytes, str] = {}
        # Whether its requests declare the tasks extension.
        self.tasks = False
        # The raw id of the task that the server has made of it, or empty.
        self.task = b""
        # Of a task: the keys of all inputs that the client has received. No key has two meanings in a task.
        self.requested: set[str] = set()

    def retry_params(self) -> dict[str, object]:
        """Return its params with the answers and the state of the last round."""
        params: dict[str, object] = dict(self.params)
        if self.answers:
            params["inputResponses"] = self._responses()
        if self.state is not None:
            params["requestState"] = json_object.raw(self.state)
        return params

    def update_params(self) -> dict[str, object]:
        """Return the params of `tasks/update` with the answers of the last round."""
        return {"taskId": json_object.raw(self.task), "inputResponses": self._responses()}

    def _responses(self) -> Members:
        return {key: json_object.raw(answer) for key, answer in self.answers.items()}

    def progress_to_client(self, found: Members) -> Members | None:
        """Return progress under the token of the client, None if the client must not receive it.

        A server counts from the start in each round. The client must receive rising values only (MCP 2025-11-25
        basic/utilities/progress).
        """
        value = json_object.number(found.get("progress"))
        token = json_object.peek(self.params.get("_meta")).get("progressToken")
        if value is None or token is None or (self.progress is not None and value <= self.progress):
            return None
        self.progress = value
        return {**found, "progressToken": token}


class InputError(Exception):
    """The input that the server requires cannot be requested of the client. The text is the reason."""


class ClientInputRounds:
    """The input requests to a client that have no response.

    `mint` returns a new random id for a URL.
    """

    def __init__(self, limits: Limits, handshake: ClientHandshake, mint: Callable[[], str]) -> None:
        self._limits = limits
        self._handshake = handshake
        self._mint = mint
        self._next_id = 1
        # By the id of the request. Removed with its response, or when it is withdrawn.
        self._calls: dict[bytes, ModernCall] = {}

    def read(self, requests: Members) -> list[tuple[str, str, Members]]:
        """Return the key, method and params of each input request, adapted to the revision of the client.

        Raises InputError if the client has not declared one of them, or if one exceeds the limits.
        """
        handshake = self._handshake
        found: list[tuple[str, str, Members]] = []
        for key, raw in requests.items():
            request = json_object.peek(raw)
            method = json_object.string(request.get("method"))
            params = json_object.peek(request.get("params"))
            if not rules_modern_to_legacy.is_declared(method, params, handshake.declared):
                text = f"the server requires {method or 'input'}, which the client has not declared"
                raise InputError(text)
            one_block = handshake.revision < BLOCKS_SINCE
            if method == "sampling/createMessage" and one_block:
                try:
                    rules_modern_to_legacy.downgrade_sampling_messages(
                        handshake.revision, params, self._limits
                    )
                except Rejection as rejection:
                    raise InputError(rejection.text) from None
            found.append((key, method, params))
        return found

    def send(self, call: ModernCall, inputs: list[tuple[str, str, Members]]) -> Effects:
        """Send input requests to the client. A form that its revision cannot show is answered with "cancel" at once."""
        call.since = None
        effects: list[Effect] = []
        for key, method, params in inputs:
            if method == "elicitation/create" and not self._can_show(params):
                call.answers[key] = _CANCEL
                continue
            request_id = b'"input-%d"' % self._next_id
            self._next_id += 1
            url, url_id = b"", ""
            if json_object.string(params.get("mode")) == "url":
                url, url_id = bytes(params.get("url", b"")), self._mint()
                params["elicitationId"] = json_object.raw(json_object.text(url_id))
            call.inputs[request_id] = RequiredInput(key, method, url, url_id)
            self._calls[request_id] = call
            text = json_object.write(params) if params else b""
            effects.append(ToRequester(Request(request_id, method, text), call.requester))
        if call.inputs:
            call.phase = ModernPhase.INPUT
        return tuple(effects)

    def _can_show(self, params: Members) -> bool:
        return self._handshake.revision >= URL_MODE_SINCE or rules_modern_to_legacy.downgrade_form(params)

    def take(self, request_id: bytes) -> ModernCall | None:
        """Remove an input request that has a response. Returns its call, None if no input request has this id."""
        return self._calls.pop(request_id, None)

    @staticmethod
    def answer(call: ModernCall, message: Response) -> str:
        """Store the answer of the client to an input request. Returns the reason why the call fails, or an empty text.

        An elicitation has an answer that means "cancel". It is not used for an elicitation that no stream could carry,
        because the server could start endless rounds with it.
        """
        request = call.inputs.pop(message.id)
        if message.error and (request.method != "elicitation/create" or is_without_stream(message.error)):
            return f"the client refused {request.method}: {read_fault(message.error).message}"
        answer = _CANCEL if message.error else bytes(message.result)
        call.answers[request.key] = answer
        if request.url_id and json_object.string(json_object.peek(answer).get("action")) == "accept":
            call.urls[request.url] = request.url_id
        return ""

    def withdraw(self, call: ModernCall) -> Effects:
        """Cancel the input requests of a call at the client."""
        requests, call.inputs = call.inputs, {}
        for request_id in requests:
            del self._calls[request_id]
        return tuple(
            ToRequester(Notification("notifications/cancelled", cancelled(request_id, b"")), call.requester)
            for request_id in requests
        )

    @staticmethod
    def complete_urls(call: ModernCall, inputs: list[tuple[str, str, Members]]) -> Effects:
        """Notify the client that the URLs it has accepted are complete, except those that the server requires again."""
        again = {bytes(params.get("url", b"")) for _, _, params in inputs}
        urls, call.urls = call.urls, {}
        return tuple(
            ToRequester(
                Notification(
                    "notifications/elicitation/complete", json_object.write({"elicitationId": url_id})
                ),
                call.requester,
            )
            for url, url_id in urls.items()
            if url not in again
        )
