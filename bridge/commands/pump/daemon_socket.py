"""Find the Unix socket of the daemon, connect to it, and ask for the pipe endpoint of a server (`/servers/NAME/pipe`)."""

import _socket
import posix
import select
import sys
import time

from .streams import is_ready

# The bytes of a URL that need no escape (RFC 3986 section 2.3).
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What in a configuration file may set `listen.unix`: the word itself, or an escape that can spell it (TOML 1.0.0).
_MAY_NAME_SOCKET = (b"unix", b"\\u", b"\\U", b"\\x")
# The bytes of a path that need no escape in a header: visible ASCII without the percent sign.
_CWD = {octet: bytes((octet,)) for octet in range(0x21, 0x7F) if octet != 0x25}
# The longest value of a header: the daemon refuses fields of more than 8 KiB (bytes).
_LONGEST_CWD = 8000
_S_IFMT, _S_IFDIR = 0o170000, 0o040000
_READ = 64 * 1024
# The largest response head (bytes).
_HEAD = 16 * 1024
# How much of the body of another response is read (bytes), and for how long (seconds).
_BODY = 4096
_BODY_SECONDS = 2.0


class Unreachable(Exception):
    """No daemon of this user accepts the connection; the text names the reason. Another attempt may succeed."""


class Refused(Exception):
    """The daemon has responded, and opens no connection.

    `again` is True if it may do so later, and `is_timed` if it has named a time for that.
    """

    def __init__(self, text: str, *, again: bool = False, is_timed: bool = False) -> None:
        super().__init__(text)
        self.again = again
        self.is_timed = is_timed


def usual_socket(environment: "dict[bytes, bytes]") -> "bytes | None":
    """Return the default path of the socket, or None if the configuration may name another (see `config.xdg`)."""
    home = _directory(environment, b"HOME") or b"/"
    config = (_directory(environment, b"XDG_CONFIG_HOME") or home.rstrip(b"/") + b"/.config").rstrip(b"/")
    if _may_name_socket(config + b"/mcp-bridge/config.toml"):
        return None
    return _runtime_directory(environment, home) + b"/mcp-bridge/mcp-bridge.sock"


def _runtime_directory(environment: "dict[bytes, bytes]", home: bytes) -> bytes:
    if named := _directory(environment, b"XDG_RUNTIME_DIR"):
        return named.rstrip(b"/")
    system = b"/run/user/%d" % posix.geteuid()
    try:
        found = posix.stat(system)
        if found.st_mode & _S_IFMT == _S_IFDIR and found.st_uid == posix.geteuid():
            return system
    except OSError:
        pass
    return (_directory(environment, b"XDG_STATE_HOME") or home.rstrip(b"/") + b"/.local/state").rstrip(b"/")


def _directory(environment: "dict[bytes, bytes]", name: bytes) -> bytes:
    """Return the directory that a variable names. A relative path is ignored, as the XDG specification requires."""
    path = environment.get(name, b"")
    return path if path.startswith(b"/") else b""


def _may_name_socket(file: bytes) -> bool:
    try:
        descriptor = posix.open(file, posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        while data := posix.read(descriptor, 1024 * 1024):
            # A line that begins with # is a comment, or within a string.
            lines = [line for line in data.split(b"\n") if not line.lstrip().startswith(b"#")]
            if len(data) == 1024 * 1024 or any(mark in line for line in lines for mark in _MAY_NAME_SOCKET):
                return True
    except OSError:
        return True
    finally:
        posix.close(descriptor)
    return False


def quoted(name: bytes) -> bytes:
    """Return the name as a segment of a URL path."""
    return b"".join(bytes((octet,)) if octet in _UNRESERVED else b"%%%02X" % octet for octet in name)


def directory_headers() -> "list[tuple[bytes, bytes]]":
    """Return the header that names the working directory (see `client_directory`).

    There is none where the directory was removed, and for a path that does not fit in a header field.
    """
    try:
        path = posix.getcwdb()
    except OSError:
        return []
    value = b"".join(_CWD.get(octet, b"%%%02X" % octet) for octet in path)
    return [(b"Mcp-Cwd", value)] if len(value) <= _LONGEST_CWD else []


def opening(name: bytes, headers: "list[tuple[bytes, bytes]]") -> bytes:
    """Return the request for the pipe endpoint of a server."""
    more = b"".join(b"%b: %b\r\n" % header for header in headers)
    return (
        b"GET /servers/%b/pipe HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: mcp-pipe\r\n%b\r\n"
        % (quoted(name), more)
    )


def connect(path: bytes) -> "_socket.socket":
    """Return a connection to a daemon of this user or of root. Raises Unreachable and Refused.

    The connection blocks; system calls that must not block have MSG_DONTWAIT.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        # A listener with a full queue would block.
        sock.setblocking(False)
        sock.connect(path)
        sock.setblocking(True)
        _check_owner(sock, path)
    except OSError as fault:
        sock.close()
        reason = fault.strerror or str(fault)
        shown = path.decode("utf-8", "backslashreplace")
        raise Unreachable(
            f"cannot connect to the daemon at {shown}: {reason}; start it with `mcp-bridge serve`"
        ) from None
    except Refused:
        sock.close()
        raise
    return sock


def _check_owner(sock: "_socket.socket", path: bytes) -> None:
    """Check that a process of this user, or of root, listens (unix(7), SO_PEERCRED)."""
    # struct ucred: pid, uid and gid, 32 bits each.
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    if uid not in (0, posix.geteuid()):
        shown = path.decode("utf-8", "backslashreplace")
        raise Refused(
            f"a process of uid {uid} listens on {shown}, not of uid {posix.geteuid()}; nothing was sent to it"
        )


class Upgrade:
    """The response of the daemon to `opening`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._data = b""

    def feed(self, sock: "_socket.socket", data: bytes) -> "bytes | None":
        """Add the next bytes. Return the bytes behind the response, or None while it is incomplete.

        Raises Refused for another response than 101, after reading the begin of its body, and Unreachable at the end of
        the connection.
        """
        if not data:
            raise Unreachable(f"{self._name} closed the connection before it responded")
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not self._data.startswith(b"HTTP/1."[: len(self._data)]) or len(head) > _HEAD:
            raise Refused(f"{self._name} did not respond as a daemon of mcp-bridge: {self._line()}")
        if not end:
            return None
        status = head[9:12]
        if status == b"101":
            return rest
        again = status == b"503"
        is_timed = again and b"\r\nretry-after:" in head.lower()
        raise Refused(self._reason(status, _read_body(sock, head, rest)), again=again, is_timed=is_timed)

    def _line(self) -> str:
        return self._data[:200].partition(b"\r\n")[0].decode("utf-8", "backslashreplace")

    def _reason(self, status: bytes, body: bytes) -> str:
        message = _message_in(body)
        if status == b"404":
            # The daemon does not repeat the name. It lists the servers that this client may use.
            _, semicolon, known = message.partition("; ")
            return f"there is no server {self._name!r}{semicolon}{known}"
        if message:
            return message
        shown = f": {body.decode('utf-8', 'backslashreplace')}" if body else ""
        return f"{self._name}: the daemon responded {self._line()}{shown}"


def _read_body(sock: "_socket.socket", head: bytes, body: bytes) -> bytes:
    """Return the begin of the body of a response."""
    wanted = _BODY
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit() and len(value) < len(str(_BODY)) + 4:
            wanted = min(int(value), _BODY)
    end = time.monotonic() + _BODY_SECONDS
    while len(body) < wanted and (left := end - time.monotonic()) > 0:
        try:
            if not is_ready(sock.fileno(), select.POLLIN, left):
                break
            data = sock.recv(_READ, _socket.MSG_DONTWAIT)
        except OSError:
            break
        if not data:
            break
        body += data
    return body[:wanted]


def _message_in(body: bytes) -> str:
    """Return the message of a JSON-RPC error, or an empty text."""
    import json  # noqa: PLC0415 - see the package's docstring

    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for name in ("error", "message"):
        found = found.get(name) if isinstance(found, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    return " ".join(found.split()) if isinstance(found, str) else ""
