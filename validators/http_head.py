"""Parse the head of an HTTP/1.1 request with a strict grammar (RFC 9110, RFC 9112).

Invariant: an accepted head has one reading only. Every line ends in CRLF, the only control character is the tab, bytes
outside ASCII are only in values of fields that are not read, and no field that decides the end of the body is repeated.
Nothing is repaired, folded, decoded or normalised; a path is compared as it was sent. Every refusal closes the connection,
because client and bridge may disagree on where the next request begins.
"""

import re
from typing import Final

import attrs

from .counted import counted
from .limits import Limits
from .rejection import INVALID_REQUEST, Rejection

# Known methods, which get 405 where they are not allowed. Others get 501 (RFC 9110 section 15.6.2).
_METHODS: Final = ("GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH", "TRACE")
TCHAR: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
# The value of a field that is sent: no white space around it, no control character but the tab (RFC 9110 section 5.5).
FIELD_VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?\Z")
# All quantifiers are possessive, because each character is then examined once and the cost is linear.
_HEAD: Final = re.compile(
    rf"({'|'.join(_METHODS)}) "
    r'(/[!"$-~]*+|(?<=^OPTIONS )\*|[Hh][Tt][Tt][Pp][Ss]?+://[!"$-~]++) '
    r"HTTP/1\.([01])\r\n"
    rf"((?:{TCHAR}++:[\t -~\x80-\xff]*+\r\n)*+)"
    r"\r\n\Z"
)

# Fields that must not be repeated, because two values would be two different requests.
_SINGLE: Final = frozenset(
    {
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "last-event-id",
        "mcp-cwd",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "mcp-token-name",
        "origin",
        "sec-fetch-site",
        "sec-websocket-key",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)
# Fields whose grammar is ASCII. In all other values obs-text is opaque (RFC 9110 section 5.5).
_ASCII: Final = _SINGLE | {"connection"}
# Empty lines before a request line that are ignored: some clients send one behind a body (RFC 9112 section 2.2).
_EMPTY_LINES: Final = 16
_AUTHORITY_END: Final = re.compile("[/?]")
# RFC 9110 section 5.6.3.
_WHITE_SPACE: Final = " \t"
# Enough for any length below 2^63 with a few leading zeros.
_LENGTH_DIGITS: Final = 19
# A head up to this size (bytes) has too few lines to be slow.
_ORDINARY: Final = 1024
# The longest known method, the version, two spaces and the line end (bytes), rounded up.
_AROUND_TARGET: Final = 32


@attrs.define(eq=False)
class Head:
    """A request without its body. Header names are lower case, values are Latin-1 without surrounding white space.

    `version` is 10 or 11. `upgrade` is the lower-case Upgrade value if Connection lists it, otherwise empty. `authority` is
    that of a target in absolute form, otherwise None.
    """

    method: str
    path: str
    query: str
    version: int
    headers: dict[str, str]
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expect_continue: bool
    upgrade: str
    authority: str | None = None


def parse_head(block: bytes, limits: Limits) -> Head:
    """Return the head in these bytes, which end with the blank line.

    Raises Rejection (`close` is set): 400, 405 for CONNECT, 414, 415 for a content coding, 417, 431, 501 for an
    unknown method or transfer coding, 505.
    """
    size = len(block)
    # A large head is measured before it is parsed, a small head while it is parsed.
    if size > limits.header_block or (size > _ORDINARY and block.count(b"\n") - 2 > limits.header_count):
        raise _too_large(block, limits)
    match = _HEAD.match(block.decode("latin-1"))
    if match is None:
        raise _fault(block, limits)
    method, target, minor, fields = match.groups()
    if len(target) > limits.target:
        raise _long_target(limits)
    headers: dict[str, str] = {}
    lines = fields.split("\r\n")
    del lines[-1]  # behind the last line end
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(_WHITE_SPACE)
    if len(headers) != len(lines):
        headers = _merge(lines)
    if not block.isascii():
        _check_ascii(headers)
    if len(fields) > limits.header_field or len(lines) > limits.header_count:
        _check_fields(block, lines, limits)
    version = 11 if minor == "1" else 10
    host = headers.get("host")
    if not host and (host is not None or version == 11):
        raise _bad("Host is missing or empty")
    if "content-encoding" in headers and not {"identity"}.issuperset(_list(headers["content-encoding"])):
        raise _bad("Content-Encoding must be identity or absent", 415)
    length = headers.get("content-length")
    keep_alive, upgrade = version == 11, ""
    if headers.get("connection", "keep-alive") != "keep-alive":
        keep_alive, upgrade = _connection(headers, version)
    authority = None
    if target[0] != "/":
        authority, target = _absolute(method, target)
    path, _, query = target.partition("?")
    return Head(
        method,
        path,
        query,
        version,
        headers,
        None if length is None else _content_length(length),
        "transfer-encoding" in headers and _chunked(headers, version),
        keep_alive,
        "expect" in headers and _expects_continue(headers["expect"], version),
        upgrade,
        authority,
    )


def skip_empty_lines(buffer: bytes) -> bytes:
    """Return the received bytes without empty lines before a request line (RFC 9112 section 2.2).

    Raises Rejection for more than `_EMPTY_LINES` empty lines.
    """
    at = 0
    while buffer.startswith(b"\r\n", at):
        at += 2
        if at > 2 * _EMPTY_LINES:
            raise _bad(f"more than {_EMPTY_LINES} empty lines come before the request line")
    return buffer[at:]


def reject_early(buffer: bytes, limits: Limits) -> None:
    """Raise Rejection for the beginning of a head that cannot become valid.

    The checks are searches in C over at most the limit of a whole head; `parse_head` does the others. Empty lines before the
    request line are not part of the buffer.
    """
    if buffer[:1] not in _FIRST and buffer != b"\r":
        if buffer[:1] == _TLS_HANDSHAKE:
            raise Rejection(400, INVALID_REQUEST, _NO_TLS, close=True, reason="tls_on_plain_port")
        raise _bad("not an HTTP request")
    ends = buffer.count(b"\r\n")
    if len(buffer) > limits.header_block or ends - 1 > limits.header_count:
        raise _too_large(buffer, limits)
    if b"\0" in buffer:
        raise _bad(_ILLEGAL_BYTE)
    if buffer.count(b"\n") != ends or buffer.count(b"\r") - buffer.endswith(b"\r") != ends:
        raise _bad(_BARE_LINE_END)
    if ends:
        _check_request_line(buffer[: buffer.index(b"\r\n")], limits)
    elif not buffer.isascii():
        raise _bad(_ILLEGAL_BYTE)
    elif len(buffer) > limits.target + _AROUND_TARGET:
        raise _long_target(limits)


def _merge(lines: list[str]) -> dict[str, str]:
    """Return the headers of a head with a repeated field (RFC 9110 section 5.3). Raises Rejection."""
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        values.setdefault(name.lower(), []).append(value.strip(_WHITE_SPACE))
    if any(len(found) > 1 and name in _SINGLE for name, found in values.items()):
        raise _bad("a header field that must be single is repeated")
    return {name: ", ".join(found) for name, found in values.items()}


def _check_ascii(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if name in _ASCII and not value.isascii():
            raise _bad("a header field that is read holds a byte that is not ASCII")


def _absolute(method: str, target: str) -> tuple[str | None, str]:
    """Return the authority of a target in absolute form (RFC 9112 section 3.2.2), and the target in origin form."""
    if target == "*":
        return None, target
    rest = target.partition("://")[2]
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    origin_form = rest[len(authority) :]
    if not origin_form and method == "OPTIONS":
        return authority, "*"
    return authority, origin_form if origin_form[:1] == "/" else "/" + origin_form


def _check_fields(block: bytes, lines: list[str], limits: Limits) -> None:
    if len(lines) > limits.header_count:
        raise _too_large(block, limits)
    longest = max(map(len, lines))
    if longest > limits.header_field:
        raise _bad(f"a header field of {longest} bytes exceeds the limit of {limits.header_field}", 431)


def _content_length(value: str) -> int:
    # A list, even of equal numbers, shows that an intermediary merged two messages (RFC 9110 section 8.6).
    if len(value) > _LENGTH_DIGITS or not value.isdigit():
        raise _bad(f"Content-Length must be one number of at most {_LENGTH_DIGITS} digits")
    return int(value)


def _chunked(headers: dict[str, str], version: int) -> bool:
    if version == 10:
        raise _bad("Transfer-Encoding needs HTTP/1.1")
    if "content-length" in headers:
        raise _bad("Content-Length and Transfer-Encoding exclude each other")
    codings = [coding.strip(_WHITE_SPACE) for coding in headers["transfer-encoding"].lower().split(",")]
    if codings == ["chunked"]:
        return True
    if "" in codings or "chunked" in codings[:-1]:
        raise _bad("Transfer-Encoding must be chunked, once and last")
    raise _bad("Transfer-Encoding other than chunked is not implemented", 501)


def _expects_continue(value: str, version: int) -> bool:
    if value.lower() != "100-continue":
        raise _bad("Expect must be 100-continue", 417)
    # HTTP/1.0 ignores it (RFC 9110 section 10.1.1).
    return version == 11


def _connection(headers: dict[str, str], version: int) -> tuple[bool, str]:
    """Return whether the connection is kept, and the requested upgrade."""
    if version == 10:
        return False, ""
    options = _list(headers["connection"])
    if "upgrade" not in options:
        return "close" not in options, ""
    return "close" not in options, ", ".join(_list(headers.get("upgrade", "")))


def _list(value: str) -> list[str]:
    """Return the members of a list in lower case, without the empty ones (RFC 9110 section 5.6.1.2)."""
    return [member for part in value.lower().split(",") if (member := part.strip(_WHITE_SPACE))]


# ---- refusals; a valid request runs no code below

_FIRST: Final = frozenset(bytes([byte]) for byte in range(128) if re.match(TCHAR, chr(byte))) | {b""}
# The first byte of a TLS ClientHello (RFC 8446 section 5.1). Many TLS clients show the first bytes of a plain response.
_TLS_HANDSHAKE: Final = b"\x16"
_NO_TLS: Final = "this port is served without TLS; use http:// or ws://"
_LEGAL: Final = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)])
_ILLEGAL_BYTE: Final = (
    "the head holds a control character, or a byte that is not ASCII outside of a field's value"
)
_BARE_LINE_END: Final = "a line of the head does not end with CRLF"
_METHOD: Final = re.compile(rf"{TCHAR}++\Z".encode("ascii"))
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_TARGET: Final = re.compile(rb'(?:[Hh][Tt][Tt][Pp][Ss]?+://[!"$-~]|/)[!"$-~]*+\Z')


def _bad(text: str, status: int = 400, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Rejection:
    return Rejection(status, INVALID_REQUEST, text, headers=headers, close=True)


def _long_target(limits: Limits) -> Rejection:
    return _bad(f"the request target exceeds the limit of {limits.target} bytes", 414)


def _too_large(block: bytes, limits: Limits) -> Rejection:
    if b"\n" not in block[: limits.target + _AROUND_TARGET]:
        return _long_target(limits)
    if len(block) > limits.header_block:
        return _bad(f"the head exceeds the limit of {limits.header_block} bytes", 431)
    return _bad(f"the head exceeds the limit of {counted(limits.header_count, 'header field')}", 431)


def _fault(block: bytes, limits: Limits) -> Rejection:
    """Return the Rejection of a malformed head of legal size."""
    if block.translate(None, _LEGAL):
        return _bad(_ILLEGAL_BYTE)
    if not block.count(b"\r\n") == block.count(b"\r") == block.count(b"\n"):
        return _bad(_BARE_LINE_END)
    try:
        _check_request_line(block[: block.find(b"\r\n")], limits)
    except Rejection as rejection:
        return rejection
    if b"\n " in block or b"\n\t" in block:
        return _bad("a header field is folded")
    return _bad("a header field is not a name, a colon and a value")


def _check_request_line(line: bytes, limits: Limits) -> None:
    parts = line.split(b" ")
    if len(parts) != 3 or not _METHOD.match(parts[0]) or not _VERSION.match(parts[2]):
        raise _bad("the request line is not a method, a target and a version")
    method, target, version = parts
    if len(target) > limits.target:
        raise _long_target(limits)
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise _bad("the version must be HTTP/1.1 or HTTP/1.0", 505)
    if method == b"CONNECT":
        raise _bad("CONNECT is not allowed", 405, ((b"Allow", b"GET, POST, DELETE, OPTIONS"),))
    if method.decode("ascii") not in _METHODS:
        raise _bad("the method is not implemented", 501)
    if not _TARGET.match(target) and (method, target) != (b"OPTIONS", b"*"):
        raise _bad(
            "the request target must be a path that begins with /, or a URL of http or https, without a fragment"
        )
