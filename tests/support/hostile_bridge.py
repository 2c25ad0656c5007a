"""A real bridge in front of a real child (tests/hostile/child.py), for hostile clients.

Every module of tests has its own bridge. It must exit with 0 and have no error in its log.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import attrs

from .handshake import INITIALIZED, VERSION, initialize_request
from .known_secrets import remember, require_hidden
from .waiting import wait_until_empty
from .wire import TIMEOUT, Request, Socket, connect, fresh_key

PROGRAM = Path(sys.executable).with_name("mcp-bridge")
CHILD = Path(__file__).parents[1] / "hostile/child.py"
READY = "mcp-bridge: ready on "
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
# Directory of the token of a bridge, below its home directory.
STATE = ".local/state/mcp-bridge"
# Growth of a bridge that is allowed for the tests of a module: memory (KiB), and three pipes and a socket for each open session.
GROWTH = 32 * 1024
DESCRIPTORS_PER_CHILD = 4


def environment(runtime):
    """Return an environment without variables of the user."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(runtime),
        "XDG_RUNTIME_DIR": str(runtime),
        "LANG": "C.UTF-8",
    }


@attrs.define
class Bridge:
    process: subprocess.Popen
    port: int
    token: str
    journal: Path
    runtime: Path
    stderr: list[str]
    _numbers: itertools.count = attrs.field(factory=lambda: itertools.count(1))

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def connect(self):
        return connect(("127.0.0.1", self.port))

    # ---- valid requests

    def bare(self, method, target):
        return Request(method, target, (f"Host: {self.host}",))

    def request(self, method, target):
        return self.bare(method, target).add(f"Authorization: Bearer {self.token}")

    def post(self, body=PING, session=None, target="/mcp"):
        fields = ["Content-Type: application/json", "Accept: application/json, text/event-stream"]
        if session:
            fields += [f"MCP-Protocol-Version: {session.version}", f"Mcp-Session-Id: {session.id}"]
        return self.request("POST", target).add(*fields).with_body(body)

    def get(self, session=None, target="/mcp"):
        request = self.request("GET", target).add("Accept: text/event-stream")
        if session is None:
            return request
        return request.add(f"MCP-Protocol-Version: {session.version}", f"Mcp-Session-Id: {session.id}")

    def delete(self, session):
        return self.request("DELETE", "/mcp").add(f"Mcp-Session-Id: {session.id}")

    def upgrade(self, target="/ws"):
        return self.request("GET", target).add(
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {fresh_key()}",
            "Sec-WebSocket-Protocol: mcp",
        )

    def initialize(self, version=VERSION, id_=0):
        return initialize_request(id_, version=version, name="hostile")

    # ---- exchanges

    def exchange(self, request):
        """Send a request on a new connection. Return the only response."""
        with self.connect() as connection:
            # The bridge may refuse the request and close the connection before all bytes were sent.
            connection.try_send(request)
            return connection.reply(to_head=request.method == "HEAD")

    def open_session(self, version=VERSION):
        reply = self.exchange(self.post(self.initialize(version)))
        assert reply.status == 200, reply
        session = Session(reply.headers["mcp-session-id"], reply.json["result"]["protocolVersion"])
        assert self.exchange(self.post(INITIALIZED, session)).status == 202
        self.sync(session)
        return session

    def sync(self, session):
        """Wait until the child has read all earlier lines."""
        number = next(self._numbers)
        body = {"jsonrpc": "2.0", "id": f"sync-{number}", "method": "test/sync", "params": {"n": number}}
        assert self.exchange(self.post(body, session)).status == 200

    def hold(self, connection, session, id_):
        """Send a request that stays in flight, and wait until the child has it.

        Another connection may be served first, although its request was sent later.
        """
        before = self.journal.stat().st_size
        connection.send(self.post({"jsonrpc": "2.0", "id": id_, "method": "test/hold"}, session))
        end = time.monotonic() + 20
        while b'"test/hold"' not in self.journal.read_bytes()[before:]:
            assert time.monotonic() < end
            time.sleep(0.005)

    @contextmanager
    def lines_received(self, session):
        """Yield a list that gets the lines, with their ends, that the child of the session received during the block."""
        lines: list[bytes] = []
        before = self.journal.stat().st_size
        yield lines
        self.sync(session)
        with self.journal.open("rb") as file:
            file.seek(before)
            lines.extend(line for line in file if b'"test/sync"' not in line)

    @contextmanager
    def websocket(self, *, initialized=True):
        with self.connect() as connection:
            connection.send(self.upgrade())
            reply = connection.reply()
            assert reply.status == 101, reply
            socket = Socket(connection)
            if initialized:
                socket.send(self.initialize())
                assert socket.message()["id"] == 0
                socket.send(INITIALIZED)
            yield socket

    @contextmanager
    def pipe(self):
        """Open a connection with lines."""
        with self.connect() as connection:
            connection.send(self.request("GET", "/pipe").add("Connection: Upgrade", "Upgrade: mcp-pipe"))
            assert connection.head().status == 101
            yield connection

    @contextmanager
    def event_stream(self):
        """Open an HTTP+SSE session. Yield its events and the path for POST."""
        with self.connect() as connection:
            connection.send(self.get(target="/sse"))
            assert connection.head().status == 200
            events = connection.events()
            first = next(events)
            assert first.event == "endpoint"
            yield events, urljoin("/sse", first.data)

    def children(self):
        """Return the server processes below the bridge. Faster than `children_of`, but without daemonised processes."""
        found, parents = set(), [self.process.pid]
        while parents:
            parent = parents.pop()
            try:
                below = [
                    int(pid)
                    for task in Path(f"/proc/{parent}/task").iterdir()
                    for pid in (task / "children").read_text().split()
                ]
            except OSError:
                continue
            parents += below
            found.update(pid for pid in below if runs_child(pid, str(self.journal).encode()))
        return found

    # ---- resources

    def resident(self):
        """Return the resident memory (KiB)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def session_descriptors(self):
        """Return the number of descriptors of the open sessions and of the pidfd of the client process."""
        children = self.children()
        return DESCRIPTORS_PER_CHILD * len(children) + bool(children)


def children_of(journal):
    """Return all processes that run the child with this journal."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {pid for pid in pids if runs_child(pid, str(journal).encode())}


def runs_child(pid, journal):
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return journal in arguments and b"--stdio" not in arguments


@attrs.frozen
class Session:
    id: str
    version: str


@contextmanager
def started(runtime, *options, command=None, env=None):
    """Start a bridge. Yield its process and the list that gets the lines of stderr. End the process behind the block."""
    command = command or [sys.executable, "-I", "-S", str(CHILD), str(runtime / "journal")]
    process = subprocess.Popen(
        [PROGRAM, *options, "--stdio", "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        env=environment(runtime) if env is None else env,
    )
    stderr: list[str] = []
    reader = threading.Thread(target=lambda: stderr.extend(process.stderr), daemon=True)
    reader.start()
    with process:
        try:
            yield process, stderr
        finally:
            process.kill()
            process.wait()
            reader.join(TIMEOUT)


def start_refused(runtime, *options, **more):
    """Return the exit code and stderr of a bridge that does not start."""
    with started(runtime, *options, **more) as (process, stderr):
        code = process.wait(10)
    text = "".join(stderr)
    assert "Traceback" not in text
    assert "ready on" not in text
    return code, text


def await_ready(process, stderr, timeout=10.0):
    """Return the URL in the ready line."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for line in tuple(stderr):
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError(f"not ready: code {process.poll()}, stderr {stderr}")


@contextmanager
def running(runtime, *options):
    runtime.mkdir(exist_ok=True)
    journal = runtime / "journal"
    journal.touch()
    with started(runtime, "--allow-root", "--port", "0", *options) as (process, stderr):
        url = await_ready(process, stderr)
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        path = runtime / STATE / "token"
        token = path.read_text().strip() if path.exists() else ""
        bridge = Bridge(process, port, token, journal, runtime, stderr)
        descriptors, resident = bridge.descriptors(), bridge.resident()
        yield bridge
        assert process.poll() is None, "".join(stderr[-40:])
        assert not wait_until_empty(
            lambda: bridge.descriptors() - bridge.session_descriptors() > descriptors, TIMEOUT
        )
        # The memory of large messages is returned after some seconds (limits.free_heap_bytes).
        assert not wait_until_empty(lambda: bridge.resident() - resident >= GROWTH, TIMEOUT)
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)
    signs = ("Traceback", "internal_error", "connection_failed")
    errors = [line for line in stderr if any(sign in line for sign in signs)]
    assert not errors, "".join(errors)
    assert code == 0, stderr[-20:]
    remember(token)
    require_hidden("".join(stderr), "stderr of the bridge")
    assert not wait_until_empty(lambda: children_of(journal))
