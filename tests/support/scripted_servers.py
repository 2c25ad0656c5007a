"""One daemon with scripted servers of both eras, and clients of both eras over each transport, as plain texts.

A pair is the era and the transport of a client, and its server. `PAIRS` has one pair of each kind: with and without
translation, with an own and a shared process, and through the aggregate.
"""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import attrs

from .daemon_process import daemon
from .handshake import initialize_params
from .raw_http import mirrored
from .wire import PING, PONG, TEXT, Broken, NothingReceived, Request, Socket, connect, frame, fresh_key

SCRIPTED = [sys.executable, str(Path(__file__).with_name("servers") / "scripted.py")]
REVISION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
SERVERS = {
    "legacy": {"command": [*SCRIPTED, "legacy"], "era": "legacy"},
    "shared": {"command": [*SCRIPTED, "legacy"], "era": "legacy", "share": "principal"},
    "modern": {"command": [*SCRIPTED, "modern"], "era": "modern"},
}
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
# Time in which a message that must not come would have arrived (seconds).
SILENCE = 0.2


@attrs.frozen
class Pair:
    """A client and its server."""

    era: str
    transport: str
    server: str

    @property
    def prefix(self):
        return "one__" if self.server == "aggregate" else ""

    @property
    def translates(self):
        spoken = {"legacy": "legacy", "shared": "legacy", "modern": "modern", "aggregate": "modern"}
        return spoken[self.server] != self.era or self.server == "aggregate"

    def __str__(self):
        return f"{self.era} {self.transport} {self.server}"


H, S, W, P = "H", "S", "W", "P"
CARRIERS = [Pair("legacy", transport, "legacy") for transport in (H, S, W, P)]
PAIRS = [
    *CARRIERS,
    Pair("legacy", H, "shared"),
    Pair("legacy", W, "modern"),
    Pair("legacy", H, "aggregate"),
    Pair("modern", H, "legacy"),
    Pair("modern", W, "legacy"),
    Pair("modern", H, "shared"),
    Pair("modern", W, "modern"),
    Pair("modern", H, "modern"),
    Pair("modern", W, "aggregate"),
    Pair("modern", P, "legacy"),
    Pair("modern", P, "modern"),
    Pair("legacy", P, "aggregate"),
]


@contextmanager
def served(folder):
    servers = {**SERVERS, "one": SERVERS["legacy"]}
    with daemon(folder, servers, aggregate={"servers": ["one"]}) as running:
        yield running


class Client:
    """A client of a pair. `send` sends a text, `receive` returns the next text of the bridge, also an error over HTTP."""

    def __init__(self, running, path):
        self.running = running
        self.path = path
        self.waiting = []
        self.status = None

    @property
    def base(self):
        return "" if self.path.server == "aggregate" else f"/servers/{self.path.server}"

    def head(self, method, target, *fields):
        token = self.running.token
        host, port = self.running.address
        more = (f"Host: {host}:{port}", f"Authorization: Bearer {token}", *fields)
        return Request(method, f"{self.base}{target}", more)

    def call(self, id_, method, params=None, *, raw=b""):
        """Return the text of a request. `raw` are further members of the params."""
        found = {**(params or {}), **({"_meta": META} if self.path.era == "modern" else {})}
        text = json.dumps(found)[:-1].encode() + (b", " if raw and found else b"") + raw + b"}"
        return b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}' % (id_, method.encode(), text)

    def tool(self, id_, name, *, raw=b"", **arguments):
        params = {"name": f"{self.path.prefix}{name}", "arguments": arguments}
        return self.call(id_, "tools/call", params, raw=raw)

    def raw(self, id_, *lines):
        """Return a call on which the server writes these lines."""
        return self.tool(id_, "raw", hex=b"".join(line + b"\n" for line in lines).hex())

    def answer(self, id_=b"1"):
        """Return the text of the response with this id, without notifications."""
        while True:
            text = self.receive()
            found = json.loads(text)
            if "method" not in found:
                assert found["id"] == json.loads(id_), text
                return text

    def exchange(self, text, id_=b"1"):
        self.send(text)
        return self.answer(id_)

    def exchange_json(self, text, id_=b"1"):
        return json.loads(self.exchange(text, id_))

    def open(self):
        if self.path.era == "modern":
            return
        request = self.call(b"0", "initialize", initialize_params(name="lines"))
        assert "result" in self.exchange_json(request, b"0")
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')


class Posts(Client):
    """Streamable HTTP, with a connection for each message."""

    session = ()

    def send(self, text):
        with connect(self.running.address) as connection:
            connection.send(self.post("/mcp", text, *self.session, *self.mirrored(text)))
            reply = connection.head()
            self.status = reply.status
            if reply.headers.get("content-type") == "text/event-stream":
                body = b"".join(connection.chunks())
                self.waiting += [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
            elif reply.status not in (202, 204):
                self.waiting.append(connection.exactly(int(reply.headers["content-length"])))
            if "mcp-session-id" in reply.headers:
                self.session = (f"Mcp-Session-Id: {reply.headers['mcp-session-id']}",)

    def post(self, target, text, *fields):
        kinds = ("Content-Type: application/json", "Accept: application/json, text/event-stream")
        return self.head("POST", target, *kinds, *fields).with_body(text)

    def mirrored(self, text):
        if self.path.era == "legacy":
            return ()
        try:
            message = json.loads(text)
            params = message.get("params") or {}
            method = str(message["method"])
        except (ValueError, AttributeError, KeyError):
            method, params = "tools/list", {}
        name = params.get("name", params.get("uri")) if isinstance(params, dict) else None
        named = (f"Mcp-Name: {mirrored(name)}",) if isinstance(name, str) else ()
        return (f"MCP-Protocol-Version: {REVISION}", f"Mcp-Method: {mirrored(method)}", *named)

    def receive(self):
        if not self.waiting:
            raise NothingReceived
        return self.waiting.pop(0)


class Stream(Posts):
    """HTTP+SSE: messages are sent by POST, responses arrive on the stream."""

    def __init__(self, running, path, events, target):
        super().__init__(running, path)
        self._events = events
        self._target = target

    def send(self, text):
        with connect(self.running.address) as connection:
            connection.send(attrs.evolve(self.post("", text), target=self._target))
            reply = connection.reply()
            self.status = reply.status
            if reply.status != 202:
                self.waiting.append(reply.body)

    def receive(self):
        return self.waiting.pop(0) if self.waiting else self._events.message().data.encode()


class Frames(Client):
    """WebSocket."""

    def __init__(self, running, path, connection):
        super().__init__(running, path)
        self.connection = connection
        self._socket = Socket(connection)

    def send(self, text):
        self.connection.send(frame(TEXT, text))

    def receive(self, timeout=20):
        opcode, payload = self._socket.next(timeout)
        while opcode in (PING, PONG):
            opcode, payload = self._socket.next(timeout)
        if opcode != TEXT:
            raise Broken(f"a frame with opcode {opcode}: {payload!r}")
        return payload


class Lines(Client):
    """The pipe endpoint."""

    def __init__(self, running, path, connection):
        super().__init__(running, path)
        self.connection = connection

    def send(self, text):
        # White space of JSON, which would end a line.
        self.connection.send(text.translate(_ONE_LINE) + b"\n")

    def receive(self, timeout=20):
        return self.connection.until(b"\n", timeout)[:-1]


@contextmanager
def client(running, path, *, opened=True):
    if path.transport == H:
        found = Posts(running, path)
        if opened:
            found.open()
        yield found
        return
    with connect(running.address) as connection:
        if path.transport == S:
            opening = Posts(running, path).head("GET", "/sse", "Accept: text/event-stream")
            connection.send(opening)
            assert connection.head().status == 200
            events = connection.events()
            target = next(events).data
            found = Stream(
                running,
                path,
                events,
                target if target.startswith("/") else f"/servers/{path.server}/{target}",
            )
        elif path.transport == P:
            found = Lines(running, path, connection)
            connection.send(found.head("GET", "/pipe", "Connection: Upgrade", "Upgrade: mcp-pipe"))
            assert connection.reply().status == 101
        else:
            found = Frames(running, path, connection)
            connection.send(
                found.head(
                    "GET",
                    "/ws",
                    "Connection: Upgrade",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Version: 13",
                    f"Sec-WebSocket-Key: {fresh_key()}",
                    "Sec-WebSocket-Protocol: mcp",
                )
            )
            assert connection.reply().status == 101
        if opened:
            found.open()
        yield found
