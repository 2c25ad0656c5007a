"""Where a server process lives, and servers of the other era, seen by official clients of the handshake era."""

import json
import sys
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from mcp import Client, types
from mcp.shared.exceptions import MCPError

from ..support.bridge_process import EXAMPLE, MODERN, Bridge
from ..support.mailbox import Mailbox
from ..support.raw_http import BOTH
from ..support.raw_http import connect as connect_raw
from ..support.sdk import (
    SDK_WARNINGS,
    TRANSPORTS,
    answer_elicitation,
    answer_roots,
    answer_sampling,
    connect,
    text_of,
)

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]

# In the answer to a question that calls of several clients can have caused.
AMBIGUOUS = "calls of several clients are in progress"


def asked(bridge: Bridge, transport: str, **more):
    return connect(
        bridge,
        transport,
        elicitation_callback=answer_elicitation,
        sampling_callback=answer_sampling,
        list_roots_callback=answer_roots,
        **more,
    )


@pytest.fixture(scope="module", params=["principal", "server"])
def sharing(request, tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("share") / "run", EXAMPLE, "--share", request.param) as running:
        yield running


@pytest.fixture(scope="module")
def modern(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("modern") / "run", MODERN, "--era", "modern") as running:
        yield running


# ---- one process for several sessions


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_sessions_share_a_process_and_each_hears_its_own(sharing: Bridge, transport: str) -> None:
    async with asked(sharing, transport) as one, asked(sharing, transport) as two:
        assert text_of(await one.call_tool("add", {"a": 2, "b": 40})) == "42"
        assert text_of(await two.call_tool("add", {"a": 1, "b": 1})) == "2"
        assert len(sharing.children()) == 1
        assert await asked_alone(one, "ask", question="olleh") == "accept: hello"
        assert await asked_alone(two, "think", prompt="hm") == "loud: HM"
        assert await asked_alone(two, "roots") == "file:///here\nfile:///there"


async def asked_alone(client: Client, tool: str, **arguments: str) -> str:
    """Call a tool that asks, until the calls of the other client are too old to be the cause of its question."""
    with trio.fail_after(10):
        while True:
            result = await client.call_tool(tool, arguments)
            if not (result.is_error and AMBIGUOUS in result.content[0].text):
                return text_of(result)
            await trio.sleep(0.2)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_questions_of_two_sessions_at_once_reach_none_but_their_own(
    sharing: Bridge, transport: str
) -> None:
    """The server does not say whose question it is: where it can be of both, it is refused at once."""
    seen: dict[str, list[str]] = {"1": [], "2": []}

    def client_of(name: str) -> AbstractAsyncContextManager[Client]:
        async def answer(context, params: types.ElicitRequestParams) -> types.ElicitResult:
            seen[name].append(params.message)
            return await answer_elicitation(context, params)

        return connect(sharing, transport, elicitation_callback=answer)

    async with client_of("1") as one, client_of("2") as two:
        answers: dict[str, str] = {}

        async def ask(client: Client, question: str) -> None:
            result = await client.call_tool("ask", {"question": question})
            answers[question] = result.content[0].text

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for i in range(5):
                    nursery.start_soon(ask, one, f"1-{i}")
                    nursery.start_soon(ask, two, f"2-{i}")
        assert len(answers) == 10
        for question, answer in answers.items():
            assert AMBIGUOUS in answer or answer == f"accept: {question[::-1]}"
        assert all(question.startswith(name) for name, questions in seen.items() for question in questions)


async def test_progress_and_list_changes_come_to_a_shared_session(sharing: Bridge) -> None:
    notified = Mailbox()
    async with asked(sharing, "http", message_handler=notified.put) as client:
        seen: list[float] = []

        async def note(done: float, _total: float | None, _message: str | None) -> None:
            seen.append(done)

        await client.call_tool("slow", {"seconds": 0.1, "steps": 3}, progress_callback=note)
        assert seen[:3] == [0, 1, 2]
        before = text_of(await client.call_tool("toggle", {}))
        await notified.wait_for_one(types.ToolListChangedNotification)
        assert text_of(await client.call_tool("toggle", {})) != before


async def test_a_shared_process_that_dies_fails_its_calls_and_is_replaced(sharing: Bridge) -> None:
    async with asked(sharing, "http") as client:
        with pytest.raises(MCPError):
            await client.call_tool("crash", {"code": 3})
        assert text_of(await client.call_tool("echo", {"text": "back"})) == "back"


# ---- a server of the modern era only


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_of_the_handshake_era_uses_a_modern_server(modern: Bridge, transport: str) -> None:
    async with asked(modern, transport) as client:
        assert client.protocol_version == "2025-11-25"
        assert client.server_info.name == "conformance-fixture-py"
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "test_simple_text" in names
        assert text_of(await client.call_tool("test_simple_text", {})).startswith("This is a simple text")
        prompt = await client.get_prompt("test_simple_prompt")
        assert prompt.messages[0].content.text.startswith("This is a simple prompt")
        read = await client.read_resource("test://static-text")
        assert read.contents[0].text.startswith("This is the content")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_input_that_a_modern_server_requires_is_asked_of_a_client_of_the_handshake_era(
    modern: Bridge, transport: str
) -> None:
    async def answer(_context, params: types.ElicitRequestParams) -> types.ElicitResult:
        [field] = params.requested_schema["properties"]
        return types.ElicitResult(action="accept", content={field: "blue"})

    async with connect(
        modern,
        transport,
        elicitation_callback=answer,
        sampling_callback=answer_sampling,
        list_roots_callback=answer_roots,
    ) as client:
        call = client.call_tool
        assert text_of(await call("test_input_required_result_elicitation", {})) == "Hello, blue!"
        assert text_of(await call("test_input_required_result_sampling", {})).startswith(
            "The model says: WHAT"
        )
        assert text_of(await call("test_input_required_result_list_roots", {})) == "2 roots"
        assert text_of(await call("test_input_required_result_multi_round", {})) == "blue likes blue"
        assert text_of(await call("test_input_required_result_multiple_inputs", {})) == "all inputs are here"


async def test_nothing_is_asked_of_a_client_that_has_not_declared_it(modern: Bridge) -> None:
    async with connect(modern, "http") as client:
        result = await client.call_tool("test_input_required_result_elicitation", {})
        assert result.is_error


async def test_list_changes_of_a_modern_server_reach_a_client_of_the_handshake_era(modern: Bridge) -> None:
    notified = Mailbox()
    async with asked(modern, "http", message_handler=notified.put) as client:
        await client.list_tools()
        await client.call_tool("test_trigger_tool_change", {})
        await notified.wait_for_one(types.ToolListChangedNotification)


# ---- nobody has said which eras the server speaks


async def test_a_server_that_takes_no_handshake_is_found_out(start_bridge) -> None:
    program = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    meta = (message.get("params") or {}).get("_meta", {})
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if "io.modelcontextprotocol/protocolVersion" not in meta:
        reply["error"] = {"code": -32602, "message": "modern only"}
    elif message["method"] == "server/discover":
        reply["result"] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
            "ttlMs": 0, "cacheScope": "private"}
    elif message["method"] == "tools/call":
        reply["result"] = {"resultType": "complete", "content": [{"type": "text", "text": "modern"}]}
    else:
        reply["result"] = {"resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private"}
    print(json.dumps(reply), flush=True)
"""
    bridge = start_bridge((sys.executable, "-c", program))
    for transport in ("http", "ws"):
        async with connect(bridge, transport) as client:
            assert client.protocol_version == "2025-11-25"
            assert text_of(await client.call_tool("any", {})) == "modern"
    assert sum("era_probed" in line for line in bridge.lines) == 1


DUAL = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    params = message.get("params") or {}
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize":
        if "clientInfo" in params:
            reply["result"] = {"protocolVersion": params["protocolVersion"], "capabilities": {},
                "serverInfo": {"name": "of the handshake", "version": "1"}}
        else:
            reply["error"] = {"code": -32602, "message": "who are you?"}
    else:
        reply["result"] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {},
            "ttlMs": 0, "cacheScope": "private"}
    print(json.dumps(reply), flush=True)
"""


async def test_a_client_that_asks_wrongly_says_nothing_of_the_servers_eras(start_bridge) -> None:
    bridge = start_bridge((sys.executable, "-c", DUAL))
    async with connect_raw(bridge) as connection:
        wrong = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {"protocolVersion": "2025-11-25"},
        }
        headers = {"Accept": BOTH, "Content-Type": "application/json"}
        await connection.send("POST", "/mcp", headers, json.dumps(wrong).encode())
        assert (await connection.answer()).json["error"] == {"code": -32602, "message": "who are you?"}
    async with connect(bridge, "http") as client:
        assert client.server_info.name == "of the handshake"


CHANGING = """
import json, sys
era = open(sys.argv[1]).read()
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize" and era == "legacy":
        reply["result"] = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {},
            "serverInfo": {"name": era, "version": "1"}}
    elif message["method"] == "server/discover" and era == "modern":
        reply["result"] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {},
            "ttlMs": 0, "cacheScope": "private", "_meta": {"io.modelcontextprotocol/serverInfo": {"name": era, "version": "2"}}}
    else:
        reply["error"] = {"code": -32601, "message": "what?"}
    print(json.dumps(reply), flush=True)
"""


async def test_a_server_that_is_replaced_by_one_of_another_era_is_found_out(start_bridge, tmp_path) -> None:
    era = tmp_path / "era"
    era.write_text("legacy")
    bridge = start_bridge((sys.executable, "-c", CHANGING, str(era)))

    async def name() -> str:
        async with connect(bridge, "http") as client:
            return client.server_info.name

    assert await name() == "legacy"
    era.write_text("modern")
    assert await name() == "modern"
    era.write_text("legacy")
    with pytest.RaisesGroup(
        pytest.RaisesExc(MCPError, match="refused server/discover"), flatten_subgroups=True
    ):
        await name()
    assert await name() == "legacy"
