"""Clients of one server of a daemon: stateless requests, and sessions over WebSocket."""

import json

import trio_websocket

from .bridge_process import EXAMPLE
from .raw_http import INITIALIZE, connect
from .stateless_requests import headers_of, request

SLOW = {"name": "slow", "arguments": {"seconds": 2, "steps": 2}}


def example(**keys):
    return {"command": EXAMPLE, **keys}


async def stateless_request(running, server, method, params=None, token=None, caps=None, **headers):
    """Send a stateless request to a server (a name or a path). Return the status and the JSON of the response."""
    body = request(method, params, caps=caps)
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    path = server if server.startswith("/") else f"/servers/{server}/mcp"
    async with connect(running) as connection:
        await connection.send("POST", path, headers_of(body, **headers), json.dumps(body).encode())
        answer = await connection.answer()
    return answer.status, answer.json


class Socket:
    """A session over WebSocket with many calls in flight."""

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
        # The reader of trio-websocket waits forever if a message is not read and the stream is closed below it.
        await connection._recv_channel.aclose()
        # trio-websocket leaves the stream open if the peer closes first.
        await connection._stream.aclose()

    stack.push_async_callback(end)
    opened = Socket(connection)
    await opened.open()
    return opened
