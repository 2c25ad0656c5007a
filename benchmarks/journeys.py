"""Count the Python calls of three journeys through a running daemon: `python benchmarks/journeys.py`.

For each journey: calls of functions of this package, distinct modules, and changes from one module to another. Each journey
runs several times after a warm-up, and the smallest count is printed, because ticks of the daemon may fall into a window.
Another build is measured with its own interpreter: `OTHER/.venv/bin/python benchmarks/journeys.py`.
"""

import hashlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
TIMES: Final = 7
TOKEN: Final = "mcpb_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
MODERN: Final = "2026-07-28"
META: Final = "io.modelcontextprotocol/"

# Runs in the daemon: records the clock and the file of each call of a function, and writes them when the daemon exits.
TRACER: Final = """
import importlib.metadata, sys, time
out = sys.argv.pop(1)
calls = []
def trace(frame, event, arg, clock=time.monotonic, add=calls.append):
    if event == "call":
        code = frame.f_code
        if "mcpbridged/" in code.co_filename and " " not in code.co_filename:
            add((clock(), code.co_filename, frame.f_lasti))
(main,) = importlib.metadata.entry_points(group="console_scripts", name="mcp-bridge")
main = main.load()
sys.argv[0] = "mcp-bridge"
sys.setprofile(trace)
try:
    main()
finally:
    sys.setprofile(None)
    with open(out, "w") as file:
        for at, name, step in calls:
            print(at, name.split("mcpbridged/")[-1], step, file=file)
"""


class Http:
    """A client with one connection that is kept alive."""

    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.host = f"127.0.0.1:{port}"
        self.token = token
        self.buffer = b""

    def post(self, path: str, body: dict[str, Any], **headers: str) -> tuple[dict[str, str], list[Any]]:
        """Send one message. Return the headers and the messages of the response."""
        text = json.dumps(body).encode()
        lines = {
            "Host": self.host,
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "Content-Length": str(len(text)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.socket.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + text)
        head_text = self._until(b"\r\n\r\n").decode()
        if " 20" not in head_text.split("\r\n")[0]:
            raise ValueError(head_text)
        pairs = [line.split(": ", 1) for line in head_text.split("\r\n")[1:] if line]
        found = {name.lower(): value for name, value in pairs}
        if found.get("transfer-encoding") == "chunked":
            content = b""
            while size := int(self._until(b"\r\n"), 16):
                content += self._take(size)
                self._take(2)
            self._take(2)
        else:
            content = self._take(int(found.get("content-length", "0")))
        if found.get("content-type", "").startswith("text/event-stream"):
            parts = [
                line[5:] for line in content.split(b"\n") if line.startswith(b"data:") and line[5:].strip()
            ]
        else:
            parts = [content] if content else []
        return found, [json.loads(part) for part in parts]

    def _until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            self._read()
        part, _, self.buffer = self.buffer.partition(end)
        return part

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._read()
        part, self.buffer = self.buffer[:size], self.buffer[size:]
        return part

    def _read(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(self.buffer.decode())
        self.buffer += data


@contextmanager
def daemon(folder: Path) -> Iterator[tuple[int, subprocess.Popen[str], Path, Path]]:
    """Run a traced daemon with two servers. Yield its port, its process, its configuration and the file of its calls."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "config.toml"
    config.write_text(text_of(port, ("one", "two")))
    config.chmod(0o600)
    out = folder / "calls"
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_CACHE_HOME": str(folder),
    }
    command = [sys.executable, "-c", TRACER, str(out), "serve", "--config", str(config), "--allow-root"]
    process = subprocess.Popen(
        command, env=environment, cwd=folder, text=True, stderr=(folder / "log").open("w")
    )
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise TimeoutError((folder / "log").read_text())
        yield port, process, config, out
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def text_of(port: int, names: tuple[str, ...]) -> str:
    """Return the configuration with these servers."""
    command = json.dumps([sys.executable, str(ROOT / "examples" / "server.py")])
    servers = "".join(f"[servers.{name}]\ncommand = {command}\n" for name in names)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return f'listen.http = "127.0.0.1:{port}"\n[tokens.main]\nsha256 = "{digest}"\n{servers}'


def measured(run: Callable[[], object], windows: list[tuple[float, float]]) -> None:
    """Run a journey after a pause and note its window of time."""
    time.sleep(0.3)
    begun = time.monotonic()
    run()
    time.sleep(0.1)
    windows.append((begun, time.monotonic()))


def opened(client: Http, server: str) -> dict[str, str]:
    """Open a session at a server. Return the headers of its requests."""
    path = f"/servers/{server}/mcp"
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "j", "version": "1"},
    }
    head, _ = client.post(path, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    session = {"Mcp_Session_Id": head["mcp-session-id"], "MCP_Protocol_Version": "2025-11-25"}
    client.post(path, {"jsonrpc": "2.0", "method": "notifications/initialized"}, **session)
    return session


def serves(client: Http, server: str) -> bool:
    """Return whether the daemon has this server."""
    try:
        opened(client, server)
    except ValueError as fault:
        if " 404 " not in str(fault):
            raise
        return False
    return True


def modern_call(client: Http) -> None:
    """Call the tool that requests input, and answer the request."""
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {"elicitation": {"form": {}}}}
    headers = {"MCP_Protocol_Version": MODERN, "Mcp_Method": "tools/call", "Mcp_Name": "ask"}
    params: dict[str, Any] = {"name": "ask", "arguments": {"question": "yes?"}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    result = client.post("/servers/two/mcp", body, **headers)[1][-1]["result"]
    answers = {key: {"action": "accept", "content": {"answer": "yes"}} for key in result["inputRequests"]}
    params.update(inputResponses=answers, requestState=result["requestState"])
    body["id"] = 2
    final = client.post("/servers/two/mcp", body, **headers)[1][-1]
    if "content" not in final["result"]:
        raise ValueError(final)


def main() -> None:
    """Run the journeys and print a line for each."""
    windows: dict[str, list[tuple[float, float]]] = {"call": [], "elicitation": [], "reload": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with daemon(folder) as (port, process, config, out):
            client = Http(port, TOKEN)
            session = opened(client, "one")

            def call() -> None:
                params = {"name": "echo", "arguments": {"text": "hi"}}
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                answer = client.post("/servers/one/mcp", body, **session)[1][-1]
                if "result" not in answer:
                    raise ValueError(answer)

            call()
            modern_call(client)
            for _ in range(TIMES):
                measured(call, windows["call"])
            for _ in range(TIMES):
                measured(lambda: modern_call(client), windows["elicitation"])
            for names in [("one",), ("one", "two")] * 3:
                if names == ("one",):
                    # The removed server has a session and a process, which the reload ends.
                    opened(client, "two")
                    time.sleep(0.3)
                begun = time.monotonic()
                config.write_text(text_of(port, names))
                process.send_signal(signal.SIGHUP)
                time.sleep(1)
                if names == ("one",):
                    windows["reload"].append((begun, time.monotonic()))
                    if serves(client, "two"):
                        raise ValueError((folder / "log").read_text())
        calls = []
        for line in out.read_text().splitlines():
            at, module, step = line.split()
            calls.append((float(at), module, int(step)))
    for journey, spans in windows.items():
        counts = []
        for begun, end in spans:
            modules = [module for at, module, _ in calls if begun <= at <= end]
            changes = sum(one != other for one, other in itertools.pairwise(modules))
            counts.append((len(modules), len(set(modules)), changes))
        print(f"{journey}: %d calls, %d modules, %d changes of module" % min(counts))


if __name__ == "__main__":
    main()
