"""The head of an HTTP/1.1 request: the grammar that guards the door is also the parser (RFC 9112, RFC 9110).

What passes has one reading only: every line ends in CRLF, no byte is a control character other than a tab, bytes
outside ASCII are only in the values of fields that are not read, and nothing that decides where the body ends is said
twice. It never repairs, folds, decodes or normalises; a path is compared as it was sent. Whatever is refused here ends
the connection, because the peer and we may already be out of step.
"""

import re
from typing import Final

import attrs

from .limits import Limits
from .rejection import INVALID_REQUEST, Rejection

# Methods that we answer to, if only with 405. Anything else is not implemented (attacks H25).
_METHODS: Final = ("GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH", "TRACE")
TCHAR: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
# Possessive throughout: a character is looked at once, so the worst head costs no more than its length.
_HEAD: Final = re.compile(
    rf"({'|'.join(_METHODS)}) "
    r'(/[!"$-~]*+|(?<=^OPTIONS )\*|[Hh][Tt][Tt][Pp][Ss]?+://[!"$-~]++) '
    r"HTTP/1\.([01])\r\n"
    rf"((?:{TCHAR}++:[\t -~\x80-\xff]*+\r\n)*+)"
    r"\r\n\Z"
)

# Two readings of one of these would be two different requests.
_SINGLE: Final = frozenset(
    {
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "origin",
        "sec-fetch-site",
        "sec-websocket-key",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)
# Read by rules that are written in ASCII. In all other values obs-text is opaque (RFC 9110 section 5.5).
_ASCII: Final = _SINGLE | {"connection"}
# Empty lines before a request line that are ignored: some clients send one behind a body (RFC 9112 section 2.2).
_EMPTY_LINES: Final = 16
_AUTHORITY_END: Final = re.compile("[/?]")
# RFC 9110 section 5.6.3.
_WHITE_SPACE: Final = " \t"
# Enough for any length below 2^63 and for the zeros that somebody puts before it.
_LENGTH_DIGITS: Final = 19
# Heads of this size cannot hold enough lines to be slow.
_ORDINARY: Final = 1024
# The longest method that we know, the version, two spaces and the line end, rounded up.
_AROUND_TARGET: Final = 32


@attrs.define(eq=False)
class Head:
    """A request up to its body. Header names are lower case, values without the white space around them.

    Values are Latin-1. `version` is 10 or 11, `upgrade` the lower-case Upgrade value if Connection lists it, otherwise
    empty. `authority` is that of a target in absolute form, else None.
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
    """A head out of its bytes, which end with the blank line.

    Raises Rejection (`close` is set): 400, 405 for CONNECT, 414, 415 for a content coding, 417, 431, 501 for an
    unknown method or transfer coding, 505.
    """
    size = len(block)
    # A big one is measured in full before it is looked into, a small one on the way.
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
    """Return the bytes from the peer without the empty lines before a request line (RFC 9112 section 2.2).

    Raises Rejection for more than a few.
    """
    at = 0
    while buffer.startswith(b"\r\n", at):
        at += 2
        if at > 2 * _EMPTY_LINES:
            raise _bad(f"more than {_EMPTY_LINES} empty lines come before the request line")
    return buffer[at:]


def reject_early(buffer: bytes, limits: Limits) -> None:
    """Raise Rejection as soon as the beginning of a head cannot become a legal one any more.

    Only what C can search for is looked at, and never more than the limit of a whole head; the rest waits for
    `parse_head`. The empty lines before a request line are not part of the buffer.
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
    """The headers when at least one of them is repeated (RFC 9110 section 5.3)."""
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
    # A list, even of equal numbers, is a sign that somebody upstream has merged two messages.
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
    return version == 11  # RFC 9110 section 10.1.1: ignored in HTTP/1.0


def _connection(headers: dict[str, str], version: int) -> tuple[bool, str]:
    """Whether the connection may be kept, and what it is to be upgraded to."""
    if version == 10:
        return False, ""
    options = _list(headers["connection"])
    if "upgrade" not in options:
        return "close" not in options, ""
    return "close" not in options, ", ".join(_list(headers.get("upgrade", "")))


def _list(value: str) -> list[str]:
    """Return the members of a list in lower case, without the empty ones (RFC 9110 section 5.6.1.2)."""
    return [member for part in value.lower().split(",") if (member := part.strip(_WHITE_SPACE))]


# ---- refusals: nothing below costs an honest request anything

_FIRST: Final = frozenset(bytes([byte]) for byte in range(128) if re.match(TCHAR, chr(byte))) | {b""}
# The first byte of a TLS ClientHello (RFC 8446 section 5.1). Its sender cannot read an answer, but many show how it begins.
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
    return _bad(f"the head exceeds the limit of {limits.header_count} header fields", 431)


def _fault(block: bytes, limits: Limits) -> Rejection:
    """Why a head of legal size is not one."""
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
