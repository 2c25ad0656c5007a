"""An MCP server of the official Python SDK over Streamable HTTP, of both eras. It prints its URL.

Tools: `echo` returns its text. `ask` requests a value with elicitation/create and returns it after its text. `pause` returns
after some seconds. `heads` returns the header fields of all requests so far.
"""

import json
import socket
import sys

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

server = MCPServer("http-sdk")
heads: list[dict[str, str]] = []
counts = {"echo": 0}


class Value(BaseModel):
    value: str


@server.tool()
def echo(text: str) -> str:
    counts["echo"] += 1
    return text


@server.tool()
async def ask(text: str, ctx: Context, seconds: float = 0) -> str:
    await anyio.sleep(seconds)
    found = await ctx.elicit(message=text, schema=Value)
    return f"{text}: {found.data.value if found.action == 'accept' else found.action}"


@server.tool()
async def pause(seconds: float) -> str:
    await anyio.sleep(seconds)
    return "done"


@server.tool()
def seen() -> str:
    return json.dumps(heads)


def noting(app):
    """Return the application, which stores the header fields of each request."""

    async def note(scope, receive, send):
        if scope["type"] == "http":
            heads.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await app(scope, receive, send)

    return note


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0)) as listener:
        config = uvicorn.Config(noting(server.streamable_http_app()), log_level="critical", lifespan="on")
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
        anyio.run(uvicorn.Server(config).serve, [listener])


if __name__ == "__main__":
    main()
