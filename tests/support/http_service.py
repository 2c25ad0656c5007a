"""A service and one connection of a listener, without the listener."""

import contextlib
import socket

import attrs

from mcpbridged.transports.http.gate import Gate
from mcpbridged.transports.http.http1_stream import Http1Stream
from mcpbridged.transports.http.quota import Quota
from mcpbridged.transports.http.routes import Routes
from mcpbridged.transports.http.service import Service
from mcpbridged.transports.ticker import Ticker
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.origin import Site

from .serving import RecordingLog

HOST = "localhost:80"


def make_service(table=None, *, limits=None, tokens=None, poller=None, **gate):
    """Return a service of `http://localhost` with these endpoints by path. `gate` are options of Gate."""
    limits, ticker = limits or Limits(), Ticker()
    ticker._read_clock = lambda: None
    ticker.date = b"DATE"
    site = Site.for_listener("http", "localhost", 80)
    return Service(
        limits,
        Gate(site, tokens, frozenset(), **gate),
        Routes(table or {}, {}),
        ticker,
        poller,
        RecordingLog(),
        Quota(limits),
    )


@attrs.define(eq=False)
class Line:
    """Both ends of a connection: a stream of the service, and the socket of the client."""

    service: Service
    stream: Http1Stream
    client: socket.socket

    def send(self, data, *, left=False):
        """Send bytes of the client, and report the edge to the stream."""
        self.client.sendall(data)
        if left:
            self.client.shutdown(socket.SHUT_WR)
        self.stream.plain.ready(left=left)

    def received(self):
        """Return what the client has received."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while piece := self.client.recv(1 << 20):
                data += piece
        return data


@contextlib.contextmanager
def line(service=None, principal=""):
    """Connect a client with this principal to a service."""
    service = service or make_service()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        seat = service.quota.admit(ours, "peer")
        seat.identify(principal)
        yield Line(service, Http1Stream(service, ours, "peer", seat, None), theirs)
