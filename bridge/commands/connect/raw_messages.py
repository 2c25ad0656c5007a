"""Read ids and reasons out of raw JSON-RPC messages. Pure."""

import json
from typing import Any, cast

import msgspec

from ....validators import json_object, jsonrpc
from ....validators.jsonrpc import Response
from ....validators.limits import UNLIMITED
from ....validators.rejection import Rejection


def value_of(raw_id: bytes) -> object:
    """Return the value of a raw id, which is the same for all its spellings in JSON."""
    try:
        value: object = json.loads(raw_id)
    except ValueError:
        return raw_id
    return value if isinstance(value, str | int | float) else raw_id


def id_in(text: bytes) -> bytes:
    """Return the raw id of a request that cannot be read, or `null` if none is found."""
    raw_id = jsonrpc.readable_id(text)
    return jsonrpc.request_id_in_prefix(text) if raw_id == b"null" else raw_id


def one_line(data: bytes) -> bytes:
    """Return a JSON text on one line and in UTF-8. A JSON string contains no raw line end."""
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode(errors="replace").encode()
    return data.replace(b"\r", b" ").replace(b"\n", b" ").strip()


def response_ids(line: bytes) -> tuple[bytes, ...] | None:
    """Return the raw ids of the responses in a line of the server, None if the line is not JSON-RPC.

    As from a server on a pipe, a line is JSON-RPC if it has `jsonrpc`, or an id beside a result or an error.
    """
    try:
        if not jsonrpc.is_batch(line):
            message = jsonrpc.decode(line, UNLIMITED)
            return (message.id,) if isinstance(message, Response) else ()
    except Rejection:
        pass
    try:
        found: Any = json.loads(line)
    except RecursionError:
        # It is nested deeper than we can read, so the client decides.
        return ()
    except ValueError:
        return None
    members: list[Any] = found if isinstance(found, list) else [found]  # pyright: ignore[reportUnknownVariableType] - JSON
    objects = [cast("dict[str, Any]", member) for member in members if isinstance(member, dict)]
    messages = [message for message in objects if _is_message(message)]
    if not messages:
        return None
    return tuple(
        json.dumps(message["id"]).encode()
        for message in messages
        if "id" in message and "method" not in message
    )


def _is_message(found: dict[str, Any]) -> bool:
    return found.get("jsonrpc") == "2.0" or ("id" in found and ("result" in found or "error" in found))


def reason_of(error: bytes) -> str:
    """Return `data.reason` of a JSON-RPC error, or an empty text."""
    data = json_object.peek(json_object.peek(error).get("data")) if error else {}
    return json_object.string(data.get("reason"))


def revision_in(result: bytes | msgspec.Raw) -> str:
    """Return the protocol version in the result of `initialize`."""
    return json_object.string(json_object.peek(result).get("protocolVersion"))
