"""Describe the messages that pass between clients and servers, for `tap`: time, process, client, method and id.

A message is read for its envelope only, and a large one not at all beyond its beginning and its end. Nothing that a server
sends raises an exception here, because it would end its process.
"""

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object
from ..core.front import call_in
from ..runtime.server_log import SHOWN_SESSION, ServerLog
from ..runtime.taps import Sender, Tap, TappedProcess

# A longer message is cut (characters).
_LONGEST: Final = 16 * 1024
# A longer message is not decoded (bytes).
_DECODED: Final = 256 * 1024
# Requests without a response whose method is kept.
_MOST_METHODS: Final = 4096
# Of a method, an id and the name of a client (characters).
_SHOWN: Final = 128
# The ids of requests that the bridge itself sends (`runtime.liveness`, `runtime.era_probe`).
_OWN_IDS: Final = (b'"mcp-bridge-', b'"probe"', b'"probe-initialize"')
# Members of a large message that are certainly those of the message itself: at its beginning, and at its end.
_ID: Final = rb'(-?\d{1,20}|"[^"\\]{0,128}")'
_BEGINNING: Final = re.compile(
    rb'\s*\{(?:"jsonrpc":\s?"2\.0",\s?)?(?:"id":\s?' + _ID + rb'(?:,\s?"method":\s?"([^"\\]{1,128})")?'
    rb'|"method":\s?"([^"\\]{1,128})")'
)
_END: Final = re.compile(rb'(?:,|\{)\s?"id":\s?' + _ID + rb'(?:,\s?"jsonrpc":\s?"2\.0")?\s*\}\s*\Z')
_TAIL: Final = 256

REQUEST, NOTIFICATION, RESPONSE, ERROR = "request", "notification", "response", "error"
_TO_SERVER: Final = "to server"


class Tapped(msgspec.Struct, frozen=True):
    """One message. `at` is in seconds since the epoch, and `direction` is "to server" or "to client".

    `kind` is request, notification, response, error, or empty for what is no message. A response has the method of its request.
    `id` is JSON. `principal`, `session` (its beginning) and `client` (the name in clientInfo) are empty where they are not
    known. `own` is whether the bridge itself has sent the request. `size` is that of the message (bytes), and `line` the
    message, redacted and cut.
    """

    at: float
    server: str
    pid: int
    direction: str
    kind: str
    method: str
    id: str
    principal: str
    session: str
    client: str
    own: bool
    size: int
    line: str


class _Envelope(msgspec.Struct, gc=False):
    method: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Head(NamedTuple):
    """The envelope of a message: `id` is raw, `call` is the raw wire id of the request that a notification belongs to."""

    kind: str = ""
    method: str = ""
    id: bytes = b""
    call: bytes = b""


_decode = msgspec.json.Decoder(_Envelope).decode


def head_of(line: bytes) -> Head:
    """Return the envelope of a message, empty for what is none."""
    if len(line) > _DECODED:
        return _head_of_large(line)
    try:
        found = _decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Head()
    raw_id = b"" if found.id is msgspec.UNSET else bytes(found.id)
    if found.method is not msgspec.UNSET:
        method = json_object.string(found.method)[:_SHOWN]
        if raw_id:
            return Head(REQUEST, method, raw_id)
        return Head(NOTIFICATION, method, b"", _call_of(method, found.params))
    if not raw_id:
        return Head()
    return Head(RESPONSE if found.error is msgspec.UNSET else ERROR, "", raw_id)


def _head_of_large(line: bytes) -> Head:
    begin = _BEGINNING.match(line[: 4 * _TAIL])
    if begin is not None and (begin[2] or begin[3]):
        method = (begin[2] or begin[3]).decode(errors="replace")
        return Head(REQUEST if begin[2] else NOTIFICATION, method, begin[1] or b"")
    if begin is not None:
        return Head(RESPONSE, "", begin[1])
    end = _END.search(line[-_TAIL:])
    return Head() if end is None else Head(RESPONSE, "", end[1])


def _call_of(method: str, params: msgspec.Raw | msgspec.UnsetType) -> bytes:
    """Return the wire id in the progress token of a notification, or nothing."""
    if method != "notifications/progress" or params is msgspec.UNSET:
        return b""
    token = bytes(json_object.peek(params).get("progressToken", b""))
    return call_in(token) if token.startswith(b'"') else token


class MessageTap:
    """The messages of one or several servers for one follower. `receive` gets each of them as JSON."""

    def __init__(self, receive: Callable[[bytes], object]) -> None:
        self._receive = receive
        # By server log: the function that was added to its taps. Added by `begin`, removed by `end`.
        self._taps: dict[ServerLog, Tap] = {}
        # Methods of requests by server, process, direction and id. The response removes an entry, and the limit the oldest.
        self._methods: dict[tuple[str, int, str, bytes], str] = {}

    def begin(self, server_log: ServerLog) -> None:
        """Receive the messages of a server from now on."""
        tap = self._taps[server_log] = partial(self._on_message, server_log)
        server_log.taps.add(tap)

    def end(self, server_log: ServerLog) -> None:
        """Receive no further message of a server."""
        server_log.taps.remove(self._taps.pop(server_log))

    def _on_message(self, server_log: ServerLog, process: TappedProcess, direction: str, line: bytes) -> None:
        head = head_of(line)
        key = (server_log.name, process.pid, direction, head.id)
        method = head.method
        if head.kind == REQUEST:
            self._methods[key] = method
            if len(self._methods) > _MOST_METHODS:
                del self._methods[next(iter(self._methods))]
        elif head.kind in (RESPONSE, ERROR):
            other = "to client" if direction == _TO_SERVER else _TO_SERVER
            method = self._methods.pop((key[0], key[1], other, head.id), "")
        is_of_client = (head.kind == REQUEST) == (direction == _TO_SERVER)
        call = head.id if head.id and is_of_client else head.call
        own = process.owner is None or head.id.startswith(_OWN_IDS)
        sender = Sender("") if own or process.owner is None else process.owner.sender(call)
        self._receive(
            msgspec.json.encode(
                Tapped(
                    time.time(),
                    server_log.name,
                    process.pid,
                    direction,
                    head.kind,
                    server_log.shown(method.encode(), _SHOWN),
                    server_log.shown(head.id, _SHOWN),
                    sender.principal,
                    sender.session[:SHOWN_SESSION],
                    server_log.shown(_name_in(sender.info).encode(), _SHOWN),
                    own,
                    len(line),
                    server_log.shown(line, _LONGEST),
                )
            )
        )


def _name_in(info: bytes) -> str:
    """Return the name in a clientInfo, empty where it has none."""
    return json_object.string(json_object.peek(info).get("name")) if info else ""
