"""A server of the official Python SDK, version 1 or 2, over Streamable HTTP and HTTP+SSE on a port of its own choice.

Usage: remote.py json=0 stateless=0 store=0 sse=0. It prints the port when it accepts connections.
"""

import itertools
import socket
import sys

import anyio
import uvicorn

try:
    from mcp.server.mcpserver import Context, MCPServer
except ImportError:
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as MCPServer
from mcp.server.streamable_http import EventMessage, EventStore
from pydantic import BaseModel

OPTIONS = dict(word.split("=") for word in sys.argv[1:])
server = MCPServer("remote")
counter = itertools.count(1)


class Answer(BaseModel):
    name: str


class Store(EventStore):
    """All events of all streams."""

    def __init__(self):
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send_callback):
        at = int(last_event_id)
        stream = self.events[at - 1][0]
        for number, (stream_id, message) in enumerate(self.events[at:], at + 1):
            if stream_id == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


@server.tool()
def echo(text: str) -> str:
    return text


@server.tool()
def count() -> int:
    return next(counter)


@server.tool()
async def wait(seconds: float, context: Context) -> str:
    for step in range(3):
        await context.report_progress(step, 3)
        await anyio.sleep(seconds / 3)
    return "waited"


@server.tool()
async def ask(context: Context) -> str:
    found = await context.elicit("your name?", Answer)
    return f"{found.action}: {found.data.name if found.action == 'accept' else ''}"


@server.tool()
async def close_stream(context: Context) -> str:
    """Make the client continue this response with another request (MCP 2025-11-25 basic/transports)."""
    await context.close_sse_stream()
    await anyio.sleep(0.2)
    return "continued"


@server.resource("test://one")
def one() -> str:
    return "1"


def application():
    if OPTIONS.get("sse") == "1":
        return server.sse_app()
    options = {"json_response": OPTIONS.get("json") == "1", "stateless_http": OPTIONS.get("stateless") == "1"}
    if OPTIONS.get("store") == "1":
        options.update(event_store=Store(), retry_interval=50)
    try:
        return server.streamable_http_app(**options)
    except TypeError:
        for name, value in options.items():
            if hasattr(server.settings, name):
                setattr(server.settings, name, value)
            else:
                setattr(server, f"_{name}", value)
        return server.streamable_http_app()


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(sockets[0].getsockname()[1], flush=True)


listener = socket.create_server(("127.0.0.1", 0))
Server(uvicorn.Config(application(), log_level="warning", timeout_graceful_shutdown=1)).run(
    sockets=[listener]
)
