"""A client of the pipe endpoint: it sends and receives lines, with a deadline on each wait."""

import json
import socket
import time
from contextlib import contextmanager

from .handshake import INITIALIZED, initialize_request
from .wire import TIMEOUT, Connection, connect


class PipeClient:
    """An upgraded connection."""

    def __init__(self, connection):
        self.connection = connection

    @property
    def sock(self):
        return self.connection.sock

    def send(self, *messages):
        """Send messages, or bytes as they are, each as one line."""
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
        self.connection.send(b"".join(line + b"\n" for line in lines))

    def line(self, timeout=TIMEOUT):
        """Return the next line."""
        return self.connection.until(b"\n", timeout)[:-1]

    def message(self):
        return json.loads(self.line())

    def answer(self, id_):
        """Return the next response, which must have this id. Messages of the server before it are dropped."""
        while "method" in (found := self.message()):
            pass
        assert found["id"] == id_, found
        return found

    def call(self, id_, tool, **arguments):
        """Send a call of a tool."""
        params = {"name": tool, "arguments": arguments}
        self.send({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})

    def initialize(self, **params):
        self.send(initialize_request(**params))
        found = self.answer(0)
        self.send(INITIALIZED)
        return found

    def end_input(self):
        self.sock.shutdown(socket.SHUT_WR)

    def lines_to_the_end(self, timeout=TIMEOUT):
        return self.connection.to_the_end(timeout).splitlines()

    def until_end(self, line, timeout=TIMEOUT):
        """Read up to this line of the daemon. Return the lines before it."""
        end, found = time.monotonic() + timeout, []
        while (read := self.line(end - time.monotonic())) != line:
            found.append(read)
        return found


def upgrade(target, *fields, host="localhost"):
    """Return the head of an upgrade request."""
    lines = (f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: mcp-pipe", *fields)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


@contextmanager
def unix_connection(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        yield Connection(sock)


@contextmanager
def pipe(running, server, *fields, initialized=True):
    """Open a connection on the Unix socket of a daemon, with a session unless `initialized` is false."""
    with unix_connection(running.unix) as connection:
        connection.send(upgrade(f"/servers/{server}/pipe", *fields))
        reply = connection.head()
        assert reply.status == 101, reply
        client = PipeClient(connection)
        if initialized:
            client.initialize()
        yield client


@contextmanager
def pipe_over_tcp(running, server, token=None):
    """Open a connection with a session over loopback."""
    with connect(running.address) as connection:
        field = f"Authorization: Bearer {token or running.token}"
        host = "{}:{}".format(*running.address)
        connection.send(upgrade(f"/servers/{server}/pipe", field, host=host))
        reply = connection.head()
        assert reply.status == 101, reply
        client = PipeClient(connection)
        client.initialize()
        yield client
