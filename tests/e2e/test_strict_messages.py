"""`validate = "strict"`: messages that do not fit the schema of MCP, over each transport, with and without translation."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mcp import MCPError, types

from ..support.daemon_clients import example
from ..support.daemon_process import daemon
from ..support.handshake import initialize_params
from ..support.scripted_servers import CARRIERS, PAIRS, SCRIPTED, SERVERS, Pair, client
from ..support.sdk import (
    SDK_WARNINGS,
    TRANSPORTS,
    answer_elicitation,
    answer_roots,
    answer_sampling,
    connect,
    text_of,
)

pytestmark = list(SDK_WARNINGS)
STRICT = {"validate": "strict"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Run a daemon with servers of both eras and an aggregate, all of which have the value of the file."""
    servers = {**SERVERS, "one": SERVERS["legacy"], "free": {**SERVERS["legacy"], "validate": "envelope"}}
    tables = {"aggregate": {"servers": ["one"]}, **STRICT}
    with daemon(tmp_path_factory.mktemp("strict"), servers, **tables) as found:
        yield found


@pytest.fixture(params=PAIRS, ids=str)
def peer(running, request):
    with client(running, request.param) as found:
        yield found


def events(running, server):
    """Return the events about messages that were refused, also those of the member of the aggregate."""
    names = ("aggregate", "one") if server == "aggregate" else (server,)
    lines = [line for name in names for line in running.logs(name)]
    return [line for line in lines if "message_invalid" in line]


def line(result):
    return b'{"jsonrpc":"2.0","id":$ID,"result":' + json.dumps(result).encode() + b"}"


def complete(**result):
    return {"resultType": "complete", **result}


def test_a_message_that_fits_passes_with_its_bytes(peer):
    text = peer.exchange(peer.tool(b"1", "echo", raw=b'"x": [1.50, "\\u00e4", {"a" : {}}]'))
    assert rb"[1.50, \"\\u00e4\", {\"a\" : {}}]" in text


def test_a_request_with_arguments_of_another_type_is_refused_with_the_path(running, peer):
    before = len(events(running, peer.path.server))
    call = peer.call(b"1", "tools/call", {"name": f"{peer.path.prefix}echo", "arguments": "hunter2"})
    error = peer.exchange_json(call)["error"]
    assert error["code"] == -32602
    assert "$.arguments" in error["message"]
    assert "hunter2" not in json.dumps(error)
    found = events(running, peer.path.server)
    assert len(found) >= before
    assert "hunter2" not in str(found)
    # The connection and the session go on.
    assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")


def test_a_result_that_does_not_fit_becomes_an_error(running, peer):
    call = peer.raw(b"1", line(complete(content=[{"type": "text", "text": 12345678}])))
    error = peer.exchange_json(call)["error"]
    assert error["code"] in (-32603, -32000)
    assert "$.content[0].text" in error["message"]
    assert "12345678" not in json.dumps(error)
    assert any("sender=server" in one for one in events(running, peer.path.server))
    assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")


def test_an_error_that_does_not_fit_becomes_another_error(peer):
    error = peer.exchange_json(
        peer.raw(b"1", b'{"jsonrpc":"2.0","id":$ID,"error":{"code":"x","message":5}}')
    )["error"]
    assert "$.code" in error["message"]


def test_a_notification_that_does_not_fit_is_dropped(peer):
    wrong = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"loud","data":1}}'
    peer.send(peer.raw(b"1", wrong, line(complete(content=[]))))
    received = []
    while not received or "id" not in received[-1]:
        received.append(json.loads(peer.receive()))
    assert [one for one in received if one.get("method") == "notifications/message"] == []
    assert "result" in received[-1]


def test_members_and_methods_that_the_schema_does_not_have_pass(peer):
    result = complete(content=[], structuredContent={"a": [1]}, extra={"x": None})
    found = peer.exchange_json(peer.raw(b"1", line(result)))["result"]
    assert (found["structuredContent"], found["extra"]) == ({"a": [1]}, {"x": None})
    assert peer.exchange_json(peer.call(b"2", "x/own", {"level": 5}), b"2")["error"]["code"] == -32601


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.era == "legacy"], ids=str)
def test_an_initialize_that_does_not_fit_is_refused_and_a_right_one_opens_the_session(running, pair):
    with client(running, pair, opened=False) as peer:
        params = {key: value for key, value in initialize_params(name="x").items() if key != "clientInfo"}
        error = peer.exchange_json(peer.call(b"0", "initialize", params), b"0")["error"]
        assert (error["code"], error["message"]) == (
            -32602,
            "the message does not fit initialize in MCP 2025-11-25: Object missing required field `clientInfo` at $",
        )
        peer.open()
        assert "result" in peer.exchange_json(peer.tool(b"1", "echo"))


@pytest.mark.parametrize("pair", CARRIERS, ids=str)
def test_a_notification_of_a_client_that_does_not_fit_is_not_passed_on(running, pair):
    with client(running, pair) as peer:
        peer.send(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"hunter2"}}')
        if peer.status is not None:
            assert peer.status == 400
            peer.waiting.clear()
        assert "result" in peer.exchange_json(peer.tool(b"1", "echo"))
    found = [one for one in events(running, pair.server) if "method=notifications/progress" in one]
    assert found
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.transport in "WP"], ids=str)
def test_a_cancellation_that_does_not_fit_is_not_passed_on(running, pair):
    def cancel(reason):
        params = {"requestId": 1, "reason": reason}
        peer.send(
            json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).encode()
        )

    with client(running, pair) as peer:
        # The server does not answer this call.
        peer.send(peer.raw(b"1"))
        cancel(["hunter2"])
        assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")
        name = "aggregate" if pair.server == "aggregate" else pair.server
        assert next(one for one in running.status()["servers"] if one["name"] == name)["in_flight"] >= 1
        cancel("enough")
        assert "result" in peer.exchange_json(peer.tool(b"3", "echo"), b"3")
    found = [one for one in events(running, pair.server) if "method=notifications/cancelled" in one]
    assert found
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_server_may_differ_from_the_file(running, era):
    with client(running, Pair(era, "W", "free")) as peer:
        call = peer.call(b"1", "tools/call", {"name": "echo", "arguments": "text"})
        assert "result" in peer.exchange_json(call)
        result = peer.exchange_json(peer.raw(b"2", line(complete(content="text"))), b"2")["result"]
        assert result["content"] == "text"
    assert events(running, "free") == []


# ---- remote servers


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """Run a daemon whose servers are those of another one, which passes everything."""
    folder = tmp_path_factory.mktemp("remote")
    for name in ("far", "near"):
        (folder / name).mkdir()
    with daemon(folder / "far", SERVERS) as far:
        secret = folder / "token"
        secret.write_text(f"Bearer {far.token}")
        secret.chmod(0o600)
        servers = {
            name: {
                "url": far.url(name),
                "secret_headers": {"Authorization": str(secret)},
                **{key: value for key, value in server.items() if key != "command"},
                **STRICT,
            }
            for name, server in SERVERS.items()
        }
        with daemon(folder / "near", servers) as near:
            yield near


@pytest.mark.parametrize(
    "pair",
    [Pair(era, "W", server) for era in ("legacy", "modern") for server in SERVERS],
    ids=str,
)
def test_the_messages_of_a_remote_server_are_checked(remote, pair):
    with client(remote, pair) as peer:
        error = peer.exchange_json(peer.raw(b"1", line(complete(content="hunter2"))))["error"]
        assert "$.content" in error["message"]
        assert "hunter2" not in json.dumps(error)
        wrong = b'{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":5}}'
        assert "result" in peer.exchange_json(peer.raw(b"2", wrong, line(complete(content=[]))), b"2")
    found = events(remote, pair.server)
    assert any("method=tools/call" in one and "sender=server" in one for one in found)


# ---- responses of clients


@pytest.fixture(scope="module")
def requesting(tmp_path_factory):
    command = [sys.executable, str(Path(SCRIPTED[1]).with_name("roots_requesting.py"))]
    with daemon(tmp_path_factory.mktemp("roots"), {"roots": {"command": command, **STRICT}}) as found:
        yield found


def test_the_server_gets_an_error_for_a_response_of_its_client_that_does_not_fit(requesting):
    with client(requesting, Pair("legacy", "W", "roots"), opened=False) as peer:
        params = {**initialize_params(name="x"), "capabilities": {"roots": {}}}
        assert "result" in peer.exchange_json(peer.call(b"0", "initialize", params), b"0")
        peer.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        request = json.loads(peer.receive())
        assert request["method"] == "roots/list"
        peer.send(
            json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"roots": ["hunter2"]}}).encode()
        )
        found = json.dumps(peer.exchange_json(peer.tool(b"1", "roots")))
        assert "the client's answer is not valid: roots/list in MCP 2025-11-25" in found
        assert "$.roots[0]" in found
        assert "hunter2" not in found


# ---- the official client and real servers


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    servers = {"own": example(**STRICT), "shared": example(share="principal", **STRICT)}
    with daemon(tmp_path_factory.mktemp("real"), servers, aggregate={"servers": ["own"]}) as found:
        yield found


async def use(client, *, alone):
    """Use every feature of the example server. On a shared process no request of it can be attributed to one client."""
    assert (await client.list_tools()).tools
    assert text_of(await client.call_tool("add", {"a": 2, "b": 40})) == "42"
    done = []

    async def progressed(*step):
        done.append(step)

    await client.call_tool("slow", {"seconds": 0.05, "steps": 3}, progress_callback=progressed)
    assert done
    await client.call_tool("log", {"text": "what happened", "level": "warning"})
    if alone:
        assert text_of(await client.call_tool("ask", {"question": "abc"})) == "accept: cba"
        assert text_of(await client.call_tool("think", {"prompt": "hello"})) == "loud: HELLO"
        assert text_of(await client.call_tool("roots")) == "file:///here\nfile:///there"
    await client.call_tool("toggle")
    assert (await client.list_resources()).resources
    assert (await client.list_resource_templates()).resource_templates
    assert (await client.read_resource("example://square/12")).contents[0].text == "144"
    assert (await client.list_prompts()).prompts
    await client.get_prompt("greet", {"name": "Ada"})
    reference = types.PromptReference(type="ref/prompt", name="greet")
    assert (await client.complete(reference, {"name": "name", "value": "A"})).completion.values
    with pytest.raises(MCPError):
        await client.read_resource("example://nothing")


async def use_sessions(client):
    """Use what only handshake revisions have."""
    await client.send_ping()
    await client.set_logging_level("info")
    [resource, *_] = (await client.list_resources()).resources
    await client.subscribe_resource(resource.uri)
    await client.call_tool("touch", {"uri": resource.uri})
    await client.unsubscribe_resource(resource.uri)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("transport", "mode"),
    [*((transport, "legacy") for transport in TRANSPORTS), ("http", "2026-07-28"), ("ws", "2026-07-28")],
)
@pytest.mark.parametrize("server", ["own", "shared"])
async def test_nothing_that_the_official_client_and_the_example_server_exchange_is_refused(
    real, server, transport, mode
):
    place = SimpleNamespace(
        mcp=real.url(server), sse=real.url(server, "sse"), ws=real.url(server, "ws"), headers=real.headers
    )
    answers = {
        "elicitation_callback": answer_elicitation,
        "sampling_callback": answer_sampling,
        "list_roots_callback": answer_roots,
    }
    async with connect(place, transport, mode=mode, **answers) as connected:
        await use(connected, alone=server == "own")
        if mode == "legacy":
            await use_sessions(connected)
    assert events(real, server) == []
