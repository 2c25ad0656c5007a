"""Send requests to the running daemon over its Unix socket, with blocking HTTP."""

import contextlib
import http.client
import json
import math
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from ...validators import mirrored_headers, stateless_request
from ...validators.revisions import MODERN_REVISION
from ..config.addresses import NotOurs, check_listener
from ..config.settings import CONTROL
from ..config.xdg import stopping_path
from ..core.exit_codes import EX_UNAVAILABLE, ReportedError
from .pump.daemon_socket import directory_headers

# For a response of the control API (seconds). A call of a tool has no limit.
_TIMEOUT: Final = 30.0
# Declared with every request, because clients with other capabilities get another process (MCP 2026-07-28 client/elicitation).
CAPABILITIES: Final[Mapping[str, object]] = {"elicitation": {"form": {}, "url": {}}}
_META: Final = {**stateless_request.OWN_META, stateless_request.CLIENT_CAPABILITIES: CAPABILITIES}
_STATUS: Final = f"{CONTROL}/status"


class Unreachable(ReportedError):
    """No peer accepts the connection; the text names the peer and the reason."""

    exit_code = EX_UNAVAILABLE


def no_daemon(path: Path, reason: str) -> str:
    """Return the error text for a daemon that does not accept a connection to its Unix socket."""
    return f"cannot connect to the daemon at {path}: {reason}; start it with `mcp-bridge serve`"


class ErrorResponse(ReportedError):
    """The daemon or the server has returned an error; the text is the message of the peer.

    `code` and `data` are those of the JSON-RPC error, None and empty without one. `status` is that of HTTP, 0 on a stream.
    """

    def __init__(
        self, text: str, code: int | None = None, data: Mapping[str, Any] | None = None, status: int = 0
    ) -> None:
        super().__init__(text)
        self.code = code
        self.data: Mapping[str, Any] = data or {}
        self.status = status


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
            raise Unreachable(no_daemon(self._path, str(fault.strerror or fault))) from None
        try:
            check_listener(self.sock, self._path)
        except NotOurs as fault:
            raise Unreachable(str(fault)) from None

    @property
    def stopped(self) -> str:
        """The end of an error text: that the process of the daemon is stopped, or that it may be busy."""
        if self.sock is None:
            return ""
        # struct ucred: pid, uid and gid, 32 bits each (unix(7), SO_PEERCRED).
        pid = int.from_bytes(
            self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder
        )
        try:
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except (OSError, IndexError):
            return ""
        # Stopped by a signal or by a debugger (proc_pid_stat(5)).
        is_stopped = state in (b"T", b"t")
        return (
            f"; process {pid} is stopped: `kill -CONT {pid}` continues it"
            if is_stopped
            else "; it may be busy"
        )

    def send(self, data: Any) -> None:  # noqa: ANN401 - as in the base class
        """Send, and raise ConnectionResetError for a closed peer, because BrokenPipeError means that stdout is closed."""
        try:
            super().send(data)
        except BrokenPipeError as fault:
            raise ConnectionResetError(fault.errno, fault.strerror) from None


def request(unix: Path, method: str, path: str, patience: float = _TIMEOUT) -> Any:  # noqa: ANN401 - JSON
    """Return the response of the daemon to a request of its control API, within `patience` (seconds).

    Raises Unreachable and ErrorResponse.
    """
    connection = _UnixConnection(_answering(unix) if path == _STATUS else unix, patience)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return _checked(response.status, response.read())
    except TimeoutError:
        raise Unreachable(
            f"the daemon has not responded within {patience:g} s{connection.stopped} ({unix})"
        ) from None
    finally:
        connection.close()


def started_at(unix: Path) -> float:
    """Return when the daemon was started (seconds since 1970). Raises Unreachable and ErrorResponse."""
    return time.time() - float(request(unix, "GET", _STATUS)["uptime"])


def names_of_servers(unix: Path) -> list[str]:
    """Return the names of the servers of the daemon. Raises Unreachable and ErrorResponse."""
    return [one["name"] for one in request(unix, "GET", _STATUS)["servers"]]


def _answering(unix: Path) -> Path:
    """Return the socket that answers for the state of the daemon: another one than usual while the daemon stops."""
    stopping = stopping_path(unix)
    if stopping.exists():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(stopping))
            return stopping
    return unix


def follow(unix: Path, path: str, on_open: Callable[[], None] | None = None) -> Iterator[Any]:
    """Yield the events that the daemon sends, until it exits. `on_open` is called when it has accepted the request.

    Raises Unreachable and ErrorResponse.
    """
    connection = _UnixConnection(unix, None)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            _checked(response.status, response.read())
        if on_open is not None:
            on_open()
        yield from _events(response)
    finally:
        connection.close()


def call_server(
    unix: Path,
    server: str,
    method: str,
    params: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
    patience: float | None = None,
    log_level: str = "",
) -> Iterator[dict[str, Any]]:
    """Send a request to a server, as a client of MCP 2026-07-28, and yield its notifications and then its response.

    `patience` limits the time for all of them (seconds). With a log level the log messages of the server are among them. Raises
    Unreachable and ErrorResponse.
    """
    meta = {**_META, "progressToken": 1, **({stateless_request.LOG_LEVEL: log_level} if log_level else {})}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    sent = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN_REVISION,
        "Mcp-Method": method,
        # One server process is shared by all commands (see `Peer` in transports).
        "Mcp-Bridge-Command": "1",
        **{name.decode(): value.decode() for name, value in directory_headers()},
        **(headers or {}),
    }
    name = params.get(stateless_request.MODERN_NAMED.get(method, ""))
    if isinstance(name, str):
        sent["Mcp-Name"] = mirrored_headers.encode_value(name)
    connection = _UnixConnection(unix, patience)
    try:
        connection.request("POST", f"/servers/{quote(server, safe='')}/mcp", json.dumps(body).encode(), sent)
        response = connection.getresponse()
        if response.headers.get_content_type() == "text/event-stream":
            yield from _events(response, math.inf if patience is None else time.monotonic() + patience)
        else:
            yield _checked(response.status, response.read())
    except TimeoutError:
        raise ErrorResponse(f"no response within {patience:g} s") from None
    finally:
        connection.close()


def result_of(messages: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return the result in the last of the messages. Raises ErrorResponse for an error, and without a result."""
    last: dict[str, Any] = {}
    for message in messages:
        last = message
    result: Any = last.get("result")
    if not isinstance(result, dict):
        raise _error(last, "the response is missing or has no result")
    return cast("dict[str, Any]", result)


def _events(response: http.client.HTTPResponse, end: float = math.inf) -> Iterator[Any]:
    for line in response:
        if time.monotonic() > end:
            raise TimeoutError
        if line.startswith(b"data: ") and line.strip() != b"data:":
            yield json.loads(line[6:])


def _checked(status: int, body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        parsed = json.loads(body)
    except ValueError:
        raise ErrorResponse(f"the daemon returned HTTP {status}: {body[:200]!r}") from None
    if status >= http.client.BAD_REQUEST:
        raise _error(parsed, f"the daemon returned HTTP {status}", status)
    return parsed


def _error(parsed: object, otherwise: str, status: int = 0) -> ErrorResponse:
    """Return the exception for the JSON-RPC error in a response, with this text if there is none."""
    error = _object(_object(parsed).get("error"))
    data = _object(error.get("data"))
    lines: Any = data.get("stderr")
    stderr = [f"  {line}" for line in cast("list[object]", lines)] if isinstance(lines, list) else []
    text = "\n".join([str(error.get("message", "")), *stderr])
    code = error.get("code")
    return ErrorResponse(text or otherwise, code if isinstance(code, int) else None, data, status)


def _object(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
