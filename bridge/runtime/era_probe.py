"""Find out which eras a server speaks, with a process that serves no client.

Some servers exit when the first message is not `initialize`, and some stay in the era of the first message. A process of its
own is therefore started for each request, and stopped after the response.

Only a response shows the era. Silence is a reason to go on as with a legacy server, and no reason to stop waiting for the
response: a busy machine, or a slow start, makes every server silent.
"""

import enum
from collections.abc import Callable
from typing import Final

import attrs
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
# After this time `initialize` is sent as well (seconds). A server that answers only that within the same time, or within
# `_SLOWNESS` times the time that it took for that, is probably a legacy one.
SILENCE: Final = 1.0
_SLOWNESS: Final = 2.0
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


class Finding(enum.Enum):
    """What a process has shown of the era of its server."""

    # It has answered `server/discover`, as only modern or only legacy servers do.
    MODERN = enum.auto()
    LEGACY = enum.auto()
    # It has accepted `initialize` only, or has exited after it had read `server/discover`, as some legacy servers do.
    LIKELY_LEGACY = enum.auto()
    NOTHING = enum.auto()


@attrs.define(eq=False)
class Progress:
    """The events of a probe, for who waits for it. `on_started` is called when the process runs.

    A probe that is `alone` ends after a silence of `PATIENCE`. Any other ends with the time for a start, and reports before
    that the server is `silent`, so that clients need not wait.
    """

    alone: bool = True
    on_started: Callable[[], None] = lambda: None
    # Set when the process has read the request, when it has accepted `initialize` as well, and when it is probably legacy.
    read: trio.Event = attrs.field(factory=trio.Event)
    opened: trio.Event = attrs.field(factory=trio.Event)
    silent: trio.Event = attrs.field(factory=trio.Event)


async def speaks_modern(connect: Connect, limits: Limits) -> bool:
    """Return whether a new process shows that it speaks the modern era. Raises SpawnFailed."""
    return await probe_era(connect, limits) is Finding.MODERN


async def probe_era(
    connect: Connect, limits: Limits, progress: Progress | None = None, *, remote: bool = False
) -> Finding:
    """Return what a new process shows of its era. Raises SpawnFailed.

    The time for a response begins when the process has read the request, because npx and uvx fetch a package first, and what
    they have half installed when they are killed stays broken. Text that is no response, such as a banner, changes nothing.
    """
    progress = progress or Progress()
    child = await connect()
    progress.on_started()
    finding = Finding.NOTHING
    with trio.CancelScope(deadline=trio.current_time() + limits.start_seconds) as patience:

        def on_line(line: bytes | Overlong) -> None:
            nonlocal finding
            answer = _answer_in(line, limits)
            if answer is None:
                return
            if is_modern(answer, remote=remote and answer.id == _ID):
                finding = Finding.MODERN
            elif answer.id == _ID:
                finding = Finding.LEGACY
            else:
                # A slow server may answer in any order, and an error of `initialize` leaves the first request open.
                if not answer.error:
                    progress.opened.set()
                return
            patience.cancel()

        def exited(exit_: Exit) -> None:
            nonlocal finding
            if finding is Finding.NOTHING and exit_.code is not None and sent and not child.has_unread_input:
                finding = Finding.LIKELY_LEGACY
            patience.cancel()

        sent = _sent(child, _DISCOVER)
        if not sent:
            child.kill()
        child.set_line_handler(on_line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_from_reading, child, progress, patience)
            await child.run(_drop, exited)
            nursery.cancel_scope.cancel()
    if finding is Finding.NOTHING and progress.opened.is_set():
        return Finding.LIKELY_LEGACY
    return finding


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
    found: Response | None = None
    with trio.CancelScope(deadline=trio.current_time() + limits.start_seconds) as patience:

        def on_line(line: bytes | Overlong) -> None:
            nonlocal found
            found = _answer_in(line, limits)
            if found is not None:
                patience.cancel()

        def exited(_exit: Exit) -> None:
            patience.cancel()

        if not _sent(child, _INITIALIZE):
            child.kill()
        child.set_line_handler(on_line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_limit_from_reading, child, patience)
            await child.run(_drop, exited)
            nursery.cancel_scope.cancel()
    return found is not None and not found.error


def _drop(_line: bytes) -> None:
    """Drop a line of stderr, which the process that serves writes as well."""


def _sent(child: ServerConnection, line: bytes) -> bool:
    try:
        child.send(line)
    except (ChildGone, ChildBusy):
        return False
    return True


async def _until_read(child: ServerConnection) -> None:
    while child.has_unread_input:  # noqa: ASYNC110 - a pipe has no event for it
        await trio.sleep(_LOOK)


async def _limit_from_reading(child: ServerConnection, patience: trio.CancelScope) -> None:
    await _until_read(child)
    patience.deadline = min(patience.deadline, trio.current_time() + PATIENCE)


async def _wait_from_reading(child: ServerConnection, progress: Progress, patience: trio.CancelScope) -> None:
    await _until_read(child)
    progress.read.set()
    with trio.move_on_after(PATIENCE):
        await trio.sleep(SILENCE)
        _sent(child, _INITIALIZE_AS_WELL)
        began = trio.current_time()
        await progress.opened.wait()
        await trio.sleep(max(SILENCE, _SLOWNESS * (trio.current_time() - began)))
        if progress.alone:
            await trio.sleep_forever()
    progress.silent.set()
    if progress.alone:
        patience.cancel()


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
