"""TLS: sessions, streams, resumption and cancellation over HTTP/2, and a busy WebSocket."""

import json
from contextlib import asynccontextmanager

import pytest
import trio
import trio_websocket

from ..support.bridge_process import EXAMPLE, Bridge
from ..support.http2_client import Client
from ..support.processes import threads_of
from ..support.raw_http import BOTH, INITIALIZE, message, tool_call
from ..support.stateless_requests import headers_of, request, tool
from ..support.tls import tls_client_context, tls_options

pytestmark = pytest.mark.anyio
JSON = {"Accept": BOTH, "Content-Type": "application/json"}


@pytest.fixture
def client_tls(authority):
    return tls_client_context(authority)


@pytest.fixture(scope="module")
def bridge(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    with Bridge(folder / "run", EXAMPLE, *tls_options(authority, folder)) as running:
        yield running


# ---- HTTP/2


class McpClient(Client):
    """An MCP client on one HTTP/2 connection."""

    async def send_message(self, method, headers, body=None):
        head = self.head(method, "/mcp", *((name.lower(), value) for name, value in headers.items()))
        return await self.send_request(head, body)

    async def post(self, headers, body):
        """Send a POST. Return the status, the headers and the body of the response."""
        return tuple(await self.answer(await self.send_message("POST", headers, body)))[:3]

    async def begin(self):
        status, headers, _ = await self.post(JSON, message("initialize", INITIALIZE, id=0))
        assert status == 200
        session = {**JSON, "Mcp-Session-Id": headers[b"mcp-session-id"].decode()}
        session["MCP-Protocol-Version"] = INITIALIZE["protocolVersion"]
        assert (await self.post(session, message("notifications/initialized")))[::2] == (202, b"")
        return session

    def events(self, number):
        """Return the id and the data of each event so far."""
        text = self.answers[number][2].decode() if number in self.answers else ""
        blocks = [block.split("\n") for block in text.split("\n\n")[:-1]]
        found = [dict(line.split(": ", 1) for line in block if line[0] != ":") for block in blocks]
        return [(one.get("id", ""), one.get("data", "")) for one in found if one]

    async def until_events(self, number, count):
        while len(self.events(number)) < count:
            assert await self.receive()


@asynccontextmanager
async def http2_client(bridge, client_tls):
    client_tls.set_alpn_protocols(["h2"])
    host, port = bridge.address
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(host, port) as tcp:
            stream = trio.SSLStream(tcp, client_tls, server_hostname=host, https_compatible=True)
            await stream.do_handshake()
            client = McpClient(stream, port, bridge.token)
            await client.open()
            yield client


async def test_a_session_over_http2(bridge, client_tls):
    async with http2_client(bridge, client_tls) as client:
        session = await client.begin()
        text = "x" * 3_900_000
        _, _, answer = await client.post(session, tool_call("echo", 1, text=text))
        assert json.loads(answer)["result"]["content"][0]["text"] == text
        assert (await client.answer(await client.send_message("DELETE", session)))[0] == 204
        assert (await client.post(session, tool_call("echo", 1, text="")))[0] == 404


async def test_messages_of_no_call_arrive_on_one_stream_over_http2(bridge, client_tls):
    async with http2_client(bridge, client_tls) as client:
        session = await client.begin()
        streams = [await client.send_message("GET", session) for _ in range(3)]
        for stream in streams:
            # The priming event.
            await client.until_events(stream, 1)
        for number in range(5):
            assert (await client.post(session, tool_call("toggle", number)))[0] == 200
        assert (await client.answer(await client.send_message("DELETE", session)))[0] == 204
        methods = []
        for stream in streams:
            assert (await client.answer(stream))[0] == 200
            methods += [json.loads(data)["method"] for _, data in client.events(stream) if data]
        assert methods == ["notifications/tools/list_changed"] * 5


async def test_a_stream_that_was_lost_over_http2_resumes(bridge, client_tls):
    async with http2_client(bridge, client_tls) as client:
        session = await client.begin()
        lost = await client.send_message(
            "POST", session, tool_call("slow", 1, token="t", seconds=1, steps=20)
        )
        await client.until_events(lost, 5)
        seen = client.events(lost)[:5]
        client.h2.reset_stream(lost)
        await client.flush()
        again = await client.send_message("GET", {**session, "Last-Event-ID": seen[-1][0]})
        assert (await client.answer(again))[0] == 200
    assert (bool(seen[0][0]), seen[0][1]) == (True, "")
    messages = [json.loads(data) for _, data in seen + client.events(again) if data]
    assert [one["params"]["progress"] for one in messages[:-1]] == list(range(21))
    assert messages[-1]["result"]["content"][0]["text"] == "done in 1 s"


@pytest.mark.parametrize("leaves", ["stream", "connection"])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_client_that_leaves_over_http2_cancels_its_call(bridge, client_tls, leaves, waits):
    echo = request("tools/call", tool("echo", text="x"))
    token = {} if waits else {"progressToken": 1}
    slow = request("tools/call", tool("slow", seconds=60, steps=6000), **token)
    async with http2_client(bridge, client_tls) as other:
        assert (await other.post(headers_of(echo), json.dumps(echo).encode()))[0] == 200
        server = bridge.newest_child()
        async with http2_client(bridge, client_tls) as client:
            number = await client.send_message("POST", headers_of(slow), json.dumps(slow).encode())
            if not waits:
                await client.until_events(number, 1)
            while threads_of(server) != 2:
                await trio.sleep(0.01)
            if leaves == "stream":
                client.h2.reset_stream(number)
                await client.flush()
            else:
                await client.stream.transport_stream.aclose()
            while threads_of(server) > 1:
                await trio.sleep(0.01)
        assert (await other.post(headers_of(echo), json.dumps(echo).encode()))[0] == 200


# ---- WebSocket


async def test_a_busy_websocket_stays_open(bridge, client_tls):
    async def ask(socket, method, params, number):
        await socket.send_message(message(method, params, id=number).decode())
        with trio.fail_after(20):
            return json.loads(await socket.get_message())

    authorization = [("Authorization", bridge.headers["Authorization"].encode())]
    async with trio_websocket.open_websocket_url(
        bridge.ws, client_tls, subprotocols=["mcp"], extra_headers=authorization
    ) as socket:
        await ask(socket, "initialize", INITIALIZE, 0)
        for number in range(1, 101):
            answer = await ask(socket, "tools/call", tool("echo", text="x" * number * 1000), number)
            assert len(answer["result"]["content"][0]["text"]) == number * 1000
