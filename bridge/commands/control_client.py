"""Asking the running daemon over its Unix socket, for the commands of `door`. Plain blocking HTTP: a person waits."""

import http.client
import json
import math
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ...validators import stateless_request
from ..config.addresses import NotOurs, check_listener

# An answer that takes longer than this has got lost, in seconds; a call of a tool may take as long as it likes.
_PATIENCE: Final = 30.0
# Of the reason of a refusal, in characters.
_LONGEST_REASON: Final = 500


class NoDaemon(Exception):
    """Nobody listens there."""


class Refused(Exception):
    """The daemon, or the server behind it, has answered with an error; the text is theirs."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, patience: float | None) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError as fault:
            raise NoDaemon(
                f"cannot connect to the daemon at {self._path}: {fault.strerror or fault}; start it with `mcp-bridge serve`"
            ) from None
        try:
            check_listener(self.sock, self._path)
        except NotOurs as fault:
            raise NoDaemon(str(fault)) from None

    def send(self, data: Any) -> None:  # noqa: ANN401 - as it is there
        """Send, and let it not look as if whoever reads our output had left."""
        try:
            super().send(data)
        except BrokenPipeError as fault:
            raise ConnectionResetError(fault.errno, fault.strerror) from None


def ask(unix: Path, method: str, path: str, patience: float = _PATIENCE) -> Any:  # noqa: ANN401 - JSON
    """The daemon's answer to a question of its control socket, within so many seconds.

    Raises NoDaemon, Refused and TimeoutError.
    """
    connection = _UnixConnection(unix, patience)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return _checked(response.status, response.read())
    finally:
        connection.close()


def follow(unix: Path, path: str) -> Iterator[Any]:
    """What the daemon says from now on, until it ends. Raises NoDaemon and Refused."""
    connection = _UnixConnection(unix, None)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            _checked(response.status, response.read())
        yield from _events(response)
    finally:
        connection.close()


def call(
    unix: Path,
    server: str,
    method: str,
    params: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
    patience: float | None = None,
) -> Iterator[dict[str, Any]]:
    """Ask a server as a client of revision 2026-07-28 would: its notifications, and its response as the last message.

    With `patience`, in seconds, that is all the time there is. Raises NoDaemon and Refused.
    """
    meta = {**stateless_request.OWN_META, "progressToken": 1}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    sent = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": stateless_request.MODERN_REVISION,
        "Mcp-Method": method,
        "Mcp-Bridge-Command": "1",  # transports.peer: so that one server process serves all commands
        **(headers or {}),
    }
    if isinstance(params.get("name"), str):
        sent["Mcp-Name"] = stateless_request.encode_value(str(params["name"]))
    connection = _UnixConnection(unix, patience)
    try:
        connection.request("POST", f"/servers/{server}/mcp", json.dumps(body).encode(), sent)
        response = connection.getresponse()
        if response.headers.get_content_type() == "text/event-stream":
            yield from _events(response, math.inf if patience is None else time.monotonic() + patience)
        else:
            yield _checked(response.status, response.read())
    except TimeoutError:
        raise Refused(f"no response within {patience:g} s") from None
    finally:
        connection.close()


def result_of(messages: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The result at the end of these messages. Raises Refused for an error, or for none."""
    last: dict[str, Any] = {}
    for message in messages:
        last = message
    result: Any = last.get("result")
    if not isinstance(result, dict):
        raise Refused(_reason(last) or "the response is missing or has no result")
    return cast("dict[str, Any]", result)


def _events(response: http.client.HTTPResponse, end: float = math.inf) -> Iterator[Any]:
    for line in response:
        if time.monotonic() > end:
            raise TimeoutError
        if line.startswith(b"data: ") and line.strip() != b"data:":
            yield json.loads(line[6:])


def _checked(status: int, body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        answer = json.loads(body)
    except ValueError:
        raise Refused(f"the daemon returned HTTP {status}: {body[:200]!r}") from None
    if status >= http.client.BAD_REQUEST:
        raise Refused(_reason(answer) or f"the daemon returned HTTP {status}")
    return answer


def reason_in(body: bytes) -> str:
    """Return the text of the error in the body of a refusal, on one line; nothing if there is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error: Any = cast("dict[str, Any]", answer).get("error") if isinstance(answer, dict) else None
    text: Any = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else None
    return " ".join(text.split())[:_LONGEST_REASON] if isinstance(text, str) else ""


def _reason(answer: dict[str, Any]) -> str:
    error: dict[str, Any] = answer.get("error", {})
    data = error.get("data")
    lines: list[object] = cast("dict[str, Any]", data).get("stderr", []) if isinstance(data, dict) else []
    return "\n".join([str(error.get("message", "")), *(f"  {line}" for line in lines)])
