"""The client of remote servers with servers of the official SDKs in both eras."""

import json

import pytest
import trio

from ..support.remote_peer import connected
from ..support.remote_process import remote_process

pytestmark = pytest.mark.anyio


def text_of(answer):
    return answer["result"]["content"][0]["text"]


@pytest.mark.parametrize("options", [(), ("json=1",), ("store=1",)])
async def test_a_session_with_a_server_of_the_python_sdk(options):
    async with remote_process(*options) as url, connected(url, seconds=60) as client:
        assert (await client.initialize())["result"]["protocolVersion"] == "2025-11-25"
        names = {tool["name"] for tool in (await client.ask(1, "tools/list"))["result"]["tools"]}
        assert {"echo", "ask"} <= names
        for number in range(10, 30):
            client.call(number, name="echo", arguments={"text": str(number)})
        for number in range(10, 30):
            assert text_of(await client.answer(number)) == str(number)
        big = "é" * 500_000
        assert text_of(await client.ask(31, name="echo", arguments={"text": big})) == big
        assert "error" in await client.ask(32, "resources/read", uri="test://none")


async def test_an_elicitation_and_progress_of_a_call():
    async with remote_process() as url, connected(url, seconds=60) as client:
        await client.initialize(elicitation={})
        client.call(1, name="ask", arguments={})
        while not (
            asked := [one for one in client.received.messages if one.get("method") == "elicitation/create"]
        ):
            await trio.sleep(0.01)
        assert client.received.related[client.received.messages.index(asked[0])] == b"1"
        client.send(id=asked[0]["id"], result={"action": "accept", "content": {"name": "Ada"}})
        assert text_of(await client.answer(1)) == "accept: Ada"
        client.call(2, name="wait", arguments={"seconds": 0.3}, _meta={"progressToken": "t"})
        assert text_of(await client.answer(2)) == "waited"
        progress = [
            related
            for related, one in zip(client.received.related, client.received.messages, strict=True)
            if one.get("method") == "notifications/progress"
        ]
        assert progress == [b"2"] * 3


async def test_a_stream_that_the_server_closes_is_continued():
    async with remote_process("store=1") as url, connected(url, seconds=60) as client:
        await client.initialize()
        assert text_of(await client.ask(1, name="close_stream", arguments={})) == "continued"
        assert len(client.received.answers(1)) == 1


@pytest.mark.parametrize("options", [(), ("json=1",)])
async def test_stateless_requests_to_a_server_of_the_python_sdk(options):
    async with remote_process(*options) as url, connected(url, seconds=60) as client:
        found = await client.ask_modern(1, "server/discover")
        assert "2026-07-28" in found["result"]["supportedVersions"]
        assert text_of(await client.ask_modern(2, name="echo", arguments={"text": "☃"})) == "☃"
        client.modern(3, name="wait", arguments={"seconds": 60})
        await trio.sleep(0.2)
        client.send(method="notifications/cancelled", params={"requestId": 3})
        assert text_of(await client.ask_modern(4, name="echo", arguments={"text": "x"})) == "x"
        error = (await client.ask_modern(5, "no/such"))["error"]
        assert error["code"] == -32601


async def test_a_server_without_sessions():
    async with remote_process("stateless=1") as url, connected(url, seconds=60) as client:
        await client.initialize()
        assert text_of(await client.ask(1, name="echo", arguments={"text": "x"})) == "x"


async def test_a_session_that_the_server_has_closed_is_opened_again():
    async with remote_process() as url, connected(url, seconds=60) as client:
        await client.initialize()
        await client.ask(1, name="count", arguments={})
        session = client.server._connection._transport._legacy._session.id
        async with connected(url, seconds=60) as other:
            await other.initialize()
            other.server._connection._transport._legacy._session.id = session
        assert text_of(await client.ask(2, name="count", arguments={})) == "2"
        assert client.server._connection._transport._legacy._session.id != session
        assert any(b"which is opened again" in note for note in client.received.notes)


async def test_a_server_of_the_first_revision_is_found():
    async with remote_process("sse=1", path="/sse") as url, connected(url, seconds=60) as client:
        await client.initialize(elicitation={})
        assert text_of(await client.ask(1, name="echo", arguments={"text": "x"})) == "x"
        client.call(2, name="ask", arguments={})
        while not (
            asked := [one for one in client.received.messages if one.get("method") == "elicitation/create"]
        ):
            await trio.sleep(0.01)
        client.send(id=asked[0]["id"], result={"action": "decline"})
        assert text_of(await client.answer(2)) == "decline: "
        assert json.loads(client.received.lines[0])["result"]["protocolVersion"]
