"""Host and Origin on every route.

A request of a web page that the browser lets through to the loopback is refused here, over every transport, with or without a
credential.
"""

import socket
import struct
from pathlib import Path

import pytest

from ..support.hostile_bridge import running

pytestmark = pytest.mark.usefixtures("still_serving")

ROUTES = ("POST /mcp", "GET /mcp", "DELETE /mcp", "GET /sse", "POST /messages", "GET /ws", "GET /healthz", "GET /nothing",
          "POST /servers/stdio/mcp", "GET /servers/stdio/sse", "GET /servers/stdio/ws")  # fmt: skip


def valid_request(bridge, session, route):
    method, _, target = route.partition(" ")
    if target.endswith("/ws"):
        return bridge.upgrade(target)
    if method == "POST":
        return bridge.post(session=session, target=target)
    if method == "DELETE":
        return bridge.delete(session)
    return bridge.get(session, target) if target == "/mcp" else bridge.get(target=target)


def expected_status(route):
    """Return the status of a valid request of this route."""
    return {
        "POST /messages": 400,
        "GET /ws": 101,
        "GET /servers/stdio/ws": 101,
        "DELETE /mcp": 204,
        "GET /nothing": 404,
    }.get(route, 200)


def assert_refused(bridge, session, request, status, body=None):
    """Send a request and require this status, no new process, no CORS header and no line to the child."""
    children, journal = bridge.children(), bridge.journal.stat().st_size
    reply = bridge.exchange(request)
    assert reply.status == status, reply
    assert not [name for name, _ in reply.fields if name.lower().startswith("access-control")]
    assert "evil" not in (reply.raw_head + reply.body).decode()
    # A child of an earlier test may still be ending.
    assert bridge.children() <= children
    assert bridge.journal.stat().st_size == journal
    return reply


def head_only(bridge, request):
    """Return the head of a response that may be a stream."""
    with bridge.connect() as connection:
        connection.send(request)
        return connection.head()


# PORT is the bridge's own
FOREIGN_HOSTS = [
    "evil.example", "evil.example:PORT", "127.0.0.1:PORT.evil.example", "localhost:PORT.evil", "localhost.evil.example:PORT",
    "127.0.0.1.evil.example:PORT", "localhost:PORT@evil.example", "evil.example@localhost:PORT", "a@127.0.0.1:PORT",
    "127.0.0.1:PORT/x?#", "127.0.0.1:PORT/healthz?x=", "127.0.0.1:PORT#x", "127.0.0.1:PORT?x", "127.0.0.1:PORT\\x",
    "127.0.0.1", "localhost", "[::1]", "127.0.0.1:80", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:0PORT", "127.0.0.1:PORT0",
    "127.0.0.1:99999", "127.0.0.1:+PORT", "127.0.0.1:-1", "127.0.0.1: PORT", "127.0.0.1 :PORT", "127.1:PORT", "127.0.1:PORT",
    "127.0.0.2:PORT", "2130706433:PORT", "0x7f000001:PORT", "0x7f.0.0.1:PORT", "0177.0.0.1:PORT", "127.0.0.01:PORT",
    "127.0.0.1.:PORT", "localhost.:PORT", ".localhost:PORT", "localhost%00:PORT", "%6cocalhost:PORT", "local_host:PORT",
    "0.0.0.0:PORT", "0:PORT", "[::]:PORT", "::1:PORT", "[::1:PORT", "::1]:PORT", "[0:0:0:0:0:0:0:1]:PORT", "[::ffff:127.0.0.1]:PORT",
    "[::1%lo]:PORT", "[::1%25lo]:PORT", "[127.0.0.1]:PORT", "[localhost]:PORT", "[::1]PORT", "http://127.0.0.1:PORT", "//127.0.0.1:PORT",
    "127.0.0.1:PORT, evil.example", "evil.example, 127.0.0.1:PORT", "127.0.0.1:PORT:PORT", ":PORT", "*", "*:PORT", "-", "..",
    "ip6-localhost:PORT", "localhost.localdomain:PORT", "a" * 300 + ":PORT",
]  # fmt: skip
# An authority that cannot be parsed may be refused with 400 or 421.
REFUSALS = {400, 421}
OWN_HOSTS = ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "[::1]:PORT", "  127.0.0.1:PORT\t"]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_v1_another_host_is_misdirected_on_every_route(bridge, session, host):
    for route in ROUTES:
        request = valid_request(bridge, session, route).replace_field(
            "Host: " + host.replace("PORT", str(bridge.port))
        )
        reply = bridge.exchange(request)
        assert reply.status in REFUSALS, (route, reply)
        assert "evil" not in (reply.raw_head + reply.body).decode()


@pytest.mark.parametrize(
    "host",
    ["evil.example:PORT", "evil.example", "127.0.0.1:80", "0.0.0.0:PORT", "localhost.:PORT", "127.1:PORT"],
)
@pytest.mark.parametrize("route", ROUTES)
def test_v1_a_plain_name_that_is_not_ours_is_421(bridge, session, route, host):
    request = valid_request(bridge, session, route).replace_field(
        "Host: " + host.replace("PORT", str(bridge.port))
    )
    status = 400 if host == "localhost.:PORT" else 421
    assert_refused(bridge, session, request, status)


@pytest.mark.parametrize("host", OWN_HOSTS)
@pytest.mark.parametrize("route", ["POST /mcp", "GET /healthz"])
def test_v1_our_own_names_are_served(bridge, session, route, host):
    reply = bridge.exchange(
        valid_request(bridge, session, route).replace_field("Host: " + host.replace("PORT", str(bridge.port)))
    )
    assert reply.status == 200


def test_v2_only_the_loopback_is_listened_on(bridge):
    mine = {
        link.readlink().name for link in Path(f"/proc/{bridge.process.pid}/fd").iterdir() if link.is_symlink()
    }
    found = []
    for table, width in (("tcp", 8), ("tcp6", 32)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state, inode = line.split()[1], line.split()[3], line.split()[9]
            if state == "0A" and f"socket:[{inode}]" in mine:
                address, port = local.split(":")
                assert len(address) == width
                found.append((address, int(port, 16)))
    assert found == [(f"{struct.unpack('<I', socket.inet_aton('127.0.0.1'))[0]:08X}", bridge.port)]


FOREIGN_ORIGINS = [
    "http://evil.example", "https://evil.example", "http://evil.example:PORT", "null", "file://", "http://", "", "*",
    "http://127.0.0.1", "http://localhost", "https://127.0.0.1:PORT", "https://localhost:PORT", "http://127.0.0.1:1",
    "http://127.0.0.1:PORT/", "http://127.0.0.1:PORT.evil.example", "http://localhost:PORT.evil.example", "http://localhost:PORT@evil.example",
    "http://evil.example@127.0.0.1:PORT", "http://127.0.0.1:PORT http://evil.example", "http://127.0.0.1:PORT, http://evil.example",
    "127.0.0.1:PORT", "//127.0.0.1:PORT", "ws://127.0.0.1:PORT", "chrome-extension://abcdefghijklmnop", "moz-extension://x",
    "vscode-webview://x", "app://localhost", "http://0.0.0.0:PORT", "http://127.1:PORT", "http://localhost.:PORT", "http://[::]:PORT",
    "HTTP://127.0.0.1:PORT.evil", "undefined", "about:blank", "data:", "javascript:1",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_v3_v4_a_page_of_another_origin_is_forbidden_on_every_route(bridge, session, origin):
    for route in ROUTES:
        request = valid_request(bridge, session, route).add(
            "Origin: " + origin.replace("PORT", str(bridge.port))
        )
        assert_refused(bridge, session, request, 403)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:PORT", "http://localhost:PORT"])
@pytest.mark.parametrize("route", [route for route in ROUTES if not route.startswith("DELETE")])
def test_a_page_of_our_own_origin_is_served_and_gets_no_cors(bridge, session, route, origin):
    request = valid_request(bridge, session, route).add("Origin: " + origin.replace("PORT", str(bridge.port)))
    reply = head_only(bridge, request)
    assert reply.status == expected_status(route)
    assert not [name for name, _ in reply.fields if name.lower().startswith("access-control")]


def test_an_origin_is_no_credential(bridge):
    for route in ("/mcp", "/sse", "/ws", "/messages"):
        request = bridge.bare("GET", route).add(
            f"Origin: http://{bridge.host}", "Sec-Fetch-Site: same-origin"
        )
        assert bridge.exchange(request).status == 401


def test_v1_host_is_checked_before_origin_and_both_before_the_credential(bridge):
    request = bridge.bare("GET", "/mcp").add("Origin: http://evil.example", "Sec-Fetch-Site: cross-site")
    assert bridge.exchange(request.replace_field("Host: evil.example")).status == 421
    assert bridge.exchange(request).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "x", "none, cross-site"])
@pytest.mark.parametrize("route", ROUTES)
def test_v6_a_fetch_of_a_page_without_an_origin_is_forbidden(bridge, session, route, site):
    assert_refused(bridge, session, valid_request(bridge, session, route).add(f"Sec-Fetch-Site: {site}"), 403)


@pytest.mark.parametrize("site", ["none", "same-origin"])
@pytest.mark.parametrize("route", ["POST /mcp", "GET /healthz", "GET /mcp", "GET /ws"])
def test_v6_a_fetch_of_the_user_or_of_our_own_page_is_served(bridge, session, route, site):
    assert head_only(
        bridge, valid_request(bridge, session, route).add(f"Sec-Fetch-Site: {site}")
    ).status == expected_status(route)


def test_v6_a_get_without_a_token_starts_nothing(bridge, session):
    children = bridge.children()
    for route in ("/sse", "/ws", "/mcp", "/servers/stdio/sse", "/servers/stdio/ws"):
        for extra in ((), ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")):
            request = (
                valid_request(bridge, session, f"GET {route}").without_field("Authorization").add(*extra)
            )
            assert bridge.exchange(request).status == (403 if extra else 401)
    assert bridge.children() <= children


def preflight(bridge, target, origin, *extra):
    return bridge.bare("OPTIONS", target).add(
        f"Origin: {origin}",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type,mcp-session-id",
        *extra,
    )


@pytest.mark.parametrize("target", ["/mcp", "/sse", "/messages", "/ws", "/healthz", "/nothing", "*"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost"])
def test_v4_v8_a_preflight_of_another_origin_gets_nothing(bridge, session, target, origin):
    assert_refused(bridge, session, preflight(bridge, target, origin), 403)
    assert_refused(
        bridge,
        session,
        preflight(bridge, target, origin, "Access-Control-Request-Private-Network: true"),
        403,
    )
    assert_refused(
        bridge, session, preflight(bridge, target, origin, "Access-Control-Request-Local-Network: true"), 403
    )


def test_v7_a_host_with_a_path_is_never_routed_by(bridge, session):
    for host in ("127.0.0.1:PORT/healthz?x=", "127.0.0.1:PORT/healthz#", "127.0.0.1:PORT/healthz/"):
        request = (
            bridge.post(session=session)
            .without_field("Authorization")
            .replace_field("Host: " + host.replace("PORT", str(bridge.port)))
        )
        assert bridge.exchange(request).status in REFUSALS


def test_v7_the_endpoint_event_does_not_contain_the_host(bridge):
    with bridge.connect() as connection:
        connection.send(bridge.get(target="/sse").replace_field(f"Host: localhost:{bridge.port}"))
        connection.head()
        first = next(connection.events())
    assert first.data.startswith("messages?sessionId=")


# ---- with one origin allowed

ALLOWED = "http://localhost:6274"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with running(tmp_path_factory.mktemp("shared"), "--cors", ALLOWED) as bridge:
        yield bridge


def test_v4_an_allowed_origin_is_named_exactly_and_never_with_credentials(shared):
    reply = shared.exchange(
        preflight(shared, "/mcp", ALLOWED, "Access-Control-Request-Private-Network: true")
    )
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == ALLOWED
    assert "Origin" in reply.headers["vary"]
    names = {name.lower() for name, _ in reply.fields}
    assert not names & {
        "access-control-allow-credentials",
        "access-control-allow-private-network",
        "access-control-allow-local-network",
    }
    answer = shared.exchange(
        shared.post(shared.initialize()).add(f"Origin: {ALLOWED}", "Sec-Fetch-Site: cross-site")
    )
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "access-control-allow-credentials" not in answer.headers


def test_v4_an_allowed_origin_still_needs_the_token(shared):
    valid = shared.post(shared.initialize()).add(f"Origin: {ALLOWED}")
    for request in (valid.without_field("Authorization"), valid.replace_field("Authorization: Bearer wrong")):
        reply = shared.exchange(request)
        assert reply.status == 401
        # Without this header a page sees a network error only, and cannot request a token from its user.
        assert reply.headers["access-control-allow-origin"] == ALLOWED
        assert "WWW-Authenticate" in reply.headers["access-control-expose-headers"]


def test_v4_a_refusal_allows_no_other_origin_to_read(shared):
    for origin in ("http://evil.example", "null", "http://localhost:62740", "http://localhost:6274.evil.example", "http://localhost:627",
                   "https://localhost:6274", "http://LOCALHOST:6274"):  # fmt: skip
        for request in (shared.post().add(f"Origin: {origin}"), preflight(shared, "/mcp", origin)):
            reply = shared.exchange(request)
            assert reply.status == 403
            assert not [name for name, _ in reply.fields if name.lower().startswith("access-control")]


def test_v4_the_cors_headers_of_one_origin_are_not_sent_to_the_next_on_the_connection(shared):
    with shared.connect() as connection:
        for origin, status in ((ALLOWED, 400), ("http://evil.example", 403)):
            connection.send(shared.post().add(f"Origin: {origin}"))
            reply = connection.reply()
            assert reply.status == status
            assert ("access-control-allow-origin" in reply.headers) == (origin == ALLOWED)


def test_v4_a_request_without_an_origin_gets_no_cors(shared):
    reply = shared.exchange(shared.post(shared.initialize()))
    assert not [name for name, _ in reply.fields if name.lower().startswith("access-control")]


@pytest.mark.parametrize("host", ["evil.example", "localhost:6274"])
def test_v1_an_allowed_origin_does_not_allow_its_host(shared, host):
    assert shared.exchange(preflight(shared, "/mcp", ALLOWED).replace_field(f"Host: {host}")).status == 421
