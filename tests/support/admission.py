"""A client with a token, and the floods beside which it has to be served."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from .handshake import initialize_request

FLOODING = Path(__file__).with_name("flooding.py")
# Kinds for listeners with TLS only.
OVER_TLS = ("handshakes", "resets")
KINDS = (
    "silent",
    "handshakes",
    "refused",
    "heads",
    "bodies",
    "resets",
    "upgrades",
    "tokens",
    "pages",
    "reconnects",
)
# Limit on one attempt (seconds).
TIMEOUT = 10.0

INITIALIZE = json.dumps(initialize_request(1, name="good"))
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def connection_to(address, trust=None):
    """Return a connection to a bridge. `trust` is the TLS context of the client, or None."""
    if trust is None:
        return http.client.HTTPConnection(*address, timeout=TIMEOUT)
    return http.client.HTTPSConnection(*address, timeout=TIMEOUT, context=trust)


def open_session(address, token, trust=None):
    """Open a session on a new connection, and delete it. Return how long the opening took (seconds)."""
    began = time.monotonic()
    connection = connection_to(address, trust)
    with contextlib.closing(connection):
        headers = {**HEADERS, "Authorization": f"Bearer {token}"}
        connection.request("POST", "/mcp", INITIALIZE, headers)
        response = connection.getresponse()
        body = response.read()
        took = time.monotonic() - began
        assert response.status == 200, (response.status, body)
        headers["Mcp-Session-Id"] = response.headers["Mcp-Session-Id"]
        connection.request("DELETE", "/mcp", headers=headers)
        assert connection.getresponse().status == 204
    return took


@contextlib.contextmanager
def flooded(kind, address, seconds=60, rate=2000):
    """Run a flood of this kind in another process, and wait until it has begun."""
    command = [sys.executable, "-I", str(FLOODING), kind, *map(str, (*address, seconds, rate))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout.readline() == "flooding\n"
            yield process
        finally:
            process.terminate()


def raw(address):
    """Return a TCP socket that sends each write at once."""
    sock = socket.create_connection(address, TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_response(sock):
    """Return the head and the body of one response with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
    while len(body) < length:
        piece = sock.recv(65536)
        assert piece, data
        body += piece
    return head + b"\r\n\r\n" + body
