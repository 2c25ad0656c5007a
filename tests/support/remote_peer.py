"""A remote MCP server whose responses a test decides, and a connection to it."""

import json
from contextlib import asynccontextmanager

import attrs
import trio

from mcpbridged.transports.client.detection import RemoteMemory
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.remote_server import RemoteServer
from mcpbridged.validators.limits import Limits

from .scripted_http import scripted_server

RESULT = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "peer", "version": "1"}}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Exchange:
    """One HTTP request, and its response."""

    def __init__(self, peer, head, body):
        self._peer = peer
        lines = head.decode("latin-1").split("\r\n")
        self.verb = lines[0].split()[0]
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        self.body = body
        self.message = json.loads(body) if body else {}

    @property
    def method(self):
        return self.message.get("method", "")

    @property
    def id(self):
        return self.message.get("id")

    async def send(self, body=b"", status=200, kind="application/json", **headers):
        """Send a whole response."""
        fields = [b"Content-Type: %b" % kind.encode()] if kind else []
        fields += [
            b"%b: %b" % (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ]
        await self._peer.answer(body, b"%d X" % status, *fields)

    async def json(self, message, status=200, **headers):
        await self.send(json.dumps(message).encode(), status, **headers)

    async def result(self, result=None, **headers):
        """Send the result of the request as JSON."""
        await self.json({"jsonrpc": "2.0", "id": self.id, "result": result or {}}, **headers)

    async def accepted(self):
        await self.send(status=202, kind="")

    async def events(self, **headers):
        """Begin an event stream."""
        fields = b"".join(
            b"%b: %b\r\n" % (name.replace("_", "-").encode(), value.encode())
            for name, value in headers.items()
        )
        await self._peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n%b\r\n"
            % fields
        )

    async def chunk(self, data):
        await self._peer.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, message, event_id="", retry=None):
        """Send one event; an empty message for one without data."""
        text = message if isinstance(message, bytes) else json.dumps(message).encode() if message else b""
        lead = f"id: {event_id}\n".encode() if event_id else b""
        if retry is not None:
            lead += b"retry: %d\n" % retry
        await self.chunk(lead + b"data: " + text + b"\n\n")

    async def end(self):
        """End an event stream."""
        await self._peer.send(b"0\r\n\r\n")

    async def reset(self):
        """Close the connection in the middle."""
        await trio.aclose_forcefully(self._peer.stream)

    async def left(self):
        """Wait until the client has closed the connection."""
        await self._peer.ended()


@attrs.define(eq=False)
class RemotePeer:
    """The server. `journal` has each request in the order of arrival."""

    url: str
    journal: list = attrs.field(factory=list)
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def until(self, condition):
        """Wait until the condition is true for the journal."""
        while not condition(self.journal):
            self.changed = trio.Event()
            await self.changed.wait()

    def sent(self, *methods):
        """Return the methods of the POSTs, all or those named."""
        return [e.method for e in self.journal if e.verb == "POST" and (not methods or e.method in methods)]


@asynccontextmanager
async def remote_peer(handler):
    """Serve each request with `handler(exchange)` and yield the RemotePeer."""
    found = []

    async def script(peer):
        while (request := await peer.request()) is not None:
            exchange = Exchange(peer, *request)
            found[0].journal.append(exchange)
            found[0].changed.set()
            await handler(exchange)

    async with scripted_server(script) as server:
        found.append(RemotePeer(server.url))
        yield found[0]


class Received:
    """What the bridge has received of a remote server, and the end of the connection."""

    def __init__(self):
        self.lines = []
        self.related = []
        self.notes = []
        self.exits = []
        self.changed = trio.Event()

    def on_exit(self, exit_):
        self.exits.append(exit_)
        self.changed.set()

    @property
    def messages(self):
        return [json.loads(line) for line in self.lines]

    async def until(self, count):
        while len(self.lines) < count and not self.exits:
            self.changed = trio.Event()
            await self.changed.wait()
        return self.messages

    async def end(self):
        while not self.exits:
            self.changed = trio.Event()
            await self.changed.wait()
        return self.exits[0].describe()

    def answers(self, raw_id):
        return [one for one in self.messages if one.get("id") == raw_id and "method" not in one]


class Client:
    """A connection to a remote server, and the messages over it."""

    def __init__(self, server, received):
        self.server = server
        self.received = received

    def send(self, **message):
        self.server.send(json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode())

    def call(self, number, method="tools/call", **params):
        self.send(id=number, method=method, params=params)

    def modern(self, number, method="tools/call", **params):
        self.call(number, method, _meta=META, **params)

    async def ask(self, number, method="tools/call", **params):
        """Send a request, and wait for its answer."""
        self.call(number, method, **params)
        return await self.answer(number)

    async def ask_modern(self, number, method="tools/call", **params):
        self.modern(number, method, **params)
        return await self.answer(number)

    async def answer(self, number):
        while not self.received.answers(number) and not self.received.exits:
            self.received.changed = trio.Event()
            await self.received.changed.wait()
        assert len(self.received.answers(number)) == 1, self.received.exits
        return self.received.answers(number)[0]

    async def initialize(self, **capabilities):
        """Open a session."""
        answer = await self.ask(
            0,
            "initialize",
            protocolVersion="2025-11-25",
            capabilities=capabilities,
            clientInfo={"name": "c", "version": "1"},
        )
        self.send(method="notifications/initialized")
        return answer


@asynccontextmanager
async def connected(url, *, memory=None, limits=None, make_carrier=None, seconds=10, **options):
    """Yield a Client of the server at this URL, and close its connection in the end."""
    received = Received()
    limits = limits or Limits()
    server = RemoteServer(
        RemoteOptions(url, limits=limits, proxy="", **options), memory or RemoteMemory(), -1, make_carrier
    )

    def on_line(line):
        received.lines.append(line)
        received.related.append(server.related)
        received.changed.set()

    server.set_line_handler(on_line)
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, received.notes.append, received.on_exit)
            yield Client(server, received)
            server.stop()
