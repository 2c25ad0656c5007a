"""Clients of one listener of a bridge: raw bytes over TCP with or without TLS, and HTTP/2."""

import contextlib
import json
import socket
import ssl
from urllib.parse import urljoin

import attrs
import h2.config
import h2.connection
import h2.events

from .handshake import INITIALIZED, initialize_request
from .wire import TIMEOUT, Connection, Request

INITIALIZE = initialize_request(name="front")
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
PONG = {"jsonrpc": "2.0", "id": 1, "result": {}}


@attrs.define
class ListenerUnderTest:
    """One listener of a bridge. `trust` is the TLS context of its clients, None without TLS."""

    address: tuple[str, int]
    token: str
    trust: ssl.SSLContext | None = None
    session: str = ""

    @property
    def authority(self):
        return "{}:{}".format(*self.address)

    @contextlib.contextmanager
    def connect(self):
        with socket.create_connection(self.address, TIMEOUT) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.trust is None:
                yield Connection(sock)
                return
            with self.trust.wrap_socket(sock, server_hostname=self.address[0]) as tls:
                yield Connection(tls)

    def bare(self, method, target):
        return Request(method, target, (f"Host: {self.authority}",))

    def request(self, method, target):
        return self.bare(method, target).add(f"Authorization: Bearer {self.token}")

    def post(self, body=PING, target="/mcp"):
        request = self.request("POST", target).add(
            "Content-Type: application/json", "Accept: application/json, text/event-stream"
        )
        if self.session:
            request = request.add(f"Mcp-Session-Id: {self.session}")
        return request.with_body(body)

    def exchange(self, request, *, to_head=False):
        """Send a request, or bytes, on a new connection. Return the only response."""
        with self.connect() as connection:
            connection.try_send(request)
            return connection.reply(to_head=to_head or getattr(request, "method", "") == "HEAD")

    def head_of(self, request):
        """Return the head of a response that may be a stream."""
        with self.connect() as connection:
            connection.send(request)
            return connection.head()

    def open_session(self, target="/mcp"):
        reply = self.exchange(self.post(INITIALIZE, target))
        assert reply.status == 200, reply
        self.session = reply.headers["mcp-session-id"]
        assert self.exchange(self.post(INITIALIZED, target)).status == 202

    @contextlib.contextmanager
    def event_stream(self, target="/sse"):
        """Open an HTTP+SSE session. Yield its events, the data of the endpoint event, and the target that it resolves to."""
        with self.connect() as connection:
            connection.send(self.request("GET", target).add("Accept: text/event-stream"))
            assert connection.head().status == 200
            events = connection.events()
            first = next(events)
            assert first.event == "endpoint"
            yield events, first.data, urljoin(target, first.data)


class Http2Client:
    """A blocking client on one HTTP/2 connection."""

    def __init__(self, sock, door):
        self._sock = sock
        self._door = door
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._flush()

    def exchange(self, method, path, *fields, body=None, trailers=(), token=None):
        """Send a request. Return the status, the headers and the body of the response. An empty `token` sends no credential."""
        token = self._door.token if token is None else token
        head = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", self._door.authority.encode()),
            (b":path", path.encode("latin-1")),
        ]
        head += [(b"authorization", b"Bearer " + token.encode())] if token else []
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, [*head, *fields], end_stream=body is None)
        if body is not None:
            self._h2.send_data(number, body, end_stream=not trailers)
            if trailers:
                self._h2.send_headers(number, trailers, end_stream=True)
        self._flush()
        status, headers, content = 0, {}, b""
        while True:
            data = self._sock.recv(65536)
            assert data, "closed"
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                    status = int(headers.pop(":status"))
                elif isinstance(event, h2.events.DataReceived):
                    content += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return status, headers, content
                assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated), event
            self._flush()

    def post(self, *fields, body=PING, path="/mcp", trailers=()):
        session = [(b"mcp-session-id", self._door.session.encode())]
        media = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
        return self.exchange("POST", path, *session, *media, *fields, body=body, trailers=trailers)

    def _flush(self):
        data = self._h2.data_to_send()
        if data:
            self._sock.sendall(data)


@contextlib.contextmanager
def h2_client(door):
    """Yield a client on a new HTTP/2 connection."""
    assert door.trust is not None
    with socket.create_connection(door.address, TIMEOUT) as sock:
        door.trust.set_alpn_protocols(["h2"])
        tls = door.trust.wrap_socket(sock, server_hostname=door.address[0])
        door.trust.set_alpn_protocols(["http/1.1"])
        with tls:
            assert tls.selected_alpn_protocol() == "h2"
            yield Http2Client(tls, door)


def message(reply):
    """Return the JSON-RPC message in a response over HTTP/2."""
    return json.loads(reply[2])
