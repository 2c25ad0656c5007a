"""Error objects of JSON-RPC responses (JSON-RPC 2.0 section 5.1): read, write, and the codes that revisions of MCP define. Pure."""

from collections.abc import Callable
from typing import Final

import msgspec

from ...validators import json_object
from ...validators.rejection import INTERNAL_ERROR

RESOURCE_NOT_FOUND: Final = -32002
URL_ELICITATION_REQUIRED: Final = -32042
# Codes that the specification reserves (MCP 2026-07-28 basic/index#error-codes).
RESERVED_CODES: Final = range(-32099, -32019)
# Error codes are smaller than this, because larger numbers are not exact in every JSON parser (RFC 8259 section 6).
_CODES: Final = 2**53
_NO_STREAM: Final = "no event stream"


class Fault(msgspec.Struct, gc=False):
    """The error object of a response."""

    code: int = INTERNAL_ERROR
    message: str = ""
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_fault = msgspec.json.Decoder(Fault).decode
_encode = msgspec.json.Encoder().encode


def read_fault(error: bytes) -> Fault:
    """Parse an error object. An unreadable code becomes an internal error, an unreadable message an empty string."""
    try:
        return _decode_fault(error)
    except json_object.UNREADABLE:
        found = json_object.peek(error)
    code = json_object.number(found.get("code"))
    whole = code is not None and abs(code) < _CODES and code.is_integer()
    return Fault(
        int(code) if code is not None and whole else INTERNAL_ERROR,
        json_object.string(found.get("message")),
        found.get("data", msgspec.UNSET),
    )


def initialize_refused(error: bytes) -> str:
    """Return the text for a server that has answered `initialize` with this error."""
    return f"the server refused to initialize: {read_fault(error).message}"


def initialize_late(limit: float) -> str:
    """Return the text for a server that has not answered `initialize` within the limit (seconds)."""
    return f"the server did not answer initialize within {limit:g} s"


def no_id() -> str:
    """Return no correlation id."""
    return ""


def timeout_data(new_id: Callable[[], str]) -> dict[str, object]:
    """Return the data of the error of a call that took too long, with the correlation id that `new_id` returns."""
    correlation_id = new_id()
    return {"reason": "timeout", **({"correlationId": correlation_id} if correlation_id else {})}


def without_stream(text: str) -> bytes:
    """Return the error for a request of the server whose client reads no event stream that could carry it."""
    return fault_text(INTERNAL_ERROR, text, {"reason": _NO_STREAM})


def is_without_stream(error: bytes) -> bool:
    """Return whether an error is the one that `without_stream` makes."""
    data = read_fault(error).data
    return (
        data is not msgspec.UNSET and json_object.string(json_object.peek(data).get("reason")) == _NO_STREAM
    )


def fault_text(code: int, text: str, data: object = None) -> bytes:
    """Return an error object, encoded."""
    found: dict[str, object] = {"code": code, "message": text}
    if data is not None:
        found["data"] = data
    return _encode(found)
