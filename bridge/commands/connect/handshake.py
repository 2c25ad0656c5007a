"""Open the WebSocket of `connect`, and translate each way in which that fails into one of our errors."""

import contextlib
import http.client
from typing import Final, NoReturn

import trio

from ..control_client import ErrorResponse, Unreachable, reason_in
from . import websocket
from .target import Stream, Target

# A stream with an open WebSocket, and the bytes that were received after the handshake.
OpenStream = tuple[Stream, bytes]

READ_SIZE: Final = 64 * 1024
# How much of the body of an error response is read (bytes), and for how long (seconds).
_BODY: Final = 64 * 1024
_BODY_SECONDS: Final = 2.0
# More digits are not a Content-Length that is read to its end.
_LONGEST_LENGTH: Final = 8


class PeerBusy(Unreachable):
    """The peer responds, and is overloaded or limits requests."""


async def handshake(target: Target, patience: float) -> OpenStream:
    """Connect within `patience` (seconds), and return the stream.

    Raises Unreachable, ErrorResponse and BadAddress.
    """
    stream = await target.open()
    try:
        with trio.fail_after(patience):
            return stream, await _open(stream, target)
    except websocket.NotWebSocket as fault:
        reason: Unreachable | ErrorResponse = ErrorResponse(f"{target.name} {fault}")
    except websocket.BadPeer as fault:
        reason = Unreachable(f"{target.name} {fault}")
    except trio.TooSlowError:
        reason = Unreachable(f"{target.name} did not respond to the handshake within {patience:g} s")
    except trio.BrokenResourceError:
        reason = Unreachable(f"{target.name} closed the connection before it responded")
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    await trio.aclose_forcefully(stream)
    raise reason


async def _open(stream: Stream, target: Target) -> bytes:
    """Send the opening handshake, and return the bytes after the response. Raises BadPeer, Unreachable and ErrorResponse."""
    key = websocket.new_key()
    # A daemon that rejects the connection has responded and closed it already.
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(websocket.opening(target.host, target.path, key, target.token))
    data = b""
    while (found := websocket.read_response(data)) is None:
        more = await stream.receive_some(READ_SIZE)
        if not more:
            raise trio.BrokenResourceError
        data += more
    response, rest = found
    if response.status != http.client.SWITCHING_PROTOCOLS:
        await _fail(stream, target, response, rest)
    websocket.check_opened(response, key)
    return rest


async def _fail(stream: Stream, target: Target, response: websocket.ResponseHead, body: bytes) -> NoReturn:
    size = response.headers.get("content-length", "")
    is_number = size.isascii() and size.isdecimal() and len(size) <= _LONGEST_LENGTH
    wanted = min(int(size), _BODY) if is_number else _BODY
    with trio.move_on_after(_BODY_SECONDS), contextlib.suppress(trio.BrokenResourceError):
        while len(body) < wanted and (more := await stream.receive_some(READ_SIZE)):
            body += more
    status = response.status
    if status == http.client.NOT_FOUND:
        text = (
            f"there is no server {target.name!r}" if target.unix else f"there is no server at {target.name}"
        )
    elif status == http.client.UNAUTHORIZED and not target.unix:
        text = f"{target.name}: 401 Unauthorized: missing or wrong token; pass --token-file FILE"
    else:
        text = reason_in(body[:wanted])
    text = text or f"{target.name} returned HTTP {status}; it is not a WebSocket endpoint of mcp-bridge"
    busy = status >= http.client.INTERNAL_SERVER_ERROR or status == http.client.TOO_MANY_REQUESTS
    raise (PeerBusy if busy else ErrorResponse)(text)
