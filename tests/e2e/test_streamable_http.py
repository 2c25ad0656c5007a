"""Streamable HTTP on the wire: JSON or stream, sessions and their end, resumption."""

import json
import socket
import struct
import sys
from collections.abc import Callable

import pytest
import trio

from ..support.bridge_process import Bridge
from ..support.correlation import constant
from ..support.raw_http import BOTH, INITIALIZE, Connection, Event, Session, connect, message, tool_call

pytestmark = pytest.mark.anyio

JSON, EVENTS = "application/json", "text/event-stream"


async def read_stream(connection: Connection) -> list[Event]:
    status, headers = await connection.head()
    assert (status, headers["content-type"].split(";")[0]) == (200, EVENTS)
    return await connection.events()


async def test_a_response_that_no_message_precedes_is_json(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        answer = await session.post(connection, tool_call("echo", 1, text="hello"))
        assert (answer.status, answer.headers["content-type"]) == (200, JSON)
        assert answer.json["result"]["content"][0]["text"] == "hello"


async def test_a_response_that_a_message_precedes_is_a_stream(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        await session.send(connection, tool_call("slow", 1, token="t", seconds=0.05, steps=2))
        events = [event.json for event in await read_stream(connection) if event.data]
        assert [event.get("method") for event in events] == ["notifications/progress"] * 3 + [None]
        assert {event["params"]["progressToken"] for event in events[:-1]} == {"t"}
        assert events[-1]["id"] == 1


async def test_a_client_that_prefers_a_stream_gets_one(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        await session.send(connection, tool_call("echo", 1, text="hello"), Accept=f"{EVENTS}, {JSON}")
        *priming, last = await read_stream(connection)
        assert last.json["result"]["content"][0]["text"] == "hello"
        assert [event.data for event in priming] == [""]
        assert priming[0].id


async def test_messages_of_no_call_arrive_on_the_get_stream(bridge: Bridge) -> None:
    async with connect(bridge) as connection, connect(bridge) as listener:
        session = await Session.begin(bridge, connection)
        await listener.send("GET", "/mcp", {**session.headers, "Accept": EVENTS})
        assert (await listener.head())[0] == 200
        assert await session.call(connection, "toggle") == "on"
        with trio.fail_after(5):
            notification = await listener.message()
        assert notification == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


async def test_a_session_that_was_ended_is_not_found(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        assert await session.end(connection) in (200, 204)
        gone = await session.post(connection, tool_call("echo", 1, text="hello"))
        unknown = Session(bridge, "x" * len(session.id))
        never = await unknown.post(connection, tool_call("echo", 1, text="hello"))
        assert (gone.status, never.status) == (404, 404)
        assert constant(gone.json["error"]) == constant(never.json["error"])
        assert await session.end(connection) == 404


async def test_a_request_without_a_session_is_refused(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        headers = {"Accept": BOTH, "Content-Type": JSON}
        answer = await connection.request("POST", "/mcp", headers, tool_call("echo", 1, text="hello"))
        assert answer.status == 400


@pytest.mark.parametrize("credential", ["", "Bearer ", "Bearer wrong", "Basic b3duZXI6", "bearer"])
@pytest.mark.parametrize("path", ["/mcp", "/sse", "/ws", "/messages"])
async def test_without_the_token_every_path_is_refused(bridge: Bridge, path: str, credential: str) -> None:
    before = bridge.children()
    async with connect(bridge) as connection:
        headers = {"Authorization": credential, "Accept": BOTH, "Content-Type": JSON}
        answer = await connection.request("POST", path, headers, message("initialize", INITIALIZE, id=0))
        assert answer.status == 401
    # A process of the test before may be ending.
    assert set(bridge.children()) <= set(before)


async def test_health_needs_no_token_and_reveals_nothing(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        answer = await connection.request("GET", "/healthz", {"Authorization": ""})
        assert (answer.status, answer.body) == (200, b"ok")


async def test_ids_are_returned_as_they_were_written(bridge: Bridge) -> None:
    ids = ["7", '"7"', "9007199254740993", '"\\u00e9"', '""']
    answers = {}

    async def ask(session: Session, id_text: str) -> None:
        body = tool_call("slow", 0, seconds=0.2, steps=1).replace(b'"id": 0', b'"id": ' + id_text.encode())
        async with connect(bridge) as connection:
            answers[id_text] = (await session.post(connection, body)).body

    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        async with trio.open_nursery() as nursery:
            for id_text in ids:
                nursery.start_soon(ask, session, id_text)
    for id_text in ids:
        assert b'"id":' + id_text.encode() + b"," in answers[id_text]


@pytest.mark.parametrize("accept", [BOTH, f"{EVENTS}, {JSON}"])
async def test_a_session_whose_id_was_not_delivered_ends(
    start_bridge: Callable[..., Bridge], accept: str
) -> None:
    code = (
        "import json, sys, time; request = json.loads(sys.stdin.readline()); time.sleep(0.5);"
        "result = {'protocolVersion': '2025-11-25', 'capabilities': {}};"
        "print(json.dumps({'jsonrpc': '2.0', 'id': request['id'], 'result': result}), flush=True); sys.stdin.read()"
    )
    bridge = start_bridge((sys.executable, "-c", code), "--era", "legacy")
    async with connect(bridge) as connection:
        headers = {"Accept": accept, "Content-Type": JSON}
        await connection.send("POST", "/mcp", headers, message("initialize", INITIALIZE, id=0))
        while not bridge.children("request = json"):
            await trio.sleep(0.01)
        reset = struct.pack("ii", 1, 0)
        connection._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    with trio.fail_after(10):
        while bridge.children("request = json"):
            await trio.sleep(0.05)


async def test_an_interrupted_stream_resumes_where_the_client_lost_it(bridge: Bridge) -> None:
    steps = 20
    async with connect(bridge) as first, connect(bridge) as second:
        session = await Session.begin(bridge, second)
        await session.send(first, tool_call("slow", 1, token="t", seconds=0.6, steps=steps))
        await first.head()
        seen = [await first.event() for _ in range(5)]
    # The priming event.
    assert (seen[0].data, bool(seen[0].id)) == ("", True)
    assert all(event.id for event in seen)

    async with connect(bridge) as again:
        await again.send("GET", "/mcp", {**session.headers, "Accept": EVENTS, "Last-Event-ID": seen[-1].id})
        with trio.fail_after(10):
            seen += await read_stream(again)
    messages = [event.json for event in seen if event.data]
    assert [event["params"]["progress"] for event in messages[:-1]] == list(range(steps + 1))
    assert messages[-1]["result"]["content"][0]["text"] == "done in 0.6 s"
    assert len({event.id for event in seen}) == len(seen)


async def test_a_client_that_missed_more_than_the_stream_limit_gets_all_of_it(bridge: Bridge) -> None:
    # Three times `stream_messages`.
    steps = 3000
    async with connect(bridge) as first, connect(bridge) as second:
        session = await Session.begin(bridge, second)
        call = tool_call("slow", 1, token="t", seconds=0.3, steps=steps)
        await session.send(first, call, Accept=f"{EVENTS}, {JSON}")
        await first.head()
        priming = await first.event()
        assert priming is not None
        await first._stream.aclose()
        # A later and longer call has ended. The first has therefore ended, too.
        assert await session.call(second, "slow", 2, seconds=3, steps=1) == "done in 3 s"

    async with connect(bridge) as again:
        await again.send("GET", "/mcp", {**session.headers, "Accept": EVENTS, "Last-Event-ID": priming.id})
        with trio.fail_after(10):
            messages = [event.json for event in await read_stream(again) if event.data]
    assert [event["params"]["progress"] for event in messages[:-1]] == list(range(steps + 1))
    assert messages[-1]["result"]["content"][0]["text"] == "done in 0.3 s"


async def test_a_call_lost_before_its_first_event_resumes_from_the_priming_event(bridge: Bridge) -> None:
    async with connect(bridge) as first, connect(bridge) as second:
        session = await Session.begin(bridge, second)
        await session.send(first, tool_call("slow", 1, seconds=0.3, steps=1), Accept=f"{EVENTS}, {JSON}")
        await first.head()
        priming = await first.event()
        assert priming.data == ""
    async with connect(bridge) as again:
        await again.send("GET", "/mcp", {**session.headers, "Accept": EVENTS, "Last-Event-ID": priming.id})
        with trio.fail_after(10):
            answers = [event.json for event in await read_stream(again) if event.data]
    assert [answer["id"] for answer in answers] == [1]


async def test_a_stream_of_another_principal_cannot_be_resumed(bridge: Bridge) -> None:
    async with connect(bridge) as first, connect(bridge) as second:
        mine, theirs = await Session.begin(bridge, first), await Session.begin(bridge, second)
        await theirs.send(second, tool_call("slow", 1, token="t", seconds=0.05, steps=1))
        [priming, *_rest] = await read_stream(second)
        await first.send("GET", "/mcp", {**mine.headers, "Accept": EVENTS, "Last-Event-ID": priming.id})
        status, _headers = await first.head()
        if status == 200:
            with trio.move_on_after(0.3):
                await first.message()
                raise AssertionError("a message of another call")
        else:
            assert 400 <= status < 500


async def test_a_message_that_is_not_json_is_a_parse_error(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        answer = await session.post(connection, b'{"jsonrpc": "2.0", "id": 1, "method":')
        assert (answer.status, answer.json["error"]["code"]) == (400, -32700)
        assert await session.call(connection, "echo", text="still here") == "still here"


async def test_an_unknown_method_gets_the_error_of_the_server(bridge: Bridge) -> None:
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        answer = await session.post(connection, message("no/such", id=1))
        assert (answer.status, answer.json["error"]["code"], answer.json["id"]) == (200, -32601, 1)


async def test_the_server_receives_compact_and_complete_messages(bridge: Bridge) -> None:
    text = "a\nb\u2028c"
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        pretty = json.dumps(json.loads(tool_call("echo", 1, text=text)), indent=4, ensure_ascii=False)
        answer = await session.post(connection, pretty.encode())
        assert answer.json["result"]["content"][0]["text"] == text
