"""Exits of server processes: they are reported at once, affect no other session, and no process is left (I4 and I9)."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from ..support.bridge_process import EXAMPLE, Bridge, wait_until_gone
from ..support.raw_http import BOTH, INITIALIZE, Connection, Session, connect, message, tool_call
from ..support.sdk import SDK_WARNINGS, TRANSPORTS
from ..support.sdk import connect as connect_sdk

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]

CHILDREN = Path(__file__).with_name("children")
FAMILY = (sys.executable, str(CHILDREN / "family.py"), EXAMPLE[1])
JSON = {"Accept": BOTH, "Content-Type": "application/json"}
STUBBORN = (sys.executable, str(CHILDREN / "stubborn.py"))
# An exit is reported within 0.2 s. More is time of other processes on a busy machine. Of several exits, the fastest must be
# within the limit, and none may take longer than this.
PROMPT, PROMPT_AT_WORST = 0.2, 2.0

Start = Callable[..., Bridge]


# ---- exits during a call


async def start_slow_call(session: Session, connection: Connection) -> None:
    """Send a call and wait until the server works on it."""
    await session.send(connection, tool_call("slow", 1, token="t", seconds=60, steps=1))
    await connection.head()
    assert "method" in await connection.message()


async def test_a_killed_server_is_reported_at_once_and_replaced(start_bridge: Start) -> None:
    bridge = start_bridge()
    took = []
    async with connect(bridge) as connection, connect(bridge) as other:
        session = await Session.begin(bridge, other)
        for _ in range(3):
            await start_slow_call(session, connection)
            [server] = bridge.children()
            os.kill(server, signal.SIGKILL)
            killed = time.monotonic()
            answer = await connection.message()
            took.append(time.monotonic() - killed)
            assert answer["id"] == 1
            assert answer["error"]["code"] == -32000
            assert "signal 9" in answer["error"]["message"] or "SIGKILL" in answer["error"]["message"]
            assert await connection.event() is None
    assert min(took) < PROMPT
    assert max(took) < PROMPT_AT_WORST


@pytest.mark.parametrize(("code", "words"), [(3, "3"), (0, "0"), (-11, "11")])
async def test_the_error_states_how_the_server_ended(start_bridge: Start, code: int, words: str) -> None:
    bridge = start_bridge()
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        answer = await session.post(connection, tool_call("crash", 1, code=code))
        assert answer.json["error"]["code"] == -32000
        assert words in answer.json["error"]["message"]


async def test_the_next_call_of_the_session_is_served_by_an_initialized_server(start_bridge: Start) -> None:
    bridge = start_bridge()
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        await session.post(connection, message("logging/setLevel", {"level": "error"}, id=1))
        await session.post(connection, message("resources/subscribe", {"uri": "example://greeting"}, id=2))
        [first] = bridge.children()
        await session.post(connection, tool_call("crash", 3, code=-signal.SIGKILL))
        assert await session.call(connection, "echo", text="back") == "back"
        # The second process got the messages that the client had sent to the first.
        assert await session.call(connection, "log", text="x", level="info") == "info is below error"
        assert await session.call(connection, "touch", uri="example://greeting") == "touched"
        assert bridge.children() != [first]


async def test_a_crash_does_not_affect_another_session(start_bridge: Start) -> None:
    bridge = start_bridge()
    async with connect(bridge) as first, connect(bridge) as second:
        mine = await Session.begin(bridge, first)
        [my_server] = bridge.children()
        theirs = await Session.begin(bridge, second)
        [their_server] = set(bridge.children()) - {my_server}
        await theirs.send(second, tool_call("slow", 1, seconds=1, steps=1))
        await mine.post(first, tool_call("crash", 1, code=1))
        assert (await second.answer()).json["result"]["content"][0]["text"] == "done in 1 s"
        assert their_server in bridge.children()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_every_transport_is_served_after_a_crash(bridge: Bridge, transport: str) -> None:
    async with connect_sdk(bridge, transport) as client:
        with pytest.raises(Exception, match="3"):
            await client.call_tool("crash", {"code": 3})
        result = await client.call_tool("echo", {"text": "back"})
        assert result.content[0].text == "back"


# ---- no process is left


def family_of(bridge: Bridge) -> list[int]:
    """Return the server and its descendants, also a daemonised descendant."""
    return bridge.children("server.py") + bridge.children("100000")


async def begin(bridge: Bridge) -> tuple[Connection, Session]:
    stream = await trio.open_tcp_stream(*bridge.address)
    connection = Connection(bridge, stream)
    return connection, await Session.begin(bridge, connection)


async def test_no_process_is_left_when_a_session_is_deleted(start_bridge: Start) -> None:
    bridge = start_bridge(FAMILY)
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        assert await session.call(connection, "echo", text="here") == "here"
        assert len(family_of(bridge)) == 3
        await session.end(connection)
        assert wait_until_gone(lambda: family_of(bridge), 8) == []


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_no_process_is_left_when_the_client_disconnects(start_bridge: Start, transport: str) -> None:
    bridge = start_bridge(FAMILY)
    async with connect_sdk(bridge, transport) as client:
        await client.call_tool("echo", {"text": "here"})
        assert len(family_of(bridge)) == 3
    assert wait_until_gone(lambda: family_of(bridge), 8) == []


async def test_no_process_is_left_of_a_client_that_did_not_wait_for_its_session(start_bridge: Start) -> None:
    bridge = start_bridge((sys.executable, "-c", "for line in open(0): pass", "mute"))
    async with connect(bridge) as connection:
        await connection.send("POST", "/mcp", JSON, message("initialize", INITIALIZE, id=0))
        with trio.fail_after(20):
            while not bridge.children("mute"):
                await trio.sleep(0.01)
    assert wait_until_gone(lambda: bridge.children("mute"), 8) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_nothing_is_left_when_the_bridge_ends(start_bridge: Start, number: signal.Signals) -> None:
    bridge = start_bridge(FAMILY, "--limit", "drain_seconds=1")
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        await session.send(connection, tool_call("slow", 1, seconds=60))
        assert len(family_of(bridge)) == 3
        code = bridge.stop(number)
        assert code in ({-9} if number == signal.SIGKILL else {0, 130})
    assert bridge.wait_until_alone(5) == []


async def test_a_server_that_ignores_sigterm_is_killed(start_bridge: Start) -> None:
    bridge = start_bridge(STUBBORN)
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        assert len(bridge.children("stubborn.py")) == 1
        await session.end(connection)
        assert wait_until_gone(lambda: bridge.children("stubborn.py"), 10) == []


async def test_descendants_end_with_the_server_that_crashed(start_bridge: Start) -> None:
    bridge = start_bridge(FAMILY)
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        before = family_of(bridge)
        assert len(before) == 3
        await session.post(connection, tool_call("crash", 1, code=1))
        assert wait_until_gone(lambda: sorted(set(before) & set(family_of(bridge))), 8) == []


async def test_each_session_has_one_server_process(start_bridge: Start) -> None:
    bridge = start_bridge()
    assert bridge.children() == []
    async with connect(bridge) as connection:
        sessions = [await Session.begin(bridge, connection) for _ in range(3)]
        assert len(bridge.children()) == 3
        for session in sessions:
            await session.end(connection)
        assert wait_until_gone(bridge.children, 8) == []
