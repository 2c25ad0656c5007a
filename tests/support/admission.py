"""A client with a token, and the floods that it has to get through."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

FLOODING = Path(__file__).with_name("flooding.py")
# Those that only a listener with TLS can have.
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
# How long one attempt may take before it has failed, in seconds.
TIMEOUT = 10.0

INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "good", "version": "1"},
        },
    }
)
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def connection_to(address, trust=None):
    """A connection to a bridge; `trust` is the context of a client that speaks TLS."""
    if trust is None:
        return http.client.HTTPConnection(*address, timeout=TIMEOUT)
    return http.client.HTTPSConnection(*address, timeout=TIMEOUT, context=trust)


def open_session(address, token, trust=None):
    """Open a session on a new connection, and end it. Returns how long the first took, in seconds."""
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
    """A flood of this kind, from another process, that has begun."""
    command = [sys.executable, "-I", str(FLOODING), kind, *map(str, (*address, seconds, rate))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout.readline() == "flooding\n"
            yield process
        finally:
            process.terminate()


def tls_client_context(authority):
    """What a client that trusts this authority needs."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def tls_options(authority, folder):
    """The options of a listener with a certificate of this authority."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return "--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")


def raw(address):
    """A TCP connection that sends what it is told."""
    sock = socket.create_connection(address, TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_response(sock):
    """The head and the body of one answer with a length."""
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
