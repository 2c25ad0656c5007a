"""Clients with OAuth and without a valid token find out that the bridge has no OAuth (T14)."""

import contextlib
import json
import socket

import pytest

from ..support.bridge_process import EXAMPLE, Bridge
from ..support.daemon_process import daemon
from ..support.listener_under_test import ListenerUnderTest, h2_client
from ..support.tls import tls_client_context, tls_options
from ..support.wire import Connection

# Paths at which the SDKs look, in this order, for a server at /mcp, at /servers/stdio/mcp and at the root, and register.
PATHS = [
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-protected-resource/servers/stdio/mcp",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/oauth-authorization-server/servers/other/mcp",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
    "/mcp/.well-known/openid-configuration",
    "/mcp/.well-known/oauth-protected-resource",
    "/servers/stdio/mcp/.well-known/openid-configuration",
    "/servers/other/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/",
    "/.well-known/x?y=z",
    "/.well-known/",
    "/register",
    "/register/",
]
NO_PATHS = ["//.well-known/x", "/.well-known//x", "/x/../.well-known/y", "/.well-known/%2e%2E/x", "/.well-known%2fx",
            "/.well-known/x%2Fy", "/a/register", "/registers", "/.well-knownx/y", "/.WELL-KNOWN/x", "/Register"]  # fmt: skip
ALLOWED = "http://localhost:6274"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    with Bridge(folder / "run", EXAMPLE, "--cors", ALLOWED) as running:
        yield running


@pytest.fixture(scope="module")
def plain(bridge):
    return ListenerUnderTest(bridge.address, bridge.token)


@pytest.fixture(scope="module")
def secure(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("secure")
    with Bridge(folder / "run", EXAMPLE, *tls_options(authority, folder)) as running:
        yield ListenerUnderTest(running.address, running.token, tls_client_context(authority))


@pytest.fixture(params=["plain", "secure"])
def door(request):
    return request.getfixturevalue(request.param)


def check_error(status, content_type, body):
    """Check the members that the SDKs read. OAuthErrorResponseSchema of TypeScript has these two, and `error_uri` is optional."""
    assert (status, content_type) == (404, "application/json")
    answer = json.loads(body)
    assert answer.keys() == {"error", "error_description"}
    # For these codes a client drops what it has stored and starts again (RFC 6749 section 5.2).
    assert answer["error"] not in ("invalid_client", "unauthorized_client", "invalid_grant", "invalid_token")
    text = answer["error_description"]
    assert set(text) <= set(map(chr, range(0x20, 0x7F))) - set('"\\')
    assert "Authorization: Bearer" in text
    assert "$XDG_STATE_HOME/mcp-bridge/token" in text


def credentials(door):
    return ((), ("Authorization: Bearer " + "x" * 48,), (f"Authorization: Bearer {door.token}",))


@pytest.mark.parametrize("target", PATHS)
def test_t14_discovery_and_registration_have_one_constant_answer(door, target):
    first = door.exchange(door.bare("GET", PATHS[0]))
    check_error(first.status, first.headers["content-type"], first.body)
    assert "www-authenticate" not in first.headers
    assert first.headers["cache-control"] == "no-store"
    for fields in credentials(door):
        for method in ("GET", "POST", "PUT", "OPTIONS", "DELETE"):
            reply = door.exchange(door.bare(method, target).add(*fields).replace_field("Content-Length: 0"))
            assert reply.constant_part == first.constant_part
        head = door.exchange(door.bare("HEAD", target).add(*fields))
        assert (head.status, head.headers["content-length"]) == (404, str(len(first.body)))


def test_t14_a_registration_is_answered_whatever_its_body_is(door):
    metadata = {"client_name": "x", "redirect_uris": ["http://localhost:1/callback"]}
    request = door.bare("POST", "/register")
    for sent in (
        request.add("Content-Type: application/json").with_body(metadata),
        request.add("Content-Type: application/x-www-form-urlencoded").with_body(b"a=b"),
        request.with_body(b"x" * 100_000),
        request.replace_field("Content-Length: 1000000000").head(),
        request.add("Transfer-Encoding: chunked"),
        request.add("Expect: 100-continue").replace_field("Content-Length: 10").head(),
    ):
        reply = door.exchange(sent)
        check_error(reply.status, reply.headers["content-type"], reply.body)


def test_t14_a_connection_goes_on_behind_discovery(door):
    with door.connect() as connection:
        for target in PATHS:
            connection.send(door.bare("GET", target))
            assert connection.reply().status == 404
        connection.send(door.request("GET", "/nothing"))
        assert connection.reply().json["error"]["message"] == "Not found"


@pytest.mark.parametrize("target", NO_PATHS)
def test_t14_other_paths_need_a_credential(door, target):
    assert door.exchange(door.bare("GET", target)).status == 401
    assert door.exchange(door.request("GET", target)).json["error"]["message"] == "Not found"


@pytest.mark.parametrize("target", ["/.well-known/oauth-protected-resource", "/register"])
def test_t14_host_and_origin_come_first(door, target):
    request = door.bare("GET", target)
    assert door.exchange(request.replace_field("Host: evil.example")).status == 421
    assert door.exchange(request.with_target(f"http://evil.example{target}")).status == 421
    assert door.exchange(request.add("Origin: http://evil.example")).status == 403
    assert door.exchange(request.add("Sec-Fetch-Site: cross-site")).status == 403
    assert door.exchange(request.with_target(f"{target}?access_token=x")).status == 400
    assert door.exchange(
        request.add(f"Origin: http://{door.authority}", "Sec-Fetch-Site: same-origin")
    ).status == (404)


def test_t14_a_page_of_an_allowed_origin_can_read_the_answer(plain):
    for target in ("/.well-known/oauth-protected-resource/mcp", "/register"):
        reply = plain.exchange(
            plain.bare("GET", target).add(f"Origin: {ALLOWED}", "Sec-Fetch-Site: cross-site")
        )
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (404, ALLOWED)
        preflight = plain.bare("OPTIONS", target).add(
            f"Origin: {ALLOWED}", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: mcp-protocol-version"
        )  # fmt: skip
        assert plain.exchange(preflight).status == 204


def test_t14_the_answer_over_http_2(secure):
    plain_answer = secure.exchange(secure.bare("GET", PATHS[0]))
    for target in PATHS:
        with h2_client(secure) as client:
            for method, body in (("GET", None), ("POST", b'{"client_name":"x"}'), ("HEAD", None)):
                for token in ("", "x" * 48, secure.token):
                    status, headers, content = client.exchange(method, target, body=body, token=token)
                    assert headers["content-length"] == str(len(plain_answer.body))
                    assert content == (b"" if method == "HEAD" else plain_answer.body)
                    assert (status, headers["content-type"]) == (404, "application/json")
            assert client.exchange("GET", "/nothing")[0] == 404


def test_t14_requests_for_discovery_do_not_count_as_wrong_credentials(tmp_path):
    options = "--limit=wrong_credentials_per_second=1", "--limit=connections_unauthenticated=8"
    with Bridge(tmp_path / "run", EXAMPLE, *options) as running:
        door = ListenerUnderTest(running.address, running.token)
        for _ in range(30):
            assert (
                door.exchange(door.bare("GET", PATHS[0]).add("Authorization: Bearer " + "x" * 48)).status
                == 404
            )
        door.open_session()
        assert any("reason=oauth_discovery" in line for line in running.lines)
        assert not any("credential" in line for line in running.lines)


def test_t14_a_daemon_names_no_server_and_counts(tmp_path):
    servers = {"one": {"command": EXAMPLE}}
    with daemon(tmp_path, servers) as running, contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        door = ListenerUnderTest(running.address, running.token)
        bodies = {
            door.exchange(door.bare("GET", f"/.well-known/oauth-protected-resource/servers/{name}/mcp")).body
            for name in ("one", "two")
        }
        sock.connect(str(running.unix))
        local = Connection(sock)
        local.send(b"GET /servers/one/.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\n\r\n")
        bodies.add(local.reply().body)
        assert len(bodies) == 1
        assert b"one" not in bodies.pop().replace(b"oken", b"")
        assert running.status()["refusals"] == {"oauth_discovery": 3}


def test_t14_without_authentication_the_answer_is_the_same(tmp_path, plain):
    with Bridge(tmp_path / "run", EXAMPLE, "--no-auth") as running:
        door = ListenerUnderTest(running.address, "")
        assert (
            door.exchange(door.bare("GET", PATHS[0])).body == plain.exchange(plain.bare("GET", PATHS[0])).body
        )
