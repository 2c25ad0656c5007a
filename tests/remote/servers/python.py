"""`python.py KIND TRANSPORT`: an HTTP server with the tools of the matrix of remote servers; it prints its port.

KIND is mcp1, mcp2 (the official Python SDK, for which the interpreter decides) or fastmcp. TRANSPORT is http, json (HTTP that
answers with JSON where it can), sse or ws (mcp1 only). With SSL_KEYFILE and SSL_CERTFILE it serves TLS.
"""

import asyncio
import os
import socket
import sys

import uvicorn
from pydantic import BaseModel

KIND, TRANSPORT = sys.argv[1:]
if KIND == "mcp1":
    from mcp import types
    from mcp.server.fastmcp import Context, FastMCP

    server = FastMCP("remote", json_response=TRANSPORT == "json", log_level="ERROR")
elif KIND == "mcp2":
    from mcp import types
    from mcp.server.mcpserver import Context, MCPServer

    server = MCPServer("remote", version="1.0.0")
else:
    from fastmcp import Context, FastMCP

    server = FastMCP("remote")


class Answer(BaseModel):
    answer: str


@server.tool()
def echo(text: str) -> str:
    return text


@server.tool()
def add(a: float, b: float) -> str:
    return f"{a + b:g}"


@server.tool()
def big(size: int) -> str:
    return "é" * size


@server.tool()
def fail(text: str) -> str:
    raise ValueError(text)


@server.tool()
async def slow(ctx: Context, seconds: float = 1, steps: int = 10) -> str:
    for step in range(steps):
        await ctx.report_progress(step, steps)
        await asyncio.sleep(seconds / steps)
    return f"done in {seconds} s"


@server.tool()
async def log(text: str, ctx: Context) -> str:
    await ctx.info(text)
    return "logged"


if KIND == "mcp2":
    # The SDK sends a request of its own to a client of the handshake, and requires input from one of 2026-07-28.
    MODERN = "2026-07-28"

    @server.tool()
    async def ask(question: str, ctx: Context) -> str | types.InputRequiredResult:
        if ctx.protocol_version != MODERN:
            reply = await ctx.elicit(message=question, schema=Answer)
            return f"accept: {reply.data.answer}"
        given = (ctx.input_responses or {}).get("answer")
        if isinstance(given, types.ElicitResult):
            return f"{given.action}: {given.content['answer']}"
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
        form = types.ElicitRequestFormParams(message=question, requested_schema=schema)
        return types.InputRequiredResult(input_requests={"answer": types.ElicitRequest(params=form)})

elif KIND == "mcp1":

    @server.tool()
    async def ask(question: str, ctx: Context) -> str:
        reply = await ctx.elicit(message=question, schema=Answer)
        return f"{reply.action}: {reply.data.answer}"

else:

    @server.tool()
    async def ask(question: str, ctx: Context) -> str:
        reply = await ctx.elicit(message=question, response_type=Answer)
        return f"{reply.action}: {reply.data.answer}"


if KIND == "mcp1":

    @server.tool()
    async def think(prompt: str, ctx: Context) -> str:
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
        reply = await ctx.session.create_message([message], max_tokens=100)
        return f"{reply.model}: {reply.content.text}"


def application():
    if TRANSPORT == "ws":
        from mcp.server.websocket import websocket_server  # noqa: PLC0415 - only SDK 1.x has it

        async def serve(scope, receive, send):
            if scope["type"] == "websocket":
                inner = server._mcp_server
                async with websocket_server(scope, receive, send) as streams:
                    await inner.run(*streams, inner.create_initialization_options())

        return serve
    if KIND == "fastmcp":
        return (
            server.http_app(path="/mcp")
            if TRANSPORT != "sse"
            else server.http_app(path="/sse", transport="sse")
        )
    if TRANSPORT == "sse":
        return server.sse_app()
    return server.streamable_http_app(**({"json_response": TRANSPORT == "json"} if KIND == "mcp2" else {}))


listener = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listener.getsockname()[1], flush=True)
tls = {name: os.environ.get(name.upper()) for name in ("ssl_keyfile", "ssl_certfile")}
config = uvicorn.Config(
    application(), log_level="error", lifespan="off" if TRANSPORT == "ws" else "auto", **tls
)
uvicorn.Server(config).run([listener])
