"""A real bridge in front of a real child, for clients that do not behave.

Every module has a bridge of its own; when it is stopped it must leave with 0 and have nothing to confess in its log.
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

from .wire import TIMEOUT, Request, Socket, connect, fresh_key

PROGRAM = Path(sys.executable).with_name("mcp-bridge")
CHILD = Path(__file__).parents[1] / "hostile/child.py"
READY = "mcp-bridge: ready on "
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
VERSION = "2025-11-25"
# Where a bridge keeps its token, below the home that `environment` gives it.
STATE = ".local/state/mcp-bridge"
# What a module may leave behind in a bridge: KiB of memory, and for each session that it leaves open three pipes and a socket.
GROWTH = 32 * 1024
DESCRIPTORS_PER_CHILD = 4


def environment(runtime):
    """The variables of a bridge that must find nothing of ours."""
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

    # ---- requests as they ought to be

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
        params = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "hostile", "version": "1"},
        }
        return {"jsonrpc": "2.0", "id": id_, "method": "initialize", "params": params}

    # ---- and what they come to

    def exchange(self, request):
        """The one answer to one request on a connection of its own."""
        with self.connect() as connection:
            connection.try_send(request)  # it may be refused, and hung up on, before all of it is sent
            return connection.reply(to_head=request.method == "HEAD")

    def open_session(self, version=VERSION):
        reply = self.exchange(self.post(self.initialize(version)))
        assert reply.status == 200, reply
        session = Session(reply.headers["mcp-session-id"], reply.json["result"]["protocolVersion"])
        greeting = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert self.exchange(self.post(greeting, session)).status == 202
        self.sync(session)
        return session

    def sync(self, session):
        """Wait until the child has read everything that was written before."""
        number = next(self._numbers)
        body = {"jsonrpc": "2.0", "id": f"sync-{number}", "method": "test/sync", "params": {"n": number}}
        assert self.exchange(self.post(body, session)).status == 200

    @contextmanager
    def lines_received(self, session):
        """The lines, still with their ends, that the child of the session was given inside of the block."""
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
                socket.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
            yield socket

    @contextmanager
    def event_stream(self):
        """An open HTTP+SSE session: its events and the path to post to."""
        with self.connect() as connection:
            connection.send(self.get(target="/sse"))
            assert connection.head().status == 200
            events = connection.events()
            first = next(events)
            assert first.event == "endpoint"
            yield events, urljoin("/sse", first.data)

    def children(self):
        """The servers that run for the bridge; quicker than `children_of`, and blind to what has run away."""
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

    # ---- and what they cost

    def resident(self):
        """Memory, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def session_descriptors(self):
        """How many descriptors the open sessions account for, and the watch on the one client process of the tests."""
        children = self.children()
        return DESCRIPTORS_PER_CHILD * len(children) + bool(children)


def children_of(journal):
    """The processes that run the child with this journal."""
    everybody = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {pid for pid in everybody if runs_child(pid, str(journal).encode())}


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


def start(runtime, *options, command=None, env=None):
    """A bridge process, and the list that its stderr goes into."""
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
    return process, stderr, reader


def await_ready(process, stderr, timeout=10.0):
    """The URL in the ready line."""
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
    process, stderr, reader = start(runtime, "--allow-root", "--port", "0", *options)
    with process:
        try:
            url = await_ready(process, stderr)
            port = int(url.rsplit(":", 1)[1].split("/")[0])
            path = runtime / STATE / "token"
            token = path.read_text().strip() if path.exists() else ""
            bridge = Bridge(process, port, token, journal, runtime, stderr)
            descriptors, resident = bridge.descriptors(), bridge.resident()
            yield bridge
            assert process.poll() is None, "".join(stderr[-40:])
            assert not eventually_none(
                lambda: bridge.descriptors() - bridge.session_descriptors() > descriptors, TIMEOUT
            )
            assert bridge.resident() - resident < GROWTH
            process.send_signal(signal.SIGTERM)
            code = process.wait(10)
        finally:
            process.kill()
            process.wait()
            reader.join(TIMEOUT)
    signs = ("Traceback", "internal error", "connection_failed")
    errors = [line for line in stderr if any(sign in line for sign in signs)]
    assert not errors, "".join(errors)
    assert code == 0, stderr[-20:]
    assert not eventually_none(lambda: children_of(journal))


def eventually_none(look, timeout=2.0):
    """What `look` still finds after some time, or at once nothing."""
    deadline = time.monotonic() + timeout
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
