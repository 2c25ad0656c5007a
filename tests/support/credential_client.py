"""Send requests with chosen credentials over each transport, and see when what is open ends."""

import contextlib
import json
import secrets
import socket
import ssl
import time

import attrs
import h2.config
import h2.connection
import h2.events

from .raw_http import BOTH, INITIALIZE
from .wire import fresh_key

TRANSPORTS = ("http", "sse", "ws", "pipe")


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@attrs.frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@attrs.define
class Target:
    """A listener, and how it is reached. `tls` is the context of a client; `source` the local address."""

    address: tuple[str, int]
    tls: ssl.SSLContext | None = None
    host: str = ""
    source: str = ""

    def connect(self):
        sock = socket.create_connection(
            self.address, timeout=20, source_address=(self.source, 0) if self.source else None
        )
        return sock if self.tls is None else self.tls.wrap_socket(sock, server_hostname=self.address[0])

    @property
    def authority(self):
        return self.host or f"{self.address[0]}:{self.address[1]}"

    def send(self, sock, method, path, headers, body=b""):
        fields = {"Host": self.authority, **headers}
        if body:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def exchange(self, method, path, headers=None, body=b""):
        with contextlib.closing(self.connect()) as sock:
            self.send(sock, method, path, {**(headers or {}), "Connection": "close"}, body)
            return read_reply(sock)

    def post(self, path, message, headers=None):
        return self.exchange("POST", path, {"Accept": BOTH, **(headers or {})}, json.dumps(message).encode())

    def initialize(self, server, headers=None, path=""):
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}
        return self.post(path or f"/servers/{server}/mcp", message, headers)

    def open(self, transport, server, headers):
        """Open a stream, and return its socket and the reply."""
        path, fields = f"/servers/{server}/{transport}", {}
        match transport:
            case "http":
                path = f"/servers/{server}/mcp"
                session = self.initialize(server, headers).headers.get("mcp-session-id", secrets.token_hex(8))
                fields = {"Accept": "text/event-stream", "Mcp-Session-Id": session}
            case "sse":
                fields = {"Accept": "text/event-stream"}
            case "ws":
                fields = {
                    "Connection": "Upgrade",
                    "Upgrade": "websocket",
                    "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": fresh_key(),
                }
            case "pipe":
                fields = {"Connection": "Upgrade", "Upgrade": "mcp-pipe"}
        sock = self.connect()
        self.send(sock, "GET", path, {**fields, **headers})
        return sock, read_head(sock)


def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data and (more := sock.recv(65536)):
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    if not first:
        return Reply(0, {}, b"")
    pairs = (line.partition(": ") for line in lines)
    return Reply(int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}, rest)


def read_reply(sock):
    head = read_head(sock)
    body = head.body
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while more := sock.recv(65536):
            body += more
    return Reply(head.status, head.headers, body)


def ended(sock, seconds=20):
    """Return whether a stream, or its connection, ends within some time."""
    end = time.monotonic() + seconds
    sock.settimeout(seconds)
    data = b"\r\n"
    try:
        while more := sock.recv(65536):
            data += more
            # Heartbeats do not extend the time.
            sock.settimeout(max(0.01, end - time.monotonic()))
            if data.endswith(b"\r\n0\r\n\r\n"):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def over_http2(target, path, *headers):
    """Return the status of the response to an initialize over HTTP/2."""
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}
    body = json.dumps(message).encode()
    with target.connect() as sock:
        assert sock.selected_alpn_protocol() == "h2"
        talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        talk.initiate_connection()
        fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", target.authority),
            (":path", path),
            ("accept", BOTH),
            ("content-type", "application/json"),
        ]
        talk.send_headers(1, [*fields, *headers])
        talk.send_data(1, body, end_stream=True)
        sock.sendall(talk.data_to_send())
        while data := sock.recv(65536):
            for event in talk.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[b":status"])
            sock.sendall(talk.data_to_send())
    return 0
