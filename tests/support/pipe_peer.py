"""A peer that a test controls behind the Unix socket of the daemon, and the process of `connect NAME` in front of it."""

import contextlib
import json
import os
import select
import socket
import subprocess
import termios
import time
import tty

from .bridge_process import PROGRAM

TIMEOUT = 20
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mcp-pipe\r\n\r\n"


def text_of(message):
    """Return a message as one line: as the daemon writes it, or as it is given."""
    if isinstance(message, bytes):
        return message
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class LineReader:
    """Reads lines from a descriptor, each within a time limit."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self._data = b""

    def line(self, timeout=TIMEOUT):
        """Return the next line with its end; at the end of the stream what is left."""
        end = time.monotonic() + timeout
        while b"\n" not in self._data:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                raise TimeoutError(self._data[-200:])
            try:
                data = os.read(self.descriptor, 1 << 20)
            except (ConnectionResetError, OSError):
                data = b""
            if not data:
                rest, self._data = self._data, b""
                return rest
            self._data += data
        line, newline, self._data = self._data.partition(b"\n")
        return line + newline

    def rest(self):
        """Return all until the end of the stream."""
        found = b""
        while line := self.line():
            found += line
        return found

    def is_silent(self, seconds=0.2):
        """Return whether nothing more arrives for this time."""
        return b"\n" not in self._data and not select.select([self.descriptor], [], [], seconds)[0]


class PeerConnection:
    """One connection of `connect`."""

    def __init__(self, sock):
        self.sock = sock
        self.reader = LineReader(sock.fileno())
        self.head = b""

    def read_head(self):
        while (line := self.reader.line()) not in (b"\r\n", b""):
            self.head += line
        return self.head.decode()

    def respond(self, data):
        self.read_head()
        self.sock.sendall(data)

    def upgrade(self, *messages):
        """Accept the upgrade, and send these messages in the same packet."""
        self.respond(UPGRADED + b"".join(map(text_of, messages)))
        return self

    def line(self):
        return self.reader.line()

    def message(self):
        """Return the next message."""
        return json.loads(self.line())

    def send(self, *messages):
        self.sock.sendall(b"".join(map(text_of, messages)))

    def close(self):
        self.sock.close()


class Peer:
    """A listener at the place of the daemon's socket."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "run/mcp-bridge").mkdir(parents=True, exist_ok=True)
        self.path = folder / "run/mcp-bridge/mcp-bridge.sock"
        self._listener = None
        self._connections = []

    @property
    def variables(self):
        return {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }

    def listen(self):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.settimeout(TIMEOUT)
        return self

    def stop(self):
        """Stop listening, as a daemon that has exited."""
        self._listener.close()
        self.path.unlink()

    def connection(self):
        """Return the next connection, before its upgrade."""
        sock, _ = self._listener.accept()
        sock.settimeout(TIMEOUT)
        self._connections.append(sock)
        return PeerConnection(sock)

    def accept(self, *messages):
        """Return the next connection, after its upgrade."""
        return self.connection().upgrade(*messages)

    def close(self):
        for sock in self._connections:
            sock.close()
        self._listener.close()


@contextlib.contextmanager
def peer(folder):
    """Yield a peer that listens."""
    found = Peer(folder).listen()
    try:
        yield found
    finally:
        found.close()


class Client:
    """A running `connect NAME`. `read` and `write` are the descriptors of the client's ends, which may be the same."""

    def __init__(self, process, write, read):
        self.process = process
        self.write_end = write
        self.read_end = read
        self._reader = LineReader(read) if read is not None else None

    @property
    def reader(self):
        return self._reader

    def send(self, *messages):
        data = b"".join(map(text_of, messages))
        while data:
            data = data[os.write(self.write_end, data) :]

    def line(self):
        return self._reader.line()

    def receive(self):
        """Return the next message."""
        return json.loads(self.line())

    def close_input(self):
        if self.write_end == self.read_end:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.write_end)) as sock:
                sock.shutdown(socket.SHUT_WR)
        elif self.write_end is not None:
            os.close(self.write_end)
        self.write_end = None

    def end(self):
        """Close the input and return the exit code."""
        self.close_input()
        return self.process.wait(TIMEOUT)

    def wait(self):
        return self.process.wait(TIMEOUT)

    @property
    def stderr(self):
        """Return what was written to stderr until the exit."""
        return self.process.stderr.read().decode()

    def wait_for_stderr(self, text):
        """Return the next line of stderr that contains this text."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            line = self.process.stderr.readline().decode()
            if text in line:
                return line
            assert line, f"stderr ended before {text!r}"
        raise TimeoutError(text)


CARRIERS = ("pipe", "socket", "tty")


@contextlib.contextmanager
def connect(peer, *words, carrier="pipe", variables=None, name="one", program=()):
    """Start `connect` with stdin and stdout of this kind: pipes, one socket as from Node, or one terminal.

    `program` is run instead, if it is given.
    """
    if carrier == "pipe":
        theirs_in, ours_write = os.pipe()
        ours_read, theirs_out = os.pipe()
    elif carrier == "socket":
        ours, theirs = (end.detach() for end in socket.socketpair())
        ours_read = ours_write = ours
        theirs_in, theirs_out = theirs, os.dup(theirs)
    else:
        ours, theirs = os.openpty()
        tty.setraw(theirs, termios.TCSANOW)
        ours_read = ours_write = ours
        theirs_in, theirs_out = theirs, os.dup(theirs)
    process = subprocess.Popen(
        program or [PROGRAM, "connect", name, *words],
        env={**peer.variables, **(variables or {})},
        stdin=theirs_in,
        stdout=theirs_out,
        stderr=subprocess.PIPE,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    client = Client(process, ours_write, ours_read)
    try:
        yield client
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        for descriptor in {client.write_end, client.read_end} - {None}:
            with contextlib.suppress(OSError):
                os.close(descriptor)
