"""The session of one client at a remote legacy server, and how it is opened again at the server's request. Pure.

A server may end a session at any time, for example when it restarts. It then responds with 404, and the client must send a new
`initialize` (MCP 2025-11-25 basic/transports, "Session Management").
"""

import re
from itertools import count
from typing import Final

from ...validators import json_object, jsonrpc
from ...validators.jsonrpc import Response, canonical_id
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled
from ...validators.rejection import Rejection
from ...validators.session_replay import REPLAYED, SessionReplay
from ..options import Headers
from .messages import CANCELLED, INITIALIZE, INITIALIZED, Received, Sent, own

# The revision from which on each request names the negotiated one is later, but earlier servers ignore the header.
_VERSION: Final = b"MCP-Protocol-Version"
_SESSION: Final = b"Mcp-Session-Id"
# A session id (MCP 2025-11-25 basic/transports): visible ASCII. The limit keeps requests small (characters).
_SESSION_ID: Final = re.compile(r"[!-~]{1,4096}\Z")
_REVISION: Final = re.compile(r"[!-~]{1,64}\Z")
# The most requests of a server that are open at once. The answer to an older one is not sent.
_SERVER_REQUESTS: Final = 4096
# No client uses such an id: those of the bridge are integers, or strings with another beginning.
_ID_PREFIX: Final = "mcp-bridge-session-"
# The longest text of an error of the server that is shown (characters).
_SHOWN: Final = 200
_LOST: Final = "the remote server has ended the session"


class LegacySession:
    """The state of one session. `generation` counts the sessions that the server has opened."""

    def __init__(self, limits: Limits) -> None:
        self.id = ""
        self.version = ""
        self.generation = 0
        # Whether the client has sent `notifications/initialized`.
        self.initialized = False
        self._limits = limits
        self._replay = SessionReplay(limits)
        self._numbers = count(1)
        # The requests of the server without an answer, by canonical id; the raw id. Removed by `answers` and `take_requests`.
        self._requests: dict[bytes, bytes] = {}

    @property
    def begun(self) -> bool:
        """Whether the client has sent `initialize`."""
        return bool(self._replay.initialize)

    @property
    def headers(self) -> Headers:
        """The header fields of each request in the session."""
        fields = [(_VERSION, self.version.encode())] if self.version else []
        if self.id:
            fields.append((_SESSION, self.id.encode()))
        return tuple(fields)

    def record(self, sent: Sent) -> None:
        """Record a message of the client that is part of the state of the session."""
        if sent.method == INITIALIZE:
            self._replay.initialize = sent.params
        elif sent.method == INITIALIZED:
            self.initialized = True
        elif sent.id and sent.method in REPLAYED:
            self._replay.record(sent.method, sent.params)

    def open(self, received: Received, session_id: str | None) -> str:
        """Process the response to `initialize`, with the header Mcp-Session-Id. Return why there is no session, as a predicate."""
        try:
            response = jsonrpc.decode(received.line, self._limits, deep=True)
        except Rejection as rejection:
            return f"sent a response to initialize that is not valid: {rejection.text}"
        if not isinstance(response, Response) or response.error:
            self._replay.clear()
            error = response.error if isinstance(response, Response) else b""
            return (
                f"refuses initialize: {json_object.string(json_object.peek(error).get('message'))[:_SHOWN]}"
            )
        result = json_object.peek(response.result)
        version = json_object.string(result.get("protocolVersion"))
        self.version = version if _REVISION.match(version) else ""
        self.id = session_id if session_id is not None and _SESSION_ID.match(session_id) else ""
        self.generation += 1
        self._replay.record_result(response.result)
        return ""

    # ---- requests of the server

    def add_request(self, raw_id: bytes) -> None:
        """Record a request of the server."""
        self._requests[canonical_id(raw_id)] = raw_id
        if len(self._requests) > _SERVER_REQUESTS:
            del self._requests[next(iter(self._requests))]

    def answers(self, raw_id: bytes) -> bool:
        """Return whether a response of the client is for a request of this session, whose answer it then is."""
        return self._requests.pop(canonical_id(raw_id), None) is not None

    def withdrawn(self, params: bytes) -> None:
        """Record that the server has cancelled one of its requests."""
        members = json_object.peek(params)
        if "requestId" in members:
            self._requests.pop(canonical_id(bytes(members["requestId"])), None)

    # ---- another session

    def lose(self) -> list[bytes]:
        """Drop the session. Return notifications that cancel the requests of the server, each as a line."""
        self.id = ""
        taken, self._requests = [*self._requests.values()], {}
        return [jsonrpc.notification(CANCELLED, _withdrawal(raw_id)) for raw_id in taken]

    def initialize_again(self) -> Sent:
        """Return the `initialize` of the next session."""
        return self._request(INITIALIZE, self._replay.initialize)

    def restore(self) -> list[Sent]:
        """Return the requests that bring the new session into the state of the former one."""
        lines = self._replay.requests(self._next_id)
        return [own(line) for line in lines]

    def missed(self) -> list[bytes]:
        """Return notifications of what may have changed between two sessions, each as a line."""
        return self._replay.missed() if self.initialized else []

    def _request(self, method: str, params: bytes) -> Sent:
        raw_id = self._next_id()
        return Sent(jsonrpc.request(raw_id, method, params), raw_id, method, params, unsent=False)

    def _next_id(self) -> bytes:
        return json_object.text(f"{_ID_PREFIX}{next(self._numbers)}")


def _withdrawal(raw_id: bytes) -> bytes:
    return cancelled(raw_id, json_object.text(_LOST))
