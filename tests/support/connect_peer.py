"""`mcp-bridge connect URL` in front of a WebSocket peer that a test controls."""

import base64
import hashlib
import json
import os
import socket
import subprocess
import threading
from contextlib import contextmanager

from .bridge_process import PROGRAM
from .handshake import initialize_params
from .wire import BINARY, CLOSE, TEXT, frame

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": initialize_params(capabilities={"sampling": {}}, name="connect"),
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
REQUEST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
OPENED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "peer", "version": "1"},
}


class PeerConnection:
    """One connection that was accepted."""

    def __init__(self, sock):
        self.sock = sock
        self._received = b""

    def head(self):
        while b"\r\n\r\n" not in self._received:
            self._received += self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        return data

    def send(self, data):
        self.sock.sendall(data)

    def accept(self, *, protocol="mcp", extra="", accept=None):
        key = next(line for line in self.head().split("\r\n") if line.lower().startswith("sec-websocket-key"))
        digest = hashlib.sha1(key.partition(":")[2].strip().encode() + GUID).digest()
        chosen = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        self.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"{chosen}{extra}Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}\r\n\r\n".encode()
        )

    def send_frame(self, text, opcode=TEXT, **how):
        self.send(frame(opcode, text if isinstance(text, bytes) else text.encode(), masked=False, **how))

    def close(self, code=1000, reason=""):
        self.send_frame(code.to_bytes(2, "big") + reason.encode(), CLOSE)

    def frame(self):
        """Return the opcode and the payload of the next frame of the client."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly({126: 2, 127: 8}[size]), "big")
        mask, payload = self._exactly(4), self._exactly(size)
        pad = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return first & 0x0F, (int.from_bytes(payload, "big") ^ pad).to_bytes(size, "big")

    def _exactly(self, count):
        while len(self._received) < count:
            self._received += self._more()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def open_session(self):
        """Accept, and respond to `initialize`."""
        self.accept()
        first = self.message()
        self.send_frame(json.dumps({"jsonrpc": "2.0", "id": first["id"], "result": OPENED}))

    def request(self):
        """Return the next message of the client that is no notification."""
        while "id" not in (message := self.message()):
            continue
        return message

    def message(self):
        """Return the next message of the client."""
        opcode, payload = self.frame()
        while opcode not in (TEXT, BINARY):
            opcode, payload = self.frame()
        return json.loads(payload)


@contextmanager
def peer(conversation, path="/ws", scheme="http"):
    """Yield the URL of a peer that runs `conversation` on each connection, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    try:
                        conversation(PeerConnection(sock))
                    except (OSError, EOFError):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}{path}"
        # Wakes the thread that accepts.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def run_connect_to(conversation, *messages, words=(), scheme="http", environment=None, text=None):
    """Run `connect` in front of this peer, with these messages as its whole input."""
    lines = text if text is not None else "".join(f"{json.dumps(one)}\n" for one in messages).encode()
    with peer(conversation, scheme=scheme) as url:
        done = subprocess.run(
            [PROGRAM, "connect", url, *words],
            input=lines,
            env={**os.environ, "XDG_CONFIG_HOME": "/nonexistent", **(environment or {})},
            capture_output=True,
            timeout=60,
            check=False,
        )
    done.url = url
    done.errors = done.stderr.decode()
    done.lines = done.stdout.decode().splitlines()
    assert "Traceback" not in done.errors
    return done
