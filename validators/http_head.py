"""The head of an HTTP/1.1 request: the grammar that guards the door is also the parser (RFC 9112, RFC 9110).

What passes has one reading only: every line ends in CRLF, every byte is visible ASCII, space or tab, and nothing that
decides where the body ends is said twice. It never repairs, folds, decodes or normalises; a path is compared as it was
sent. Whatever is refused here ends the connection, because the peer and we may already be out of step.
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
    r'(/[!"$-~]*+|(?<=^OPTIONS )\*) '
    r"HTTP/1\.([01])\r\n"
    rf"((?:{TCHAR}++:[\t -~]*+\r\n)*+)"
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
# Enough for any length below 2^63 and for the zeros that somebody puts before it.
_LENGTH_DIGITS: Final = 19
# Heads of this size cannot hold enough lines to be slow.
_ORDINARY: Final = 1024
# The longest method that we know, the version, two spaces and the line end, rounded up.
_AROUND_TARGET: Final = 32


@attrs.define(eq=False)
class Head:
    """A request up to its body. Header names are lower case, values without the white space around them.

    `version` is 10 or 11, `upgrade` the lower-case Upgrade value if Connection lists it, otherwise empty.
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
        headers[name.lower()] = value.strip()
    if len(headers) != len(lines):
        headers = _merge(lines)
    if len(fields) > limits.header_field or len(lines) > limits.header_count:
        _check_fields(block, lines, limits)
    version = 11 if minor == "1" else 10
    host = headers.get("host")
    if not host and (host is not None or version == 11):
        raise _bad("Host is missing or empty")
    if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
        raise _bad("Content-Encoding must be identity or absent", 415)
    length = headers.get("content-length")
    keep_alive, upgrade = version == 11, ""
    if headers.get("connection", "keep-alive") != "keep-alive":
        keep_alive, upgrade = _connection(headers, version)
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
    )


def reject_early(buffer: bytes, limits: Limits) -> None:
    """Raise Rejection as soon as the beginning of a head cannot become a legal one any more.

    Only what C can search for is looked at, and never more than the limit of a whole head; the rest waits for
    `parse_head`.
    """
    if buffer[:1] not in _FIRST:
        raise _bad("not an HTTP request")
    ends = buffer.count(b"\r\n")
    if len(buffer) > limits.header_block or ends - 1 > limits.header_count:
        raise _too_large(buffer, limits)
    if b"\0" in buffer or not buffer.isascii():
        raise _bad(_ILLEGAL_BYTE)
    if buffer.count(b"\n") != ends or buffer.count(b"\r") - buffer.endswith(b"\r") != ends:
        raise _bad(_BARE_LINE_END)
    if ends:
        _check_request_line(buffer[: buffer.index(b"\r\n")], limits)
    elif len(buffer) > limits.target + _AROUND_TARGET:
        raise _long_target(limits)


def _merge(lines: list[str]) -> dict[str, str]:
    """The headers when at least one of them is repeated (RFC 9110 section 5.3)."""
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        values.setdefault(name.lower(), []).append(value.strip())
    if any(len(found) > 1 and name in _SINGLE for name, found in values.items()):
        raise _bad("a header field that must be single is repeated")
    return {name: ", ".join(found) for name, found in values.items()}


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
    codings = [coding.strip() for coding in headers["transfer-encoding"].lower().split(",")]
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
    options = {option.strip() for option in headers["connection"].lower().split(",")}
    return "close" not in options, headers.get("upgrade", "").lower() if "upgrade" in options else ""


# ---- refusals: nothing below costs an honest request anything

_FIRST: Final = frozenset(bytes([byte]) for byte in range(128) if re.match(TCHAR, chr(byte))) | {b""}
_LEGAL: Final = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F)])
_ILLEGAL_BYTE: Final = "the head holds a byte that is neither visible ASCII nor a space nor a tab"
_BARE_LINE_END: Final = "a line of the head does not end with CRLF"
_METHOD: Final = re.compile(rf"{TCHAR}++\Z".encode("ascii"))
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_TARGET: Final = re.compile(rb'/[!"$-~]*+\Z')


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
        raise _bad("the request target must be a path that begins with / and has no fragment")
