"""Calls of modern clients at a legacy server that asks for input: the rounds of `input_required` and retry.

A legacy server sends a request to its client in the middle of a call. A modern client can only be asked in a result
(MCP 2026-07-28 basic/patterns/mrtr): the call is **held**, its client gets `input_required` with a state that names
the call and the round, the call stays open at the server, and the retry of the client continues it.

Pure. Invariant: a request of the server is in at most one call, and gets exactly one answer unless the server has
withdrawn it.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Request, Response
from ..core.attribution import INTERACTIVE, Client, Origin, nothing
from . import rules_legacy_to_modern
from .rules_legacy_to_modern import Profile

if TYPE_CHECKING:
    from ...validators.json_object import Members


_ANONYMOUS: Final = Client("")
# Of a call that was not sent yet.
UNSENT: Final = Origin(b"", _ANONYMOUS, None, nothing, may_ask=False)


class InputRequest:
    """A request of the server in the course of a call, or a URL that must be opened (then without `server_id`)."""

    __slots__ = ("answer", "message", "sent", "text")

    def __init__(self, message: Request, text: bytes) -> None:
        self.message = message
        self.text = text  # the value in `inputRequests`
        self.answer: bytes | None = None
        self.sent = False  # whether it was in an `input_required` result

    @property
    def server_id(self) -> bytes:
        """The id that the server has given it, or nothing."""
        return self.message.id


class CallPhase(Enum):
    """Whether a request of the client waits for the call."""

    RUNNING = auto()
    HELD = auto()


class Call(msgspec.Struct, eq=False):
    """A call at the server, and the request of a client that waits for it, another one after each round."""

    method: str
    params: bytes
    uri: str
    profile: Profile  # what its client has declared with that request
    origin: Origin  # UNSENT until it is sent
    requester: bytes = b""  # the id of the request that waits
    client: Client = _ANONYMOUS
    token: bytes = b""  # the progress token of its client
    level: str = ""  # the log level that its client wants
    wire_id: bytes = b""
    # The id under which it was sent: also its progress token at the server, which a task keeps.
    token_id: bytes = b""
    phase: CallPhase = CallPhase.RUNNING
    key: str = ""  # its random name in `requestState`, from the first input request on
    round: int = 0
    progress: float | None = None
    inputs: dict[str, InputRequest] = {}  # a new one for each call (msgspec)
    numbered: int = 0
    # Capabilities that its client would have had to declare: the reason, if the call fails.
    lacks: dict[str, dict[str, dict[str, str]]] = {}
    slot: Response | None = None  # the server's answer, while no request waits for it
    # Whether it is sent when its input requests are answered, because the server has sent them before it.
    deferred: bool = False
    tasked: bool = False  # whether it is sent as a task
    task: bytes = b""  # the raw id of the task that the server has made of it
    since: float | None = None  # when the clock first saw it held (seconds)
    # Of a call that the server refused until URLs are opened (-32042): it is sent again when they are.
    urls: bool = False
    completions: set[bytes] = set()

    @property
    def unsent(self) -> bool:
        """Whether its client must still be sent an input request."""
        return any(not one.sent for one in self.inputs.values())

    @property
    def unanswered(self) -> bool:
        """Whether an input request has no answer."""
        return any(one.answer is None for one in self.inputs.values())

    def declares(self, method: str, params: bytes) -> bool:
        """Return whether its client answers such a request in the course of this call."""
        return (
            self.method in INTERACTIVE
            and rules_legacy_to_modern.undeclared_refusal(method, params, self.profile) is None
        )


class InputRounds:
    """The calls that have asked for input, by their names, and the server's requests in them.

    `mint` returns a new random name.
    """

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint
        self._calls: dict[str, Call] = {}
        self._by_server_id: dict[bytes, tuple[Call, str]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, server_id: bytes) -> bool:
        return server_id in self._by_server_id

    def get(self, key: str) -> Call | None:
        """Return the call with this name."""
        return self._calls.get(key)

    @property
    def calls(self) -> Iterable[Call]:
        """All calls with a name."""
        return tuple(self._calls.values())

    @property
    def held(self) -> list[Call]:
        """The calls whose client has not retried."""
        return [call for call in self._calls.values() if call.phase is CallPhase.HELD]

    def add(self, call: Call, message: Request) -> None:
        """Add a request to a call. Its key in `inputRequests` is used once."""
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

    def withdraw(self, server_id: bytes) -> Call | None:
        """The server has cancelled its request: the round goes on without it. Returns its call."""
        call, name = self._by_server_id.pop(server_id, (None, ""))
        if call is not None:
            call.inputs.pop(name, None)
        return call

    def take(self, call: Call, state_number: str, responses: msgspec.Raw | None) -> bool:
        """Take the client's answers of a round. Returns False where the call does not wait for this round."""
        if call.phase is not CallPhase.HELD or state_number != str(call.round):
            return False
        call.round += 1
        given: Members = json_object.peek(responses)
        for name, one in call.inputs.items():
            if one.answer is None and rules_legacy_to_modern.is_input_response(
                one.message.method, given.get(name)
            ):
                one.answer = bytes(given[name])
        return True

    def send(self, call: Call) -> dict[str, bytes]:
        """Hold the call. Returns the `inputRequests` that its client gets."""
        call.phase = CallPhase.HELD
        call.since = None
        for one in call.inputs.values():
            one.sent = True
        return {name: one.text for name, one in call.inputs.items() if one.answer is None}

    def answers(self, call: Call) -> list[InputRequest]:
        """Remove the answered requests of a call and return them."""
        answered = [one for one in call.inputs.values() if one.answer is not None]
        call.inputs = {name: one for name, one in call.inputs.items() if one.answer is None}
        for one in answered:
            self._by_server_id.pop(one.server_id, None)
        return answered

    def clear(self, call: Call) -> list[InputRequest]:
        """Remove all requests of a call. Returns those of the server that have no answer."""
        left = [one for one in call.inputs.values() if one.server_id and one.answer is None]
        for one in call.inputs.values():
            self._by_server_id.pop(one.server_id, None)
        call.inputs = {}
        return left

    def remove(self, call: Call) -> list[InputRequest]:
        """Forget a call. Returns its requests that have no answer."""
        self._calls.pop(call.key, None)
        return self.clear(call)
