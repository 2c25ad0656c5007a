"""Serve HTTP as load balancers, monitors, proxies and hand-written clients send it, on every carrier (T2, T12, T24)."""

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.daemon_process import daemon
from ..support.listener_under_test import INITIALIZE, PING, PONG, ListenerUnderTest, h2_client, message
from ..support.tls import tls_client_context, tls_options
from ..support.wire import Socket, fresh_key

HEAD_SECONDS = 1


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    with Bridge(folder / "run", EXAMPLE, f"--limit=head_seconds={HEAD_SECONDS}") as bridge:
        door = ListenerUnderTest(bridge.address, bridge.token)
        door.open_session()
        yield door


@pytest.fixture(scope="module")
def secure(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("secure")
    with Bridge(folder / "run", EXAMPLE, *tls_options(authority, folder)) as bridge:
        door = ListenerUnderTest(bridge.address, bridge.token, tls_client_context(authority))
        door.open_session()
        yield door


@pytest.fixture(params=["plain", "tls"])
def door(request):
    return request.getfixturevalue({"plain": "plain", "tls": "secure"}[request.param])


@pytest.fixture
def h2(secure):
    with h2_client(secure) as client:
        yield client


# ---- T2


@pytest.mark.parametrize("target", ["/healthz/", "/readyz/", "/healthz/?cache=1"])
def test_t02_a_health_route_with_a_slash_at_its_end(door, target):
    reply = door.exchange(door.bare("GET", target))
    assert (reply.status, reply.body) == (200, b"ready" if "readyz" in target else b"ok")
    assert "location" not in reply.headers


@pytest.mark.parametrize("target", ["/mcp/", "/servers/stdio/mcp/", "/mcp/?x=1"])
def test_t02_streamable_http_with_a_slash_at_its_end(door, target):
    reply = door.exchange(door.post(target=target))
    assert (reply.status, reply.json) == (200, PONG)
    assert door.head_of(door.request("GET", target).add(f"Mcp-Session-Id: {door.session}")).status == 200
    assert door.exchange(door.bare("POST", target)).status == 401
    assert door.exchange(door.request("PUT", target)).headers["allow"] == "GET, POST, DELETE"


@pytest.mark.parametrize("target", ["/sse/", "/servers/stdio/sse/"])
def test_t02_http_sse_with_a_slash_at_its_end(door, target):
    with door.event_stream(target) as (events, _, messages):
        path, _, query = messages.partition("?")
        assert door.exchange(door.post(INITIALIZE, f"{path}/?{query}")).status == 202
        assert events.message().json["id"] == 0


@pytest.mark.parametrize("target", ["/ws/", "/servers/stdio/ws/"])
def test_t02_websocket_with_a_slash_at_its_end(door, target):
    fields = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mcp",
    )
    with door.connect() as connection:
        connection.send(door.request("GET", target).add(*fields, f"Sec-WebSocket-Key: {fresh_key()}"))
        assert connection.reply().status == 101
        talk = Socket(connection)
        talk.send(INITIALIZE)
        assert talk.message()["id"] == 0


def test_t02_http_2_with_a_slash_at_its_end(h2):
    assert h2.exchange("GET", "/healthz/", token="")[::2] == (200, b"ok")
    assert message(h2.post(path="/mcp/")) == PONG
    assert message(h2.post(path="/servers/stdio/mcp/")) == PONG


@pytest.mark.parametrize(
    "target", ["/mcp//", "//mcp", "/healthz//", "/mcp/.", "/mcp/x", "/mcp%2f", "/nothing/", "/"]
)
def test_t02_other_spellings_stay_unknown(door, target):
    assert door.exchange(door.bare("GET", target)).status == 401
    assert door.exchange(door.request("GET", target)).status == 404


def test_t02_rights_and_control_do_not_depend_on_the_slash(tmp_path):
    limited = "mcpb_" + "9876543210zyxwvutsrqponmlkjihgfedcbaZYXWVUT"
    right = {"sha256": hashlib.sha256(limited.encode()).hexdigest(), "servers": ["one"]}
    servers = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}}
    with daemon(tmp_path, servers, **{"tokens.limited": right}) as running:
        door = ListenerUnderTest(running.address, limited)
        for slash in ("", "/"):
            assert door.exchange(door.post(target=f"/servers/two/mcp{slash}")).status == 403
            assert door.exchange(door.post(INITIALIZE, target=f"/servers/one/mcp{slash}")).status == 200
            assert door.exchange(door.bare("GET", f"/readyz{slash}?server=one")).status == 401
            assert door.exchange(door.request("GET", f"/readyz{slash}?server=two")).status == 503
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
                sock.connect(str(running.unix))
                sock.sendall(f"GET /control/status{slash} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                head = sock.recv(65536)
                assert head.startswith(b"HTTP/1.1 200")
                assert b"Connection: close" in head


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--mcp-path", "/x", "--sse-path", "/x/"), "the path is used twice"),
        (("--health", "/mcp/"), "the path is used twice"),
        (("--mcp-path", "/register/"), "the path is reserved for OAuth discovery"),
        (("--ws-path", "/a/.well-known/ws"), "the path is reserved for OAuth discovery"),
    ],
)
def test_t02_t14_paths_that_mean_something_else_already_are_refused(options, reason):
    done = subprocess.run(
        [PROGRAM, *options, "--stdio", "--", sys.executable],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 64
    assert reason in done.stderr


# ---- T12

OPAQUE = [
    pytest.param("X-City: S\u00e3o Paulo".encode(), id="UTF-8"),
    pytest.param(b"X-City: S\xe3o Paulo", id="Latin-1"),
    pytest.param(b"X-City: \xff\xfe\x80", id="no text"),
    pytest.param(b"X-City:\t\xc2\xa0\xc2\x85", id="white space of Unicode"),
    pytest.param("User-Agent: Caf\u00e9/1.0 (\u65e5\u672c)".encode(), id="User-Agent"),
    pytest.param("Cookie: a=\u00e9".encode(), id="Cookie"),
    pytest.param("Referer: http://x/\u00e9".encode(), id="Referer"),
    pytest.param("X-Forwarded-User: Jos\u00e9".encode(), id="X-Forwarded-User"),
    pytest.param(
        'Accept: application/json;x="\u00e9", text/event-stream'.encode(), id="a parameter of Accept"
    ),
    pytest.param("Mcp-Param-City: S\u00e3o Paulo".encode(), id="Mcp-Param, before 2026-07-28"),
]
READ = [b"Authorization: Bearer \xe9", b"Origin: http://\xe9", b"Mcp-Session-Id: \xc3\xa9", b"Host: \xe9",
        b"Content-Type: application/json; \xe9", b"Connection: \xe9", b"Last-Event-ID: \xe9"]  # fmt: skip


def lines(request, *fields):
    """Return the request with these fields, as bytes, in place of the fields with their names."""
    for field in fields:
        request = request.replace_field(field.decode("latin-1"))
    return request


@pytest.mark.parametrize("field", OPAQUE)
def test_t12_obs_text_is_opaque_where_it_is_not_read(door, field):
    reply = door.exchange(lines(door.post(), field))
    assert (reply.status, reply.json) == (200, PONG)
    assert door.exchange(lines(door.bare("GET", "/healthz"), field)).body == b"ok"
    events = lines(door.request("GET", "/mcp").add(f"Mcp-Session-Id: {door.session}"), field)
    assert door.head_of(events).status == 200


@pytest.mark.parametrize("field", OPAQUE)
def test_t12_obs_text_that_comes_in_pieces(door, field):
    data = bytes(lines(door.post(), field))
    at = data.index(b":", data.index(field.partition(b":")[0])) + 4
    with door.connect() as connection:
        for piece in (data[:at], data[at : at + 1], data[at + 1 :]):
            connection.send(piece)
            assert piece == data[at + 1 :] or connection.is_silent(0.02)
        assert connection.reply().json == PONG


@pytest.mark.parametrize("field", READ)
def test_t12_values_that_the_bridge_reads_are_ascii(door, field):
    reply = door.exchange(lines(door.post(), field))
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert "not ASCII" in reply.json["error"]["message"]


def test_t12_obs_text_over_http_2(h2):
    for field in OPAQUE:
        name, _, value = field.values[0].partition(b":")
        fields = [] if name == b"Accept" else [(name.lower(), value.strip(b" \t"))]
        assert message(h2.post(*fields)) == PONG


def test_t12_obs_text_opens_a_websocket_and_an_event_stream(door):
    city = "X-City: S\u00e3o Paulo".encode()
    assert door.head_of(lines(door.request("GET", "/sse"), city)).status == 200
    fields = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mcp",
    )
    request = door.request("GET", "/ws").add(*fields, f"Sec-WebSocket-Key: {fresh_key()}")
    assert door.head_of(lines(request, city)).status == 101


# ---- T24: targets and lines


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
def test_t24_a_target_in_absolute_form_is_served(door, scheme):
    def url(path):
        return f"{scheme}://{door.authority}{path}"

    assert door.exchange(door.post(target=url("/mcp"))).json == PONG
    assert door.exchange(door.bare("GET", url("/healthz?x=/"))).body == b"ok"
    # The status is that of `OPTIONS *`.
    assert door.exchange(door.bare("OPTIONS", url(""))).status == 401
    assert door.exchange(door.request("GET", url(""))).status == 404
    with door.event_stream(url("/sse/")) as (_, data, _):
        assert "messages?sessionId=" in data
        assert door.authority not in data


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ("evil.example", 421),
        ("127.0.0.1:1", 421),
        ("LOCALHOST:PORT", 200),
        ("[::1]:PORT", 200),
        ("evil.example@127.0.0.1:PORT", 400),
        ("127.0.0.1:PORT:1", 400),
        ("", 400),
    ],
)
def test_t24_the_authority_of_a_target_is_a_name_of_the_listener(door, named, status):
    authority = named.replace("PORT", str(door.address[1]))
    assert door.exchange(door.bare("GET", f"http://{authority}/healthz")).status == status


def test_t24_an_absolute_target_does_not_replace_a_host(door):
    target = f"http://{door.authority}/healthz"
    assert door.exchange(door.bare("GET", target).without_field("Host")).status == 400
    assert door.exchange(door.bare("GET", target).replace_field("Host: evil.example")).status == 421
    assert (
        door.exchange(door.bare("GET", target).replace_field(f"Host: localhost:{door.address[1]}")).status
        == 200
    )
    assert (
        door.exchange(door.bare("GET", target).without_field("Host").with_version("HTTP/1.0")).status == 200
    )
    assert (
        door.exchange(
            door.bare("GET", "http://x/healthz").without_field("Host").with_version("HTTP/1.0")
        ).status
        == 421
    )
    assert door.exchange(door.bare("GET", target).add("Origin: http://evil.example")).status == 403


@pytest.mark.parametrize("count", [1, 2, 4])
def test_t24_empty_lines_before_a_request_are_ignored(door, count):
    with door.connect() as connection:
        for _ in range(3):
            connection.send(b"\r\n" * count + bytes(door.post()))
            assert connection.reply().json == PONG
            connection.send(bytes(door.post()) + b"\r\n" * count)
            assert connection.reply().json == PONG
            for byte in b"\r\n" * count:
                connection.send(bytes([byte]))


def test_t24_an_empty_line_behind_a_body_begins_no_request(plain):
    """The connection may be idle for longer than a head may take."""
    with plain.connect() as connection:
        connection.send(bytes(plain.post()) + b"\r\n")
        assert connection.reply().json == PONG
        connection.send(b"\r")
        connection.send(b"\n")
        assert connection.is_silent(HEAD_SECONDS + 1.2)
        connection.send(plain.post())
        assert connection.reply().json == PONG


@pytest.mark.parametrize("pieces", [(b"\r\n",), (b"\r", b"\n")])
def test_t24_empty_lines_alone_keep_no_connection_without_a_credential(plain, pieces):
    with plain.connect() as connection:
        began = time.monotonic()
        while connection.is_silent(HEAD_SECONDS / 5):
            for piece in pieces:
                connection.try_send(piece)
            assert time.monotonic() - began < 20
        assert connection.to_the_end() == b""


def test_t24_a_refusal_with_an_empty_line_behind_it_ends_the_connection(door):
    with door.connect() as connection:
        connection.send(bytes(door.bare("POST", "/mcp").with_body(PING)) + b"\r\n\r\n")
        assert connection.reply().status == 401
        assert connection.to_the_end() == b""


# ---- T24: HTTP/1.0 and health checks


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Connection: close",),
        ("Connection: Keep-Alive", "Keep-Alive: timeout=5"),
        ("Host: HOST",),
        ("User-Agent: HAProxy", "Accept: */*"),
        ("Expect: 100-continue",),
    ],
)
@pytest.mark.parametrize("target", ["/healthz", "/readyz"])
def test_t24_a_health_check_of_http_1_0(door, target, fields):
    request = door.bare("GET", target).without_field("Host").with_version("HTTP/1.0")
    request = request.add(*(field.replace("HOST", door.authority) for field in fields))
    with door.connect() as connection:
        connection.send(request)
        reply = connection.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert connection.to_the_end() == b""


def test_t24_http_1_0_is_served_on_every_route_and_needs_what_others_need(door):
    old = door.post().with_version("HTTP/1.0")
    assert door.exchange(old).json == PONG
    assert door.exchange(old.without_field("Host")).json == PONG
    assert door.exchange(old.without_field("Host").without_field("Authorization")).status == 401
    assert door.exchange(old.replace_field("Host: evil.example")).status == 421
    assert door.exchange(old.replace_field("Host:")).status == 400
    assert door.exchange(old.without_field("Host").add("Origin: http://evil.example")).status == 403


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/healthz/", "/readyz/"])
def test_t24_verbs_of_health_routes(door, target):
    whole = door.exchange(door.bare("GET", target))
    head = door.exchange(door.bare("HEAD", target))
    assert (head.status, head.headers["content-length"]) == (200, str(len(whole.body)))
    for method in ("OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"):
        reply = door.exchange(door.bare(method, target).replace_field("Content-Length: 0"))
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_t24_verbs_of_health_routes_over_http_2(h2):
    status, headers, body = h2.exchange("HEAD", "/healthz", token="")
    assert (status, headers["content-length"], body) == (200, "2", b"")
    status, headers, _ = h2.exchange("OPTIONS", "/healthz", token="")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


# ---- T24: fields

FIELDS = [
    ("Connection: Keep-Alive",),
    ("connection: KEEP-ALIVE",),
    ("Connection:keep-alive",),
    ("Connection: , keep-alive,,",),
    ("Connection: keep-alive", "Connection: TE", "TE: trailers, deflate;q=0.5"),
    ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
    ("Connection: upgrade", "Upgrade: h2c, TLS/1.0"),
    ("Upgrade-Insecure-Requests: 1", "Proxy-Connection: keep-alive", "Max-Forwards: 5", "Range: bytes=0-1"),
    ("If-None-Match: *", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "Accept-Encoding: gzip, identity;q=0"),
    ("Content-Encoding: Identity",),
    ("Content-Encoding:",),
    ("Content-Encoding: , identity,identity",),
    ("X-Empty:", "X-Spaces: \t ", "X-Odd!#$%&'*+-.^_`|~: 1"),
    ("Accept: application/json", "Accept: text/event-stream"),
    ("Trailer: X-Checksum",),
]  # fmt: skip


@pytest.mark.parametrize("fields", FIELDS)
def test_t24_fields_that_change_nothing(door, fields):
    request = door.post()
    if fields[0].startswith("Accept:"):
        request = request.without_field("Accept")
    with door.connect() as connection:
        for _ in range(2):
            connection.send(request.add(*fields))
            reply = connection.reply()
            assert (reply.status, reply.json) == (200, PONG)
        connection.send(door.bare("GET", "/healthz").add(*fields))
        assert connection.reply().body == b"ok"


@pytest.mark.parametrize("token", ["close", "Close", "keep-alive, CLOSE", ", close ,"])
def test_t24_a_connection_that_the_client_closes(door, token):
    with door.connect() as connection:
        connection.send(door.post().add(f"Connection: {token}"))
        reply = connection.reply()
        assert (reply.json, reply.headers["connection"]) == (PONG, "close")
        assert connection.to_the_end() == b""


def test_t24_white_space_around_values_is_not_part_of_them(door):
    request = door.post()
    for field in request.fields:
        name, _, value = field.partition(": ")
        for spaced in (f"{name}:{value}", f"{name}: \t {value} \t", f"{name.upper()}: {value}"):
            assert door.exchange(request.replace_field(spaced)).json == PONG


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "websocket ,", ", ,WEBSOCKET"])
@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, UPGRADE", ",upgrade,,"])
def test_t24_an_upgrade_in_any_spelling(door, upgrade, connection):
    request = door.request("GET", "/ws").add(
        f"Connection: {connection}",
        f"Upgrade: {upgrade}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {fresh_key()}",
        "Sec-WebSocket-Protocol: mcp",
    )
    assert door.head_of(request).status == 101


CONTENT_TYPES = [
    "application/json", "Application/JSON", "application/json;", "application/json ;", "application/json;;charset=utf-8",
    "application/json; charset=utf-8", "application/json;charset=UTF-8", 'application/json; charset="utf-8"',
    'application/json ; Charset="UTF-8" ;', "application/json; charset=utf8", "application/json; charset=UTF8;",
    "application/json; charset=us-ascii", "application/json; charset=iso-8859-1", r'application/json; charset="utf\-8"',
    'application/json; profile="a;b, c"', "application/json;\tcharset = utf-8", "application/json; odata=verbose; charset=utf-8",
    "application/json-rpc", "application/vnd.api+json", "text/json", "application/json, application/json",
]  # fmt: skip


@pytest.mark.parametrize("value", CONTENT_TYPES)
def test_t24_a_content_type_that_no_page_can_send_without_preflight(door, value):
    assert door.exchange(door.post().replace_field(f"Content-Type: {value}")).json == PONG


def test_t24_a_content_type_over_http_2_and_on_http_sse(secure, h2):
    for value in CONTENT_TYPES:
        session = (b"mcp-session-id", secure.session.encode())
        accept = (b"accept", b"*/*")
        content_type = (b"content-type", value.encode())
        assert message(h2.exchange("POST", "/mcp", session, accept, content_type, body=PING)) == PONG
    with secure.event_stream() as (events, _, target):
        for number, value in enumerate(CONTENT_TYPES):
            body = json.dumps({**INITIALIZE, "id": number}).encode()
            assert (
                secure.exchange(secure.post(body, target).replace_field(f"Content-Type: {value}")).status
                == 202
            )
            assert events.message().json["id"] == number


@pytest.mark.parametrize(
    "value",
    [None, "", ";", "text/plain", "Text/Plain;charset=UTF-8", "text/plain, application/json", "text/plain;application/json",
     "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/mixed", "application/xml", "image/png"],
)  # fmt: skip
def test_t24_a_content_type_of_a_page_or_of_no_json_is_415(door, value):
    request = door.post().without_field("Content-Type")
    assert door.exchange(request if value is None else request.add(f"Content-Type: {value}")).status == 415


# ---- T24: bodies

CHUNKED = [
    pytest.param(b"%x\r\n%b\r\n0\r\n\r\n" % (len(PING), PING), id="one chunk"),
    pytest.param(b'%X;a;b=c;d="e;\\"f"\r\n%b\r\n000;last\r\n\r\n' % (len(PING), PING), id="extensions"),
    pytest.param(b'%x;a="\xc3\xa9"\r\n%b\r\n0\r\n\r\n' % (len(PING), PING), id="obs-text in an extension"),
    pytest.param(b"%x\r\n%b\r\n0\r\nX-Checksum: abc\r\nX-City: S\xc3\xa3o\r\nE:\r\n\r\n" % (len(PING), PING), id="trailers"),
    pytest.param(b"".join(b"1\r\n%c\r\n" % byte for byte in PING) + b"0\r\n\r\n", id="a chunk for each byte"),
]  # fmt: skip


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED", "\tchunked "])
@pytest.mark.parametrize("body", CHUNKED)
def test_t24_a_chunked_body(door, coding, body):
    request = door.post().with_raw_body(body).add(f"Transfer-Encoding: {coding}")
    with door.connect() as connection:
        for _ in range(2):
            connection.send(request)
            assert connection.reply().json == PONG


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
@pytest.mark.parametrize("chunked", [True, False])
def test_t24_a_client_that_waits_for_100(door, value, chunked):
    request = door.post().add(f"Expect: {value}")
    if chunked:
        request = request.with_raw_body(CHUNKED[0].values[0]).add("Transfer-Encoding: chunked")
    with door.connect() as connection:
        connection.send(request.head())
        assert connection.reply().status == 100
        connection.send(request.body)
        assert connection.reply().json == PONG
        connection.send(door.bare("GET", "/healthz").add(f"Expect: {value}"))
        assert connection.reply().body == b"ok"


@pytest.mark.parametrize("length", ["0", "00", "5"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_t24_a_length_where_no_body_is_expected(door, method, length):
    body = b"x" * int(length)
    with door.connect() as connection:
        connection.send(bytes(door.bare(method, "/healthz").add(f"Content-Length: {length}")) + body)
        assert connection.reply(to_head=method == "HEAD").status == (
            200 if method in ("GET", "HEAD") else 405
        )
        connection.send(door.bare("GET", "/healthz"))
        assert connection.reply().body == b"ok"


def test_t24_a_session_that_is_deleted_with_a_body(door):
    for framing in ("Content-Length: 0", "Content-Length: 2", "Transfer-Encoding: chunked"):
        guest = ListenerUnderTest(door.address, door.token, door.trust)
        guest.open_session()
        request = guest.request("DELETE", "/mcp").add(f"Mcp-Session-Id: {guest.session}", framing)
        body = {"0": b"", "2": b"{}"}.get(framing[-1], b"2\r\n{}\r\n0\r\n\r\n")
        assert door.exchange(bytes(request) + body).status == 204


def test_t24_http_2_with_trailers_an_expectation_and_te(h2):
    assert message(h2.post((b"te", b"trailers"), trailers=[(b"x-checksum", b"\xc3\xa9")])) == PONG
    assert message(h2.post((b"expect", b"100-continue"))) == PONG
    assert message(h2.post((b"content-length", b"%d" % len(PING)))) == PONG
    assert h2.exchange("GET", "http://127.0.0.1/healthz", token="")[0] == 400


# ---- T24: what stays as it was, and a real client


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda r: r.with_method("PUT"), 405),
        (lambda r: r.with_method("PROPFIND"), 501),
        (lambda r: r.replace_field("Content-Length: 4, 4"), 400),
        (lambda r: r.add("Transfer-Encoding: chunked"), 400),
        (lambda r: r.without_field("Content-Length").add("Transfer-Encoding: gzip, chunked"), 501),
        (lambda r: r.without_field("Content-Length").add("Transfer-Encoding: identity"), 501),
        (lambda r: r.add("X: a\r\n b"), 400),
        (lambda r: r.add("X : a"), 400),
        (lambda r: r.add("X: a\x0bb"), 400),
        (lambda r: r.add(r.fields[0]), 400),
        (lambda r: r.replace_field("Origin: null"), 403),
    ],
)
def test_t24_requests_that_are_still_refused(door, change, status):
    reply = door.exchange(change(door.post()))
    assert reply.status == status
    assert status != 405 or reply.headers["allow"] == "GET, POST, DELETE"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    "options", [("--http2",), ("--http1.0",), ("--http1.1",), ("--head",), ("--http1.0", "-H", "Host:")]
)
def test_t24_curl(plain, options):
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", *options, f"http://{plain.authority}/healthz/"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == "200"
    body = PING.decode()
    fields = [
        f"Authorization: Bearer {plain.token}",
        f"Mcp-Session-Id: {plain.session}",
        "Content-Type: application/json",
    ]
    fields += ["Accept: application/json, text/event-stream"]
    if "--head" not in options:
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "10", "-d", body, *(x for f in fields for x in ("-H", f)), *options, f"http://{plain.authority}/mcp/"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout) == PONG
