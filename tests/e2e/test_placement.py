"""Shared processes and modern servers, used by official clients of the legacy era."""

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

# The error for a server request that calls of several clients can have caused.
AMBIGUOUS = "calls of several clients are in progress"


def connect_answering(bridge: Bridge, transport: str, **more):
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
async def test_sessions_share_a_process_and_get_their_own_responses(sharing: Bridge, transport: str) -> None:
    async with connect_answering(sharing, transport) as one, connect_answering(sharing, transport) as two:
        assert text_of(await one.call_tool("add", {"a": 2, "b": 40})) == "42"
        assert text_of(await two.call_tool("add", {"a": 1, "b": 1})) == "2"
        assert len(sharing.children()) == 1
        assert await call_alone(one, "ask", question="olleh") == "accept: hello"
        assert await call_alone(two, "think", prompt="hm") == "loud: HM"
        assert await call_alone(two, "roots") == "file:///here\nfile:///there"


async def call_alone(client: Client, tool: str, **arguments: str) -> str:
    """Call a tool that sends a request, until calls of the other client are too old to be its cause."""
    with trio.fail_after(10):
        while True:
            result = await client.call_tool(tool, arguments)
            if not (result.is_error and AMBIGUOUS in result.content[0].text):
                return text_of(result)
            await trio.sleep(0.2)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_server_requests_of_two_concurrent_sessions_reach_their_own_session_only(
    sharing: Bridge, transport: str
) -> None:
    """Refuse a server request at once if it may belong to both sessions, because it does not name its call."""
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


async def test_progress_and_list_changes_reach_a_shared_session(sharing: Bridge) -> None:
    notified = Mailbox()
    async with connect_answering(sharing, "http", message_handler=notified.put) as client:
        seen: list[float] = []

        async def note(done: float, _total: float | None, _message: str | None) -> None:
            seen.append(done)

        await client.call_tool("slow", {"seconds": 0.1, "steps": 3}, progress_callback=note)
        assert seen[:3] == [0, 1, 2]
        before = text_of(await client.call_tool("toggle", {}))
        await notified.wait_for_one(types.ToolListChangedNotification)
        assert text_of(await client.call_tool("toggle", {})) != before


async def test_a_shared_process_that_exits_fails_its_calls_and_is_replaced(sharing: Bridge) -> None:
    async with connect_answering(sharing, "http") as client:
        with pytest.raises(MCPError):
            await client.call_tool("crash", {"code": 3})
        assert text_of(await client.call_tool("echo", {"text": "back"})) == "back"


# ---- a server of the modern era only


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_legacy_client_uses_a_modern_server(modern: Bridge, transport: str) -> None:
    async with connect_answering(modern, transport) as client:
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
async def test_input_that_a_modern_server_requires_is_requested_from_a_legacy_client(
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


async def test_a_client_that_has_not_declared_a_capability_gets_no_request(modern: Bridge) -> None:
    async with connect(modern, "http") as client:
        result = await client.call_tool("test_input_required_result_elicitation", {})
        assert result.is_error


async def test_list_changes_of_a_modern_server_reach_a_legacy_client(modern: Bridge) -> None:
    notified = Mailbox()
    async with connect_answering(modern, "http", message_handler=notified.put) as client:
        await client.list_tools()
        await client.call_tool("test_trigger_tool_change", {})
        await notified.wait_for_one(types.ToolListChangedNotification)


# ---- servers of an unknown era


async def test_a_server_without_a_handshake_is_detected(start_bridge) -> None:
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


async def test_an_invalid_request_of_a_client_does_not_change_the_eras_of_the_server(start_bridge) -> None:
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


async def test_a_server_that_is_replaced_by_a_server_of_another_era_is_detected(
    start_bridge, tmp_path
) -> None:
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
