"""The rounds of `input_required` and retry of calls at a legacy server that sends requests to its client.

A legacy server sends a request to its client in the middle of a call. A modern client receives a request only in a result
(MCP 2026-07-28 basic/patterns/mrtr): the call is **held**, its client gets `input_required` with a state that names the call
and the round, the call stays open at the server, and the retry of the client resumes it.

Pure. Invariant: a request of the server is in at most one call, and gets exactly one answer unless the server cancels it.
"""

from collections.abc import Callable, Iterable

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Request, Response
from ...validators.rejection import INTERNAL_ERROR
from ..core.errors import fault_text
from . import rules_legacy_to_modern
from .legacy_call import InputRequest, LegacyCall


class InputRounds:
    """The calls that have had an input request, by their keys, and the server's requests in them.

    `mint` returns a new random key.
    """

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint
        # By key. Added with the first input request, removed at the end of the call.
        self._calls: dict[str, LegacyCall] = {}
        # By the id of the server's request: its call and its name there. Removed with the request.
        self._by_server_id: dict[bytes, tuple[LegacyCall, str]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, server_id: bytes) -> bool:
        return server_id in self._by_server_id

    def get(self, key: str) -> LegacyCall | None:
        return self._calls.get(key)

    @property
    def calls(self) -> Iterable[LegacyCall]:
        """All calls with a key."""
        return tuple(self._calls.values())

    @property
    def held(self) -> list[LegacyCall]:
        """The calls whose client has not retried."""
        return [call for call in self._calls.values() if call.held]

    def add(self, call: LegacyCall, message: Request) -> None:
        """Add a request to a call. Its name in `inputRequests` is used once."""
        if not call.key:
            call.key = self._mint()
        self._calls[call.key] = call
        call.numbered += 1
        name = f"k{call.numbered}"
        call.inputs[name] = InputRequest(
            message, rules_legacy_to_modern.input_request(message.method, message.params)
        )
        if message.id:
            self._by_server_id[message.id] = (call, name)

    def withdraw(self, server_id: bytes) -> LegacyCall | None:
        """Remove a request that the server has cancelled. Returns its call, whose round continues without it."""
        call, name = self._by_server_id.pop(server_id, (None, ""))
        if call is not None:
            call.inputs.pop(name, None)
        return call

    def take(self, call: LegacyCall, round_number: str, responses: msgspec.Raw | None) -> bool:
        """Store the client's answers of a round. Returns False if the call does not wait for this round."""
        if not call.held or round_number != str(call.round):
            return False
        call.round += 1
        given: json_object.Members = json_object.peek(responses)
        for name, request in call.inputs.items():
            if request.answer is None and rules_legacy_to_modern.is_input_response(
                request.message.method, given.get(name)
            ):
                request.answer = bytes(given[name])
        return True

    def send(self, call: LegacyCall) -> dict[str, bytes]:
        """Return the `inputRequests` of the next result, and mark them as sent."""
        call.since = None
        for request in call.inputs.values():
            request.sent = True
        return {name: request.text for name, request in call.inputs.items() if request.answer is None}

    def answers(self, call: LegacyCall) -> list[InputRequest]:
        """Remove the answered requests of a call and return them."""
        answered = [request for request in call.inputs.values() if request.answer is not None]
        call.inputs = {name: request for name, request in call.inputs.items() if request.answer is None}
        for request in answered:
            self._by_server_id.pop(request.server_id, None)
        return answered

    def clear(self, call: LegacyCall) -> list[InputRequest]:
        """Remove all requests of a call. Returns the server's requests that have no answer."""
        left = [request for request in call.inputs.values() if request.server_id and request.answer is None]
        for request in call.inputs.values():
            self._by_server_id.pop(request.server_id, None)
        call.inputs = {}
        return left

    def refuse_all(self, call: LegacyCall) -> list[Response]:
        """Remove all requests of a call. Returns the responses for the server in place of the client's."""
        refusal = fault_text(INTERNAL_ERROR, "the client did not answer in time")
        return [
            Response(request.server_id, b'{"action":"cancel"}', b"")
            if request.message.method == "elicitation/create"
            else Response(request.server_id, b"", refusal)
            for request in self.clear(call)
        ]

    def remove(self, call: LegacyCall) -> list[InputRequest]:
        """Remove a call. Returns the server's requests that have no answer."""
        self._calls.pop(call.key, None)
        return self.clear(call)
