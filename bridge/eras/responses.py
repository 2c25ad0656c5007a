"""Responses of an adapter to the requests of its client side. Pure."""

import msgspec

from ...validators.jsonrpc import Response
from ..core.effects import ToRequester
from ..core.errors import fault_text


def respond(requester: bytes, result: bytes | msgspec.Raw) -> ToRequester:
    """Return the effect that answers the request with this raw id with a result."""
    return ToRequester(Response(requester, result, b""), requester)


def respond_error(requester: bytes, error: bytes) -> ToRequester:
    """Return the effect that answers the request with this raw id with an error object."""
    return ToRequester(Response(requester, b"", error), requester)


def fail(
    requester: bytes, code: int, text: str, data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
) -> tuple[ToRequester]:
    """Return the effects that answer the request with this raw id with an error of the bridge."""
    return (respond_error(requester, fault_text(code, text, None if data is msgspec.UNSET else data)),)
