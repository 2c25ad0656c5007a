"""Decide what a client of `connect` and its server receive, over one connection after another. Pure.

An event is a method call; it returns what is to be written, in order. No request reaches a server twice. When a connection is
lost, requests that were sent on it fail with the reason. Messages that were not sent wait for the next connection, as does a
request that the daemon has rejected because it, or the server, is being replaced. On the next connection the session is opened
again as the client has opened it; the daemon does the same for a server process that has exited.
"""

import secrets
from collections.abc import Iterable
from enum import Enum
from typing import Final

import attrs

from ....validators import json_object, jsonrpc
from ....validators.jsonrpc import Message, Request, Response
from ....validators.limits import UNLIMITED, Limits
from ....validators.mcp_params import cancelled, read_cancelled
from ....validators.rejection import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, SERVER_ERROR, Rejection
from ....validators.revisions import BATCHES_ON_A_PIPE
from .bounded_lines import Oversize
from .client_messages import ClientMessage, SentRequests, WaitingMessages
from .effects import Effect, Effects, Notice, ToClient, ToServer
from .raw_messages import id_in, one_line, reason_of, response_ids, revision_in, value_of
from .server_requests import OpenServerRequests
from .session_setup import INITIALIZE, SessionSetup

_CANCELLED: Final = "notifications/cancelled"
# How much of a message that cannot be read is searched for its id (bytes).
_EDGE: Final = 1024
# `data.reason` of the daemon's rejections because it, or the server, is being replaced.
_STOPPING: Final = "stopping"
# With these `initialize` is rejected where another process will accept it.
_REPLACED: Final = (_STOPPING, "session ended")
# The code of the daemon's own rejections (JSON text); a request that was in flight fails under another code.
_REJECTED: Final = b"%d" % SERVER_ERROR


class ConnectionPhase(Enum):
    """The phases of a client.

    | phase     | event                    | next phase                                        |
    |-----------|--------------------------|---------------------------------------------------|
    | AWAY      | on_connect               | OPEN if no session was open, else REPLAYING; or   |
    |           |                          | RESTING if the server has rejected that before    |
    |           |                          | and no request waits                              |
    | RESTING   | a request of the client  | REPLAYING                                         |
    | REPLAYING | the result, or an error  | OPEN, or RESTING                                  |
    | all       | on_disconnect            | AWAY                                              |
    """

    # There is no connection.
    AWAY = "away"
    # The server has rejected the repeated `initialize`; the next request of the client repeats it once more.
    RESTING = "resting"
    # The repeated `initialize` has no response yet.
    REPLAYING = "replaying"
    OPEN = "open"


class Reconnection:
    """The state of one client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = attrs.evolve(UNLIMITED, batch=limits.batch)
        self.phase = ConnectionPhase.AWAY
        self._sent = SentRequests(limits.stdin_bytes)
        self._waiting = WaitingMessages(limits.stdin_bytes)
        self._server_requests = OpenServerRequests()
        self._setup = SessionSetup()
        # Ids of our own requests, which the client cannot guess.
        self._id_prefix = f"mcp-bridge-{secrets.token_hex(6)}-"
        self._last_id = 1
        # The raw id of the repeated `initialize`, and whether the server has rejected it.
        self._replay_id = b""
        self._replay_rejected = False

    # ---- read by the shell

    @property
    def settled(self) -> bool:
        """Return whether no request waits to be sent, or for a response that comes by itself."""
        return not self.has_unsent and self._sent.all_lasting

    @property
    def has_unsent(self) -> bool:
        """Return whether a request waits to be sent."""
        return self._waiting.has_requests

    @property
    def full(self) -> bool:
        """Return whether no more input is to be read until there is a connection."""
        return self._waiting.full

    @property
    def has_rejected(self) -> bool:
        """Return whether a request waits that was rejected on the open connection."""
        return self.phase is ConnectionPhase.OPEN and self._waiting.has_rejected

    # ---- from the client

    def on_client_message(self, line: bytes) -> Effects:
        try:
            line.decode()
        except UnicodeDecodeError:
            text = line.decode(errors="replace").encode()
            return (self._unreadable(text, PARSE_ERROR, "the message is not UTF-8"),)
        if jsonrpc.is_batch(line):
            return self._batch(line)
        return self._single(line)

    def _single(self, text: bytes, *, within_batch: bool = False) -> Effects:
        try:
            message = jsonrpc.decode(text, self._limits)
            if within_batch and isinstance(message, Request) and message.method == INITIALIZE:
                raise jsonrpc.invalid("initialize must not be part of a batch")
        except Rejection as rejection:
            return (self._unreadable(text, rejection.code, rejection.text),)
        return self._handle(message, text.strip())

    def _batch(self, line: bytes) -> Effects:
        try:
            texts = jsonrpc.split_batch(line, self._limits)
        except Rejection as rejection:
            return (ToClient(jsonrpc.error(b"null", rejection.code, rejection.text)),)
        if not (self._setup.opening or self._setup.revision in BATCHES_ON_A_PIPE):
            found = [id_in(text) for text in texts]
            reason = f"a batch is allowed up to revision {BATCHES_ON_A_PIPE[-1]} only"
            ids = [raw_id for raw_id in found if raw_id != b"null"] or [b"null"]
            return tuple(ToClient(jsonrpc.error(raw_id, INVALID_REQUEST, reason)) for raw_id in ids)
        effects: list[Effect] = []
        for text in texts:
            effects += self._single(one_line(text), within_batch=True)
        return tuple(effects)

    def _unreadable(self, text: bytes, code: int, reason: str) -> Effect:
        """Return the error for a message that cannot be read, under the id of the request unless another has it in flight."""
        found = Oversize(len(text), text[:_EDGE], text[-_EDGE:])
        if found.is_response:
            # The server waits for it.
            if (
                found.id
                and self.phase is ConnectionPhase.OPEN
                and self._server_requests.remove(value_of(found.id))
            ):
                reason = f"invalid response of the client: {reason}"
                return ToServer(jsonrpc.error(found.id, INTERNAL_ERROR, reason))
            return ToClient(jsonrpc.error(b"null", code, reason))
        raw_id = id_in(text)
        if value_of(raw_id) in self._sent:
            raw_id = b"null"
        return ToClient(jsonrpc.error(raw_id, code, reason))

    def _handle(self, message: Message, text: bytes) -> Effects:
        if isinstance(message, Request):
            return self._request(message, text)
        if isinstance(message, Response):
            value = value_of(message.id)
            if self._server_requests.remove_lost(value):
                return ()
            self._server_requests.remove(value)
            return self._forward(text)
        if message.method == _CANCELLED:
            return self._cancel(read_cancelled(message.params)[0], text)
        if message.method == "notifications/initialized":
            self._setup.initialized = text
            if self._setup.accepted and self.phase is not ConnectionPhase.OPEN:
                # It is sent when the session is opened again.
                return ()
        return self._forward(text)

    def _request(self, message: Request, text: bytes) -> Effects:
        value = value_of(message.id)
        self._setup.record(message, text)
        if message.method == "subscriptions/listen":
            self._sent.mark_lasting(value)
        if self.phase is ConnectionPhase.OPEN:
            self._sent.add(value, ClientMessage(text, message.id))
            return (ToServer(text),)
        self._waiting.append(ClientMessage(text, message.id))
        return self._open_again() if self.phase is ConnectionPhase.RESTING else ()

    def _cancel(self, raw_id: bytes, text: bytes) -> Effects:
        value = value_of(raw_id)
        if self._waiting.remove_request(value):
            self._sent.unmark_lasting(value)
            return ()
        self._sent.complete(value)
        return (ToServer(text),) if self.phase is ConnectionPhase.OPEN else ()

    def _forward(self, text: bytes) -> Effects:
        if self.phase is ConnectionPhase.OPEN:
            return (ToServer(text),)
        if not self.full:
            self._waiting.append(ClientMessage(text))
        return ()

    def on_oversize(self, message: Oversize, limit: int, key: str, *, from_client: bool) -> Effects:
        """Return the error for a message over the limit that `key` names, if its id can be read."""
        text = f"dropped a message of {message.size} bytes: the limit is {limit} ({key})"
        if not message.id:
            return (Notice(text),)
        value = value_of(message.id)
        if message.is_response and not from_client:
            self._sent.complete(value)
        error = jsonrpc.error(message.id, INVALID_REQUEST if from_client else INTERNAL_ERROR, text)
        if from_client != message.is_response:
            return Notice(text), ToClient(error, (message.id,))
        if self.phase is not ConnectionPhase.OPEN:
            return (Notice(text),)
        self._server_requests.remove(value)
        return Notice(text), ToServer(error)

    # ---- from the server

    def on_server_message(self, line: bytes) -> Effects | None:
        """Handle a message of the server. Returns None if it is not JSON-RPC."""
        try:
            if jsonrpc.is_batch(line):
                raise jsonrpc.invalid("a batch")
            message = jsonrpc.decode(line, UNLIMITED)
        except Rejection:
            ids = response_ids(line)
            if ids is None:
                return None
            for raw_id in ids:
                self._sent.complete(value_of(raw_id))
            return (ToClient(line, ids),)
        if isinstance(message, Response):
            return self._response(message, line)
        if isinstance(message, Request):
            self._server_requests.add(message.id)
        elif message.method == _CANCELLED:
            self._server_requests.remove(value_of(read_cancelled(message.params)[0]))
        return (ToClient(line),)

    def _response(self, message: Response, line: bytes) -> Effects:
        value = value_of(message.id)
        if isinstance(value, str) and value.startswith(self._id_prefix):
            return self._opened_again(message) if message.id == self._replay_id else ()
        if self._setup.is_response(value):
            if reason_of(message.error) in _REPLACED:
                # Another process responds, on the next connection.
                return ()
            if message.error:
                self._setup.initialize = b""
            else:
                self._setup.accepted, self._setup.revision = True, revision_in(message.result)
        elif (
            message.error
            and _has_not_begun(message.error)
            and (request := self._sent.take_repeatable(value)) is not None
        ):
            self._waiting.append(request._replace(rejection=line))
            return ()
        self._sent.complete(value)
        return (ToClient(line, (message.id,)),)

    def return_rejections(self) -> Effects:
        """Pass on the rejections of the requests that wait for the end of the open connection, which has not come in time."""
        if self.phase is not ConnectionPhase.OPEN:
            return ()
        requests = self._waiting.take_rejected()
        for request in requests:
            self._sent.unmark_lasting(value_of(request.raw_id))
        return tuple(ToClient(request.rejection, (request.raw_id,)) for request in requests)

    # ---- connections

    def on_connect(self) -> Effects:
        """Handle a new connection: send what waits, or open the session again."""
        if not self._setup.accepted:
            self.phase = ConnectionPhase.OPEN
            return self._release()
        self.phase = ConnectionPhase.RESTING
        return () if self._replay_rejected and not self.has_unsent else self._open_again()

    def _open_again(self) -> Effects:
        self.phase, self._replay_rejected = ConnectionPhase.REPLAYING, False
        self._replay_id = self._new_id()
        return (self._setup.repeat_initialize(self._replay_id, self._limits),)

    def _new_id(self) -> bytes:
        self._last_id += 1
        return json_object.text(f"{self._id_prefix}{self._last_id}")

    def _opened_again(self, message: Response) -> Effects:
        if message.error:
            if reason_of(message.error) in _REPLACED:
                return ()
            self.phase, self._replay_rejected = ConnectionPhase.RESTING, True
            text = json_object.string(json_object.peek(message.error).get("message"))
            return self._fail_waiting(f"the server rejected the repeated initialize: {text}")
        self.phase = ConnectionPhase.OPEN
        effects: list[Effect] = [*self._setup.repeat_rest(self._new_id)]
        revision, before = revision_in(message.result), self._setup.revision
        if revision != before:
            effects.append(Notice(f"the server now uses revision {revision} instead of {before}"))
        return *effects, *self._release(), *self._setup.report_changes(message.result)

    def _release(self) -> Effects:
        messages = self._waiting.take_all()
        for message in messages:
            if message.raw_id:
                self._sent.add(value_of(message.raw_id), message._replace(rejection=b""))
        return tuple(ToServer(message.text) for message in messages)

    def on_disconnect(self, reason: str) -> Effects:
        """Fail the requests that were sent, except `initialize`, which may be repeated."""
        self.phase = ConnectionPhase.AWAY
        setup = self._setup
        opening: list[ClientMessage] = []
        if setup.opening and self._sent.take(value_of(setup.initialize_id)) is not None:
            opening.append(ClientMessage(setup.initialize, setup.initialize_id))
            if setup.initialized and setup.initialized not in self._waiting:
                opening.append(ClientMessage(setup.initialized))
        failed = self._fail_sent(f"{reason}; the request was sent before and may have been executed")
        cancellations = [
            ToClient(jsonrpc.notification(_CANCELLED, cancelled(raw_id, json_object.text(reason))))
            for raw_id in self._server_requests.on_disconnect()
        ]
        self._waiting.insert_first(opening)
        return *failed, *cancellations

    def close(self, reason: str, unwritten: Iterable[bytes] = ()) -> Effects:
        """Fail all requests without a response, and those with these raw ids, whose response was not written."""
        return *_errors(unwritten, reason), *self._fail_sent(reason), *self._fail_waiting(reason)

    def _fail_sent(self, reason: str) -> Effects:
        return _errors(self._sent.take_ids(), reason)

    def _fail_waiting(self, reason: str) -> Effects:
        return _errors([one.raw_id for one in self._waiting.take_all() if one.raw_id], reason)


def _errors(ids: Iterable[bytes], reason: str) -> Effects:
    return tuple(
        ToClient(jsonrpc.error(raw_id, INTERNAL_ERROR, reason, {"reason": "connection lost"}), (raw_id,))
        for raw_id in ids
    )


def _has_not_begun(error: bytes) -> bool:
    """Return whether the daemon has rejected a request before any server has received it, because one is being replaced."""
    return reason_of(error) == _STOPPING and bytes(json_object.peek(error).get("code", b"")) == _REJECTED
