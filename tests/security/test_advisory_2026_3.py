"""MCPB-2026-3: the error of a failed server contained what it had written to stderr for another principal."""

import hashlib
import sys
from pathlib import Path

import pytest

from ..support.credential_client import Target, bearer
from ..support.daemon_process import daemon

SERVER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("advisory_server.py"))]
TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in ("alice", "bob")}


class Client:
    """A client of the handshake era with the token of one principal."""

    def __init__(self, running, name):
        self.target = Target(running.address)
        self.headers = bearer(TOKENS[name])
        self.headers["Mcp-Session-Id"] = self.target.initialize("one", self.headers).headers["mcp-session-id"]

    def call(self, tool, text=""):
        params = {"name": tool, "arguments": {"text": text}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        return self.target.post("/servers/one/mcp", message, self.headers).body.decode()


@pytest.mark.parametrize("share", ["server", "principal"])
def test_an_error_has_no_stderr_that_was_written_for_another_principal(tmp_path, share):
    tokens = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest()}
        for name, token in TOKENS.items()
    }
    with daemon(tmp_path, {"one": {"command": SERVER, "share": share}}, **tokens) as running:
        alice, bob = Client(running, "alice"), Client(running, "bob")
        assert "the diary of alice" in alice.call("write", "the diary of alice")
        found = bob.call("die")
        assert '"error"' in found
        assert "diary" not in found
