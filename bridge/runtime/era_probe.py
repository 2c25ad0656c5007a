"""Which eras a server speaks, asked of a process that serves nobody (digest 2.4).

Some servers exit when the first thing they hear is not `initialize`, and some stay in the era of what they heard first. So
a sibling is started, asked one thing, and ended.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from ...transports.options import Launch
from ...transports.poller import Poller
from ...transports.process.child import Child, ChildBusy, ChildGone, Exit, OnLine
from ...transports.process.lines import Overlong
from ...transports.process.spawner import Spawner
from ...validators import json_object, jsonrpc, stateless_request
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ...validators.revisions import LATEST_LEGACY, MODERN_REVISION
from ..core import errors

# How long a server may take to answer, in seconds, from when it reads.
PATIENCE: Final = 10.0
# After so much of that it is sent `initialize` as well, in seconds: what answers that, and not the question as long after it, is
# a legacy server.
SILENCE: Final = 1.0
# How often it is looked whether the server has read the question, in seconds.
_LOOK: Final = 0.1
_ID: Final = b'"probe"'
_DISCOVER: Final = jsonrpc.request(
    _ID, "server/discover", json_object.write({"_meta": stateless_request.OWN_META})
)
_SECOND_ID: Final = b'"probe-initialize"'
_PARAMS: Final = json_object.write(
    {
        "protocolVersion": LATEST_LEGACY,
        "capabilities": {},
        "clientInfo": stateless_request.OWN_META[stateless_request.CLIENT_INFO],
    }
)
_INITIALIZE: Final = jsonrpc.request(_ID, "initialize", _PARAMS)
_INITIALIZE_AS_WELL: Final = jsonrpc.request(_SECOND_ID, "initialize", _PARAMS)


async def speaks_modern(launch: Launch, spawner: Spawner, poller: Poller, limits: Limits) -> bool:
    """Start a sibling, ask it, end it. Silence, an exit and any error but -32022 mean no. Raises SpawnFailed."""
    return await asked_for_era(launch, spawner, poller, limits) is True


async def asked_for_era(
    launch: Launch,
    spawner: Spawner,
    poller: Poller,
    limits: Limits,
    started: Callable[[], None] = lambda: None,
) -> bool | None:
    """Start a sibling, ask it whether it speaks the modern era, end it. None if it gave no answer. Raises SpawnFailed.

    `started` is called when it runs.

    What is not reading yet is not silent, it starts: npx and uvx fetch a package before there is a server, and what they have
    half installed when they are killed stays broken. Text that is no answer, such as a banner, changes nothing.
    """
    child = await spawner.spawn(launch, limits=limits, poller=poller)
    started()
    answer = await _ask(child, _DISCOVER, limits, otherwise=_INITIALIZE_AS_WELL)
    if answer is None or (answer.id != _ID and answer.error):
        return None
    return answer.id == _ID and is_modern(answer)


async def confirms(child: Child, attach: Callable[[OnLine], None], limits: Limits) -> bool:
    """Return whether a child that runs already speaks the modern era. `attach` sets who gets its lines."""
    found: Response | None = None
    with trio.CancelScope(deadline=trio.current_time() + limits.start_seconds) as patience:

        def on_line(line: bytes | Overlong) -> None:
            nonlocal found
            found = found or _answer_in(line, limits)
            if found is not None:
                patience.cancel()

        attach(on_line)
        if not _sent(child, _DISCOVER):
            return False
        while child.has_unread_input and not child.ended:  # noqa: ASYNC110 - a pipe does not say when it was read
            await trio.sleep(_LOOK)
        patience.deadline = min(patience.deadline, trio.current_time() + PATIENCE)
        while not child.ended:  # noqa: ASYNC110 - its end is told to others
            await trio.sleep(_LOOK)
    return found is not None and is_modern(found)


async def takes_initialize(launch: Launch, spawner: Spawner, poller: Poller, limits: Limits) -> bool:
    """Whether a sibling opens the session of a client that asks for it as it should. Raises SpawnFailed."""
    child = await spawner.spawn(launch, limits=limits, poller=poller)
    answer = await _ask(child, _INITIALIZE, limits)
    return answer is not None and not answer.error


async def _ask(child: Child, question: bytes, limits: Limits, otherwise: bytes = b"") -> Response | None:
    found: Response | None = None
    with trio.CancelScope(deadline=trio.current_time() + limits.start_seconds) as patience:

        def on_line(line: bytes | Overlong) -> None:
            nonlocal found
            answer = _answer_in(line, limits)
            if answer is None or (answer.id == _SECOND_ID and answer.error):
                return  # a refusal of `initialize` leaves the question open
            found = answer
            if answer.id == _ID:
                patience.cancel()
            else:  # a slow server may answer what it was sent in any order
                patience.deadline = min(patience.deadline, trio.current_time() + SILENCE)

        def stderr(_line: bytes) -> None:
            """What a sibling says is said again by the child that serves."""

        def exited(_exit: Exit) -> None:
            patience.cancel()

        if not _sent(child, question):
            child.kill()
        child.set_line_handler(on_line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_from_reading, child, patience, otherwise)
            await child.run(stderr, exited)
            nursery.cancel_scope.cancel()
    return found


def _sent(child: Child, line: bytes) -> bool:
    try:
        child.send(line)
    except (ChildGone, ChildBusy):
        return False
    return True


async def _wait_from_reading(child: Child, patience: trio.CancelScope, otherwise: bytes) -> None:
    while child.has_unread_input:  # noqa: ASYNC110 - a pipe does not say when it was read
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


def is_modern(answer: Response) -> bool:
    """Whether this answer to `server/discover` is one that only a modern server gives."""
    if answer.error:
        fault = errors.read_fault(answer.error)
        if fault.code != stateless_request.UNSUPPORTED_VERSION:
            return False
        supported = json_object.peek(None if fault.data is msgspec.UNSET else fault.data).get("supported")
    else:
        supported = json_object.peek(answer.result).get("supportedVersions")
    return MODERN_REVISION in map(json_object.string, json_object.items(supported))
