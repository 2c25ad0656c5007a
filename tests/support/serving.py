"""A listener in the process of the test, with endpoints that each have one behaviour."""

import contextlib
import socket

import attrs
import trio

from mcpbridged.transports.endpoints.sse_writer import write_events
from mcpbridged.transports.http.gate import Gate
from mcpbridged.transports.http.listen import Listener, bind_tcp, serve
from mcpbridged.transports.http.quota import Quota
from mcpbridged.transports.http.routes import Routes, healthz
from mcpbridged.transports.http.service import Service
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.transports.ticker import Ticker
from mcpbridged.validators.bearer import TokenSet
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.origin import Site

TOKEN = "mcpb_" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


@attrs.define
class RecordingLog:
    """A log that stores its events."""

    events: list = attrs.field(factory=list)

    def debug(self, event, **fields):
        self.events.append(("debug", event, fields))

    def info(self, event, **fields):
        self.events.append(("info", event, fields))

    def warning(self, event, **fields):
        self.events.append(("warning", event, fields))

    def error(self, event, **fields):
        self.events.append(("error", event, fields))


async def echo(exchange):
    body = await exchange.read_body()
    await exchange.answer(200, b"text/plain", body or exchange.head.path.encode())


async def ignore_body(exchange):
    await trio.sleep(0.2)
    await exchange.answer(200, b"text/plain", b"did not read it")


async def fail(exchange):
    raise RuntimeError("a bug of ours")


@attrs.define(eq=False)
class Server:
    """The running listener, its limits, and what its endpoints have received and sent."""

    sock: socket.socket
    log: RecordingLog
    limits: Limits
    quota: Quota
    streams: list = attrs.field(factory=list)
    flooded: int = 0
    kept: bytes = b""
    tokens: TokenSet | None = None
    routes: Routes | None = None
    ticker: Ticker = attrs.field(factory=Ticker)

    @property
    def port(self):
        return self.sock.getsockname()[1]

    async def stream(self, exchange):
        """Send events until the queue ends."""
        queue = SendQueue(self.limits)
        self.streams.append(queue)
        exchange.attach(queue, ends_with_client=True)
        await exchange.begin_stream()
        await write_events(exchange, queue)

    async def keep(self, exchange):
        """Store the body after a while, for the test."""
        body = await exchange.read_body()
        await trio.sleep(0.2)
        self.kept = body
        await exchange.answer(202, b"", b"")

    async def flood(self, exchange):
        """Send without an end."""
        await exchange.begin_stream()
        while True:
            self.flooded += 65536
            await exchange.write(b"x" * 65536)


@contextlib.asynccontextmanager
async def listening(tls=None, limits=None, tokens=True):
    """Serve in this process. The end of the block cancels the connections."""
    limits = limits or Limits()
    server = Server(bind_tcp("127.0.0.1", 0), RecordingLog(), limits, Quota(limits))
    site = Site.for_listener("https" if tls else "http", "127.0.0.1", server.port)
    gate = Gate(site, TokenSet({TOKEN: "owner"}) if tokens else None, frozenset({"/healthz"}))
    table = {
        "/echo": echo,
        "/ignore": ignore_body,
        "/fail": fail,
        "/stream": server.stream,
        "/keep": server.keep,
        "/flood": server.flood,
    }
    ticker, poller = server.ticker, Poller()
    server.tokens, server.routes = gate.tokens, Routes(table, {"/healthz": healthz})
    service = Service(limits, gate, server.routes, ticker, poller, server.log, server.quota)
    async with trio.open_nursery() as nursery:
        await nursery.start(ticker.run)
        await nursery.start(poller.run)
        nursery.start_soon(serve, Listener(server.sock, service, tls))
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
            server.sock.close()
    poller.close()
