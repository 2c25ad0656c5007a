"""The client of the official Python SDK over each of the three transports."""

import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import trio
import trio_websocket
from mcp import Client, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from .bridge_process import Bridge

TRANSPORTS = ("http", "sse", "ws")
# Marks of all tests that use the SDK.
SDK_WARNINGS = (
    # The SDK deprecates features that 2026-07-28 has removed.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    # The SDK does not close the generators of an event stream after the response.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core)2:ResourceWarning"),
)


@asynccontextmanager
async def connect(bridge: Bridge, transport: str, **options: Any) -> AsyncIterator[Client]:
    """Yield an initialized client. The block is limited to 30 s."""
    try:
        async with _connected(bridge, transport, options) as client:
            yield client
    finally:
        # Resources that the SDK leaves open are collected here and not during another test.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()


@asynccontextmanager
async def _connected(bridge: Bridge, transport: str, options: dict[str, Any]) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(30))
        if transport == "http":
            http = await stack.enter_async_context(create_mcp_http_client(headers=bridge.headers))
            streams = streamable_http_client(bridge.mcp, http_client=http)
        elif transport == "sse":
            streams = sse_client(bridge.sse, headers=bridge.headers)
        else:
            streams = websocket_client(bridge.ws, bridge.headers)
        yield await stack.enter_async_context(Client(streams, **{"mode": "legacy", **options}))


@asynccontextmanager
async def websocket_client(url: str, headers: dict[str, str]) -> AsyncIterator[tuple[Any, Any]]:
    """Yield the streams of a WebSocket transport, which the SDK no longer has. One text message is one JSON-RPC message."""
    received, to_read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_write, sent = anyio.create_memory_object_stream[SessionMessage](0)

    async def read(socket: trio_websocket.WebSocketConnection) -> None:
        try:
            while True:
                message = jsonrpc_message_adapter.validate_json(await socket.get_message(), by_name=False)
                await received.send(SessionMessage(message))
        except trio_websocket.ConnectionClosed:
            received.close()

    async def write(socket: trio_websocket.WebSocketConnection) -> None:
        async for item in sent:
            await socket.send_message(item.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with (
        trio_websocket.open_websocket_url(
            url,
            subprotocols=["mcp"],
            extra_headers=[(name, value.encode()) for name, value in headers.items()],
        ) as socket,
        received,
        to_read,
        to_write,
        sent,
        trio.open_nursery() as nursery,
    ):
        assert socket.subprotocol == "mcp"
        nursery.start_soon(read, socket)
        nursery.start_soon(write, socket)
        yield to_read, to_write
        nursery.cancel_scope.cancel()


def text_of(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    return result.content[0].text


async def answer_elicitation(_context, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"answer": params.message[::-1]})


async def answer_sampling(_context, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    words = params.messages[0].content.text.upper()
    return types.CreateMessageResult(
        role="assistant", model="loud", content=types.TextContent(type="text", text=words)
    )


async def answer_roots(_context) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///here"), types.Root(uri="file:///there")])


def client_of(running, name, transport, mode, key=None, **headers):
    key_header = {} if key is None else {"x-kEy": key}
    place = SimpleNamespace(
        mcp=running.url(name),
        sse=running.url(name, "sse"),
        ws=running.url(name, "ws"),
        headers={**running.headers, **key_header, **headers},
    )
    return connect(place, transport, mode=mode)
