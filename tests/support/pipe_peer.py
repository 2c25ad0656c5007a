"""A peer that a test controls behind the Unix socket of the daemon, and the process of `connect NAME` in front of it."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
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

    def __init__(self, descriptor, read=None):
        self.descriptor = descriptor
        self._read = read or (lambda: os.read(descriptor, 1 << 20))
        self._data = b""

    @property
    def has_line(self):
        return b"\n" in self._data

    def line(self, timeout=TIMEOUT):
        """Return the next line with its end; at the end of the stream what is left."""
        end = time.monotonic() + timeout
        pieces = [self._data]
        while b"\n" not in pieces[-1]:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                self._data = b"".join(pieces)
                raise TimeoutError(self._data[-200:])
            try:
                data = self._read()
            except OSError:
                data = b""
            if not data:
                self._data = b""
                return b"".join(pieces)
            pieces.append(data)
        line, newline, self._data = b"".join(pieces).partition(b"\n")
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
        self.reader = LineReader(sock.fileno(), self._receive)
        self.head = b""
        # Descriptors that were received, in order.
        self._lent = []

    def _receive(self):
        data, ancillary, _, _ = self.sock.recvmsg(1 << 20, 100, socket.MSG_CMSG_CLOEXEC)
        for _, _, content in ancillary:
            self._lent.append(int.from_bytes(content, sys.byteorder))
        return data

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
        """Return the next line that does not ask for a nap."""
        while (line := self.reader.line()).startswith(b"#sleep "):
            os.close(self._lent.pop(0))
        return line

    def message(self):
        """Return the next message."""
        return json.loads(self.line())

    def lent(self):
        """Return the stdin that comes with the next line, which asks for a nap, and the word that the answer needs."""
        line = self.reader.line()
        assert line.startswith(b"#sleep "), line
        return self._lent.pop(0), line.split()[1]

    def let_sleep(self, client):
        """Let the program sleep, however often it asks. Return its stdin."""
        while True:
            descriptor, word = self.lent()
            self.sock.sendall(b"#asleep %b\n" % word)
            end = time.monotonic() + TIMEOUT
            while not self.reader.has_line and not select.select([self.sock], [], [], 0.002)[0]:
                if client.is_asleep:
                    return descriptor
                assert time.monotonic() < end
            os.close(descriptor)

    def send(self, *messages):
        self.sock.sendall(b"".join(map(text_of, messages)))

    def close(self):
        self.sock.close()
        while self._lent:
            os.close(self._lent.pop())


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
        self._connections.append(PeerConnection(sock))
        return self._connections[-1]

    def accept(self, *messages):
        """Return the next connection, after its upgrade."""
        return self.connection().upgrade(*messages)

    def close(self):
        for connection in self._connections:
            connection.close()
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
    def command_line(self):
        """Return the words of the process, as it is now."""
        with open(f"/proc/{self.process.pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")

    @property
    def is_asleep(self):
        return b"read -r" in b" ".join(self.command_line[:3])

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
