"""Random changes of valid responses end in a response or in one of the exceptions of the interface, and never in a hang."""

import random

import pytest
import trio

from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.http_sse import HttpSse
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Lost, Unreachable
from mcpbridged.transports.client.websocket import WebSocket
from mcpbridged.validators.ws_frames import accept_value

from ...support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio

RUNS = 60
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nT: x\r\n\r\n",
    b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03K\x04\0",
    b"HTTP/1.1 307 X\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n",
)
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: endpoint\ndata: /m?x=1\n\n"
    b'id: 1\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\nretry: 5\n: c\n\ndata: {\ndata: }\n\n'
)
FRAMES = b"\x81\x02{}\x89\x01a\x01\x01{\0\0\x80\x01}\x82\x7e\0\x80" + b"x" * 128 + b"\x8a\0\x88\x04\x03\xe8ab"
PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n\r\n",
    b": ",
    b"Content-Length: 5\r\n",
    b"\xff" * 3,
    b"data: ",
    b"9" * 30,
)


def mutated(data, random_):
    text = bytearray(data)
    for _ in range(random_.randint(0, 4)):
        at = random_.randrange(len(text) + 1)
        match random_.randrange(5):
            case 0:
                text[at : at + 1] = bytes((random_.randrange(256),))
            case 1:
                text[at:at] = random_.choice(PIECES)
            case 2:
                del text[at : at + random_.randint(1, 6)]
            case 3:
                del text[at:]
            case _:
                text[at:at] = text[:at]
    return bytes(text)


def sending(data, random_):
    async def script(peer):
        found = await peer.request()
        if found is None:
            return
        whole = data
        if b"sec-websocket-key: " in found[0].lower():
            key = found[0].lower().partition(b"sec-websocket-key: ")[0]
            key = found[0][len(key) + 19 :].split(b"\r\n")[0]
            head = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
            whole = head % accept_value(key) + data
        at = random_.randrange(len(whole) + 1)
        for piece in (whole[:at], whole[at:]):
            await peer.send(piece)
            await trio.lowlevel.checkpoint()

    return script


def receiver(messages):
    def on_message(text, _related):
        messages.append(text)

    return on_message


@pytest.mark.parametrize("seed", range(3))
async def test_mutated_responses_are_a_response_or_an_error(seed):
    random_ = random.Random(seed)
    for _ in range(RUNS):
        script = sending(mutated(random_.choice(RESPONSES), random_), random_)
        reasons = []
        async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
            for _ in range(2):
                try:
                    with trio.fail_after(10):
                        async with client.request("POST", server.url, (), b"x") as response:
                            await response.read(1000)
                except Unreachable as fault:
                    reasons.append(fault.reason)
            assert all(f"127.0.0.1:{server.port}" in reason for reason in reasons)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("carrier", "data"), [(HttpSse, EVENTS), (WebSocket, FRAMES)])
async def test_mutated_streams_are_messages_and_then_an_error(carrier, data, seed):
    random_ = random.Random(seed)
    for _ in range(RUNS):
        script = sending(mutated(data, random_), random_)
        messages = []
        async with scripted_server(script) as server:
            with trio.fail_after(10), pytest.raises((Lost, Unreachable)):
                await carrier(RemoteOptions(server.url)).run(receiver(messages))
        assert all(message.strip() and b"\n" not in message for message in messages)
