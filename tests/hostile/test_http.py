"""HTTP requests that are ambiguous or that cost more than they announce.

No byte behind a refused request is served as a request, and the next client is served as usual.
"""

import contextlib
import os
import time
from pathlib import Path

import pytest

from ..support.handshake import VERSION
from ..support.hostile_bridge import Session
from ..support.wire import TIMEOUT, NothingReceived, Request

pytestmark = pytest.mark.usefixtures("still_serving")

ROUTES = ("POST /mcp", "GET /mcp", "DELETE /mcp", "GET /sse", "POST /messages", "GET /ws", "GET /healthz")
POSTS = ("POST /mcp", "POST /messages")
UNKNOWN_SESSION = "A" * 43


def valid_request(bridge, session, route):
    """Return a valid request of this route."""
    match route:
        case "POST /mcp":
            return bridge.post(session=session)
        case "GET /mcp":
            return bridge.get(session)
        case "DELETE /mcp":
            return bridge.delete(session)
        case "GET /sse":
            return bridge.get(target="/sse")
        case "POST /messages":
            return bridge.post(target=f"/messages?sessionId={UNKNOWN_SESSION}")
        case "GET /ws":
            return bridge.upgrade()
        case _:
            return bridge.bare("GET", "/healthz")


def assert_refused(bridge, data, statuses, *, closes=True):
    """Send bytes and another request behind them. Return the only response; no byte may follow it."""
    second = b"GET /healthz HTTP/1.1\r\nHost: " + bridge.host.encode() + b"\r\n\r\n"
    with bridge.connect() as connection:
        connection.try_send(bytes(data) + (second if closes else b""))
        reply = connection.reply()
        assert reply.status in statuses, reply
        if closes:
            assert reply.headers.get("connection") == "close", reply
            assert connection.to_the_end() == b"", "a second response"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "server" not in reply.headers
    return reply


POLICY = "default-src 'none'; frame-ancestors 'none'"
# Headers that every response but an upgrade may have. Another header may show the program or let a page do more.
HEADERS = {
    "allow", "cache-control", "connection", "content-length", "content-security-policy", "content-type", "date", "mcp-session-id",
    "transfer-encoding", "vary", "www-authenticate", "x-accel-buffering", "x-content-type-options", "x-request-id",
}  # fmt: skip


@pytest.mark.parametrize(
    "route", [*ROUTES, "initialize", "OPTIONS /mcp", "GET /nothing", "GET /.well-known/x"]
)
@pytest.mark.parametrize("change", ["none", "no credential", "another host", "another origin", "no HTTP"])
def test_each_response_has_the_headers_that_protect_a_browser_and_no_other(bridge, session, route, change):
    method, _, target = route.partition(" ")
    if route in ROUTES:
        # Only an unchanged request reaches its session, which a DELETE ends.
        own = bridge.open_session() if change == "none" else session
        request = valid_request(bridge, own, route)
    elif route == "initialize":
        request = bridge.post(bridge.initialize())
    else:
        request = bridge.request(method, target)
    match change:
        case "no credential":
            request = request.without_field("Authorization")
        case "another host":
            request = request.replace_field("Host: evil.example")
        case "another origin":
            request = request.add("Origin: http://evil.example")
        case "no HTTP":
            request = request.add("a bad field")
    with bridge.connect() as connection:
        connection.send(request)
        reply = connection.head()
    opened = [own] if route in ROUTES and own is not session else []
    if route == "initialize" and reply.status == 200:
        [named] = [value for name, value in reply.fields if name.lower() == "mcp-session-id"]
        opened = [Session(named, VERSION)]
    for one in opened:
        bridge.exchange(bridge.delete(one))
    fields = [(name.lower(), value) for name, value in reply.fields]
    if reply.status == 101:
        assert (route, change) == ("GET /ws", "none")
        return
    assert [value for name, value in fields if name == "content-security-policy"] == [POLICY]
    assert [value for name, value in fields if name == "x-content-type-options"] == ["nosniff"]
    [caching] = [value for name, value in fields if name == "cache-control"]
    assert "no-store" in caching.split(", ")
    assert {name for name, _ in fields} <= HEADERS


# ---- heads: each on every route; (case, what is done to an ordinary request, status)

# fmt: off
HEADS = [
    ("H01 length and coding", lambda r: r.replace_field("Content-Length: 4").add("Transfer-Encoding: chunked"), 400),
    ("H01 coding and length", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: chunked", "Content-Length: 4"), 400),
    ("H02 two lengths", lambda r: r.replace_field("Content-Length: 4").add("Content-Length: 5"), 400),
    ("H02 plus", lambda r: r.replace_field("Content-Length: +4"), 400),
    ("H02 minus", lambda r: r.replace_field("Content-Length: -1"), 400),
    ("H02 underscore", lambda r: r.replace_field("Content-Length: 4_0"), 400),
    ("H02 hexadecimal", lambda r: r.replace_field("Content-Length: 0x4"), 400),
    ("H02 fraction", lambda r: r.replace_field("Content-Length: 4.0"), 400),
    ("H02 space inside", lambda r: r.replace_field("Content-Length: 4 0"), 400),
    ("H02 nothing", lambda r: r.replace_field("Content-Length:"), 400),
    ("H02 23 digits", lambda r: r.replace_field("Content-Length: 99999999999999999999999"), 400),
    ("H03 the same length twice", lambda r: r.replace_field("Content-Length: 4").add("Content-Length: 4"), 400),
    ("H03 a list of lengths", lambda r: r.replace_field("Content-Length: 4, 4"), 400),
    ("H04 xchunked", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: xchunked"), 501),
    ("H04 gzip, chunked", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: gzip, chunked"), 501),
    ("H04 identity", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: identity"), 501),
    ("H04 chunked, gzip", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: chunked, gzip"), 400),
    ("H04 chunked twice", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: chunked, chunked"), 400),
    ("H04 two fields", lambda r: r.without_field("Content-Length").add(*["Transfer-Encoding: chunked"] * 2), 400),
    ("H04 vertical tab", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: \x0bchunked"), 400),
    ("H04 space before colon", lambda r: r.without_field("Content-Length").add("Transfer-Encoding : chunked"), 400),
    ("H04 nothing", lambda r: r.without_field("Content-Length").add("Transfer-Encoding:"), 400),
    ("H05 chunked in 1.0", lambda r: r.without_field("Content-Length").add("Transfer-Encoding: chunked").with_version("HTTP/1.0"), 400),
    ("H09 bare LF", lambda r: r.with_line_end("\n"), 400),
    ("H09 one bare LF", lambda r: r.add("X-A: 1\nX-B: 2"), 400),
    ("H09 bare CR", lambda r: r.with_line_end("\r"), 400),
    ("H09 CRCRLF", lambda r: r.with_line_end("\r\r\n"), 400),
    ("H10 fold by space", lambda r: r.add("X: a\r\n b"), 400),
    ("H10 fold by tab", lambda r: r.add("X: a\r\n\tb"), 400),
    ("H10 fold at once", lambda r: Request(r.method, r.target, (" X: a", *r.fields), r.body), 400),
    ("H11 no Host", lambda r: r.without_field("Host"), 400),
    ("H11 two Hosts", lambda r: r.add(r.fields[0]), 400),
    ("H11 empty Host", lambda r: r.replace_field("Host:"), 400),
    ("H12 absolute form of another scheme", lambda r: r.with_target("ws://" + r.fields[0].removeprefix("Host: ") + r.target), 400),
    ("H12 authority form", lambda r: r.with_target(r.fields[0].removeprefix("Host: ")), 400),
    ("H12 fragment", lambda r: r.with_target(r.target + "#x"), 400),
    ("H12 CONNECT", lambda r: r.with_method("CONNECT").with_target("evil.example:443"), 405),
    ("H12 space in the target", lambda r: r.with_target(r.target + " x"), 400),
    ("H12 two spaces", lambda r: r.with_target(" " + r.target), 400),
    ("H12 tab for a space", lambda r: r.with_target("\t" + r.target), 400),
    ("H13 2.0", lambda r: r.with_version("HTTP/2.0"), 505),
    ("H13 1.9", lambda r: r.with_version("HTTP/1.9"), 505),
    ("H13 0.9", lambda r: r.with_version("HTTP/0.9"), 505),
    ("H13 1.10", lambda r: r.with_version("HTTP/1.10"), 400),
    ("H13 lower case", lambda r: r.with_version("http/1.1"), 400),
    ("H13 no version", lambda r: r.with_version(""), 400),
    ("H15 3,500 fields", lambda r: r.add(*["a:"] * 3500), 431),
    ("H15 101 fields", lambda r: r.add(*["a:"] * (101 - len(r.fields))), 431),
    ("H15 20 KiB in a field", lambda r: r.add("X: " + "a" * 20480), 431),
    ("H15 9 KiB in a field", lambda r: r.add("X: " + "a" * 9216), 431),
    ("H15 64 KiB in 10 fields", lambda r: r.add(*["X: " + "a" * 6553] * 10), 431),
    ("H15 17 KiB in 3 fields", lambda r: r.add(*["X: " + "a" * 5802] * 3), 431),
    ("H15 9 KiB target", lambda r: r.with_target("/" + "a" * 9216), 414),
    ("H15 4 KiB + 1 target", lambda r: r.with_target("/" + "a" * 4096), 414),
    ("H15 64 KiB target", lambda r: r.with_target("/" + "a" * 65536), 414),
    ("H16 NUL", lambda r: r.add("X: a\0b"), 400),
    ("H16 NUL in the name", lambda r: r.add("X\0: a"), 400),
    ("H16 CR in a value", lambda r: r.add("X: a\rb"), 400),
    ("H16 DEL", lambda r: r.add("X: a\x7fb"), 400),
    ("H16 space in a name", lambda r: r.add("X Y: a"), 400),
    ("H16 no name", lambda r: r.add(": a"), 400),
    ("H16 no colon", lambda r: r.add("X"), 400),
    ("H16 Latin-1 in Authorization", lambda r: r.replace_field("Authorization: Bearer \xe9"), 400),
    ("H16 Latin-1 in Host", lambda r: r.replace_field("Host: 127.0.0.1\xb9:80"), 400),
    ("H16 Latin-1 in Origin", lambda r: r.add("Origin: http://\xe9"), 400),
    ("H16 Latin-1 in a session id", lambda r: r.replace_field("Mcp-Session-Id: \xe9"), 400),
    ("H16 UTF-8 in the target", lambda r: r.with_target("/\xc3\xa9"), 400),
    ("H17 Expect foo", lambda r: r.add("Expect: foo"), 417),
    ("H17 two Expects", lambda r: r.add(*["Expect: 100-continue"] * 2), 400),
    ("H21 gzip", lambda r: r.add("Content-Encoding: gzip"), 415),
    ("H21 identity and gzip", lambda r: r.add("Content-Encoding: identity, gzip"), 415),
    ("H25 lower case", lambda r: r.with_method(r.method.lower()), 501),
    ("H25 PROPFIND", lambda r: r.with_method("PROPFIND"), 501),
    ("H25 a long method", lambda r: r.with_method("A" * 100), 501),
    ("H25 a method with a bracket", lambda r: r.with_method("G[ET"), 400),
    ("A02 two credentials", lambda r: r.add("Authorization: Bearer a", "Authorization: Bearer b"), 400),
    ("A03 1 MiB token", lambda r: r.replace_field("Authorization: Bearer " + "a" * 1048576), 431),
    ("S01 1 MiB Last-Event-ID", lambda r: r.add("Last-Event-ID: " + "a" * 1048576), 431),
    ("V33 two session ids", lambda r: r.add("Mcp-Session-Id: a", "Mcp-Session-Id: b"), 400),
]
# fmt: on


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("change", "status"), [pytest.param(c, s, id=i) for i, c, s in HEADS])
def test_a_head_that_is_not_plain_http_is_refused_and_ends_the_connection(
    bridge, session, route, change, status
):
    assert_refused(bridge, change(valid_request(bridge, session, route)), {status})


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", id="H09 nothing but bare LF"),
        pytest.param(b"GET / HTTP/1.1\n", id="H09 an unfinished line"),
        pytest.param(b"\nGET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n", id="a bare LF before"),
        pytest.param(
            b"\r\n" * 17 + b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n", id="17 empty lines before"
        ),
        pytest.param(b" GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n", id="a space before"),
        pytest.param(
            b"\xef\xbb\xbfGET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n", id="a byte order mark before"
        ),
        pytest.param(b"GET /healthz\r\n\r\n", id="H13 HTTP/0.9"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="H14 SSH"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500), id="H14 TLS"),
        pytest.param(b"\0" * 65536, id="H14 zeros"),
        pytest.param(b"\xff" * 65536, id="H14 ones"),
        pytest.param(b"\r\n" * 32768, id="H14 empty lines"),
    ],
)
def test_input_that_is_not_http_gets_400_at_once(bridge, head):
    assert_refused(bridge, head.replace(b"HOST", bridge.host.encode()), {400})


def test_h13_the_preface_of_http2_gets_505(bridge):
    assert_refused(bridge, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", {505})


def test_h14_noise_writes_few_log_lines(bridge):
    before = len(bridge.stderr)
    for _ in range(50):
        with bridge.connect() as connection:
            connection.try_send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            connection.reply()
    assert len(bridge.stderr) - before <= 50


def test_h12_options_with_an_asterisk_gets_405(bridge):
    reply = bridge.exchange(bridge.request("OPTIONS", "*"))
    assert reply.status == 405


# ---- bodies

CHUNKED_PING = b'28\r\n{"jsonrpc":"2.0","id":1,"method":"ping"}\r\n0\r\n\r\n'
# fmt: off
PIECES = [
    pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", 400, id="H06 0x"),
    pytest.param(b"-5\r\nhello\r\n0\r\n\r\n", 400, id="H06 minus"),
    pytest.param(b"+5\r\nhello\r\n0\r\n\r\n", 400, id="H06 plus"),
    pytest.param(b"5_0\r\nhello\r\n0\r\n\r\n", 400, id="H06 underscore"),
    pytest.param(b" 5\r\nhello\r\n0\r\n\r\n", 400, id="H06 space before"),
    pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", 400, id="H06 space behind"),
    pytest.param(b"\r\nhello\r\n0\r\n\r\n", 400, id="H06 no size"),
    pytest.param(b"g\r\nhello\r\n0\r\n\r\n", 400, id="H06 not hexadecimal"),
    pytest.param(b"0" * 20 + b"5\r\nhello\r\n0\r\n\r\n", 400, id="H06 21 digits"),
    pytest.param(b"f" * 20, 400, id="H06 20 digits and a pause"),
    pytest.param(b"ffffffff\r\n", 413, id="H06 4 GiB announced"),
    pytest.param(b"7fffffffffffffff\r\n", 413, id="H06 2^63-1 announced"),
    pytest.param(b"1000001\r\n", 413, id="H06 16 MiB + 1 announced"),
    pytest.param(b"5\r\nhelloXX0\r\n\r\n", 400, id="H06 a chunk that ends with XX"),
    pytest.param(b"5\r\nhello!\r\n0\r\n\r\n", 400, id="H06 a chunk that is longer"),
    pytest.param(b"5\nhello\r\n0\r\n\r\n", 400, id="H07 bare LF behind a size"),
    pytest.param(b"5\nhello\n0\n\n", 400, id="H07 nothing but bare LF"),
    pytest.param(b"5\r\nhello\n0\r\n\r\n", 400, id="H07 bare LF behind a chunk"),
    pytest.param(b"5\rhello", 400, id="H07 bare CR"),
    pytest.param(b"5;" + b"a" * 8192 + b"\r\nhello\r\n0\r\n\r\n", 400, id="H08 8 KiB of extension"),
    pytest.param(b"5;a=\x01\r\nhello\r\n0\r\n\r\n", 400, id="H08 control in an extension"),
    pytest.param(b"5;a=\nb\r\nhello\r\n0\r\n\r\n", 400, id="H08 LF in an extension"),
    pytest.param(b"0\r\n" + b"a: b\r\n" * 17 + b"\r\n", 400, id="H08 17 trailers"),
    pytest.param(b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n", 400, id="H08 100 trailers"),
    pytest.param(b"0\r\na: " + b"b" * 20000 + b"\r\n\r\n", 400, id="H08 20 KB of trailer"),
    pytest.param(b"0\r\na : b\r\n\r\n", 400, id="H08 space in a trailer's name"),
    pytest.param(b"0\r\na: b\r\n c\r\n\r\n", 400, id="H08 a folded trailer"),
    pytest.param(b"0\r\na: b\n\r\n\r\n", 400, id="H08 bare LF in a trailer"),
    pytest.param(b"0\r\n\xff: b\r\n\r\n", 400, id="H08 Latin-1 in a trailer"),
]
# fmt: on


@pytest.mark.parametrize("route", POSTS)
@pytest.mark.parametrize(("body", "status"), PIECES)
def test_a_chunked_body_with_two_readings_is_refused_and_ends_the_connection(
    bridge, session, route, body, status
):
    request = valid_request(bridge, session, route).add("Transfer-Encoding: chunked").with_raw_body(body)
    with bridge.lines_received(session) as lines:
        reply = assert_refused(bridge, request, {status})
    assert reply.code == -32600
    assert lines == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(CHUNKED_PING, id="plain"),
        pytest.param(CHUNKED_PING.replace(b"28\r", b"0000000000000028\r"), id="16 digits"),
        pytest.param(CHUNKED_PING.replace(b"28\r", b'28;a=b;c;d="e f"\r'), id="extensions"),
        pytest.param(CHUNKED_PING[:-2] + b"X-A: b\r\n\r\n", id="a trailer"),
        pytest.param(b"1\r\n{\r\n27\r\n" + CHUNKED_PING[5:], id="two chunks"),
    ],
)
def test_a_chunked_body_with_one_reading_is_served_and_the_connection_kept(bridge, session, body):
    request = bridge.post(session=session).add("Transfer-Encoding: chunked").with_raw_body(body)
    with bridge.connect() as connection:
        for _ in range(2):
            connection.send(request)
            assert connection.reply().json["result"] == {}


def test_h08_a_trailer_never_becomes_a_header(bridge, session):
    trailer = f"Authorization: Bearer {bridge.token}\r\n\r\n".encode()
    request = bridge.post(session=session).without_field("Authorization").add("Transfer-Encoding: chunked")
    reply = bridge.exchange(request.with_raw_body(CHUNKED_PING[:-2] + trailer))
    assert reply.status == 401


@pytest.mark.parametrize("route", POSTS)
def test_h01_a_body_that_hides_a_request_is_one_body(bridge, session, route):
    hidden = bytes(bridge.bare("GET", "/healthz"))
    with bridge.connect() as connection:
        connection.send(valid_request(bridge, session, route).with_body(hidden))
        assert connection.reply().status == (400 if route == "POST /mcp" else 404)
        connection.send(bridge.bare("GET", "/healthz"))
        assert connection.reply().body == b"ok"
        assert connection.is_silent(0.05)


@pytest.mark.parametrize("route", POSTS)
@pytest.mark.parametrize("length", [16 * 1024 * 1024 + 1, 2**62, 10**19 - 1])
def test_a_body_that_announces_too_much_is_refused_before_it_arrives(bridge, session, route, length):
    request = valid_request(bridge, session, route).replace_field(f"Content-Length: {length}").head()
    assert assert_refused(bridge, request, {413}).code == -32600


@pytest.mark.parametrize("route", ["GET /mcp", "GET /healthz", "DELETE /mcp", "GET /sse"])
def test_a_get_with_a_body_never_serves_the_body(bridge, session, route):
    hidden = bytes(bridge.bare("GET", "/healthz"))
    if route == "GET /healthz":
        request = valid_request(bridge, session, route)
    else:
        # The stream of an unknown session is refused and not begun.
        request = (
            valid_request(bridge, session, route)
            .replace_field(f"Mcp-Session-Id: {UNKNOWN_SESSION}")
            .replace_field("Accept: text/html")
        )
    with bridge.connect() as connection:
        connection.send(bytes(request.with_body(hidden)) + bytes(bridge.bare("GET", "/nothing")))
        reply = connection.reply()
        assert reply.status in (200, 404, 406)
        if reply.headers.get("connection") == "close":
            assert connection.to_the_end() == b""
        else:
            assert connection.reply().status == 401
            assert connection.to_the_end() == b""


# ---- Expect


def test_h17_a_bad_credential_is_refused_without_100(bridge, session):
    request = (
        bridge.post(session=session)
        .replace_field("Authorization: Bearer " + "x" * 48)
        .add("Expect: 100-continue")
    )
    with bridge.connect() as connection:
        connection.send(request.head())
        reply = connection.reply()
        assert reply.status == 401
        assert reply.headers["connection"] == "close"
        assert connection.to_the_end() == b""


def test_h17_a_valid_credential_gets_100(bridge, session):
    request = bridge.post(session=session).add("Expect: 100-continue")
    with bridge.connect() as connection:
        connection.send(request.head())
        assert connection.reply().status == 100
        connection.send(request.body)
        assert connection.reply().status == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.replace_field("Content-Type: text/plain"),
        lambda r: r.replace_field("Content-Length: 16777217"),
    ],
)
def test_h17_a_request_that_will_be_refused_gets_no_100(bridge, session, change):
    with bridge.connect() as connection:
        connection.send(change(bridge.post(session=session).add("Expect: 100-continue")).head())
        assert connection.reply().status in (413, 415)


# ---- pipelines


def test_h18_a_pipeline_is_served_in_order_or_closed(bridge):
    one = bytes(bridge.bare("GET", "/healthz"))
    two = bytes(bridge.bare("GET", "/nothing"))
    with bridge.connect() as connection:
        connection.try_send((one + two) * 50)
        for number in range(100):
            reply = connection.reply()
            assert reply.status == (401 if number % 2 else 200)
            if reply.headers.get("connection") == "close":
                assert number >= 16
                break


def test_h18_calls_in_a_pipeline_are_answered_in_order(bridge, session):
    bodies = [b'{"jsonrpc":"2.0","id":%d,"method":"test/echo","params":{"n":%d}}' % (n, n) for n in range(16)]
    with bridge.connect() as connection:
        connection.send(b"".join(bytes(bridge.post(body, session)) for body in bodies))
        for number in range(16):
            reply = connection.reply()
            assert reply.json["id"] == number
            assert reply.json["result"]["params"]["n"] == number


def test_h18_at_most_one_call_of_a_pipeline_is_in_flight(bridge, session):
    hold = b'{"jsonrpc":"2.0","id":"hold","method":"test/hold"}'
    echo = b'{"jsonrpc":"2.0","id":"behind","method":"test/echo"}'
    release = b'{"jsonrpc":"2.0","id":"release","method":"test/release"}'
    with bridge.connect() as connection, bridge.lines_received(session) as lines:
        connection.send(bytes(bridge.post(hold, session)) + bytes(bridge.post(echo, session)))
        assert connection.is_silent(0.1)
        assert bridge.exchange(bridge.post(release, session)).status == 200
        assert connection.reply().json["id"] == "hold"
        assert connection.reply().json["id"] == "behind"
    assert [line.split(b'"method":"')[1].split(b'"')[0] for line in lines] == [
        b"test/hold",
        b"test/release",
        b"test/echo",
    ]


# ---- slow ones


def test_h19_a_head_that_comes_byte_by_byte_gets_408(short_limits):
    head = bytes(short_limits.bare("GET", "/healthz"))[:-2]
    with short_limits.connect() as connection:
        began = time.monotonic()
        for byte in head:
            if not connection.try_send(bytes([byte])) or not connection.is_silent(0.1):
                break
        assert connection.reply().status == 408
        assert 0.9 < time.monotonic() - began < 2.5


def test_h19_a_head_that_stops_gets_408(short_limits):
    with short_limits.connect() as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: ")
        reply = connection.reply(timeout=3)
        assert reply.status == 408
        assert connection.to_the_end() == b""


def test_h19_a_silent_connection_is_closed(short_limits):
    with short_limits.connect() as connection:
        assert connection.to_the_end(timeout=3) == b""


@pytest.mark.parametrize("framing", ["Content-Length: 4096", "Transfer-Encoding: chunked"])
def test_h19_a_slow_body_gets_408(short_limits, framing):
    request = short_limits.post().without_field("Content-Length").add(framing)
    with short_limits.connect() as connection:
        connection.send(request.head() + (b"1000\r\n" if "chunked" in framing else b""))
        began = time.monotonic()
        while connection.is_silent(0.1) and time.monotonic() - began < 4:
            connection.try_send(b"a")
        assert connection.reply().status == 408
        assert time.monotonic() - began < 3


def test_h07_a_chunk_line_that_never_ends_gets_408(short_limits):
    request = short_limits.post().without_field("Content-Length").add("Transfer-Encoding: chunked")
    with short_limits.connect() as connection:
        connection.send(request.head() + b"28")
        assert connection.reply(timeout=3).status == 408


def test_h19_a_client_that_never_reads_is_disconnected(short_limits):
    session = short_limits.open_session()
    big = b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":"%b"}}' % (b"a" * 3_900_000)
    with short_limits.connect() as connection:
        # SOL_SOCKET, SO_RCVBUF.
        connection.sock.setsockopt(1, 8, 4096)
        connection.send(short_limits.post(big, session))
        # The connection breaks.
        with pytest.raises(OSError):
            for _ in range(60):
                time.sleep(0.1)
                connection.send(b"G")
    assert short_limits.exchange(short_limits.post(session=session)).status == 200


# ---- clients that leave


def test_h20_a_half_closed_connection_still_gets_the_response(bridge, session):
    with bridge.connect() as connection:
        connection.send(bridge.post(session=session))
        connection.sock.shutdown(1)
        assert connection.reply().json["result"] == {}


def test_h20_a_half_close_during_the_call_still_gets_the_response(bridge, session):
    hold = b'{"jsonrpc":"2.0","id":"hold","method":"test/hold"}'
    release = b'{"jsonrpc":"2.0","id":"release","method":"test/release"}'
    with bridge.connect() as connection:
        connection.send(bridge.post(hold, session))
        connection.sock.shutdown(1)
        bridge.sync(session)
        assert bridge.exchange(bridge.post(release, session)).status == 200
        assert connection.reply().json == {"jsonrpc": "2.0", "id": "hold", "result": {"released": True}}


@pytest.mark.parametrize("route", ROUTES)
def test_h20_a_reset_at_any_byte_of_the_head_affects_no_other_client(bridge, session, route):
    data = bytes(valid_request(bridge, session, route).without_field("Mcp-Session-Id"))
    for at in range(1, len(data), max(1, len(data) // 20)):
        with bridge.connect() as connection:
            connection.send(data[:at])
            connection.reset()


def test_h20_a_reset_in_the_middle_of_an_upload(bridge, session):
    for sent in (0, 1, 1000, 1_000_000):
        with bridge.connect() as connection:
            connection.send(
                bridge.post(session=session).replace_field("Content-Length: 2000000").head() + b"a" * sent
            )
            connection.reset()


def test_h20_a_reset_in_the_middle_of_a_response(bridge, session):
    big = b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":"%b"}}' % (b"a" * 3_900_000)
    for read in (1, 1000, 100_000):
        with bridge.connect() as connection:
            connection.send(bridge.post(big, session))
            connection.exactly(read)
            connection.reset()


def test_h20_a_reset_during_the_call(bridge, session):
    hold = b'{"jsonrpc":"2.0","id":"gone","method":"test/hold"}'
    with bridge.connect() as connection:
        connection.send(bridge.post(hold, session))
        bridge.sync(session)
        connection.reset()
    assert (
        bridge.exchange(bridge.post(b'{"jsonrpc":"2.0","id":2,"method":"test/release"}', session)).status
        == 200
    )


# ---- paths, queries, headers that others trust


@pytest.mark.parametrize(
    "target",
    [
        "/../mcp", "/./mcp", "/mcp//", "/mcp/.", "/mcp/..", "//mcp", "/MCP", "/Mcp", "/mcp;x", "/mcp;sessionId=1", "/%6dcp",
        "/m%63p", "/mcp%2f", "/%2fmcp", "/mcp%00", "/mcp%3f", "/mcp%20", "/mcp%", "/mcp\\", "/servers/../mcp", "/healthz//",
        "/servers", "/servers/", "/servers/stdio", "/servers/stdio/", "/servers//mcp", "/servers/STDIO/mcp",
        "/servers/x/mcp", "/servers/stdio%2fmcp", "/", "//sse/", "/ws//", "/message", "/favicon.ico", "/.well-known%2fx", "/x/../.well-known/x", "//register",
    ],
)  # fmt: skip
def test_h22_other_spellings_of_a_path_are_not_found(bridge, session, target):
    reply = bridge.exchange(bridge.post(session=session).with_target(target))
    assert reply.status == 404
    assert "location" not in reply.headers
    nothing = bridge.exchange(bridge.post(session=session).with_target("/x"))
    assert reply.constant_part == nothing.constant_part


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("key", ["token", "access_token", "accessToken", "api_key", "TOKEN", "x=1&token"])
def test_h23_a_token_in_the_url_is_refused_and_not_logged(bridge, session, route, key):
    canary = "canary" + "0123456789abcdefghijklmnopqrstuvwxyz"
    request = valid_request(bridge, session, route)
    joint = "&" if "?" in request.target else "?"
    reply = bridge.exchange(request.with_target(f"{request.target}{joint}{key}={canary}"))
    assert reply.status == 400
    assert b"canary" not in reply.body
    assert "canary" not in "".join(bridge.stderr)


@pytest.mark.parametrize(
    "field",
    [
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-For: 203.0.113.1",
        "X-Forwarded-Proto: https",
        "Forwarded: for=203.0.113.1;host=evil.example;proto=https",
        "X-Original-URL: /healthz",
        "X-Rewrite-URL: /healthz",
        "Connection: keep-alive, Authorization",
        "TE: trailers",
        "Upgrade: h2c",
    ],
)
def test_h24_headers_that_proxies_trust_change_nothing(bridge, session, field):
    reply = bridge.exchange(bridge.post(session=session).add(field))
    assert (reply.status, reply.json["result"]) == (200, {})


def test_h24_a_forwarded_host_does_not_replace_a_wrong_one(bridge, session):
    request = (
        bridge.post(session=session)
        .replace_field("Host: evil.example")
        .add(f"X-Forwarded-Host: {bridge.host}")
    )
    assert bridge.exchange(request).status == 421


@pytest.mark.parametrize("route", ROUTES)
def test_h25_trace_is_405_and_echoes_nothing(bridge, session, route):
    request = valid_request(bridge, session, route).with_method("TRACE").add("X-Canary: canary")
    with bridge.connect() as connection:
        connection.send(request)
        reply = connection.reply()
    assert reply.status == 405
    assert b"canary" not in reply.raw_head + reply.body


# ---- Accept and Content-Type

BOTH = "application/json, text/event-stream"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("*/*", 200),
        (BOTH, 200),
        ("text/event-stream;q=0.1, application/json;q=1.0", 200),
        ("APPLICATION/JSON, Text/Event-Stream", 200),
        ("application/*, text/*", 200),
        ("text/html", 406),
        ("application/json", 200),
        ("text/event-stream", 200),
        ("application/jsonx, text/event-stream", 200),
        ("application/json, text/event-stream;q=0", 200),
        ("*/*;q=0", 406),
        ("text/html, application/xhtml+xml, image/avif", 406),
        (", ".join(f"text/x{n};q=0.{n % 9}" for n in range(300)), 406),
        (",".join(f"a/b;q=0.{n % 9}" for n in range(500)) + "," + BOTH, 200),
        ('"' * 4000, 406),
        ("," * 4000 + BOTH, 200),
        ("text/event-stream" + ";" * 4000 + ",application/json", 200),
    ],
)
def test_h26_accept_decides_at_once(bridge, session, accept, status):
    request = bridge.post(session=session).without_field("Accept")
    if accept is not None:
        request = request.add(f"Accept: {accept}")
    began = time.monotonic()
    assert bridge.exchange(request).status == status
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("route", ["GET /mcp", "GET /sse"])
@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/event-stream;q=0"])
def test_h26_a_stream_is_not_begun_for_a_client_that_does_not_accept_it(bridge, session, route, accept):
    before = bridge.children()
    reply = bridge.exchange(valid_request(bridge, session, route).replace_field(f"Accept: {accept}"))
    assert reply.status == 406
    assert bridge.children() <= before


@pytest.mark.parametrize("route", POSTS)
@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "text/plain; charset=utf-8", "text/plain, application/json", "text/plain;application/json", "multipart/mixed; type=json",
    ],
)  # fmt: skip
def test_v5_a_body_that_a_form_could_send_is_415(bridge, session, route, content_type):
    request = valid_request(bridge, session, route).without_field("Content-Type")
    if content_type is not None:
        request = request.add(f"Content-Type: {content_type}")
    with bridge.lines_received(session) as lines:
        assert bridge.exchange(request).status == 415
    assert lines == []


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
    ],
)
def test_v5_json_in_utf8_is_accepted(bridge, session, content_type):
    assert (
        bridge.exchange(bridge.post(session=session).replace_field(f"Content-Type: {content_type}")).status
        == 200
    )


def test_g02_no_socket_and_no_process_is_left(bridge, session):
    """Require that no refused connection of the tests above is still open."""
    deadline = time.monotonic() + TIMEOUT
    while (processes := len(bridge.children())) > 1:
        assert time.monotonic() < deadline, f"{processes} processes still run"
        time.sleep(0.1)
    assert processes == 1
    while (sockets := count_sockets(bridge.process.pid)) > 8:
        assert time.monotonic() < deadline, f"{sockets} sockets are still open"
        time.sleep(0.1)


def count_sockets(pid):
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # The descriptor was closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(link).startswith("socket:")
    return count


def test_no_byte_is_sent_before_a_request(bridge):
    with bridge.connect() as connection, pytest.raises(NothingReceived):
        connection.head(timeout=0.2)
