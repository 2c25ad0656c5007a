"""Ways to send hostile texts to a bridge: HTTP+SSE, WebSocket and lines, with and without sessions."""

import json
from contextlib import contextmanager

from .handshake import VERSION
from .json_texts import META, REVISION
from .wire import TEXT, frame

METHOD = b'{"jsonrpc":"2.0","id":%b,"method":"%b"}'


class Carrier:
    """One open session. `exchange` sends a text and a second request behind it, whose response marks the end of the effects."""

    def __init__(self, bridge):
        self.bridge = bridge
        self._number = 0

    def exchange(self, text):
        """Send a text. Return the error of the POST (or None), the messages that followed, and the lines that the child received."""
        journal = self.bridge.journal
        before = journal.stat().st_size
        refusal = self.send(text)
        self._number += 1
        mark = f"mark-{self._number}"
        assert self.send(json.dumps({"jsonrpc": "2.0", "id": mark, "method": "test/sync"}).encode()) is None
        messages = []
        while (message := self.receive()).get("id") != mark:
            messages.append(message)
        lines = journal.read_bytes()[before:].splitlines(keepends=True)
        return refusal, messages, [line for line in lines if b'"test/sync"' not in line]

    def open(self, version=VERSION):
        assert self.send(json.dumps(self.bridge.initialize(version)).encode()) is None
        assert self.receive()["id"] == 0
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        self.exchange(METHOD % (b"1", b"ping"))


class Posts(Carrier):
    """HTTP+SSE: a text is sent by POST, its response arrives on the stream, an error is the response to the POST."""

    def __init__(self, bridge, connection, events, path):
        super().__init__(bridge)
        self._connection, self._events, self._path = connection, events, path

    def send(self, text):
        self._connection.send(self.bridge.post(text, target=self._path))
        reply = self._connection.reply()
        if reply.status == 202:
            return None
        assert reply.status in (400, 413), reply
        return reply.json

    def receive(self):
        return self._events.message().json


class Frames(Carrier):
    """WebSocket: a text is a message, and its response or error is a message."""

    def __init__(self, bridge, socket):
        super().__init__(bridge)
        self._socket = socket

    def send(self, text):
        self._socket.connection.send(frame(TEXT, text))

    def receive(self):
        return self._socket.message()


class Lines(Carrier):
    """The pipe endpoint: a text is a line, and its response or error is a line."""

    def __init__(self, bridge, connection):
        super().__init__(bridge)
        self._connection = connection

    def send(self, text):
        self._connection.send(one_line(text) + b"\n")

    def receive(self):
        return json.loads(self._connection.until(b"\n"))


def one_line(text):
    """Return a JSON text without the white space that would end a line."""
    return text.replace(b"\n", b" ")


@contextmanager
def posts(bridge, version=VERSION):
    with bridge.event_stream() as (events, path), bridge.connect() as connection:
        carrier = Posts(bridge, connection, events, path)
        carrier.open(version)
        yield carrier


@contextmanager
def frames(bridge, version=VERSION):
    with bridge.websocket(initialized=False) as socket:
        carrier = Frames(bridge, socket)
        carrier.open(version)
        yield carrier


@contextmanager
def lines(bridge, version=VERSION):
    with bridge.pipe() as connection:
        carrier = Lines(bridge, connection)
        carrier.open(version)
        yield carrier


def call(value, id_=b"1", name=b"echo"):
    return (
        b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":{"name":"%b","arguments":{"x":%b},%b}}'
        % (
            id_,
            name,
            value,
            META,
        )
    )


class StatelessPosts:
    """Each text is a POST of its own with the headers of a valid request."""

    def __init__(self, bridge):
        self.bridge = bridge

    def exchange(self, text, name="echo", method="tools/call"):
        request = self.bridge.post(text).add(f"MCP-Protocol-Version: {REVISION}", f"Mcp-Method: {method}")
        if method == "tools/call":
            request = request.add(f"Mcp-Name: {name}")
        reply = self.bridge.exchange(request)
        return reply.status, reply.json if reply.body else None

    def sync(self, number):
        assert self.exchange(call(b"0", b"0", b"sync-%d" % number), f"sync-{number}")[0] == 200


class StatelessFrames:
    """All texts are sent over one WebSocket. Each text gets one response, a refused batch gets one for each request with an id."""

    def __init__(self, bridge, socket):
        self.bridge = bridge
        self._socket = socket

    def _send(self, *texts):
        self._socket.connection.send(b"".join(frame(TEXT, text) for text in texts))

    def _message(self):
        return self._socket.message()

    def exchange(self, text, name="echo", method="tools/call"):
        # The child answers in order. The response to the text therefore comes before the response to the mark.
        self._send(text, call(b"0", b'"mark"', b"sync-"))
        found = [self._message()]
        while found[-1]["id"] != "mark":
            found.append(self._message())
        requests = json.loads(text) if text.startswith(b"[{") else [None]
        assert len(found) == 1 + len(requests)
        return None, found[0]

    def sync(self, number):
        assert self.exchange(call(b"0", b"0", b"sync-%d" % number))[1]["id"] == 0


class StatelessLines(StatelessFrames):
    """The same over the pipe endpoint."""

    def _send(self, *texts):
        self._socket.send(b"".join(one_line(text) + b"\n" for text in texts))

    def _message(self):
        return json.loads(self._socket.until(b"\n"))
