"""An HTTP client of the Unix socket of a daemon, with every header under control."""

import http.client
import json
import socket
from typing import Any, NamedTuple

from .handshake import initialize_request
from .raw_http import BOTH
from .stateless_requests import headers_of, request

USUAL = [("Accept", BOTH), ("Content-Type", "application/json")]


class Answer(NamedTuple):
    """A response. `text` is the message of its error, or the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        if self.headers.get("content-type") == "text/event-stream":
            return json.loads(
                [line for line in self.body.splitlines() if line.startswith(b"data: {")][-1][6:]
            )
        return json.loads(self.body)

    @property
    def text(self) -> str:
        answer = self.json
        return answer["error"]["message"] if "error" in answer else ""


class Connection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class UnixClient:
    """A client with a connection for each request. Headers are pairs, so that one can be repeated."""

    def __init__(self, path: object) -> None:
        self._path = str(path)

    def exchange(self, method: str, path: str, headers: list[tuple[str, str]], body: Any = None) -> Answer:
        text = b"" if body is None else json.dumps(body).encode()
        connection = Connection(self._path)
        try:
            connection.putrequest(method, path)
            for name, value in [*headers, ("Content-Length", str(len(text)))]:
                connection.putheader(name, value)
            connection.endheaders(text)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def initialize(self, server: str, *headers: tuple[str, str]) -> Answer:
        return self.exchange("POST", f"/servers/{server}/mcp", [*USUAL, *headers], initialize_request())

    def call(self, server: str, session: str, called: str, /, **arguments: Any) -> Answer:
        """Call a tool in a session."""
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": called, "arguments": arguments},
        }
        headers = [*USUAL, ("Mcp-Session-Id", session), ("MCP-Protocol-Version", "2025-11-25")]
        return self.exchange("POST", f"/servers/{server}/mcp", headers, body)

    def stateless(self, server: str, called: str, /, *headers: tuple[str, str], **arguments: Any) -> Answer:
        """Call a tool as a client of revision 2026-07-28."""
        body = request("tools/call", {"name": called, "arguments": arguments})
        return self.exchange("POST", f"/servers/{server}/mcp", [*headers_of(body).items(), *headers], body)


def content(answer: Answer) -> Any:
    """Return the JSON in the text of the result of a tool."""
    assert answer.status == 200, answer
    return json.loads(answer.json["result"]["content"][0]["text"])
