"""The grammar of heads, its refusals, and the comparison of accepted heads with two other parsers."""

import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpbridged.validators.http_head import Head, parse_head, reject_early, skip_empty_lines
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import INVALID_REQUEST, Rejection

LIMITS = Limits()

REALISTIC = (
    b"POST /mcp HTTP/1.1\r\n"
    b"Host: 127.0.0.1:8808\r\n"
    b"Authorization: Bearer 0123456789abcdefghijklmnopqrstuv\r\n"
    b"Content-Type: application/json\r\n"
    b"Accept: application/json, text/event-stream\r\n"
    b"Accept-Encoding: gzip, deflate\r\n"
    b"User-Agent: a-client/1.0\r\n"
    b"MCP-Protocol-Version: 2025-11-25\r\n"
    b"Mcp-Session-Id: 7f0c1a52d9e84b6fa3c5e1d2b4a69788\r\n"
    b"Content-Length: 158\r\n"
    b"\r\n"
)


def head(*lines: bytes, start: bytes = b"POST /mcp HTTP/1.1", host: bytes = b"Host: 127.0.0.1:8808") -> bytes:
    return b"\r\n".join([start, *([host] if host else []), *lines, b"", b""])


def refusal(block: bytes, limits: Limits = LIMITS) -> tuple[int, str]:
    with pytest.raises(Rejection) as caught:
        parse_head(block, limits)
    assert caught.value.code == INVALID_REQUEST
    assert caught.value.close
    return caught.value.status, caught.value.text


def test_a_realistic_head_is_parsed():
    parsed = parse_head(REALISTIC, LIMITS)
    assert (parsed.method, parsed.path, parsed.query, parsed.version) == ("POST", "/mcp", "", 11)
    assert parsed.headers == {
        "host": "127.0.0.1:8808",
        "authorization": "Bearer 0123456789abcdefghijklmnopqrstuv",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "accept-encoding": "gzip, deflate",
        "user-agent": "a-client/1.0",
        "mcp-protocol-version": "2025-11-25",
        "mcp-session-id": "7f0c1a52d9e84b6fa3c5e1d2b4a69788",
        "content-length": "158",
    }
    assert (parsed.content_length, parsed.chunked, parsed.keep_alive) == (158, False, True)
    assert (parsed.expect_continue, parsed.upgrade) == (False, "")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/mcp?", "/mcp", ""),
        ("/messages?sessionId=1&a=?b", "/messages", "sessionId=1&a=?b"),
        ("/s/../s/echo/mcp", "/s/../s/echo/mcp", ""),
        ("/s/%65cho%2fmcp;x", "/s/%65cho%2fmcp;x", ""),
        ("//s/ECHO", "//s/ECHO", ""),
        ("/" + "a" * 4095, "/" + "a" * 4095, ""),
    ],
)
def test_a_target_is_divided_and_not_changed(target, path, query):
    parsed = parse_head(head(start=f"GET {target} HTTP/1.1".encode()), LIMITS)
    assert (parsed.path, parsed.query) == (path, query)


@pytest.mark.parametrize(
    ("method", "target", "authority", "path", "query"),
    [
        ("GET", "http://127.0.0.1:8808/mcp", "127.0.0.1:8808", "/mcp", ""),
        ("POST", "HTTPS://Example.com/a/b?c=/d?e", "Example.com", "/a/b", "c=/d?e"),
        ("GET", "http://a:1", "a:1", "/", ""),
        ("GET", "http://a?b", "a", "/", "b"),
        ("GET", "hTTp://[::1]:8808//x", "[::1]:8808", "//x", ""),
        ("GET", "http:///x", "", "/x", ""),
        ("GET", "http://u:p@a/", "u:p@a", "/", ""),
        ("OPTIONS", "http://a", "a", "*", ""),
        ("OPTIONS", "http://a/", "a", "/", ""),
        ("OPTIONS", "*", None, "*", ""),
        ("GET", "/http://a/b", None, "/http://a/b", ""),
    ],
)
def test_the_absolute_form_has_an_authority(method, target, authority, path, query):
    parsed = parse_head(head(start=f"{method} {target} HTTP/1.1".encode()), LIMITS)
    assert (parsed.authority, parsed.path, parsed.query) == (authority, path, query)
    assert parsed.headers["host"] == "127.0.0.1:8808"


def test_the_asterisk_is_for_options():
    assert parse_head(head(start=b"OPTIONS * HTTP/1.1"), LIMITS).path == "*"
    assert refusal(head(start=b"GET * HTTP/1.1"))[0] == 400
    assert refusal(head(start=b"OPTIONS ** HTTP/1.1"))[0] == 400


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH", "TRACE"])
def test_known_methods_are_parsed(method):
    assert parse_head(head(start=f"{method} / HTTP/1.1".encode()), LIMITS).method == method


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"get / HTTP/1.1", 501),
        (b"PROPFIND / HTTP/1.1", 501),
        (b"POSTS / HTTP/1.1", 501),
        (b"CONNECT evil:443 HTTP/1.1", 405),
        (b"CONNECT / HTTP/1.1", 405),
        (b"GET http:// HTTP/1.1", 400),
        (b"GET http:/mcp HTTP/1.1", 400),
        (b"GET ws://127.0.0.1:8808/mcp HTTP/1.1", 400),
        (b"GET http://127.0.0.1:8808/mcp#a HTTP/1.1", 400),
        (b"GET http://127.0.0.1:8808/\xc3\xa9 HTTP/1.1", 400),
        (b"GET 127.0.0.1:8808 HTTP/1.1", 400),
        (b"GET mcp HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET  HTTP/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET /\tHTTP/1.1", 400),
        (b"GET / a HTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/1", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.9", 505),
        (b"GET / HTTP/0.9", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"GET /" + b"a" * 4096 + b" HTTP/1.1", 414),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", 414),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1", 414),
        (b"BREW /" + b"a" * 4096 + b" HTTP/1.1", 414),
    ],
)
def test_malformed_request_lines_are_refused(start, status):
    assert refusal(head(start=start))[0] == status


def test_connect_is_refused_with_the_allowed_methods():
    with pytest.raises(Rejection) as caught:
        parse_head(head(start=b"CONNECT evil:443 HTTP/1.1"), LIMITS)
    assert caught.value.headers == ((b"Allow", b"GET, POST, DELETE, OPTIONS"),)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        # The end of the body.
        ([b"Content-Length: 4", b"Transfer-Encoding: chunked"], 400),
        ([b"Content-Length: 4", b"Content-Length: 5"], 400),
        ([b"Content-Length: 4", b"content-length: 4"], 400),
        ([b"Content-Length: 4, 4"], 400),
        ([b"Content-Length: +4"], 400),
        ([b"Content-Length: -1"], 400),
        ([b"Content-Length: 4_0"], 400),
        ([b"Content-Length: 0x4"], 400),
        ([b"Content-Length: 4.0"], 400),
        ([b"Content-Length:"], 400),
        ([b"Content-Length: 12345678901234567890"], 400),
        ([b"Content-Length: 12345678901234567890123"], 400),
        ([b"Transfer-Encoding: xchunked"], 501),
        ([b"Transfer-Encoding: gzip, chunked"], 501),
        ([b"Transfer-Encoding: identity"], 501),
        ([b"Transfer-Encoding: chunked, chunked"], 400),
        ([b"Transfer-Encoding: chunked, gzip"], 400),
        ([b"Transfer-Encoding: chunked,"], 400),
        ([b"Transfer-Encoding:"], 400),
        ([b"Transfer-Encoding: \x0bchunked"], 400),
        ([b"Transfer-Encoding : chunked"], 400),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], 400),
        # The syntax of a field.
        ([b"X: a", b" b"], 400),
        ([b"X: a", b"\tb"], 400),
        ([b"X: a\x00b"], 400),
        ([b"X: a\rb"], 400),
        ([b"X: a\nb"], 400),
        ([b"X: a\x7f"], 400),
        ([b"X: a\x80\x00"], 400),
        ([b"Connection: close\xa0"], 400),
        ([b"Content-Length: \xb2"], 400),
        ([b"Content-Length: 1\xa0"], 400),
        ([b"Transfer-Encoding: chunked\x85"], 400),
        ([b"Transfer-Encoding: \xa0chunked"], 400),
        ([b"Authorization: Bearer \xe9"], 400),
        ([b'Content-Type: application/json; a="\xe9"'], 400),
        ([b"Mcp-Session-Id: \xe9"], 400),
        ([b"X: \x1b[31m"], 400),
        ([b"X : a"], 400),
        ([b": a"], 400),
        ([b" X: a"], 400),
        ([b"X"], 400),
        ([b"X\xc3: a"], 400),
        ([b"X(): a"], 400),
        # Host.
        ([b"Host: 127.0.0.1:8808"], 400),
        # Content codings and expectations.
        ([b"Expect: foo"], 417),
        ([b"Expect:"], 417),
        ([b"Content-Encoding: gzip"], 415),
        ([b"Content-Encoding: identity, gzip"], 415),
        ([b"Content-Encoding: identity; q=1"], 415),
        # Limits.
        ([b"X: " + b"a" * 8190], 431),
        ([b"X: " + b"a" * 20000], 431),
        ([b"x%d: a" % n for n in range(100)], 431),
        ([b"a:"] * 3500, 431),
        ([b"a:"] * 30000, 431),
        ([b"X%d: %s" % (n, b"a" * 8000) for n in range(3)], 431),
    ],
)
def test_malformed_header_fields_are_refused(lines, status):
    assert refusal(head(*lines))[0] == status


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Origin",
        "Content-Type",
        "Mcp-Session-Id",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Mcp-Name",
        "Last-Event-ID",
        "Sec-Fetch-Site",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Content-Encoding",
        "Expect",
        "Upgrade",
    ],
)
def test_single_fields_must_not_be_repeated(name):
    line = f"{name}: identity".encode()
    assert refusal(head(line, line.lower())) == (400, "a header field that must be single is repeated")


def test_other_repeated_fields_become_a_list():
    parsed = parse_head(head(b"Accept: a/b", b"X: 1", b"ACCEPT:\tc/d \t"), LIMITS)
    assert parsed.headers == {"host": "127.0.0.1:8808", "accept": "a/b, c/d", "x": "1"}


def test_obs_text_is_opaque_in_a_field_that_is_not_read():
    lines = (b"X-City: S\xc3\xa3o Paulo", b"X: \xa0\x85 \xc3\xa0\t", b"User-Agent: \xff", b"X: \xe9")
    parsed = parse_head(head(*lines), LIMITS)
    assert parsed.headers["x-city"].encode("latin-1").decode() == "S\u00e3o Paulo"
    assert parsed.headers["x"] == "\xa0\x85 \xc3\xa0, \xe9"
    assert parsed.headers["user-agent"] == "\xff"
    assert refusal(head(lines[0], b"Origin: \xe9")) == (
        400,
        "a header field that is read holds a byte that is not ASCII",
    )


def test_an_underscore_is_not_a_hyphen():
    parsed = parse_head(head(b"Content_Length: 9", b"Content-Length: 4"), LIMITS)
    assert parsed.content_length == 4
    assert parsed.headers["content_length"] == "9"


def test_values_lose_surrounding_white_space_only():
    parsed = parse_head(head(b"A: \t b \t c: d \t", b"B:", b"C:e"), LIMITS)
    assert (parsed.headers["a"], parsed.headers["b"], parsed.headers["c"]) == ("b \t c: d", "", "e")


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("007", 7), ("9" * 19, 10**19 - 1)])
def test_lengths(value, length):
    assert parse_head(head(f"Content-Length: {value}".encode()), LIMITS).content_length == length


def test_chunked_in_any_case():
    parsed = parse_head(head(b"Transfer-Encoding: Chunked"), LIMITS)
    assert parsed.chunked
    assert parsed.content_length is None


def test_http_1_0_has_no_chunks_no_keep_alive_no_upgrade_and_no_continue():
    old = b"POST / HTTP/1.0"
    assert refusal(head(b"Transfer-Encoding: chunked", start=old))[0] == 400
    lines = [b"Connection: keep-alive, upgrade", b"Upgrade: websocket", b"Expect: 100-continue"]
    parsed = parse_head(head(*lines, start=old), LIMITS)
    assert (parsed.version, parsed.keep_alive, parsed.upgrade, parsed.expect_continue) == (
        10,
        False,
        "",
        False,
    )
    assert parse_head(b"GET / HTTP/1.0\r\n\r\n", LIMITS).headers == {}
    assert not parse_head(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", LIMITS).keep_alive


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"GET / HTTP/1.0"])
def test_host_must_not_be_empty(start):
    assert refusal(head(start=start, host=b"Host: "))[0] == 400


def test_host_must_not_be_missing():
    assert refusal(head(host=b"")) == (400, "Host is missing or empty")


@pytest.mark.parametrize(
    ("connection", "keep_alive"),
    [
        (b"keep-alive", True),
        (b"Keep-Alive", True),
        (b"close", False),
        (b"x,\tCLOSE ,y", False),
        (b"closed", True),
        (b"", True),
        (b",, close,", False),
        (b"TE, HTTP2-Settings", True),
    ],
)
def test_connections_that_are_kept(connection, keep_alive):
    assert parse_head(head(b"Connection: " + connection), LIMITS).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        ([b"Connection: Upgrade", b"Upgrade: WebSocket"], "websocket"),
        ([b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"], "websocket"),
        ([b"Connection: Upgrade", b"Upgrade: h2c"], "h2c"),
        ([b"Connection: Upgrade"], ""),
        ([b"Connection: close", b"Upgrade: websocket"], ""),
        ([b"Upgrade: websocket"], ""),
        ([b"Connection: upgrade, ,", b"Upgrade: ,WebSocket ,"], "websocket"),
        ([b"Connection: upgrade", b"Upgrade: h2c,WebSocket"], "h2c, websocket"),
        (
            [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAA"],
            "h2c",
        ),
        ([b"Connection: Upgrade", b"Upgrade: websocket/13"], "websocket/13"),
    ],
)
def test_upgrades(lines, upgrade):
    assert parse_head(head(*lines), LIMITS).upgrade == upgrade


@pytest.mark.parametrize("value", [b"", b",", b"identity", b" Identity ,\tIDENTITY,"])
def test_a_list_of_no_content_coding(value):
    assert parse_head(head(b"Content-Encoding:" + value), LIMITS).method == "POST"


def test_expect_continue_and_the_identity_coding_are_accepted():
    parsed = parse_head(head(b"Expect: 100-Continue", b"Content-Encoding: Identity"), LIMITS)
    assert parsed.expect_continue


def test_limits_are_named_with_their_values():
    limits = Limits(header_block=300, header_count=2, header_field=50, target=20)
    assert refusal(REALISTIC, limits) == (431, "the head exceeds the limit of 300 bytes")
    assert refusal(head(b"A: b", b"C: d"), limits) == (431, "the head exceeds the limit of 2 header fields")
    assert refusal(head(b"A: " + b"b" * 58), limits) == (
        431,
        "a header field of 61 bytes exceeds the limit of 50",
    )
    too_long = (414, "the request target exceeds the limit of 20 bytes")
    assert refusal(head(start=b"GET /%b HTTP/1.1" % (b"a" * 20)), limits) == too_long
    assert refusal(head(start=b"GET /%b HTTP/1.1" % (b"a" * 400)), limits) == too_long
    assert parse_head(head(b"A: b", start=b"GET /%b HTTP/1.1" % (b"a" * 19)), limits).headers["a"] == "b"
    assert parse_head(head(b"A: " + b"b" * 30, start=b"GET / HTTP/1.1"), limits).headers["a"] == "b" * 30


def test_many_fields_in_a_small_head_and_in_a_big_one():
    assert len(parse_head(head(*[b"%d:" % n for n in range(99)]), LIMITS).headers) == 100
    assert refusal(head(*[b"%d:" % n for n in range(100)]))[0] == 431
    filling = b"a" * 100
    assert len(parse_head(head(*[b"%d:%b" % (n, filling) for n in range(99)]), LIMITS).headers) == 100
    assert refusal(head(*[b"%d:%b" % (n, filling) for n in range(100)]))[0] == 431


def test_an_error_text_never_repeats_the_request():
    for block in (head(b"X-Secret-Canary : y"), head(start=b"CANARY / HTTP/1.1"), head(b"Expect: canary")):
        assert "canary" not in refusal(block)[1].lower()


def test_a_head_without_its_end_is_refused():
    assert refusal(b"GET / HTTP/1.1\r\nHost: x\r\n")[0] == 400
    assert refusal(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nX: y\r\n\r\n")[0] == 400


# ---- while it is still coming


@pytest.mark.parametrize(
    ("beginning", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x16", 400),
        (b"\x15", 400),
        (b"\x00", 400),
        (b"\x00" * 65536, 400),
        (b"\r\nGET / HTTP/1.1", 400),
        (b" GET", 400),
        (b"\xffGET", 400),
        (b"SSH-2.0-OpenSSH_9.7\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\ry", 400),
        (b"GET / HTTP/1.1\r\nHost: \x00", 400),
        (b"GET /\x80", 400),
        (b"GET /\x80 HTTP/1.1\r\nHost: x", 400),
        (b"\r\r", 400),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"get / HTTP/1.1\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\n", 405),
        (b"GET ftp://a/ HTTP/1.1\r\n", 400),
        (b"GET http:// HTTP/1.1\r\n", 400),
        (b"GET /" + b"a" * 4200, 414),
        (b"GET /" + b"a" * 4096 + b" HTTP/1.1\r\n", 414),
        (b"GET /" + b"a" * 40000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 16384, 431),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 101, 431),
    ],
)
def test_a_beginning_that_cannot_become_a_head_is_refused_at_once(beginning, status):
    with pytest.raises(Rejection) as caught:
        reject_early(beginning, LIMITS)
    assert (caught.value.status, caught.value.code, caught.value.close) == (status, INVALID_REQUEST, True)


@pytest.mark.parametrize(("beginning", "is_tls"), [(b"\x16\x03\x01", True), (b"\x15\x03\x01", False)])
def test_a_tls_handshake_is_named_as_the_reason(beginning, is_tls):
    with pytest.raises(Rejection) as caught:
        reject_early(beginning, LIMITS)
    assert (caught.value.reason == "tls_on_plain_port") is is_tls
    assert ("without TLS" in caught.value.text) is is_tls


def test_no_beginning_of_a_valid_head_is_refused():
    largest = b"DELETE /%b HTTP/1.1\r\n" % (b"a" * 4095) + b"a:\r\n" * 99 + b"Host: x\r\n\r\n"
    absolute = head(start=b"GET http://127.0.0.1:8808/mcp HTTP/1.1")
    for block in (REALISTIC, largest, head(b"X: " + b"a" * 8189), head(b"X: \xc3\xa9"), absolute):
        parse_head(block, LIMITS)
        for end in range(len(block)):
            reject_early(block[:end], LIMITS)


@pytest.mark.parametrize("count", [0, 1, 2, 16])
@pytest.mark.parametrize("behind", [b"", b"\r", b"GET / HTTP/1.1\r\n", b"\nGET", b"x"])
def test_a_few_empty_lines_before_a_request_line_are_skipped(count, behind):
    assert skip_empty_lines(b"\r\n" * count + behind) == behind
    if behind == b"\r":
        reject_early(behind, LIMITS)


@pytest.mark.parametrize("count", [17, 30000])
def test_more_empty_lines_are_refused(count):
    with pytest.raises(Rejection) as caught:
        skip_empty_lines(b"\r\n" * count)
    assert (caught.value.status, caught.value.close) == (400, True)
    assert caught.value.text == "more than 16 empty lines come before the request line"


# ---- two oracles: whatever passes here, h11 and llhttp read alike

TCHARS = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
tokens = st.text(TCHARS, min_size=1, max_size=12)
values = st.text("".join(map(chr, range(0x20, 0x7F))) + "\t\x80\x85\xa0\xe9", max_size=40)
targets = st.one_of(
    st.just("/mcp"),
    st.just("/messages?sessionId=1"),
    st.text("".join(sorted(set(map(chr, range(0x21, 0x7F))) - {"#"})), max_size=30).map("/".__add__),
)
known_fields = st.sampled_from(
    [
        "Content-Length: 5",
        "Content-Length: 0",
        "content-length:\t0012 ",
        "Content-Length: 9999999999999999999",
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Connection: close",
        "Connection: keep-alive",
        "Connection: Upgrade",
        "Connection: keep-alive, Upgrade",
        "Connection: ,keep-alive,,",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "Content-Encoding: identity",
        "Accept: text/event-stream",
        "X-Empty:",
    ]
)
any_fields = st.one_of(known_fields, st.builds("{}:{}".format, tokens, values))
start_lines = st.builds(
    "{} {} HTTP/1.{}".format,
    st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH", "TRACE"]),
    targets,
    st.sampled_from("1110"),
)
blocks = st.builds(
    lambda start, before, host, after: "\r\n".join([start, *before, *host, *after, "", ""]).encode("latin-1"),
    start_lines,
    st.lists(any_fields, max_size=3),
    st.lists(st.just("Host: a.example:8808"), min_size=1, max_size=1),
    st.lists(any_fields, max_size=5),
)
spoils = st.sampled_from(
    [b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b":", b",", b"-", b"_", b"/", b"#", b"0", b"4", b"\x80", b"\xff", b"\x0b",
     b"\r\n ", b"\r\nHost: b", b"\r\nContent-Length: 7", b"\r\nTransfer-Encoding: chunked", b" HTTP/1.1", b", chunked"]
)  # fmt: skip


def spoil(block: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, inserted in changes:
        at = int(where * len(block))
        block = block[:at] + inserted + block[at + removed :]
    return block


spoilt = st.builds(
    spoil,
    blocks,
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), spoils), min_size=1, max_size=3),
)


def outcome(block: bytes) -> Head | None:
    try:
        return parse_head(block, LIMITS)
    except Rejection:
        return None


def body_of(parsed: Head) -> tuple[bytes, bytes]:
    """A body as the head announces it, on the wire and decoded; a piece of it where that would be too long."""
    if parsed.chunked:
        return b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"
    body = b"x" * min(parsed.content_length or 0, 100)
    return body, body


def joined(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name.decode("ascii").lower(), []).append(value.decode("latin-1").strip(" \t"))
    return {name: ", ".join(values) for name, values in found.items()}


class Callbacks:
    def __init__(self) -> None:
        self.url = self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.keep_alive = False

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.fields.append((name, value or b""))

    def on_headers_complete(self):
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.complete += 1


def agree(block: bytes, parsed: Head) -> None:
    wire, body = body_of(parsed)
    whole = parsed.chunked or (parsed.content_length or 0) == len(body)
    target = parsed.path + ("?" + parsed.query if parsed.query else "")

    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
    peer.receive_data(block)
    request = peer.next_event()
    assert isinstance(request, h11.Request)
    assert request.method.decode() == parsed.method
    assert request.target.decode().removesuffix("?") == target.removesuffix("?")
    assert request.http_version == b"%d.%d" % divmod(parsed.version, 10)
    seen_by_h11 = {**parsed.headers, "transfer-encoding": "chunked"} if parsed.chunked else parsed.headers
    assert joined(list(request.headers)) == seen_by_h11
    assert peer.they_are_waiting_for_100_continue == parsed.expect_continue
    peer.receive_data(wire + b"NEXT")
    data = b""
    while isinstance(event := peer.next_event(), h11.Data):
        data += event.data
    if whole:
        assert isinstance(event, h11.EndOfMessage)
        assert (data, peer.trailing_data[0]) == (body, b"NEXT")
    else:
        assert event is h11.NEED_DATA
        assert data == body + b"NEXT"

    agree_with_llhttp(block, parsed, target)


def agree_with_llhttp(block: bytes, parsed: Head, target: str) -> None:
    seen = Callbacks()
    parser = seen.parser
    # llhttp takes a request that offers an upgrade for one without a body. RFC 9110 section 7.8 does not, and Java's
    # client offers h2c with every POST, so there h11 is the only oracle for the body.
    offers = "upgrade" in parsed.headers
    wire, body = (b"", b"") if offers else body_of(parsed)
    sent = block + wire
    try:
        parser.feed_data(sent[:-1])
        assert not seen.complete
        parser.feed_data(sent[-1:])
    except httptools.HttpParserUpgrade:
        assert offers
    assert parser.get_method().decode() == parsed.method
    assert seen.url.decode().removesuffix("?") == target.removesuffix("?")
    assert parser.get_http_version() == f"{parsed.version // 10}.{parsed.version % 10}"
    assert joined(seen.fields) == parsed.headers
    if not offers:
        whole = parsed.chunked or (parsed.content_length or 0) == len(body)
        assert (seen.body, bool(seen.complete)) == (body, whole)
    if parsed.version == 11:
        assert seen.keep_alive == parsed.keep_alive


@settings(max_examples=300)
@given(blocks)
@example(REALISTIC)
@example(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
@example(b"GET / HTTP/1.0\r\n\r\n")
def test_accepted_heads_are_equal_in_h11_and_llhttp(block):
    parsed = outcome(block)
    if parsed is not None:
        agree(block, parsed)


@settings(max_examples=500)
@given(spoilt)
def test_accepted_mutated_heads_are_equal_in_h11_and_llhttp(block):
    end = block.find(b"\r\n\r\n")
    if end >= 0:
        parsed = outcome(block[: end + 4])
        if parsed is not None:
            agree(block[: end + 4], parsed)


@settings(max_examples=300)
@given(spoilt, st.floats(0, 1))
def test_an_early_refusal_is_never_premature(block, where):
    end = block.find(b"\r\n\r\n")
    head_bytes = block[: end + 4] if end >= 0 else block
    try:
        reject_early(head_bytes[: min(int(where * len(head_bytes)), len(head_bytes) - 1)], LIMITS)
    except Rejection:
        assert outcome(head_bytes) is None
