"""Requests of one client without a response: wire ids, progress tokens, and the streams that carry them. Pure.

Invariant: a wire id is released once, by `remove`.
"""

from typing import Final

import msgspec

from ...validators import jsonrpc
from ...validators.limits import Limits
from .attribution import MAY_ASK
from .call_timeouts import CallTimeouts
from .event_store import Stream

_canonical: Final = jsonrpc.canonical_id


class PendingRequest(msgspec.Struct, frozen=True):
    """A request of the client that the server has not answered."""

    client_id: bytes
    # The canonical spelling of the client's id.
    key: bytes
    method: str
    stream: Stream
    # The raw progress token, or nothing.
    token: bytes
    # The time of the request on the caller's clock, if its end is recorded.
    since: float | None = None
    # The tool, prompt or resource that it names, or nothing.
    name: str = ""


class PendingRequests:
    """The pending requests of one session."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.timeouts = CallTimeouts(limits)
        # By wire id, oldest first. `remove` drops an entry here and in the next two tables.
        self.by_wire_id: dict[bytes, PendingRequest] = {}
        # Wire ids by the canonical id of the client.
        self.wire_ids: dict[bytes, bytes] = {}
        # Wire ids by the canonical progress token of the client.
        self._tokens: dict[bytes, bytes] = {}
        # Canonical progress tokens of calls that continue as tasks. At the limit the oldest is dropped.
        self._task_tokens: dict[bytes, None] = {}
        # Streams of POST requests that carry more than responses, oldest first. A stream leaves with its last request.
        self.callers: dict[Stream, None] = {}

    def add(self, wire_id: bytes, request: PendingRequest, *, timed: bool) -> None:
        """Add a request that is sent to the server, or will be. If it is `timed`, its time begins."""
        self.by_wire_id[wire_id] = request
        self.wire_ids[request.key] = wire_id
        if request.token:
            token = _canonical(request.token)
            self._tokens.setdefault(token, wire_id)
            self._task_tokens.pop(token, None)
        stream = request.stream
        if not (stream.pending or stream.listens or stream.answers_only):
            self.callers[stream] = None
        stream.pending += 1
        if timed and self.timeouts.limited:
            self.timeouts.add(wire_id)

    def remove(self, wire_id: bytes) -> PendingRequest:
        """Remove a request that has ended."""
        request = self.by_wire_id.pop(wire_id)
        if self.timeouts.limited:
            self.timeouts.remove(wire_id)
        del self.wire_ids[request.key]
        if request.token:
            token = _canonical(request.token)
            if self._tokens.get(token) == wire_id:
                del self._tokens[token]
        stream = request.stream
        stream.pending -= 1
        if not stream.pending and stream in self.callers:
            del self.callers[stream]
        return request

    def start_timeouts(self) -> None:
        """Start the time of all requests, because the server gets them now."""
        for wire_id in self.by_wire_id:
            self.timeouts.add(wire_id)

    def wire_id_of(self, token: bytes) -> bytes | None:
        """Return the wire id of the request with this canonical progress token, None if there is none.

        Some servers send a token that was a number as a string, and the official TypeScript client accepts both.
        """
        return self._tokens.get(token) or self._tokens.get(jsonrpc.wire_id(token))

    def on_task(self, request: PendingRequest) -> None:
        """Store the token of a call that has become a task, which keeps it (MCP 2025-11-25 basic/utilities/tasks).

        The end of the task is not noticed here, so the number of tokens is limited.
        """
        self._task_tokens[_canonical(request.token)] = None
        if len(self._task_tokens) > self._limits.in_flight:
            del self._task_tokens[next(iter(self._task_tokens))]

    def is_of_task(self, token: bytes) -> bool:
        """Return whether a canonical progress token belongs to a task."""
        return token in self._task_tokens

    def clear_tasks(self) -> None:
        """Drop the tokens of tasks, because the server process has exited."""
        self._task_tokens.clear()

    def caller(self) -> Stream | None:
        """Return the stream of the POST that may have caused a message of the server, None if there is none.

        It is that of the only call whose method may cause requests, else the newest. A session belongs to one client, so no
        choice shows a message to another client.
        """
        if len(self.callers) > 1:
            found = {
                one.stream: None
                for one in self.by_wire_id.values()
                if one.method in MAY_ASK
                and not one.stream.answers_only
                and (one.stream.queue is not None or one.stream.key)
            }
            if len(found) == 1:
                return next(iter(found))
        return next(reversed(self.callers), None)

    def may_ask_without_stream(self) -> bool:
        """Return whether a call whose method may cause requests has a client that accepts responses only."""
        return any(one.stream.answers_only and one.method in MAY_ASK for one in self.by_wire_id.values())
