"""Connections to a server: its own pipe, and each transport of the bridge. All carry whole messages as raw bytes."""

import contextlib
import json
import math
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import attrs
import trio
import trio_websocket

from tests.support import raw_http
from tests.support.bridge_process import PROGRAM
from tests.support.daemon_process import Daemon

MODERN = "2026-07-28"
PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
# The largest message that is read (bytes).
LARGEST = 1 << 26


@attrs.frozen
class Carrier:
    """One connection to a server."""

    send: Callable[[bytes], Awaitable[None]]
    # Each message or other line from the server, without its line end. Closed at the end of the connection.
    received: trio.MemoryReceiveChannel[bytes]
    # Whether all messages arrive on one stream, so that their order can be compared.
    ordered: bool = True
    # Whether messages come as events, in which three characters are escaped.
    escapes: bool = False


# ---- a program on its standard streams


@contextlib.asynccontextmanager
async def pipe(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> AsyncIterator[Carrier]:
    """Start the program and end it, with all of its process group."""
    with log.open("ab") as stderr:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    put, received = trio.open_memory_channel[bytes](math.inf)

    async def send(line: bytes) -> None:
        # The server may have exited. A missing response is recorded below.
        with contextlib.suppress(trio.BrokenResourceError):
            await process.stdin.send_all(line + b"\n")

    async def read() -> None:
        unread = b""
        async with put:
            async for data in process.stdout:
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    await put.send(line.removesuffix(b"\r"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            yield Carrier(send, received)
        finally:
            with trio.CancelScope(shield=True):
                await process.stdin.aclose()
                with trio.move_on_after(2):
                    await process.wait()
                for number in (signal.SIGTERM, signal.SIGKILL):
                    # The group may outlive its leader.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
                        with trio.move_on_after(2):
                            await process.wait()
                await process.wait()
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def over_connect(running: Daemon, name: str) -> AsyncIterator[Carrier]:
    """`mcp-bridge connect NAME`."""
    command = [str(PROGRAM), "connect", name, "--config", str(running.config)]
    async with pipe(command, running.variables, running.folder, running.folder / "connect.log") as carrier:
        yield carrier


# ---- Streamable HTTP


@attrs.define
class Http:
    """A client of Streamable HTTP, of the handshake revisions or of 2026-07-28. One connection for each POST."""

    running: Daemon
    path: str
    nursery: trio.Nursery
    put: trio.MemorySendChannel[bytes]
    session: dict[str, str] = attrs.field(factory=dict)
    listens: bool = False

    async def send(self, line: bytes) -> None:
        """Return when the message is accepted. The answer of a request is received in the background."""
        message, is_answered = _outermost(line)
        if is_answered:
            await self.nursery.start(self._post, line, message)
        else:
            await self._post(line, message)
        if message.get("method") == "notifications/initialized" and not self.listens:
            self.listens = True
            await self.nursery.start(self._listen)

    async def end(self) -> None:
        if self.session:
            async with raw_http.connect(self.running) as connection:
                await connection.request("DELETE", self.path, self.session)

    async def _post(self, line: bytes, message: Any, task_status=trio.TASK_STATUS_IGNORED) -> None:
        headers = {"Accept": raw_http.BOTH, "Content-Type": "application/json"}
        async with raw_http.connect(self.running) as connection:
            await connection.send("POST", self.path, headers | self._headers(message), line)
            task_status.started()
            _, fields = await connection.head()
            if "mcp-session-id" in fields:
                self.session["Mcp-Session-Id"] = fields["mcp-session-id"]
            await self._read(connection, fields)

    async def _listen(self, task_status=trio.TASK_STATUS_IGNORED) -> None:
        async with raw_http.connect(self.running) as connection:
            await connection.send("GET", self.path, {"Accept": "text/event-stream", **self.session})
            _, fields = await connection.head()
            task_status.started()
            with contextlib.suppress(ConnectionResetError):
                await self._read(connection, fields)

    async def _read(self, connection: raw_http.Connection, fields: Mapping[str, str]) -> None:
        if fields.get("content-type", "").startswith("text/event-stream"):
            while (event := await connection.event()) is not None:
                if event.data:
                    await self._put(event.data.encode())
        elif body := await connection._exactly(int(fields.get("content-length", "0"))):
            await self._put(body)

    async def _put(self, message: bytes) -> None:
        if self.session and "MCP-Protocol-Version" not in self.session:
            # The response to initialize is the first message with a result, because log messages may precede it.
            result = _outermost(message)[0].get("result")
            if isinstance(result, dict) and isinstance(result.get("protocolVersion"), str):
                self.session["MCP-Protocol-Version"] = result["protocolVersion"]
        await self.put.send(message)

    def _headers(self, message: Any) -> dict[str, str]:
        params = message.get("params")
        if not isinstance(params, dict) or PROTOCOL_VERSION not in (params.get("_meta") or {}):
            return self.session
        name = params.get("name", params.get("uri"))
        named = {} if name is None else {"Mcp-Name": raw_http.mirrored(name)}
        return {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"], **named}


def _outermost(line: bytes) -> tuple[dict[str, Any], bool]:
    """Return a message, and whether a POST of it has an answer with a message. A batch and what cannot be read have no members."""
    try:
        found = json.loads(line, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return {}, True
    every = found if isinstance(found, list) else [found]
    is_answered = any(not isinstance(one, dict) or ("id" in one and "method" in one) for one in every)
    return (found if isinstance(found, dict) else {}), is_answered


@contextlib.asynccontextmanager
async def over_http(running: Daemon, name: str) -> AsyncIterator[Carrier]:
    put, received = trio.open_memory_channel[bytes](math.inf)
    async with trio.open_nursery() as nursery:
        client = Http(running, f"/servers/{name}/mcp", nursery, put)
        yield Carrier(client.send, received, ordered=False, escapes=True)
        await client.end()
        nursery.cancel_scope.cancel()


# ---- HTTP+SSE


@contextlib.asynccontextmanager
async def over_sse(running: Daemon, name: str) -> AsyncIterator[Carrier]:
    put, received = trio.open_memory_channel[bytes](math.inf)
    path = f"/servers/{name}/sse"
    async with raw_http.connect(running) as stream, trio.open_nursery() as nursery:
        await stream.send("GET", path, {"Accept": "text/event-stream"})
        status, _ = await stream.head()
        assert status == 200, status
        endpoint = await stream.event()
        assert endpoint is not None
        assert endpoint.kind == "endpoint"
        target = urljoin(path, endpoint.data)

        async def send(line: bytes) -> None:
            async with raw_http.connect(running) as connection:
                answer = await connection.request("POST", target, {"Content-Type": "application/json"}, line)
            if answer.status != 202:
                # A refusal of what cannot be read.
                await put.send(answer.body)

        async def read() -> None:
            async with put:
                with contextlib.suppress(ConnectionResetError):
                    while (event := await stream.event()) is not None:
                        if event.data:
                            await put.send(event.data.encode())

        nursery.start_soon(read)
        yield Carrier(send, received, escapes=True)
        nursery.cancel_scope.cancel()


# ---- WebSocket


@contextlib.asynccontextmanager
async def over_lines(running: Daemon, name: str) -> AsyncIterator[Carrier]:
    """Carry lines over the pipe endpoint."""
    put, received = trio.open_memory_channel[bytes](math.inf)
    async with await trio.open_unix_socket(running.unix) as stream, trio.open_nursery() as nursery:
        await stream.send_all(
            b"GET /servers/%b/pipe HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: mcp-pipe\r\n\r\n"
            % name.encode()
        )
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += await stream.receive_some(1)
        assert buffer.startswith(b"HTTP/1.1 101 "), buffer

        async def send(line: bytes) -> None:
            await stream.send_all(line + b"\n")

        async def read() -> None:
            begun: list[bytes] = []
            async with put:
                while data := await stream.receive_some(65536):
                    first, *more = data.split(b"\n")
                    begun.append(first)
                    for part in more:
                        await put.send(b"".join(begun))
                        begun = [part]

        nursery.start_soon(read)
        yield Carrier(send, received)
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def over_websocket(running: Daemon, name: str) -> AsyncIterator[Carrier]:
    put, received = trio.open_memory_channel[bytes](math.inf)
    async with (
        trio_websocket.open_websocket_url(
            running.url(name, "ws"),
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {running.token}")],
            disconnect_timeout=1,
            max_message_size=LARGEST,
        ) as socket,
        trio.open_nursery() as nursery,
    ):

        async def send(line: bytes) -> None:
            await socket.send_message(line.decode())

        async def read() -> None:
            async with put:
                with contextlib.suppress(trio_websocket.ConnectionClosed):
                    while True:
                        await put.send((await socket.get_message()).encode())

        nursery.start_soon(read)
        yield Carrier(send, received)
        nursery.cancel_scope.cancel()
