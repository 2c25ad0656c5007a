"""MCPB-2026-4: a question of a shared server reached another client than that whose call had caused it."""

import contextlib
import json
import secrets
import sys
import time
from pathlib import Path

import pytest

from ..support.credential_client import Target, bearer
from ..support.daemon_process import daemon
from ..support.raw_http import BOTH, INITIALIZE

SERVER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("advisory_server.py"))]
ASKABLE = {**INITIALIZE, "capabilities": {"elicitation": {}}}


class Client:
    """One of several clients with the same token and the same `clientInfo`, which calls the tool that asks."""

    def __init__(self, running, server):
        self.target, self.path = Target(running.address), f"/servers/{server}/mcp"
        self.headers = bearer(running.token)
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": ASKABLE}
        reply = self.target.post(self.path, message, self.headers)
        self.headers["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
        self.target.post(self.path, {"jsonrpc": "2.0", "method": "notifications/initialized"}, self.headers)
        self.nonce = secrets.token_hex(8)
        self.received = b""

    def call(self, stack):
        params = {"name": "ask", "arguments": {"text": self.nonce}}
        message = {"jsonrpc": "2.0", "id": self.nonce, "method": "tools/call", "params": params}
        self.sock = stack.enter_context(self.target.connect())
        self.target.send(
            self.sock, "POST", self.path, {"Accept": BOTH, **self.headers}, json.dumps(message).encode()
        )

    def read(self):
        """Read until the question, or the result of the refusal of the question, has come."""
        end = time.monotonic() + 30
        while not any(
            word in self.received for word in (self.nonce.encode(), b"elicitation/create", b'"error"')
        ):
            data = self.sock.recv(65536)
            # The heartbeats of the stream go on for ever.
            assert data
            assert time.monotonic() < end, self.received
            self.received += data


@pytest.mark.parametrize("share", ["session", "principal", "server"])
def test_no_client_gets_the_question_of_another(tmp_path, share):
    with daemon(tmp_path, {"one": {"command": SERVER, "share": share}}) as running:
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                clients = [Client(running, "one") for _ in range(2)]
                for client in clients:
                    client.call(stack)
                for client in clients:
                    client.read()
                one, other = clients
                assert other.nonce.encode() not in one.received
                assert one.nonce.encode() not in other.received
                if share == "session":
                    assert [b"elicitation/create" in client.received for client in clients] == [True, True], [
                        client.received for client in clients
                    ]
