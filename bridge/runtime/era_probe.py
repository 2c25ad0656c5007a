"""Find out which eras a server speaks, with a process that serves no client.

Some servers exit when the first message is not `initialize`, and some stay in the era of the first message. A process of its
own is therefore started for each request, and stopped after the response.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from ...transports.ports import ServerConnection
from ...transports.server_io import ChildBusy, ChildGone, Exit, OnLine, Overlong
from ...validators import json_object, jsonrpc, stateless_request
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.mirrored_headers import HEADER_MISMATCH
from ...validators.rejection import Rejection
from ...validators.revisions import LATEST_LEGACY, MODERN_REVISION
from ..core import errors
from .connector import Connect

# The time for a response, from when the server has read the request (seconds).
PATIENCE: Final = 10.0
# After this time `initialize` is sent as well (seconds). A server that answers only that within the same time is a legacy one.
SILENCE: Final = 1.0
# The time between two looks whether the server has read the request (seconds).
_LOOK: Final = 0.1
_ID: Final = b'"probe"'
_SECOND_ID: Final = b'"probe-initialize"'
_PARAMS: Final = json_object.write(
    {
        "protocolVersion": LATEST_LEGACY,
        "capabilities": {},
        "clientInfo": stateless_request.OWN_META[stateless_request.CLIENT_INFO],
    }
)


def discover(raw_id: bytes) -> bytes:
    """Return a request `server/discover` of the bridge itself."""
    return jsonrpc.request(
        raw_id, "server/discover", json_object.write({"_meta": stateless_request.OWN_META})
    )


_DISCOVER: Final = discover(_ID)
_INITIALIZE: Final = jsonrpc.request(_ID, "initialize", _PARAMS)
_INITIALIZE_AS_WELL: Final = jsonrpc.request(_SECOND_ID, "initialize", _PARAMS)


async def speaks_modern(connect: Connect, limits: Limits) -> bool:
    """Return whether a new process speaks the modern era. Silence, an exit and any error but -32022 mean no. Raises SpawnFailed."""
    return await probe_era(connect, limits) is True


async def probe_era(
    connect: Connect,
    limits: Limits,
    started: Callable[[], None] = lambda: None,
    *,
    remote: bool = False,
) -> bool | None:
    """Return whether a new process speaks the modern era, None if it has sent no response. Raises SpawnFailed.

    `started` is called when the process runs. The time for a response begins when the process has read the request, because
    npx and uvx fetch a package first, and what they have half installed when they are killed stays broken. Text that is no
    response, such as a banner, changes nothing.
    """
    child = await connect()
    started()
    answer = await _send_request(child, _DISCOVER, limits, otherwise=_INITIALIZE_AS_WELL)
    if answer is None or (answer.id != _ID and answer.error):
        return None
    return answer.id == _ID and is_modern(answer, remote=remote)


async def confirms(
    child: ServerConnection, attach: Callable[[OnLine], None], limits: Limits, *, remote: bool = False
) -> bool | None:
    """Return whether a running process speaks the modern era. `attach` sets the receiver of its lines.

    A process that exits or stays silent does not, as servers of the legacy era do before `initialize`. A remote server that
    has sent no response may be out of reach, which shows nothing: the result is then None.
    """
    found: Response | None = None
    with trio.CancelScope(deadline=trio.current_time() + limits.start_seconds) as patience:

        def on_line(line: bytes | Overlong) -> None:
            nonlocal found
            found = found or _answer_in(line, limits)
            if found is not None:
                patience.cancel()

        attach(on_line)
        if not _sent(child, _DISCOVER):
            return None if remote else False
        while child.has_unread_input and not child.ended:  # noqa: ASYNC110 - a pipe has no event for it
            await trio.sleep(_LOOK)
        patience.deadline = min(patience.deadline, trio.current_time() + PATIENCE)
        while not child.ended:  # noqa: ASYNC110 - its exit is reported to others
            await trio.sleep(_LOOK)
    if found is None:
        return None if remote else False
    return is_modern(found, remote=remote)


async def takes_initialize(connect: Connect, limits: Limits) -> bool:
    """Return whether a new process accepts an ordinary `initialize`. Raises SpawnFailed."""
    child = await connect()
    answer = await _send_request(child, _INITIALIZE, limits)
    return answer is not None and not answer.error


async def _send_request(
    child: ServerConnection, request: bytes, limits: Limits, otherwise: bytes = b""
) -> Response | None:
    found: Response | None = None
    with trio.CancelScope(deadline=trio.current_time() + limits.start_seconds) as patience:

        def on_line(line: bytes | Overlong) -> None:
            nonlocal found
            answer = _answer_in(line, limits)
            if answer is None or (answer.id == _SECOND_ID and answer.error):
                # An error of `initialize` leaves the first request open.
                return
            found = answer
            if answer.id == _ID:
                patience.cancel()
            else:
                # A slow server may answer in any order.
                patience.deadline = min(patience.deadline, trio.current_time() + SILENCE)

        def stderr(_line: bytes) -> None:
            """Drop a line, which the process that serves writes as well."""

        def exited(_exit: Exit) -> None:
            patience.cancel()

        if not _sent(child, request):
            child.kill()
        child.set_line_handler(on_line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_from_reading, child, patience, otherwise)
            await child.run(stderr, exited)
            nursery.cancel_scope.cancel()
    return found


def _sent(child: ServerConnection, line: bytes) -> bool:
    try:
        child.send(line)
    except (ChildGone, ChildBusy):
        return False
    return True


async def _wait_from_reading(child: ServerConnection, patience: trio.CancelScope, otherwise: bytes) -> None:
    while child.has_unread_input:  # noqa: ASYNC110 - a pipe has no event for it
        await trio.sleep(_LOOK)
    patience.deadline = min(patience.deadline, trio.current_time() + PATIENCE)
    if otherwise:
        await trio.sleep(SILENCE)
        _sent(child, otherwise)


def _answer_in(line: bytes | Overlong, limits: Limits) -> Response | None:
    if isinstance(line, Overlong):
        return None
    try:
        message = jsonrpc.decode(line, limits, deep=True)
    except Rejection:
        return None
    return message if isinstance(message, Response) and message.id in (_ID, _SECOND_ID) else None


def is_modern(answer: Response, *, remote: bool = False) -> bool:
    """Return whether only a modern server sends this response to `server/discover`.

    The codes that are for the headers and for missing capabilities count over HTTP only (MCP 2026-07-28
    basic/transports/streamable-http, "Backward Compatibility"): a server of the legacy era may have them for other errors.
    """
    if answer.error:
        fault = errors.read_fault(answer.error)
        if remote and fault.code in (HEADER_MISMATCH, stateless_request.MISSING_CAPABILITY):
            return True
        if fault.code != stateless_request.UNSUPPORTED_VERSION:
            return False
        supported = json_object.peek(None if fault.data is msgspec.UNSET else fault.data).get("supported")
    else:
        supported = json_object.peek(answer.result).get("supportedVersions")
    return MODERN_REVISION in map(json_object.string, json_object.items(supported))
