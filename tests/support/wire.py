"""Raw HTTP/1.1, event streams and WebSocket frames of a hostile client, without a client library.

No function corrects bytes, retries, or waits without a deadline.
"""

import base64
import json
import os
import socket
import struct
import time
from contextlib import contextmanager

import attrs

from .correlation import ids_in, without_ids

# Limit on each wait of a test (seconds). Long, because machines are slow; no passing test waits for it.
TIMEOUT = 30.0


class Broken(Exception):
    """The peer sent invalid HTTP, or closed in the middle of a message."""


class NothingReceived(Exception):
    """No byte arrived before the deadline."""


@attrs.frozen
class Request:
    """A request, which may be invalid. `fields` are whole header lines without their ends."""

    method: str
    target: str
    fields: tuple[str, ...] = ()
    body: bytes = b""
    version: str = "HTTP/1.1"
    end: str = "\r\n"

    def replace_field(self, line):
        """Replace all fields of this name by this line."""
        name = line.partition(":")[0]
        return attrs.evolve(self, fields=(*self.without_field(name).fields, line))

    def without_field(self, name):
        kept = tuple(field for field in self.fields if field.partition(":")[0].lower() != name.lower())
        return attrs.evolve(self, fields=kept)

    def add(self, *lines):
        return attrs.evolve(self, fields=(*self.fields, *lines))

    def with_target(self, target):
        return attrs.evolve(self, target=target)

    def with_method(self, method):
        return attrs.evolve(self, method=method)

    def with_version(self, version):
        return attrs.evolve(self, version=version)

    def with_line_end(self, end):
        return attrs.evolve(self, end=end)

    def with_body(self, body):
        body = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        return attrs.evolve(self, body=body).replace_field(f"Content-Length: {len(body)}")

    def with_raw_body(self, body):
        """Send these bytes behind the head, without a Content-Length."""
        return attrs.evolve(self.without_field("Content-Length"), body=body)

    def head(self):
        lines = [f"{self.method} {self.target} {self.version}", *self.fields, "", ""]
        return self.end.join(lines).encode("latin-1")

    def __bytes__(self):
        return self.head() + self.body


@attrs.frozen
class Reply:
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    raw_head: bytes

    @property
    def headers(self):
        return {name.lower(): value for name, value in self.fields}

    @property
    def json(self):
        # decode() refuses surrogates, loads() alone would accept them.
        return json.loads(self.body.decode())

    @property
    def code(self):
        """Return the code of the JSON-RPC error in the body."""
        return self.json["error"]["code"]

    @property
    def constant_part(self):
        """Everything but the date and the correlation id, which is the same in the head and in the body."""
        ids = [value for name, value in self.fields if name == "X-Request-Id"]
        assert not ids_in(self.body) or ids_in(self.body) == ids
        fields = [field for field in self.fields if field[0] not in ("Date", "X-Request-Id")]
        return fields, self.status, without_ids(self.body)


class Connection:
    """One TCP or Unix connection with a deadline on each operation."""

    def __init__(self, sock):
        self.sock = sock
        self._buffer = b""

    def send(self, data):
        self.sock.settimeout(TIMEOUT)
        self.sock.sendall(bytes(data))

    def try_send(self, data):
        """Send to a peer that may close at any byte. Return whether all bytes were sent."""
        try:
            self.send(data)
        except OSError:
            return False
        return True

    def reset(self):
        """Close with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise NothingReceived
        self.sock.settimeout(left)
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            raise NothingReceived from None
        except ConnectionError:
            return b""

    def until(self, mark, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while mark not in self._buffer:
            data = self.receive(deadline)
            if not data:
                raise Broken(f"closed before {mark!r} came; got {self._buffer[:300]!r}")
            self._buffer += data
        before, _, self._buffer = self._buffer.partition(mark)
        return before + mark

    def exactly(self, count, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while len(self._buffer) < count:
            data = self.receive(deadline)
            if not data:
                raise Broken(f"closed {count - len(self._buffer)} bytes too early")
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def to_the_end(self, timeout=TIMEOUT):
        """Return all bytes until the end of the connection, also after a reset."""
        deadline = time.monotonic() + timeout
        while data := self.receive(deadline):
            self._buffer += data
        rest, self._buffer = self._buffer, b""
        return rest

    def is_silent(self, seconds):
        """Return whether no byte and no end of the connection arrives within this time."""
        if self._buffer:
            return False
        try:
            data = self.receive(time.monotonic() + seconds)
        except NothingReceived:
            return True
        self._buffer += data
        return False

    def head(self, timeout=TIMEOUT):
        raw = self.until(b"\r\n\r\n", timeout)
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        if version != "HTTP/1.1" or not status.isdecimal():
            raise Broken(f"not a status line: {first!r}")
        fields = []
        for line in lines:
            name, colon, value = line.partition(": ")
            if not colon or not name:
                raise Broken(f"not a header field: {line!r}")
            fields.append((name, value))
        return Reply(int(status), tuple(fields), b"", raw)

    def reply(self, *, to_head=False, timeout=TIMEOUT):
        """Return one whole response. `to_head`: the request was a HEAD."""
        reply = self.head(timeout)
        headers = reply.headers
        if to_head or reply.status in (101, 204) or 100 <= reply.status < 200:
            return reply
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(self.chunks(timeout))
        else:
            body = self.exactly(int(headers["content-length"]), timeout)
        return attrs.evolve(reply, body=body)

    def chunk(self, timeout=TIMEOUT):
        size = int(self.until(b"\r\n", timeout)[:-2], 16)
        data = self.exactly(size + 2, timeout)
        if data[-2:] != b"\r\n":
            raise Broken("a chunk is longer than announced")
        return data[:-2]

    def chunks(self, timeout=TIMEOUT):
        while chunk := self.chunk(timeout):
            yield chunk

    def events(self, timeout=TIMEOUT):
        return Events(self, timeout)


@attrs.define
class Event:
    id: str = ""
    event: str = ""
    data: str = ""
    retry: str = ""

    @property
    def json(self):
        return json.loads(self.data)


class Events:
    """Iterate over the events of a chunked event stream (WHATWG HTML section 9.2), and count comments."""

    def __init__(self, connection, timeout):
        self._connection = connection
        self._timeout = timeout
        self._text = b""
        self.comments = 0
        self.raw = b""

    def __iter__(self):
        return self

    def __next__(self):
        deadline = time.monotonic() + self._timeout
        while True:
            while b"\n\n" not in self._text:
                chunk = self._connection.chunk(deadline - time.monotonic())
                if not chunk:
                    raise StopIteration
                self._text += chunk
                self.raw += chunk
            block, _, self._text = self._text.partition(b"\n\n")
            event = parse_event(block.decode())
            if event is None:
                self.comments += 1
                continue
            return event

    def message(self):
        """Return the next event with data."""
        for event in self:
            if event.data:
                return event
        raise Broken("the stream ended")


def parse_event(block, split=lambda text: text.split("\n")):
    event, has_fields = Event(), False
    for line in split(block):
        name, _, value = line.partition(":")
        if name == "":
            continue
        if name not in ("id", "event", "data", "retry"):
            raise Broken(f"an unknown field: {line!r}")
        has_fields = True
        value = value.removeprefix(" ")
        setattr(event, name, f"{event.data}\n{value}" if name == "data" and event.data else value)
    return event if has_fields else None


# ---- WebSocket

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode, payload=b"", *, fin=True, rsv=0, masked=True, length=None, length_bytes=None):
    """Return a frame, which may be invalid. `length` is the announced length, `length_bytes` the size of that field."""
    announced = len(payload) if length is None else length
    if length_bytes is None:
        length_bytes = 0 if announced < 126 else 2 if announced < 65536 else 8
    short = announced if not length_bytes else {2: 126, 8: 127}[length_bytes]
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | short])
    head += announced.to_bytes(length_bytes, "big") if length_bytes else b""
    if not masked:
        return head + payload
    mask = os.urandom(4)
    pad = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked_payload = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + mask + masked_payload.to_bytes(len(payload), "big")


def fresh_key():
    return base64.b64encode(os.urandom(16)).decode()


class Socket:
    """The client side of an open WebSocket."""

    def __init__(self, connection):
        self.connection = connection

    def send(self, message):
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.connection.send(frame(TEXT, text))

    def next(self, timeout=TIMEOUT):
        """Return the opcode and the payload of the next frame. The bridge never fragments or masks."""
        first, second = self.connection.exactly(2, timeout)
        if not first & 0x80 or first & 0x70 or second & 0x80:
            raise Broken(f"a frame of the server with the head {first:02x} {second:02x}")
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(self.connection.exactly({126: 2, 127: 8}[length]), "big")
        return first & 0x0F, self.connection.exactly(length, timeout)

    def message(self, timeout=TIMEOUT):
        """Return the next text message, without pings."""
        deadline = time.monotonic() + timeout
        while True:
            opcode, payload = self.next(deadline - time.monotonic())
            if opcode == TEXT:
                return json.loads(payload)
            if opcode not in (PING, PONG):
                raise Broken(f"a frame with opcode {opcode}: {payload!r}")

    def closing(self, timeout=TIMEOUT):
        """Return the code of the server's close frame, behind which the connection ends. Return None without a close frame."""
        try:
            while True:
                opcode, payload = self.next(timeout)
                if opcode == CLOSE:
                    self.connection.to_the_end(timeout)
                    return int.from_bytes(payload[:2], "big") if payload else 1005
        except Broken:
            return None


@contextmanager
def connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(address)
        # Two small writes must not wait for each other.
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Connection(sock)
