"""Accept handshakes with any version header, and sessions in a version that is unknown to the bridge."""

import json

import pytest
import trio
import trio_websocket

from ..support.accept_headers import (
    BOTH,
    CARRIERS,
    COMMAND,
    EVENTS,
    JSON,
    Client,
    carriers,
    messages_in,
    modern,
    result_text,
    tool_call,
)
from ..support.connect_process import start_connect
from ..support.handshake import VERSION
from ..support.raw_http import Connection

pytestmark = pytest.mark.anyio

# Versions that are in no table, by the server that answers with them.
UNKNOWN = {"ancient": "2024-10-07", "future": "2030-01-01", "between": "2025-05-05", "draft": "DRAFT-2026-v1"}
# A handshake that ends in the revision that has no handshake.
UNKNOWN["stateless"] = "2026-07-28"
# Headers that name another version than that of the session, known or unknown to the bridge.
OTHERS = ["2026-07-28", "2031-01-01", "x", "", f"{VERSION}, {VERSION}", "2024-10-08"]
HEADERS = ["2026-07-28", "2030-01-01", "2024-10-07", "draft", "", VERSION, "2024-11-05", None]


@pytest.fixture(scope="module")
def running(authority, tmp_path_factory):
    tables = {name: {"command": [*COMMAND, version]} for name, version in UNKNOWN.items()}
    tables |= {f"{name}-shared": {**keys, "share": "principal"} for name, keys in tables.items()}
    tables |= {"echoing": {"command": COMMAND}, "echoing-shared": {"command": COMMAND, "share": "principal"}}
    with carriers(tmp_path_factory.mktemp("versions"), authority, tables) as found:
        yield found


# ---- initialize is a handshake


@pytest.mark.parametrize(
    ("carrier", "header"), [*(("http1", header) for header in HEADERS), ("http2", HEADERS[0])]
)
def test_t11_initialize_is_a_handshake_with_any_version_header(running, carrier, header):
    for accept in (BOTH, JSON, EVENTS):
        with Client(running, carrier, "echoing", accept=accept) as client:
            answer = client.initialize(MCP_Protocol_Version=header)
            [opened] = messages_in(answer)[0]
            assert (answer.status_code, opened["result"]["protocolVersion"]) == (200, VERSION)
            assert client.call("echo").status_code == 200


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("header", ["2026-07-28", VERSION, None])
def test_t11_initialize_in_a_stateless_request_is_an_unknown_method(running, carrier, header):
    body, headers = modern("initialize", {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {}})
    with Client(running, carrier, "echoing") as client:
        answer = client.post(body, **{**headers, "MCP_Protocol_Version": header})
    expected = (404, -32601) if header == "2026-07-28" else (400, -32020)
    assert (answer.status_code, answer.json()["error"]["code"]) == expected


@pytest.mark.parametrize("header", ["2026-07-28", "2030-01-01", ""])
async def test_t11_initialize_is_a_handshake_over_event_streams_and_websocket_too(running, header):
    headers = {"MCP-Protocol-Version": header}
    assert await over_sse(running, "echoing", VERSION, headers) == ["echoed"]
    assert await over_websocket(running, "echoing", VERSION, headers) == ["echoed"]


# ---- a version that the peers have negotiated


@pytest.mark.parametrize(("carrier", "share"), [("http1", ""), ("http1", "-shared"), ("http2", "")])
@pytest.mark.parametrize("name", UNKNOWN)
def test_t22_the_version_of_the_session_is_accepted(running, carrier, name, share):
    version = UNKNOWN[name]
    with Client(running, carrier, name + share) as client:
        client.initialize(version)
        assert client.headers["MCP-Protocol-Version"] == version
        for header in (version, None, "2024-11-05", VERSION):
            answer = client.call("echo", headers={"MCP_Protocol_Version": header})
            assert (answer.status_code, result_text(answer.json())) == (200, "echoed")
            body = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
            assert client.post(body, MCP_Protocol_Version=header).status_code == 202
        for header in (version, None):
            with client.stream(MCP_Protocol_Version=header) as stream:
                assert (stream.status_code, stream.headers["content-type"]) == (200, EVENTS)
        assert client.http.delete(client.url, headers=client.headers).status_code == 204
        ended = client.call("echo")
        # In the stateless era a session id has no meaning, and the error is about the missing envelope.
        expected = (400, -32602) if name == "stateless" else (404, -32001)
        assert (ended.status_code, ended.json()["error"]["code"]) == expected


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("name", ["ancient", "future"])
def test_t22_any_other_version_is_400(running, carrier, name):
    with Client(running, carrier, name) as client:
        client.initialize(UNKNOWN[name])
        for header in OTHERS:
            answer = client.call("echo", id_="a", headers={"MCP_Protocol_Version": header})
            assert (answer.status_code, answer.json()["id"]) == (400, "a")
            body = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
            assert client.post(body, MCP_Protocol_Version=header).status_code == 400
            expected = 405 if header == "2026-07-28" else 400
            with client.stream(MCP_Protocol_Version=header) as stream:
                assert stream.status_code == expected
            headers = {**client.headers, "MCP-Protocol-Version": header}
            assert client.http.delete(client.url, headers=headers).status_code == expected
        # An unknown session, or no session, has no version.
        stranger = {"Mcp_Session_Id": "x" * 43}
        assert client.call("echo", headers=stranger).status_code == 404
        assert client.call("echo", headers={"Mcp_Session_Id": None}).status_code == 400


@pytest.mark.parametrize("carrier", CARRIERS)
def test_t22_batches_are_of_the_revision_that_was_current(running, carrier):
    batch = [tool_call("echo", 1)]
    for name, status in (("ancient", 400), ("between", 200), ("future", 400), ("draft", 400)):
        with Client(running, carrier, name) as client:
            client.initialize(UNKNOWN[name])
            assert client.post(batch).status_code == status


def test_t22_a_shared_server_gets_one_initialize_and_each_client_its_own_version(running):
    for wanted, expected in (
        ("2024-10-07", "2024-10-07"),
        ("2025-06-18", "2025-06-18"),
        ("2030-01-01", VERSION),
        ("x", VERSION),
        ("0.1", VERSION),
    ):
        with Client(running, "http1", "echoing-shared") as client:
            [opened] = messages_in(client.initialize(wanted))[0]
            assert opened["result"]["protocolVersion"] == expected
            assert result_text(client.call("echo").json()) == "echoed"


@pytest.mark.parametrize("share", ["", "-shared"])
@pytest.mark.parametrize("name", UNKNOWN)
async def test_t22_the_version_of_the_session_is_accepted_on_every_other_carrier(running, name, share):
    version = UNKNOWN[name]
    header = {"MCP-Protocol-Version": version}
    expected = ["echoed"] * (2 if has_batches(version) else 1)
    assert await over_sse(running, name + share, version, header) == expected
    assert await over_websocket(running, name + share, version, header) == expected
    if not share:
        assert await trio.to_thread.run_sync(over_connect, running, name, version) == "echoed"


@pytest.mark.parametrize("name", [name for name in UNKNOWN if name != "stateless"])
def test_t22_a_stateless_client_of_a_server_with_an_unknown_version_is_served(running, name):
    body, headers = modern("tools/call", {"name": "echo", "arguments": {}})
    for server in (name, f"{name}-shared"):
        with Client(running, "http1", server) as client:
            answer = client.post(body, **headers)
            assert (answer.status_code, result_text(answer.json())) == (200, "echoed")


# ---- carriers that keep one stream


def opening(version):
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def has_batches(version):
    """Return whether the revision has batches. MCP 2025-06-18 removed them."""
    return version < "2025-06-18"


async def converse(version, send, receive):
    """Run a session. Return the responses to a call and, if the revision has batches, to a batch."""
    await send(opening(version))
    opened = await receive()
    assert opened["result"]["protocolVersion"] == version
    await send(READY)
    await send(tool_call("echo", 1))
    found = [await receive()]
    if has_batches(version):
        await send([tool_call("echo", 2)])
        found.append(await receive())
    return [result_text(one) for one in found]


async def over_sse(running, name, version, header):
    daemon, _ = running["http1"]
    with trio.fail_after(10):
        async with (
            await trio.open_tcp_stream(*daemon.address) as one,
            await trio.open_tcp_stream(*daemon.address) as two,
        ):
            stream, posts = Connection(daemon, one), Connection(daemon, two)
            await stream.send("GET", f"/servers/{name}/sse", {"Accept": EVENTS, **header})
            assert (await stream.head())[0] == 200
            path = f"/servers/{name}/{(await stream.event()).data}"

            async def send(body):
                headers = {"Content-Type": JSON, **header}
                answer = await posts.request("POST", path, headers, json.dumps(body).encode())
                assert answer.status == 202

            return await converse(version, send, stream.message)


async def over_websocket(running, name, version, header):
    daemon, _ = running["http1"]
    with trio.fail_after(10):
        async with trio_websocket.open_websocket_url(
            daemon.url(name, "ws"),
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {daemon.token}"), *header.items()],
            disconnect_timeout=1,
        ) as socket:

            async def send(body):
                await socket.send_message(json.dumps(body))

            async def receive():
                return json.loads(await socket.get_message())

            return await converse(version, send, receive)


def over_connect(running, name, version):
    process = start_connect(running["http1"][0], name)
    with process:
        for body in (opening(version), READY, tool_call("echo", 1)):
            process.stdin.write(json.dumps(body).encode() + b"\n")
            process.stdin.flush()
            if "id" in body:
                answer = json.loads(process.stdout.readline())
        process.stdin.close()
        return result_text(answer)
