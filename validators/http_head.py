"""The head of an HTTP/1.1 request: gate and parser in one, strict where parsers are lenient (RFC 9112, RFC 9110).

Whatever it accepts, llhttp and h11 accept with the same method, target, fields and framing; the tests hold it to that.
One anchored expression without backtracking reads the syntax of the whole block, then the fields are split.
"""

import re
from typing import Final

import attrs

from .limits import Limits
from .rejection import INVALID_REQUEST, Rejection

_NAME: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_BLOCK: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}+) ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])\r\n((?:"
    + _NAME
    + rb":[\t\x20-\x7e]*+\r\n)*+)\r\n\Z"
)
_START: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}+(?: |\Z)")
_LENGTH: Final = re.compile(r"[0-9]{1,19}\Z")
_METHODS: Final = frozenset({"GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH", "TRACE"})
_VERSIONS: Final = {b"1.1": 11, b"1.0": 10}
_REQUEST_LINE_SLACK: Final = 64
# Fields that mean one thing only: a second one is an attempt to be understood in two ways.
_SINGLE: Final = frozenset(
    {
        "host",
        "authorization",
        "origin",
        "content-length",
        "content-type",
        "transfer-encoding",
        "content-encoding",
    }
    | {"mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id", "sec-fetch-site"}
    | {"sec-websocket-key", "sec-websocket-version", "expect", "upgrade"}
)


@attrs.define(eq=False)
class Head:
    """A request's head as it was sent: the path is not decoded, field names are lower-case, values stripped.

    `content_length` is None where none was announced, `version` 10 or 11, `upgrade` the lower-case protocol that the
    client asks to change to.
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
    """Read a head, up to and with its empty line. Raises Rejection, after which the connection is out of step."""
    if len(block) > limits.header_block + 4:
        raise _too_large(limits)
    found = _BLOCK.match(block)
    if found is None:
        raise _explain(block, limits)
    raw_method, raw_target, raw_version, fields = found.groups()
    version = _VERSIONS.get(raw_version)
    if version is None:
        raise _bad("only HTTP/1.1 and HTTP/1.0 are spoken here", 505)
    headers = _fields(fields, limits)
    method = raw_method.decode("ascii")
    path, query = _target(method, raw_target, limits)
    if not headers.get("host"):
        raise _bad("there must be one Host header, and not an empty one")
    length, chunked = _framing(headers, version)
    connection = headers.get("connection")
    options = [option.strip() for option in connection.lower().split(",")] if connection else ()
    expect = headers.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise _bad("this expectation cannot be met", 417)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _bad("bodies are not decompressed; Content-Encoding must be identity", 415)
    return Head(
        method,
        path,
        query,
        version,
        headers,
        length,
        chunked,
        version == 11 and "close" not in options,  # noqa: PLR2004 - HTTP/1.1
        expect is not None and version == 11,  # noqa: PLR2004
        headers.get("upgrade", "").lower() if "upgrade" in options else "",
    )


def reject_early(buffer: bytes, limits: Limits) -> None:
    """Raise Rejection as soon as the beginning of a head can no longer become one."""
    if len(buffer) > limits.header_block:
        raise _too_large(limits)
    line_end = buffer.find(b"\n")
    if _START.match(buffer) is None or b"\0" in buffer:
        raise _bad("not an HTTP request")
    if line_end < 0:
        if len(buffer) > limits.target + _REQUEST_LINE_SLACK:
            raise _bad(f"a request line of more than {limits.target} bytes", 414)
        return
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise _bad("a line ends without CR")
    if buffer.startswith(b"PRI * HTTP/2.0\r\n"):
        raise _bad("only HTTP/1.1 and HTTP/1.0 are spoken here", 505)


def _fields(fields: bytes, limits: Limits) -> dict[str, str]:
    lines = fields.decode("ascii").split("\r\n")
    lines.pop()
    if len(lines) > limits.header_count:
        raise _bad(f"{len(lines)} header fields; the limit is {limits.header_count}", 431)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        value = value.strip(" \t")
        if len(line) > limits.header_field:
            raise _bad(f"a header field of {len(line)} bytes; the limit is {limits.header_field}", 431)
        if name in headers:
            if name in _SINGLE:
                raise _bad("a header field that must be single is repeated")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _target(method: str, raw: bytes, limits: Limits) -> tuple[str, str]:
    if len(raw) > limits.target:
        raise _bad(f"a target of {len(raw)} bytes; the limit is {limits.target}", 414)
    target = raw.decode("ascii")
    if method == "CONNECT":
        raise _bad("no tunnels here", 405)
    if method not in _METHODS:
        raise _bad("this method is not implemented", 501)
    if target[0] != "/" and not (target == "*" and method == "OPTIONS"):
        raise _bad("the target must be a path")
    path, _, query = target.partition("?")
    if "#" in target:
        raise _bad("the target holds a fragment")
    return path, query


def _framing(headers: dict[str, str], version: int) -> tuple[int | None, bool]:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is None:
        if length is None:
            return None, False
        if not _LENGTH.match(length):
            raise _bad("Content-Length is not one decimal number")
        return int(length), False
    if length is not None:
        raise _bad("Content-Length and Transfer-Encoding contradict each other")
    if version != 11:  # noqa: PLR2004 - HTTP/1.1
        raise _bad("HTTP/1.0 has no Transfer-Encoding")
    if coding.lower() != "chunked":
        raise _bad("the only transfer coding is chunked", 501)
    return None, True


def _explain(block: bytes, limits: Limits) -> Rejection:
    line, _, _ = block.partition(b"\r\n")
    if len(line) > limits.target + _REQUEST_LINE_SLACK:
        return _bad(f"a request line of more than {limits.target} bytes", 414)
    return _bad("the head of the request is malformed")


def _too_large(limits: Limits) -> Rejection:
    return _bad(f"a head of more than {limits.header_block} bytes, the limit", 431)


def _bad(text: str, status: int = 400) -> Rejection:
    return Rejection(status, INVALID_REQUEST, text, close=True)
