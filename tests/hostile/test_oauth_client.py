"""Hostile servers and authorization servers: each is refused with a reason, in bounded time and memory, and gets no credential."""

import json
from contextlib import suppress

import pytest
import trio

from mcpbridged.transports.client.ports import LoginRequired, Unreachable

from ..support.authorization_server import ABSENT, RESOURCE_PATH, SERVER_PATH
from ..support.oauth_world import oauth_world
from ..support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path):
    async with oauth_world(tmp_path / "state") as found:
        yield found


def changed(document, **members):
    def change(world):
        world.server.changes[document] = members

    return change


def replaced(path, status, body):
    def change(world):
        world.server.replaced[path] = (status, body)

    return change


def challenged(text):
    def change(world):
        world.server.challenge = text
        # The server has no other document.
        world.server.replaced[f"{RESOURCE_PATH}/mcp"] = (404, b"")

    return change


def redirected(**parameters):
    def change(world):
        world.server.redirected = parameters

    return change


HUGE = json.dumps({"x": "x" * 70_000}).encode()
# What is changed, and what the user reads.
ROWS = {
    "metadata at a cloud's own address": (
        challenged('Bearer resource_metadata="https://169.254.169.254/latest"'),
        "is not used",
    ),
    "metadata over http elsewhere": (
        challenged('Bearer resource_metadata="http://as.example/latest"'),
        "must be https",
    ),
    "a file": (challenged('Bearer resource_metadata="file:///etc/passwd"'), "must begin with"),
    "a number as host": (challenged('Bearer resource_metadata="https://2130706433/"'), "read as an address"),
    "a user name in the URL": (challenged('Bearer resource_metadata="https://u:p@as.example/"'), "user name"),
    "the resource of another": (
        changed("resource", resource="https://victim.example/mcp"),
        "and not of http",
    ),
    "an authorization server at a link-local address": (
        changed("resource", authorization_servers=["https://169.254.169.254"]),
        "is not used",
    ),
    "an authorization server over http": (
        changed("resource", authorization_servers=["http://as.example"]),
        "must be https",
    ),
    "the issuer of another": (changed("server", issuer="https://honest.example"), "is that of the issuer"),
    "an authorization endpoint that is a script": (
        changed("server", authorization_endpoint="javascript:alert(document.cookie)"),
        "must begin with",
    ),
    "an authorization endpoint that clears the terminal": (
        changed("server", authorization_endpoint="https://as.example/\x1b[2J"),
        "control character",
    ),
    "an authorization endpoint with our parameters": (
        changed("server", authorization_endpoint="https://as.example/?redirect_uri=https://evil.example"),
        "parameter of the authorization request",
    ),
    "a token endpoint at a link-local address": (
        changed("server", token_endpoint="https://169.254.169.254/token"),
        "is not used",
    ),
    "a registration endpoint at a link-local address": (
        changed("server", registration_endpoint="https://[fe80::1]/register"),
        "is not used",
    ),
    "no PKCE": (changed("server", code_challenge_methods_supported=ABSENT), "does not announce PKCE"),
    "plain PKCE": (changed("server", code_challenge_methods_supported=["plain"]), "does not announce PKCE"),
    "a registration for another redirect": (
        changed("registration", redirect_uris=["https://evil.example/"]),
        "another redirect URI",
    ),
    "a registered method without its secret": (
        changed("registration", token_endpoint_auth_method="client_secret_basic"),
        "got no secret",
    ),
    "a client ID that breaks a header": (changed("registration", client_id="a\r\nX: y"), "not allowed"),
    "a redirect of another issuer": (redirected(iss="https://evil.example"), "from the issuer"),
    "a redirect without the announced issuer": (redirected(iss=ABSENT), "has no iss"),
    "an empty code": (redirected(code=""), "no authorization code"),
    "a token that breaks a header": (changed("token", access_token="SECRET\r\nHost: evil"), "not allowed"),
    "a token of another type": (changed("token", token_type="mac"), "only bearer tokens"),
    "a token without end": (changed("token", access_token="x" * 20_000), "the limit is 16384"),
    "a huge document": (replaced(SERVER_PATH, 200, HUGE), "more than 65536 bytes"),
    "a huge registration": (replaced("/register", 201, HUGE), "more than 65536 bytes"),
    "a huge token response": (replaced("/token", 200, HUGE), "more than 65536 bytes"),
    "a deep document": (replaced("/token", 200, b"[" * 60_000), "is not JSON"),
    "a token response that is a page": (replaced("/token", 200, b"<html>"), "is not JSON"),
}


@pytest.mark.parametrize("name", ROWS)
async def test_a_hostile_answer_is_refused_with_a_reason(world, name):
    change, reason = ROWS[name]
    change(world)
    with trio.fail_after(20), pytest.raises((LoginRequired, Unreachable), match=reason) as caught:
        await world.call(world.authorizer(prompt=world.user))
    assert str(caught.value).isprintable()
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in str(world.log.events)
    found = await world.credentials()
    assert found is None
    # No hostile link was shown.
    assert all(link.startswith(f"{world.server.origin}/authorize?") for link in world.user.links)


@pytest.mark.parametrize("path", ["/token", "/register", SERVER_PATH, f"{RESOURCE_PATH}/mcp"])
@pytest.mark.parametrize("status", [302, 307, 308])
async def test_no_redirect_is_followed(world, path, status):
    async def record(peer):
        await peer.request()

    async with scripted_server(record) as other:
        world.server.replaced[path] = (status, b"")
        world.server.fields[path] = (f"Location: {other.url}".encode(),)
        with suppress(LoginRequired, Unreachable):
            # Without metadata of the resource the server counts as its own authorization server, which it is.
            assert await world.call(world.authorizer(prompt=world.user)) == (200, "")
            assert path.startswith(RESOURCE_PATH)
        assert world.server.requests(path)
        assert other.connections == 0


async def answer_forever(peer):
    """Send a response without end."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        await peer.send(b" " * 65536)


async def answer_slowly(peer):
    """Send one byte of a response in each second."""
    await peer.request()
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 100_000:
        await peer.send(bytes((byte,)))
        await trio.sleep(1)


async def answer_nothing(peer):
    await peer.request()
    await trio.sleep_forever()


async def answer_heads(peer):
    """Send a head without end."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"X: " + b"x" * 60_000)


@pytest.mark.parametrize("script", [answer_forever, answer_slowly, answer_nothing, answer_heads])
async def test_an_endless_answer_ends_in_bounded_time(world, script):
    async with scripted_server(script) as other:
        origin = other.url.removesuffix("/mcp")
        world.server.changes["server"] = {"token_endpoint": f"{origin}/token"}
        began = trio.current_time()
        with trio.fail_after(20), pytest.raises(Unreachable):
            await world.call(world.authorizer(prompt=world.user))
        assert trio.current_time() - began < 15
        assert other.connections == 1


async def test_a_token_is_sent_to_the_configured_origin_only(world):
    seen = []

    async def record(peer):
        while (found := await peer.request()) is not None:
            seen.append(found[0])
            await peer.answer()

    async with scripted_server(record) as other:
        await world.call(world.authorizer(prompt=world.user))
        token = (await world.credentials()).access_token
        world.server.tokens.clear()
        world.server.refreshes.clear()
        # The server that the user has logged in to names a document of another one.
        challenged(f'Bearer resource_metadata="{other.url}"')(world)
        await world.call(world.authorizer(prompt=world.user))
        assert seen
        assert token.encode() not in b"".join(seen)


async def test_one_server_never_gets_the_credential_of_another(tmp_path):
    async with oauth_world(tmp_path / "state") as one, oauth_world(tmp_path / "state") as other:
        await one.call(one.authorizer(prompt=one.user))
        # The other server names the authorization server of the first, where a client is registered.
        other.server.changes["resource"] = {"authorization_servers": [one.server.origin]}
        token = (await one.credentials()).access_token
        with pytest.raises((LoginRequired, AssertionError)):
            await other.call(other.authorizer())
        sent = "".join(str(request.headers) for request in other.server.received)
        assert token not in sent
