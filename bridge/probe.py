"""Which eras a server speaks, asked of a process that serves nobody (digest 2.4).

Some servers exit when the first thing they hear is not `initialize`, and some stay in the era of what they heard first. So
a sibling is started, asked one thing, and ended.
"""

from typing import Final

import msgspec
import trio

from ..transports.child import Child, ChildBusy, ChildGone, Exit
from ..transports.lines import Overlong
from ..transports.options import Launch
from ..transports.readiness import Readiness
from ..transports.spawner import Spawner
from ..validators import envelope, members, modern
from ..validators.envelope import Response
from ..validators.limits import Limits
from ..validators.rejection import Rejection
from ..validators.shapes import LEGACY_REVISIONS
from . import for_modern

# How long a server may take to answer, in seconds: from when it reads, and from its first line of any kind.
PATIENCE: Final = 10.0
AFTER_FIRST_LINE: Final = 5.0
# How often it is looked whether the server has read the question, in seconds.
_LOOK: Final = 0.1
_ID: Final = b'"probe"'
_DISCOVER: Final = envelope.request(_ID, "server/discover", members.write({"_meta": modern.OWN_META}))
_INITIALIZE: Final = envelope.request(
    _ID,
    "initialize",
    members.write(
        {
            "protocolVersion": LEGACY_REVISIONS[-1],
            "capabilities": {},
            "clientInfo": modern.OWN_META[modern.CLIENT_INFO],
        }
    ),
)


async def speaks_modern(launch: Launch, spawner: Spawner, readiness: Readiness, limits: Limits) -> bool:
    """Start a sibling, ask it, end it. Silence, an exit and any error but -32022 mean no. Raises SpawnFailed.

    What is not reading yet is not silent, it starts: npx and uvx fetch a package before there is a server, and what they have
    half installed when they are killed stays broken.
    """
    child = await spawner.spawn(launch, limits=limits, readiness=readiness)
    answer = await _ask(child, _DISCOVER, limits)
    return answer is not None and is_modern(answer)


async def takes_initialize(launch: Launch, spawner: Spawner, readiness: Readiness, limits: Limits) -> bool:
    """Whether a sibling opens the session of a client that asks for it as it should. Raises SpawnFailed."""
    child = await spawner.spawn(launch, limits=limits, readiness=readiness)
    answer = await _ask(child, _INITIALIZE, limits)
    return answer is not None and not answer.error


async def _ask(child: Child, question: bytes, limits: Limits) -> Response | None:
    found: Response | None = None
    with trio.CancelScope(deadline=trio.current_time() + limits.start_seconds) as patience:

        def heard(line: bytes | Overlong) -> None:
            nonlocal found
            patience.deadline = min(patience.deadline, trio.current_time() + AFTER_FIRST_LINE)
            found = found or _answer_in(line, limits)
            if found is not None:
                patience.cancel()

        def stderr(_line: bytes) -> None:
            """What a sibling says is said again by the child that serves."""

        def exited(_exit: Exit) -> None:
            patience.cancel()

        try:
            child.send(question)
        except (ChildGone, ChildBusy):
            child.kill()
        child.hear(heard)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_from_reading, child, patience)
            await child.run(stderr, exited)
            nursery.cancel_scope.cancel()
    return found


async def _wait_from_reading(child: Child, patience: trio.CancelScope) -> None:
    while child.unread:  # noqa: ASYNC110 - a pipe does not say when it was read
        await trio.sleep(_LOOK)
    patience.deadline = min(patience.deadline, trio.current_time() + PATIENCE)


def _answer_in(line: bytes | Overlong, limits: Limits) -> Response | None:
    if isinstance(line, Overlong):
        return None
    try:
        message = envelope.decode(line, limits, deep=True)
    except Rejection:
        return None
    return message if isinstance(message, Response) and message.id == _ID else None


def is_modern(answer: Response) -> bool:
    """Whether this answer to `server/discover` is one that only a modern server gives."""
    if answer.error:
        fault = for_modern.read_fault(answer.error)
        if fault.code != modern.UNSUPPORTED_VERSION:
            return False
        supported = members.peek(None if fault.data is msgspec.UNSET else fault.data).get("supported")
    else:
        supported = members.peek(answer.result).get("supportedVersions")
    return modern.MODERN_REVISION in map(members.string, members.items(supported))
