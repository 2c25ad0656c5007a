"""A call of a modern client at a legacy server, with the input requests of the server in its course. Pure."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

import msgspec

from ...validators.jsonrpc import Request, Response
from ..core.attribution import INTERACTIVE, Client, Origin, nothing
from . import rules_legacy_to_modern
from .rules_legacy_to_modern import Profile

_ANONYMOUS: Final = Client("")
_NOTHING_MISSING: Final[Mapping[str, dict[str, dict[str, str]]]] = MappingProxyType({})
# The origin of a call that was not sent yet.
UNSENT: Final = Origin(b"", _ANONYMOUS, None, nothing, may_ask=False)


class InputRequest:
    """A request of the server in the course of a call, or a URL that must be opened (then without `server_id`)."""

    __slots__ = ("answer", "message", "sent", "text")

    def __init__(self, message: Request, text: bytes) -> None:
        self.message = message
        # The value in `inputRequests`.
        self.text = text
        # The valid answer of the client (raw), None before.
        self.answer: bytes | None = None
        # Whether an `input_required` result has had it.
        self.sent = False

    @property
    def server_id(self) -> bytes:
        """The raw id of the server's request, or empty."""
        return self.message.id


class LegacyPhase(Enum):
    """The state of a call at its client and at the server.

    | phase         | the client has            | the server has          | leaves it with                      |
    |---------------|---------------------------|-------------------------|-------------------------------------|
    | RUNNING       | a request in flight       | the call                | response: end, or URLS_REQUIRED;    |
    |               |                           |                         | input gathered: HELD                |
    | HELD          | an `input_required` result | the call               | retry: RUNNING; response: ANSWERED  |
    | ANSWERED      | an `input_required` result | responded              | retry: end                          |
    | DEFERRED      | an `input_required` result | not received the call  | retry: RUNNING                      |
    | URLS_REQUIRED | an `input_required` result | refused it with -32042 | retry: RUNNING, or URLS_AWAITED     |
    | URLS_AWAITED  | a request in flight       | refused it with -32042  | completion or timeout: RUNNING      |

    A call in any phase ends when its client cancels it or the server exits. A call that is held for too long ends as well.
    """

    RUNNING = auto()
    HELD = auto()
    ANSWERED = auto()
    DEFERRED = auto()
    URLS_REQUIRED = auto()
    URLS_AWAITED = auto()


_HELD: Final = frozenset(
    {LegacyPhase.HELD, LegacyPhase.ANSWERED, LegacyPhase.DEFERRED, LegacyPhase.URLS_REQUIRED}
)


class LegacyCall(msgspec.Struct, eq=False):
    """A call, and the request of the client that waits for its result: another request after each round."""

    method: str
    params: bytes
    uri: str
    # The capabilities that the client has declared with the request that waits.
    profile: Profile
    # UNSENT until the call is sent.
    origin: Origin
    # The raw id of the request that waits.
    requester: bytes = b""
    client: Client = _ANONYMOUS
    # The progress token and the log level of the request that waits, each empty if it has none.
    progress_token: bytes = b""
    log_level: str = ""
    # The id of the request at the server, and the id of the first, which is the progress token that a task keeps.
    wire_id: bytes = b""
    server_token: bytes = b""
    phase: LegacyPhase = LegacyPhase.RUNNING
    # The random name of the call in `requestState`, empty before the first input request.
    key: str = ""
    round: int = 0
    # The last progress that the client has received.
    progress: float | None = None
    # By the name in `inputRequests` (msgspec makes a new dict for each call). Removed when the server gets the answer.
    inputs: dict[str, InputRequest] = {}
    numbered: int = 0
    # The undeclared capabilities of requests that were refused: the reason, if the call fails.
    missing: Mapping[str, dict[str, dict[str, str]]] = _NOTHING_MISSING
    # The response of the server, in the phase ANSWERED.
    response: Response | None = None
    # Whether it is sent as a task, and the raw id of the task that the server has made of it.
    as_task: bool = False
    task: bytes = b""
    # When `on_tick` first saw it held (seconds), None before.
    since: float | None = None
    # The raw elicitationIds of the URLs that the server requires and has not announced as complete.
    completions: frozenset[bytes] = frozenset()

    @property
    def held(self) -> bool:
        """Whether its client has an `input_required` result and has not retried."""
        return self.phase in _HELD

    @property
    def unsent(self) -> bool:
        """Whether the client has not received all of its input requests."""
        return any(not request.sent for request in self.inputs.values())

    @property
    def is_gathering(self) -> bool:
        """Whether it has input requests that its client can get in the result of a request in flight."""
        return self.phase is LegacyPhase.RUNNING and self.unsent

    @property
    def unanswered(self) -> bool:
        """Whether an input request has no answer."""
        return any(request.answer is None for request in self.inputs.values())

    @property
    def state(self) -> str:
        """The `requestState` of the current round."""
        return f"{self.key}.{self.round}"

    def declares(self, method: str, params: bytes) -> bool:
        """Return whether its client can receive such a request in the course of this call."""
        return (
            self.method in INTERACTIVE
            and rules_legacy_to_modern.undeclared_refusal(method, params, self.profile) is None
        )
