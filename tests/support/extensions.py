"""Clients of both eras of a server with extensions, with the same few operations."""

import contextlib
import json

import trio

from .raw_http import BOTH
from .sharing import Client, connected, over_websocket, session

PREFIX = "io.modelcontextprotocol/"
UI = f"{PREFIX}ui"
VENDOR = "com.example/stream"
DECLARED = {
    "extensions": {UI: {"mimeTypes": ["text/html;profile=mcp-app"]}, VENDOR: {"version": "3", "é": [1.50]}},
    "experimental": {"exampleThing": {"y": None}},
}


class Modern(Client):
    """A client of revision 2026-07-28, whose requests are stateless."""

    def __init__(self, send, capabilities):
        super().__init__(send)
        self.capabilities = capabilities
        self.level = ""

    async def begin(self, method, params=None):
        meta = {
            **(params or {}).get("_meta", {}),
            f"{PREFIX}protocolVersion": "2026-07-28",
            f"{PREFIX}clientCapabilities": self.capabilities,
            f"{PREFIX}clientInfo": {"name": "modern", "version": "1"},
        }
        if self.level:
            meta[f"{PREFIX}logLevel"] = self.level
        return await super().begin(method, {**(params or {}), "_meta": meta})


@contextlib.asynccontextmanager
async def modern_over_http(running, path, capabilities):
    async def post(message, *, task_status=trio.TASK_STATUS_IGNORED):
        headers = {
            "Accept": BOTH,
            "Content-Type": "application/json",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": message["method"],
        }
        params = message.get("params", {})
        if message["method"] in ("tools/call", "resources/read"):
            headers["Mcp-Name"] = params.get("name") or params["uri"]
        async with connected(running) as connection:
            await connection.send("POST", f"{path}/mcp", headers, json.dumps(message).encode())
            if "id" in message:
                task_status.started()
            status, found = await connection.head()
            client.statuses.append(status)
            if status == 202:
                task_status.started()
            elif found.get("content-type") == "text/event-stream":
                while (event := await connection.event()) is not None:
                    if event.data:
                        await client.put.send(event.json)
            else:
                await client.put.send(json.loads(await connection._exactly(int(found["content-length"]))))

    async with trio.open_nursery() as nursery:

        async def send(message):
            await nursery.start(post, message)

        client = Modern(send, capabilities)
        client.statuses = []
        yield client
        nursery.cancel_scope.cancel()


def modern_over_websocket(running, path, capabilities):
    return over_websocket(running, path, lambda send: Modern(send, capabilities))


MODERN = {"modern http": modern_over_http, "modern ws": modern_over_websocket}


@contextlib.asynccontextmanager
async def client_of(running, kind, server, capabilities=DECLARED):
    """Yield a client of a kind: a transport, "modern http" or "modern ws". It has the capabilities of the server."""
    if kind in MODERN:
        path = f"/servers/{server}" if server else ""
        async with MODERN[kind](running, path, capabilities) as client:
            answer = await client.request("server/discover")
            client.server_capabilities = answer["result"]["capabilities"]
            yield client
    else:
        async with session(running, kind, server, capabilities) as client:
            client.server_capabilities = client.initialize_result["capabilities"]
            yield client


async def notify(client, method, params):
    await client.send({"jsonrpc": "2.0", "method": method, "params": params})


async def wait_for_notification(client, method):
    """Return the first notification of this method, also if it was received earlier."""
    for message in client.received:
        if message.get("method") == method:
            return message
    return await client.until(lambda message: message.get("method") == method)
