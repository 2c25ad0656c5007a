"""Measure how long one message blocks the event loop, and its memory: shapes of JSON by paths through the bridge.

Starts a daemon whose Trio steps are measured by an instrument (CPU time of the thread, because other load of the machine
affects it little), sends one large message at a time, and prints a table for each size: the longest step in ms, and the peak of
the resident memory above the start in multiples of the message. The best of `--rounds` is taken.

    .venv/bin/python benchmarks/stall.py [--mib 4,16] [--only SHAPE,...] [--paths PATH,...] [--rounds 2]
"""

import argparse
import base64
import json
import mmap
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1024 * 1024
TOKEN = "mcpb_" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"  # of this benchmark only, on loopback
VERSION = "2025-11-25"
MODERN = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
BUDGET = {4: 50, 16: 100}


# ---- the daemon, with a meter


def measured() -> None:
    """Run the daemon with the other arguments, and write the longest step (seconds) to the file of the first."""
    import trio  # noqa: PLC0415 - in the measured process only

    with open(sys.argv[2], "r+b") as file:  # noqa: PTH123 - of a path as text
        shared = mmap.mmap(file.fileno(), 8)

    class Meter(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the signature of trio.abc.Instrument
            self.began = time.thread_time()

        def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the signature of trio.abc.Instrument
            took = time.thread_time() - self.began
            if took > struct.unpack_from("d", shared)[0]:
                struct.pack_into("d", shared, 0, took)

    run = trio.run
    trio.run = lambda *args, **more: run(*args, instruments=[Meter()], **more)  # type: ignore[assignment]
    from mcpbridged.bridge.commands.wrapper import main  # noqa: PLC0415 - likewise, after trio.run was replaced

    sys.argv[:] = ["mcp-bridge", *sys.argv[3:]]
    sys.exit(main())


# ---- the server


def serve() -> None:
    """Answer each request with `{}`, and a call of the tool `file` with the content of the file that it names."""
    line_id, path = re.compile(rb'"id":\s*("[^"]*"|\d+)'), re.compile(rb'"path":"([^"]+)"')
    opening = {
        "protocolVersion": VERSION,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "s", "version": "1"},
    }
    for line in sys.stdin.buffer:
        found = line_id.search(line[:300])
        if found is None:
            continue
        result = b"{}"
        if b'"server/discover"' in line[:300]:
            answer = b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32601,"message":"no"}}\n' % found[1]
        else:
            if b'"initialize"' in line[:300]:
                result = json.dumps(opening).encode()
            elif (named := path.search(line[:500])) is not None:
                result = Path(named[1].decode()).read_bytes()
            elif b'"tools/list"' in line[:300]:
                result = b'{"tools":[{"name":"file","inputSchema":{"type":"object"}}]}'
            answer = b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (found[1], result)
        view = memoryview(answer)
        while view:
            view = view[os.write(1, view) :]


# ---- shapes


def shapes(size: int) -> dict[str, bytes]:
    """Return JSON objects of about this size (bytes), by name."""
    nest = b"[" * 56 + b"]" * 56 + b","
    row = b'{\n    "name": "value",\n    "n": 1\n  },\n  '
    count = 380_000 * size // (16 * MIB)
    value = b"1" * max(1, size // count - 12)

    def array(unit: bytes, end: bytes = b",") -> bytes:
        return b'{"a":[%b]}' % (unit * (size // len(unit))).rstrip(end)

    def string(unit: bytes) -> bytes:
        return b'{"a":"%b"}' % (unit * (size // len(unit)))

    return {
        "string": string(b"a"),
        "small": array(b'{"a":1,"b":2},'),
        "nests": array(nest),
        "newlines": string(b"\\n"),
        "quotes": string(b'\\"['),
        "non-ascii": string("é漢".encode()),
        "pretty": array(row, b", \n"),
        "arrays": array(b"[],"),
        "objects": array(b"{},"),
        "numbers": array(b"123456,"),
        "members": b"{%b}" % b",".join(b'"m%d":%b' % (n, value) for n in range(count)),
        "key": b'{"%b":1}' % (b"k" * size),
        "surrogate": b'{"a":"%b\\ud83d"}' % (b"a" * size),
    }


# ---- the client


# All connections, to be closed at the end.
CLIENTS: "list[Client]" = []


class Client:
    """A blocking HTTP or WebSocket connection."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        CLIENTS.append(self)
        self.sock.settimeout(20)
        self.host = f"127.0.0.1:{port}"
        self.rest = b""

    def send(
        self, method: str, path: str, body: bytes = b"", *, chunked: bool = False, **headers: str
    ) -> None:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Authorization: Bearer {TOKEN}"]
        if body:
            lines.append("Content-Type: application/json")
            lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        if not chunked:
            self.sock.sendall(body)
            return
        for at in range(0, len(body), 65536):
            piece = body[at : at + 65536]
            self.sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.sock.sendall(b"0\r\n\r\n")

    def until(self, mark: bytes) -> bytes:
        while mark not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError(self.rest[:200])
            self.rest += data
        head, _, self.rest = self.rest.partition(mark)
        return head

    def exactly(self, count: int) -> bytes:
        pieces = [self.rest[:count]]
        self.rest = self.rest[count:]
        missing = count - len(pieces[0])
        while missing:
            pieces.append(self.sock.recv(min(missing, MIB)))
            if not pieces[-1]:
                raise ConnectionError
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def reply(self) -> tuple[dict[str, str], bytes]:
        status, *lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        headers["status"] = status.split()[1]
        if "content-length" in headers:
            return headers, self.exactly(int(headers["content-length"]))
        if headers["status"] != "200" or "text/event-stream" not in headers["content-type"]:
            return headers, b""
        return headers, self.event()

    def event(self) -> bytes:
        """Return the next event with data of a chunked stream."""
        while True:
            size = int(self.until(b"\r\n"), 16)
            data = self.exactly(size + 2)[:-2]
            if b"data: " in data and b'"id":' in data:
                return data


class Http:
    """A session over Streamable HTTP."""

    def __init__(self, port: int, server: str) -> None:
        self.path = f"/servers/{server}/mcp"
        self.client = Client(port)
        self.session = ""
        headers, _ = self.call(initialize())
        self.session = headers["mcp-session-id"]
        self.call(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def call(self, body: bytes, *, chunked: bool = False) -> tuple[dict[str, str], bytes]:
        more = {"Mcp_Session_Id": self.session} if self.session else {}
        accept = "application/json, text/event-stream"
        self.client.send("POST", self.path, body, chunked=chunked, Accept=accept, **more)
        return self.client.reply()


class ModernHttp:
    """Requests of the stateless era."""

    def __init__(self, port: int, server: str) -> None:
        self.path = f"/servers/{server}/mcp"
        self.port = port

    def call(self, body: bytes) -> tuple[dict[str, str], bytes]:
        client = Client(self.port)
        headers = {"MCP_Protocol_Version": MODERN, "Mcp_Method": "tools/call", "Mcp_Name": "file"}
        accept = "application/json, text/event-stream"
        with client.sock:
            client.send("POST", self.path, body, Accept=accept, **headers)
            return client.reply()


class WebSocket:
    """A session over WebSocket."""

    def __init__(self, port: int, server: str) -> None:
        self.client = Client(port)
        key = base64.b64encode(os.urandom(16)).decode()
        self.client.send(
            "GET",
            f"/servers/{server}/ws",
            Connection="Upgrade",
            Upgrade="websocket",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key=key,
            Sec_WebSocket_Protocol="mcp",
        )
        self.client.until(b"\r\n\r\n")
        self.call(initialize())
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def send(self, text: bytes, *, fragments: bool = False) -> None:
        size = 32 * 1024 if fragments else max(1, len(text))
        for at in range(0, len(text), size):
            piece = text[at : at + size]
            opcode = (0 if at else 1) | (0x80 if at + size >= len(text) else 0)
            mask = b"\1\2\3\4"
            pad = (mask * (len(piece) // 4 + 1))[: len(piece)]
            number = int.from_bytes(piece, "big") ^ int.from_bytes(pad, "big")
            head = bytes((opcode, 0xFF)) + len(piece).to_bytes(8, "big")
            if len(piece) < 65536:
                head = bytes((opcode, 0xFE)) + len(piece).to_bytes(2, "big")
            if len(piece) < 126:
                head = bytes((opcode, 0x80 | len(piece)))
            self.client.sock.sendall(head + mask + number.to_bytes(len(piece), "big"))

    def call(self, text: bytes, *, fragments: bool = False) -> tuple[dict[str, str], bytes]:
        self.send(text, fragments=fragments)
        while True:
            head = self.client.exactly(2)
            size = head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(self.client.exactly({126: 2, 127: 8}[size]), "big")
            payload = self.client.exactly(size)
            if head[0] & 0x0F == 1:  # which is no ping
                return {"status": "200"}, payload


class Lines:
    """A session over the pipe endpoint."""

    def __init__(self, port: int, server: str) -> None:
        self.client = Client(port)
        self.client.send("GET", f"/servers/{server}/pipe", Connection="Upgrade", Upgrade="mcp-pipe")
        self.client.until(b"\r\n\r\n")
        self.call(initialize())
        self.client.sock.sendall(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    def call(self, text: bytes) -> tuple[dict[str, str], bytes]:
        self.client.sock.sendall(text.replace(b"\n", b" ") + b"\n")
        pieces = [self.client.rest]
        while b"\n" not in pieces[-1]:
            pieces.append(self.client.sock.recv(MIB))
            if not pieces[-1]:
                raise ConnectionError
        line, _, self.client.rest = b"".join(pieces).partition(b"\n")
        return {"status": "200"}, line


class Sse:
    """A session over HTTP+SSE."""

    def __init__(self, port: int, server: str) -> None:
        self.stream, self.client = Client(port), Client(port)
        self.stream.send("GET", f"/servers/{server}/sse", Accept="text/event-stream")
        self.stream.until(b"\r\n\r\n")
        data = self.stream.exactly(int(self.stream.until(b"\r\n"), 16) + 2)
        path = data.partition(b"data: ")[2].split()[0].decode()
        base = f"/servers/{server}/"
        self.path = path if path.startswith("/") else base + path
        self.call(initialize())
        self.client.send("POST", self.path, b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        self.client.reply()

    def call(self, text: bytes) -> tuple[dict[str, str], bytes]:
        self.client.send("POST", self.path, text)
        headers, _ = self.client.reply()
        return {**headers, "status": "200"}, self.stream.event()


def initialize() -> bytes:
    params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()


def request(shape: bytes, meta: bytes = b"") -> bytes:
    """Return a call with the shape as its arguments. A shape of very many members is the params."""
    if shape.startswith(b'{"m0"'):
        params = b'{"name":"file",%b%b' % (meta, shape[1:])
    else:
        params = b'{"name":"file",%b"arguments":%b}' % (meta, shape)
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params


META = b'"_meta":{"%b":"%b","%b":{}},' % (
    f"{PREFIX}protocolVersion".encode(),
    MODERN.encode(),
    f"{PREFIX}clientCapabilities".encode(),
)


class Bench:
    """A daemon, and the requests to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        meter = folder / "meter"
        meter.write_bytes(bytes(8))
        with meter.open("r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 8)
        command = json.dumps([sys.executable, "-I", "-S", str(Path(__file__).resolve()), "--serve"])
        config = folder / "config.toml"
        # Without memory that is kept, so that the resident memory shows each message. A step takes longer then.
        config.write_text(
            f'[listen]\nhttp = "127.0.0.1:0"\ntoken = "token"\n[limits]\nheartbeat_seconds = 3600\nfree_heap_bytes = 0\n[servers.plain]\ncommand = {command}\n'
            f'[servers.shared]\nshare = "server"\ncommand = {command}\n'
            f'[servers.chosen]\ncommand = {command}\ntools.allow = ["f*"]\n'
        )
        config.chmod(0o600)
        token = folder / "token"
        token.write_text(f"{TOKEN}\n")
        token.chmod(0o600)
        root = ["--allow-root"] if os.geteuid() == 0 else []
        arguments = [str(meter), "serve", "--config", str(config), *root]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--measured", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
        )
        assert self.process.stderr is not None
        self.port = 0
        for line in self.process.stderr:
            ready = re.search(r"ready on http://127\.0\.0\.1:(\d+)", line)
            if ready:
                self.port = int(ready[1])
                break
        if not self.port:
            raise SystemExit("the daemon does not start")
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)
        self.number = 0

    def close(self) -> None:
        for client in CLIENTS:
            client.sock.close()
        CLIENTS.clear()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.drain.wait(5)
            self.process.stderr.close()
            self.shared.close()

    def resident(self, key: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{key}:")[2].split()[0]) * 1024

    def answer(self, shape: bytes, meta: bytes = b"") -> bytes:
        """Return a call that the server answers with the shape."""
        path = self.folder / "answer"
        path.write_bytes(b'{"content":[],"structuredContent":%b}' % shape.replace(b"\n", b"\r"))  # one line
        arguments = b'{"path":"%b"}' % str(path).encode()
        return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"file",%b"arguments":%b}}' % (
            meta,
            arguments,
        )

    def paths(self) -> dict[str, object]:
        """Return the functions that send a shape, by path."""
        http, shared = Http(self.port, "plain"), Http(self.port, "shared")
        modern, sse, chosen = (
            ModernHttp(self.port, "plain"),
            Sse(self.port, "plain"),
            Http(self.port, "chosen"),
        )
        lines = Lines(self.port, "plain")
        socket_, shared_socket = WebSocket(self.port, "plain"), WebSocket(self.port, "shared")
        shared_modern, token = ModernHttp(self.port, "shared"), b'"_meta":{"progressToken":"t"},'
        return {
            "H length": lambda shape: http.call(request(shape)),
            "H chunked": lambda shape: http.call(request(shape), chunked=True),
            "W frame": lambda shape: socket_.call(request(shape)),
            "W fragments": lambda shape: socket_.call(request(shape), fragments=True),
            "P line": lambda shape: lines.call(request(shape)),
            "S post": lambda shape: sse.call(request(shape)),
            "allow req": lambda shape: chosen.call(request(shape)),
            "modern req": lambda shape: modern.call(request(shape, META)),
            "shared req": lambda shape: shared.call(request(shape)),
            "shared token": lambda shape: shared.call(request(shape, token)),
            "shared W": lambda shape: shared_socket.call(request(shape, token)),
            "shared mod": lambda shape: shared_modern.call(request(shape, META)),
            "H answer": lambda shape: http.call(self.answer(shape)),
            "W answer": lambda shape: socket_.call(self.answer(shape)),
            "P answer": lambda shape: lines.call(self.answer(shape)),
            "modern ans": lambda shape: modern.call(self.answer(shape, META)),
            "shared ans": lambda shape: shared.call(self.answer(shape)),
            "shared m ans": lambda shape: shared_modern.call(self.answer(shape, META)),
        }

    def measure(self, send: object, shape: bytes, pause: float = 0.3) -> tuple[float, float, bool]:
        """Return the longest step (ms), the peak of the memory above the start (bytes), and whether the response was right.

        Before that, earlier work may end within a pause (seconds).
        """
        time.sleep(pause)
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        before = self.resident("VmRSS")
        struct.pack_into("d", self.shared, 0, 0.0)
        _, body = send(shape)  # type: ignore[operator]
        longest = struct.unpack_from("d", self.shared)[0]
        return longest * 1e3, self.resident("VmHWM") - before, b'"result":' in body[:200]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", default="4,16")
    parser.add_argument("--only", default="")
    parser.add_argument("--paths", default="")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            report(bench, given)
        finally:
            bench.close()


def report(bench: Bench, given: argparse.Namespace) -> None:
    paths = {
        name: send
        for name, send in bench.paths().items()
        if not given.paths or name in given.paths.split(",")
    }
    floor = [max(bench.measure(send, b'{"a":1}')[0] for _ in range(3)) for send in paths.values()]
    print(f"noise floor: the longest step with messages of 100 bytes is {max(floor):.1f} ms")
    for mib in map(int, given.mib.split(",")):
        # A little less, because the envelope of the message counts as well.
        found = shapes(mib * MIB - 4096)
        names = [name for name in found if not given.only or name in given.only.split(",")]
        print(
            f"\n{mib} MiB: the longest step in ms (budget {BUDGET.get(mib, 0)}), and the peak of memory in messages"
        )
        print(f"{'':10}" + "".join(f"{name:>13}" for name in paths))
        worst = 0.0
        for name in names:
            cells = []
            for send in paths.values():
                rounds = [bench.measure(send, found[name]) for _ in range(given.rounds)]
                steps, peak = min(one[0] for one in rounds), min(one[1] for one in rounds)
                worst = max(worst, steps)
                wrong = "" if all(one[2] for one in rounds) else "!"
                cells.append(f"{steps:.0f}{wrong} {peak / (mib * MIB):.1f}")
            print(f"{name:10}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
        print(f"worst: {worst:.0f} ms")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve()
    elif sys.argv[1:2] == ["--measured"]:
        measured()
    else:
        main()
