"""Over TLS all is as without: the streams, lost answers and cancellations of HTTP/2, and a WebSocket with much to say."""

import json
import ssl
from contextlib import asynccontextmanager

import pytest
import trio
import trio_websocket
import trustme

from ..support.bridge_process import EXAMPLE, Bridge
from ..support.http2_client import Client
from ..support.processes import threads_of
from ..support.raw_http import BOTH, INITIALIZE, message, tool_call
from ..support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
JSON = {"Accept": BOTH, "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def bridge(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    files = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
    with Bridge(folder / "run", EXAMPLE, *files) as running:
        yield running


# ---- HTTP/2


class Speaker(Client):
    """One that speaks MCP."""

    async def say(self, method, headers, body=None):
        head = self.head(method, "/mcp", *((name.lower(), value) for name, value in headers.items()))
        return await self.send_request(head, body)

    async def post(self, headers, body):
        """The status, the headers and the body of the answer."""
        return tuple(await self.answer(await self.say("POST", headers, body)))[:3]

    async def begin(self):
        status, headers, _ = await self.post(JSON, message("initialize", INITIALIZE, id=0))
        assert status == 200
        session = {**JSON, "Mcp-Session-Id": headers[b"mcp-session-id"].decode()}
        session["MCP-Protocol-Version"] = INITIALIZE["protocolVersion"]
        assert (await self.post(session, message("notifications/initialized")))[::2] == (202, b"")
        return session

    def events(self, number):
        """The id and the data of each event that has come so far."""
        text = self.answers[number][2].decode() if number in self.answers else ""
        blocks = [block.split("\n") for block in text.split("\n\n")[:-1]]
        found = [dict(line.split(": ", 1) for line in block if line[0] != ":") for block in blocks]
        return [(one.get("id", ""), one.get("data", "")) for one in found if one]

    async def until_events(self, number, count):
        while len(self.events(number)) < count:
            assert await self.receive()


@asynccontextmanager
async def speaking(bridge, trusting):
    trusting.set_alpn_protocols(["h2"])
    host, port = bridge.address
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(host, port) as tcp:
            stream = trio.SSLStream(tcp, trusting, server_hostname=host, https_compatible=True)
            await stream.do_handshake()
            speaker = Speaker(stream, port, bridge.token)
            await speaker.open()
            yield speaker


async def test_a_session_over_http2(bridge, trusting):
    async with speaking(bridge, trusting) as client:
        session = await client.begin()
        text = "x" * 3_900_000
        _, _, answer = await client.post(session, tool_call("echo", 1, text=text))
        assert json.loads(answer)["result"]["content"][0]["text"] == text
        assert (await client.answer(await client.say("DELETE", session)))[0] == 204
        assert (await client.post(session, tool_call("echo", 1, text="")))[0] == 404


async def test_what_belongs_to_no_call_comes_on_one_stream_over_http2(bridge, trusting):
    async with speaking(bridge, trusting) as client:
        session = await client.begin()
        streams = [await client.say("GET", session) for _ in range(3)]
        for stream in streams:
            await client.until_events(stream, 1)  # the priming event
        for number in range(5):
            assert (await client.post(session, tool_call("toggle", number)))[0] == 200
        assert (await client.answer(await client.say("DELETE", session)))[0] == 204
        heard = []
        for stream in streams:
            assert (await client.answer(stream))[0] == 200
            heard += [json.loads(data)["method"] for _, data in client.events(stream) if data]
        assert heard == ["notifications/tools/list_changed"] * 5


async def test_a_stream_that_was_lost_over_http2_goes_on(bridge, trusting):
    async with speaking(bridge, trusting) as client:
        session = await client.begin()
        lost = await client.say("POST", session, tool_call("slow", 1, token="t", seconds=1, steps=20))
        await client.until_events(lost, 5)
        seen = client.events(lost)[:5]
        client.h2.reset_stream(lost)
        await client.flush()
        again = await client.say("GET", {**session, "Last-Event-ID": seen[-1][0]})
        assert (await client.answer(again))[0] == 200
    assert (bool(seen[0][0]), seen[0][1]) == (True, "")
    said = [json.loads(data) for _, data in seen + client.events(again) if data]
    assert [one["params"]["progress"] for one in said[:-1]] == list(range(21))
    assert said[-1]["result"]["content"][0]["text"] == "done in 1 s"


@pytest.mark.parametrize("leaves", ["stream", "connection"])
@pytest.mark.parametrize("waits", [False, True])
async def test_who_leaves_over_http2_cancels_its_call(bridge, trusting, leaves, waits):
    echo = request("tools/call", tool("echo", text="x"))
    token = {} if waits else {"progressToken": 1}
    slow = request("tools/call", tool("slow", seconds=60, steps=6000), **token)
    async with speaking(bridge, trusting) as other:
        assert (await other.post(headers_of(echo), json.dumps(echo).encode()))[0] == 200
        server = bridge.newest_child()
        async with speaking(bridge, trusting) as client:
            number = await client.say("POST", headers_of(slow), json.dumps(slow).encode())
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


async def test_a_busy_websocket_lives(bridge, trusting):
    async def ask(socket, method, params, number):
        await socket.send_message(message(method, params, id=number).decode())
        with trio.fail_after(20):
            return json.loads(await socket.get_message())

    authorization = [("Authorization", bridge.headers["Authorization"].encode())]
    async with trio_websocket.open_websocket_url(
        bridge.ws, trusting, subprotocols=["mcp"], extra_headers=authorization
    ) as socket:
        await ask(socket, "initialize", INITIALIZE, 0)
        for number in range(1, 101):
            answer = await ask(socket, "tools/call", tool("echo", text="x" * number * 1000), number)
            assert len(answer["result"]["content"][0]["text"]) == number * 1000
