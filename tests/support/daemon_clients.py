"""Clients of one server of a daemon, without a session and over WebSocket."""

import json

import trio_websocket

from .bridge_process import EXAMPLE
from .raw_http import INITIALIZE, connect
from .stateless_requests import headers_of, request

SLOW = {"name": "slow", "arguments": {"seconds": 2, "steps": 2}}


def example(**keys):
    return {"command": EXAMPLE, **keys}


async def stateless_request(running, server, method, params=None, token=None):
    """The status and the JSON of what a stateless client is answered."""
    body = request(method, params)
    more = {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(running) as connection:
        await connection.send(
            "POST", f"/servers/{server}/mcp", headers_of(body, **more), json.dumps(body).encode()
        )
        answer = await connection.answer()
    return answer.status, answer.json


class Socket:
    """A session over WebSocket, and a way to have many calls in flight on it."""

    def __init__(self, connection):
        self._connection = connection

    async def open(self):
        await self._send({"id": 0, "method": "initialize", "params": INITIALIZE})
        assert "result" in json.loads(await self._connection.get_message())
        await self._send({"method": "notifications/initialized"})

    async def _send(self, message):
        await self._connection.send_message(json.dumps({"jsonrpc": "2.0", **message}))

    async def begin(self, count, params=SLOW):
        for number in range(1, count + 1):
            await self._send({"id": number, "method": "tools/call", "params": params})

    async def answers(self, count):
        found = {}
        while len(found) < count:
            message = json.loads(await self._connection.get_message())
            if "id" in message:
                found[message["id"]] = message
        return found


async def open_socket(running, server, stack, token=None):
    connection = await stack.enter_async_context(
        trio_websocket.open_websocket_url(
            running.url(server, "ws") if server else running.ws,
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {token or running.token}")],
            disconnect_timeout=1,
        )
    )

    async def end():
        # Its reader waits for ever where a message is not taken and the stream is closed below it.
        await connection._recv_channel.aclose()
        await connection._stream.aclose()  # it leaves it open where the other side closes first

    stack.push_async_callback(end)
    opened = Socket(connection)
    await opened.open()
    return opened
