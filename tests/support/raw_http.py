"""A small HTTP/1.1 client with access to every byte, for requests that HTTP libraries do not send.

It relies on the framing of the bridge only to find the end of a response, and asserts the rest.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import attrs
import trio

from .bridge_process import Bridge
from .handshake import initialize_params

BOTH = "application/json, text/event-stream"
INITIALIZE = initialize_params(capabilities={"elicitation": {}, "sampling": {}, "roots": {}}, name="raw")


def mirrored(name: str) -> str:
    """Return a name as a header mirrors it (MCP 2026-07-28 basic/transports)."""
    if name.isascii() and name.isprintable() and name.strip() == name:
        return name
    return f"=?base64?{base64.b64encode(name.encode(errors='replace')).decode()}?="


@attrs.frozen
class Event:
    """One server-sent event."""

    id: str
    kind: str
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@attrs.frozen
class Answer:
    """A response that was read completely."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the message. A response after more than a second is the only event of a stream."""
        if self.headers.get("content-type") == "text/event-stream":
            [data] = [line for line in self.body.split(b"\n") if line.startswith(b"data: {")]
            return json.loads(data.removeprefix(b"data: "))
        return json.loads(self.body)


class Connection:
    """One connection with one request at a time."""

    def __init__(self, bridge: Bridge, stream: trio.SocketStream) -> None:
        self._authority = "{}:{}".format(*bridge.address)
        self._token = bridge.token
        self._stream = stream
        self._buffer = b""
        self._text = b""

    async def send(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        fields = {"Host": self._authority, "Authorization": f"Bearer {self._token}", **(headers or {})}
        if method == "POST":
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        await self._stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        head = (await self._until(b"\r\n\r\n")).decode()
        status, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
        assert status.startswith("HTTP/1.1 "), status
        return int(status.split(" ")[1]), {
            name.lower(): value.strip() for name, value in (field.split(":", 1) for field in fields)
        }

    async def answer(self) -> Answer:
        status, headers = await self.head()
        if "content-length" in headers:
            body = await self._exactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := await self._chunk():
                body += chunk
        else:
            assert status in (202, 204), status
            body = b""
        return Answer(status, headers, body)

    async def event(self) -> Event | None:
        """Return the next event of a stream whose head was read, or None at its regular end."""
        while True:
            while b"\n\n" not in self._text:
                chunk = await self._chunk()
                if not chunk:
                    assert not self._text
                    return None
                self._text += chunk
            block, _, self._text = self._text.partition(b"\n\n")
            fields = [line.split(":", 1) for line in block.decode().split("\n")]
            values = {name: value.removeprefix(" ") for name, value in fields}
            # A block without a field name is a comment (a heartbeat).
            if "" not in values:
                return Event(values.get("id", ""), values.get("event", "message"), values.get("data", ""))

    async def events(self) -> list[Event]:
        """Return all events until the end of the stream."""
        found = []
        while (event := await self.event()) is not None:
            found.append(event)
        return found

    async def message(self) -> Any:
        """Return the JSON of the next event with data."""
        while (event := await self.event()) is not None:
            if event.data:
                return event.json
        raise AssertionError("the stream ended")

    async def request(self, *request: Any) -> Answer:
        await self.send(*request)
        return await self.answer()

    async def _chunk(self) -> bytes:
        """Return the next chunk of the body, b"" at its end."""
        size = int((await self._until(b"\r\n")).strip(), 16)
        chunk = await self._exactly(size)
        assert await self._exactly(2) == b"\r\n"
        return chunk

    async def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            await self._more()
        found, _, self._buffer = self._buffer.partition(end)
        return found + end

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    async def _more(self) -> None:
        data = await self._stream.receive_some(1 << 20)
        if not data:
            raise ConnectionResetError(f"the bridge closed the connection after {self._buffer!r}")
        self._buffer += data


class Session:
    """A session over Streamable HTTP on any number of connections."""

    def __init__(self, bridge: Bridge, session_id: str) -> None:
        self.bridge = bridge
        self.id = session_id
        self.headers = {
            "Mcp-Session-Id": session_id,
            "MCP-Protocol-Version": "2025-11-25",
            "Accept": BOTH,
            "Content-Type": "application/json",
        }

    @classmethod
    async def begin(cls, bridge: Bridge, connection: Connection) -> Self:
        headers = {"Accept": BOTH, "Content-Type": "application/json"}
        answer = await connection.request("POST", "/mcp", headers, message("initialize", INITIALIZE, id=0))
        assert answer.status == 200, answer
        session = cls(bridge, answer.headers["mcp-session-id"])
        assert (await session.post(connection, message("notifications/initialized"))).status == 202
        return session

    async def send(self, connection: Connection, body: bytes, **headers: str) -> None:
        await connection.send("POST", "/mcp", {**self.headers, **headers}, body)

    async def post(self, connection: Connection, body: bytes, **headers: str) -> Answer:
        await self.send(connection, body, **headers)
        return await connection.answer()

    async def call(self, connection: Connection, tool: str, id: int = 1, **arguments: Any) -> Any:  # noqa: A002
        """Call a tool. Return the text of its result, which no message may precede."""
        answer = await self.post(connection, tool_call(tool, id, **arguments))
        assert answer.status == 200, answer
        assert answer.json["id"] == id
        return answer.json["result"]["content"][0]["text"]

    async def end(self, connection: Connection) -> int:
        return (await connection.request("DELETE", "/mcp", self.headers)).status


@asynccontextmanager
async def connect(bridge: Bridge) -> AsyncIterator[Connection]:
    async with await trio.open_tcp_stream(*bridge.address) as stream:
        yield Connection(bridge, stream)


def message(method: str, params: Any = None, **fields: Any) -> bytes:
    named = {"params": params} if params is not None else {}
    return json.dumps({"jsonrpc": "2.0", **fields, "method": method, **named}).encode()


def tool_call(tool: str, id: int, *, token: str | None = None, **arguments: Any) -> bytes:  # noqa: A002
    meta = {"_meta": {"progressToken": token}} if token else {}
    return message("tools/call", {"name": tool, "arguments": arguments, **meta}, id=id)
