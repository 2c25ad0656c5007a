"""A server that answers late, as any server does on a busy machine. Its argument is a JSON object with the times (seconds).

`start` passes before it reads, `discover` and `initialize` before these are answered; other requests are answered at once.
With `eras` "legacy", `server/discover` is never answered, and with "modern" `initialize` is refused. With `noise` it writes
text before the first message. With `stop` a process that gets `server/discover` writes its pid to this file and stops itself.
With `url` it is served over HTTP at any port, which it prints.
"""

import json
import os
import signal
import sys
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Timer

OPTIONS = json.loads(sys.argv[1])
ERAS = OPTIONS.get("eras", "both")
PREFIX = "io.modelcontextprotocol/"
DISCOVERED = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
lock = Lock()


def response(message: dict) -> dict | None:
    """Return the response to a message, None where there is none."""
    method = message.get("method")
    if "id" not in message or (method == "server/discover" and ERAS == "legacy"):
        return None
    if method == "initialize" and ERAS == "modern":
        data = {"supported": [], "requested": message["params"]["protocolVersion"]}
        error = {"code": -32602, "message": "unsupported protocol version", "data": data}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    modern = f"{PREFIX}protocolVersion" in message.get("params", {}).get("_meta", {})
    result: dict = {"resultType": "complete"} if modern else {}
    if method == "server/discover":
        result = DISCOVERED
    elif method == "initialize":
        info = {"name": "late", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    elif method == "tools/call":
        result["content"] = [{"type": "text", "text": "modern" if modern else "legacy"}]
    elif method == "tools/list":
        result["tools"] = [{"name": "x", "inputSchema": {"type": "object"}}]
        result |= {"ttlMs": 0, "cacheScope": "private"} if modern else {}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def delay(message: dict) -> float:
    return OPTIONS.get({"server/discover": "discover"}.get(message.get("method"), message.get("method")), 0)


def write(text: str) -> None:
    with lock:
        print(text, flush=True)


def serve_pipes() -> None:
    if OPTIONS.get("noise"):
        for number in range(200):
            write(f"loading {number}")
    time.sleep(OPTIONS.get("start", 0))
    for line in sys.stdin:
        message = json.loads(line)
        found = response(message)
        if found is not None:
            Timer(delay(message), partial(write, json.dumps(found))).start()
        if OPTIONS.get("stop") and message.get("method") == "server/discover":
            with Path(OPTIONS["stop"]).open("a") as file:
                file.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGSTOP)
    # Without the timers.
    os._exit(0)


class Handler(BaseHTTPRequestHandler):
    """Streamable HTTP of both eras, without streams."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(delay(message))
        found = response(message)
        body = b"" if found is None else json.dumps(found).encode()
        self.send_response(200 if body else 202)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if message.get("method") == "initialize":
            self.send_header("Mcp-Session-Id", "session")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_error(405)

    def log_message(self, *words: object) -> None:
        """Write no log."""


if OPTIONS.get("url"):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/mcp", flush=True)
    server.serve_forever()
else:
    serve_pipes()
