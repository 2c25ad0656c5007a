"""Read the messages of a bridge and of a remote server as far as their transport needs them. Pure."""

import re
from typing import Final

import attrs

from ...validators import json_object, jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import UNLIMITED, Limits
from ...validators.partial_object import outline
from ...validators.rejection import Rejection

INITIALIZE: Final = "initialize"
INITIALIZED: Final = "notifications/initialized"
CANCELLED: Final = "notifications/cancelled"

# A canonical message up to its payload, as `jsonrpc.line` writes it.
_CANONICAL: Final = re.compile(
    rb'\{"jsonrpc":"2\.0",(?:"id":("(?:[^"\\]|\\.)*+"|[^",{}\[\]]++),)?+'
    rb'(?:"method":"([^"\\]*+)"(?:(,"params":)|\}\Z)|"(?:result|error)":)'
)
_BOM: Final = b"\xef\xbb\xbf"
_LINE_ENDS_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
# Up to this size (bytes) a message of the server is decoded here as well as by its receiver. Of a longer one only the beginning
# and the end are read.
_WORTH_DECODING: Final = 64 * 1024
_NULL: Final = b"null"


@attrs.define(eq=False)
class Sent:
    """A message of the bridge. `id` is raw JSON text and empty for a notification, `method` is empty for a response."""

    line: bytes
    id: bytes
    method: str
    params: bytes
    # Whether its bytes count as unsent.
    unsent: bool = True

    @property
    def is_request(self) -> bool:
        """Whether the message has a response."""
        return bool(self.id and self.method)


def own(line: bytes) -> Sent:
    """Return a message that the transport itself sends, which does not count as unsent."""
    return attrs.evolve(read_sent(line), unsent=False)


def read_sent(line: bytes) -> Sent:
    """Return a message of the bridge. Raises Rejection for a line that is no message."""
    found = _CANONICAL.match(line)
    if found is not None:
        raw_id, name, params = found.groups()
        if name is None:
            return Sent(line, raw_id or b"", "", b"")
        return Sent(line, raw_id or b"", name.decode(), line[found.end() : -1] if params else b"")
    message = jsonrpc.decode(line, UNLIMITED, deep=True)
    if isinstance(message, Response):
        return Sent(line, message.id, "", b"")
    raw_id = message.id if isinstance(message, Request) else b""
    return Sent(line, raw_id, message.method, message.params)


@attrs.frozen
class Received:
    """A message of the server on one line. `id` is raw and empty for a notification, `method` is empty for a response.

    `error` is true for an error response. Its id may be null or missing, and is then empty.
    """

    line: bytes
    id: bytes
    method: str
    error: bool = False


def read_received(text: bytes, limits: Limits) -> list[Received]:
    """Return the messages of a JSON text: one, or those of a batch (MCP 2025-03-26 basic). Text that is no message is omitted.

    A large message is not decoded, and may still be invalid. A response whose value cannot be read has its id.
    """
    text = one_line(text.removeprefix(_BOM)).strip()
    if jsonrpc.is_batch(text):
        try:
            members = jsonrpc.split_batch(text, limits, deep=True)
        except Rejection:
            return []
        return [found for member in members if (found := _read_one(member.strip(), limits)) is not None]
    found = _read_one(text, limits)
    return [] if found is None else [found]


def one_line(text: bytes) -> bytes:
    """Return JSON text without line ends, which are only white space between its tokens."""
    return text.translate(_LINE_ENDS_TO_SPACES) if b"\n" in text or b"\r" in text else text


def _read_one(text: bytes, limits: Limits) -> Received | None:
    if len(text) > _WORTH_DECODING:
        found = _in_outline(text)
        if found is not None:
            return found
    try:
        return _of_message(text, jsonrpc.decode(text, limits, deep=True))
    except Rejection:
        return _unreadable(text)


def _of_message(text: bytes, message: Message) -> Received:
    match message:
        case Request():
            return Received(text, message.id, message.method)
        case Notification():
            return Received(text, b"", message.method)
        case Response():
            return Received(text, message.id, "", error=bool(message.error))


def _in_outline(text: bytes) -> Received | None:
    """Return a message whose method or id is in the beginning or at the end of its text."""
    found = outline(text).members
    raw_id = found.get("id", b"")
    if "method" in found:
        method = json_object.string(found["method"])
        return Received(text, b"" if raw_id == _NULL else raw_id, method) if method else None
    if raw_id and raw_id != _NULL and ("result" in found or "error" in found):
        return Received(text, raw_id, "", error="error" in found and "result" not in found)
    return None


def _unreadable(text: bytes) -> Received | None:
    raw_id = jsonrpc.call_of_invalid_line(text)
    if raw_id:
        return Received(text, raw_id, "")
    found = outline(text).members
    # The official servers respond so to a request that they refuse before they have read its id.
    if "error" in found and "method" not in found and found.get("id", _NULL) == _NULL:
        return Received(text, b"", "", error=True)
    return None


def with_id(raw_id: bytes, received: Received) -> bytes:
    """Return an error response that has no id of a request as the response to this request."""
    error = outline(received.line).members.get("error", b"")
    if json_object.is_object(error or b" "):
        try:
            return jsonrpc.line(
                jsonrpc.decode(
                    b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (raw_id, error), UNLIMITED, deep=True
                )
            )
        except Rejection:
            pass
    return b""
