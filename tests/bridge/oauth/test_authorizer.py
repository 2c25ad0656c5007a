"""Credentials from the first 401 to the last refresh, against an authorization server on the loopback."""

import json
from contextlib import suppress

import pytest
import trio

from mcpbridged.bridge.oauth.entries import Credentials
from mcpbridged.transports.client.ports import Challenge, LoginRequired, Unreachable
from mcpbridged.validators.oauth_challenge import BearerChallenge

from ...support.authorization_server import (
    ABSENT,
    RESOURCE_PATH,
    SERVER_PATH,
    User,
    authorization_server,
    visit,
)
from ...support.oauth_world import oauth_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path):
    async with oauth_world(tmp_path / "state") as found:
        yield found


async def test_a_login_registers_a_client_and_obtains_a_token(world):
    authorizer = world.authorizer(prompt=world.user)
    assert await world.call(authorizer) == (200, "mcp:basic")
    found = await world.credentials()
    assert (found.issuer, found.resource, found.client_id) == (
        world.server.origin,
        world.server.url,
        "client-0",
    )
    assert (found.scopes, found.requested, found.auth_method) == (("mcp:basic",), ("mcp:basic",), "none")
    assert found.expires_at == world.now + 3600
    [registration] = world.server.requests("/register")
    assert json.loads(registration.body)["redirect_uris"] == [(await world.registered()).redirect_uri]
    assert "The login continues in the terminal" in world.user.pages[0]
    # The token of the first request was used, and no second login took place.
    assert await world.call(authorizer) == (200, "mcp:basic")
    assert len(world.user.links) == 1


async def test_a_user_without_a_browser_types_the_redirect(world):
    world.user._types = True
    assert (await world.call(world.authorizer(prompt=world.user)))[0] == 200
    assert world.user.pages == []


async def test_another_process_uses_the_stored_token(world):
    await world.call(world.authorizer(prompt=world.user))
    assert await world.call(world.authorizer()) == (200, "mcp:basic")


async def test_without_a_user_the_command_is_named(world):
    with pytest.raises(LoginRequired, match="run `mcp-bridge login remote`"):
        await world.call(world.authorizer())
    # No metadata is requested for it.
    assert world.server.requests(SERVER_PATH) == []


async def test_a_login_elsewhere_is_noticed_at_the_next_request(world):
    waiting = world.authorizer()
    with pytest.raises(LoginRequired):
        await world.call(waiting)
    await world.authorizer(prompt=world.user).log_in(BearerChallenge())
    assert (await world.call(waiting))[0] == 200


async def test_a_token_is_refreshed_before_it_expires(world):
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    before = await world.credentials()
    world.now += 3600 - 59
    assert (await world.call(world.authorizer()))[0] == 200
    after = await world.credentials()
    assert after.access_token != before.access_token
    assert after.refresh_token != before.refresh_token
    assert after.expires_at == world.now + 3600
    assert len(world.user.links) == 1
    [_, refresh] = world.server.requests("/token")
    assert refresh.form == {
        "grant_type": "refresh_token",
        "refresh_token": before.refresh_token,
        "resource": world.server.url,
        "client_id": "client-0",
    }


async def test_a_server_that_does_not_rotate_refresh_tokens_keeps_the_former_one(world):
    await world.call(world.authorizer(prompt=world.user))
    before = await world.credentials()
    world.server.changes["token"] = {"refresh_token": ABSENT, "scope": ABSENT}
    world.now += 3600
    await world.authorizer().headers()
    after = await world.credentials()
    assert (after.refresh_token, after.scopes) == (before.refresh_token, before.scopes)


async def test_many_requests_at_once_refresh_once(world):
    await world.call(world.authorizer(prompt=world.user))
    world.now += 3600
    others = [world.authorizer() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for authorizer in others * 4:
            nursery.start_soon(authorizer.headers)
    # Three processes and twelve tasks: a rotated refresh token must be used only once.
    assert len(world.server.requests("/token")) == 2
    assert (await world.call(others[0]))[0] == 200


async def test_a_cancelled_request_does_not_lose_a_refresh(world):
    await world.call(world.authorizer(prompt=world.user))
    world.now += 3600
    world.server.gate = trio.Event()
    authorizer = world.authorizer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(authorizer.headers)
        while len(world.server.requests("/token")) < 2:
            await trio.sleep(0)
        nursery.cancel_scope.cancel()
        world.server.gate.set()
    assert (await world.credentials()).refresh_token not in world.server.used
    assert (await world.call(world.authorizer()))[0] == 200


async def test_a_refused_refresh_token_needs_a_login(world):
    await world.call(world.authorizer(prompt=world.user))
    world.server.refreshes.clear()
    world.server.tokens.clear()
    world.now += 3600
    with pytest.raises(LoginRequired, match="mcp-bridge login"):
        await world.call(world.authorizer())
    found = await world.credentials()
    assert (found.access_token, found.refresh_token, found.issuer) == ("", "", world.server.origin)
    # The user logs in again, with the client that is registered already.
    assert (await world.call(world.authorizer(prompt=world.user)))[0] == 200
    assert len(world.server.requests("/register")) == 1


async def test_a_revoked_token_is_refreshed_after_its_refusal(world):
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    world.server.tokens.clear()
    assert (await world.call(authorizer))[0] == 200
    assert len(world.user.links) == 1


async def test_an_unreachable_authorization_server_does_not_lose_the_refresh_token(world):
    await world.call(world.authorizer(prompt=world.user))
    world.now += 3600
    world.server.replaced["/token"] = (503, b"")
    authorizer = world.authorizer()
    for _ in range(2):
        with pytest.raises(Unreachable, match="503") as caught:
            await authorizer.headers()
        assert not caught.value.sent
    # The second failure is the first one, because requests that wait together fail together.
    assert len(world.server.requests("/token")) == 2
    del world.server.replaced["/token"]
    assert (await world.call(world.authorizer()))[0] == 200


async def test_a_token_that_is_still_valid_is_used_if_it_cannot_be_refreshed(world):
    await world.call(world.authorizer(prompt=world.user))
    world.now += 3600 - 30
    world.server.replaced["/token"] = (503, b"")
    assert (await world.call(world.authorizer()))[0] == 200


@pytest.mark.parametrize("change", [-10_000, 10_000])
async def test_a_clock_that_was_changed_keeps_no_request_from_its_answer(world, change):
    await world.call(world.authorizer(prompt=world.user))
    world.now += change
    assert (await world.call(world.authorizer()))[0] == 200
    world.server.tokens.clear()
    assert (await world.call(world.authorizer()))[0] == 200
    assert len(world.user.links) == 1


async def test_a_refused_token_of_a_refresh_is_not_refreshed_again(world):
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    world.server.replaced["/mcp"] = (401, b"")
    await world.call(authorizer)
    grants = [request.form["grant_type"] for request in world.server.requests("/token")]
    assert grants == ["authorization_code", "refresh_token", "authorization_code", "refresh_token"]


async def test_a_token_of_unknown_validity_is_used_until_it_is_refused(world):
    world.server.changes["token"] = {"expires_in": ABSENT}
    await world.call(world.authorizer(prompt=world.user))
    world.now += 10**6
    await world.authorizer().headers()
    assert len(world.server.requests("/token")) == 1


async def test_more_scopes_are_requested_together_with_the_former_ones(world):
    world.server.required["write"] = ("mcp:write",)
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    assert await world.call(authorizer, "write") == (200, "mcp:basic mcp:write")
    assert len(world.user.links) == 2
    # The first client was registered with fewer scopes.
    assert len(world.server.requests("/register")) == 2


async def test_scopes_that_were_refused_are_not_requested_in_a_loop(world):
    world.server.required["write"] = ("mcp:write",)
    world.server.issued = ("mcp:basic",)
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    assert (await world.call(authorizer, "write"))[0] == 403
    assert len(world.user.links) == 2


async def test_without_a_user_the_needed_scopes_are_kept_for_the_next_login(world):
    world.server.required["write"] = ("mcp:write",)
    await world.call(world.authorizer(prompt=world.user))
    with pytest.raises(
        LoginRequired, match="additional scopes mcp:write; login required: run `mcp-bridge login"
    ):
        await world.call(world.authorizer(), "write")
    # Other requests go on.
    assert (await world.call(world.authorizer()))[0] == 200
    await world.authorizer(prompt=world.user).log_in(BearerChallenge())
    assert await world.call(world.authorizer(), "write") == (200, "mcp:basic mcp:write")


async def test_another_refusal_is_final(world):
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    used = await authorizer.headers()
    for fields in ((), ('Bearer error="invalid_request"',), ("Basic",)):
        assert not await authorizer.renew(Challenge(403, fields, world.server.url), used)


async def test_a_server_that_refuses_every_token_causes_few_logins(world):
    authorizer = world.authorizer(prompt=world.user)
    world.server.replaced["/mcp"] = (401, b"")
    for _ in range(5):
        with suppress(LoginRequired):
            await world.call(authorizer)
    with pytest.raises(LoginRequired, match="has refused 4 tokens within 60 seconds"):
        await world.call(authorizer)
    assert len(world.user.links) <= 4


async def test_each_request_without_a_login_names_the_command(world):
    authorizer = world.authorizer()
    for _ in range(10):
        with pytest.raises(LoginRequired, match="login required: run `mcp-bridge login remote`"):
            await world.call(authorizer)


async def test_after_several_failures_their_reason_is_still_named(world):
    world.server.changes["server"] = {"registration_endpoint": ABSENT}
    authorizer = world.authorizer(prompt=world.user)
    for _ in range(10):
        with pytest.raises(LoginRequired, match="does not register clients"):
            await world.call(authorizer)
    assert len(world.server.requests(SERVER_PATH)) == 4


async def test_a_moved_resource_registers_anew_and_shows_no_former_credential(world):
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    former = await world.credentials()
    async with authorization_server() as other:
        other.url, other.tokens = world.server.url, world.server.tokens
        world.user.servers.append(other)
        world.server.changes["resource"] = {"authorization_servers": [other.origin]}
        world.server.tokens.clear()
        world.server.refreshes.clear()
        assert (await world.call(authorizer))[0] == 200
        found = await world.credentials()
        assert (found.issuer, found.client_id) == (other.origin, "client-0")
        sent = b"".join(one.body for one in other.received).decode()
        assert former.refresh_token not in sent
        assert former.access_token not in sent
        assert len(other.requests("/register")) == 1


async def test_the_stored_authorization_server_is_kept_while_it_is_listed(world):
    await world.call(world.authorizer(prompt=world.user))
    world.server.changes["resource"] = {"authorization_servers": ["https://as.example", world.server.origin]}
    world.server.tokens.clear()
    world.server.refreshes.clear()
    assert (await world.call(world.authorizer(prompt=world.user)))[0] == 200


async def test_a_configured_client_is_used_at_its_first_issuer_only(world):
    world.server.clients["mine"] = ("content of secret.txt", "client_secret_basic", ())
    keys = {"client_id": "mine", "client_secret": "secret.txt"}
    await world.call(world.authorizer(prompt=world.user, **keys))
    assert (await world.credentials("mine")).secret == ""
    world.server.tokens.clear()
    world.server.refreshes.clear()
    async with authorization_server() as other:
        world.server.changes["resource"] = {"authorization_servers": [other.origin]}
        with pytest.raises(LoginRequired, match="and not the configured issuer"):
            await world.call(world.authorizer(prompt=world.user, **keys))
        assert other.received == []


async def test_a_configured_issuer_is_the_only_one(world):
    with pytest.raises(LoginRequired, match=r"not the configured issuer 'https://as\.example'"):
        await world.call(world.authorizer(prompt=world.user, issuer="https://as.example"))
    assert (await world.call(world.authorizer(prompt=world.user, issuer=world.server.origin)))[0] == 200


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_client_that_acts_for_itself_needs_no_user(world, method):
    world.server.clients["mine"] = ("content of secret.txt", method, ())
    world.server.changes["server"] = {"token_endpoint_auth_methods_supported": [method]}
    world.server.changes["token"] = {"refresh_token": ABSENT}
    keys = {"grant": "client_credentials", "client_id": "mine", "client_secret": "secret.txt"}
    authorizer = world.authorizer(**keys)
    assert await world.call(authorizer) == (200, "mcp:basic")
    world.server.required["write"] = ("mcp:write",)
    assert await world.call(authorizer, "write") == (200, "mcp:basic mcp:write")
    world.now += 3600
    assert await world.call(authorizer, "write") == (200, "mcp:basic mcp:write")
    world.server.tokens.clear()
    assert (await world.call(authorizer))[0] == 200
    assert "content of secret.txt" not in world.store._backend.path.read_text()


@pytest.mark.parametrize("client", ["", "mine"])
async def test_an_assertion_is_exchanged_for_each_token(world, client):
    world.server.clients[client] = ("", "none", ())
    world.server.changes["token"] = {"refresh_token": ABSENT}
    authorizer = world.authorizer(grant="jwt_bearer", assertion="jwt", client_id=client)
    assert await world.call(authorizer) == (200, "mcp:basic")
    world.now += 3600
    assert (await world.call(authorizer))[0] == 200
    for request in world.server.requests("/token"):
        form = request.form
        assert form.pop("client_id", "") == client
        assert form == {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": "content of jwt",
            "resource": world.server.url,
            "scope": "mcp:basic",
        }
    assert len(world.server.requests("/token")) == 2


async def test_a_client_with_a_metadata_document_is_not_registered(world):
    url = "https://client.example/client.json"
    world.server.clients[url] = ("", "none", ())
    world.server.changes["server"] = {"client_id_metadata_document_supported": True}
    assert (await world.call(world.authorizer(prompt=world.user, client_metadata_url=url)))[0] == 200
    assert (await world.credentials(url)).client_id == url
    assert world.server.requests("/register") == []


async def test_without_support_of_documents_the_client_is_registered(world):
    url = "https://client.example/client.json"
    assert (await world.call(world.authorizer(prompt=world.user, client_metadata_url=url)))[0] == 200
    found = await world.credentials(url)
    assert found.client_id == "client-0"
    world.now += 3600
    assert (await world.call(world.authorizer(client_metadata_url=url)))[0] == 200


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_registered_client_authenticates_as_the_server_supports(world, method):
    world.server.changes["server"] = {"token_endpoint_auth_methods_supported": [method]}
    assert (await world.call(world.authorizer(prompt=world.user)))[0] == 200
    world.now += 3600
    assert (await world.call(world.authorizer()))[0] == 200


async def test_a_client_that_the_server_no_longer_has_is_registered_anew(world):
    await world.call(world.authorizer(prompt=world.user))
    world.server.clients.clear()
    world.server.tokens.clear()
    # The refresh is refused, and so is the code of the next login, because the client is not registered.
    with pytest.raises(LoginRequired, match="invalid_client"):
        await world.call(world.authorizer(prompt=world.user))
    assert await world.registered() is None
    assert (await world.call(world.authorizer(prompt=world.user)))[0] == 200


async def test_an_expired_secret_is_not_used_for_a_new_login(world):
    world.server.changes["server"] = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    world.server.changes["registration"] = {"client_secret_expires_at": world.now + 4000}
    await world.call(world.authorizer(prompt=world.user))
    await world.authorizer(prompt=world.user).log_in(BearerChallenge())
    assert len(world.server.requests("/register")) == 1
    world.now += 1000
    await world.authorizer(prompt=world.user).log_in(BearerChallenge())
    assert len(world.server.requests("/register")) == 2


async def test_a_client_whose_port_is_taken_is_registered_anew(world):
    await world.call(world.authorizer(prompt=world.user))
    port = int((await world.registered()).redirect_uri.split(":")[2].partition("/")[0])
    async with await open_listener(port):
        await world.authorizer(prompt=world.user).log_in(BearerChallenge())
    assert len(world.server.requests("/register")) == 2


async def open_listener(port):
    [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    return listener


async def test_a_configured_port_that_is_taken_is_named(world):
    async with await open_listener(0) as listener:
        uri = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/callback"
        with pytest.raises(
            LoginRequired, match=f"cannot listen at the redirect URI {uri}: Address already in use"
        ):
            await world.call(world.authorizer(prompt=world.user, redirect_uri=uri))


async def test_a_server_without_registration_needs_a_configured_client(world):
    world.server.changes["server"] = {"registration_endpoint": ABSENT}
    with pytest.raises(LoginRequired, match="does not register clients"):
        await world.call(world.authorizer(prompt=world.user))


async def test_a_configured_client_that_no_method_fits_is_named(world):
    world.server.changes["server"] = {"token_endpoint_auth_methods_supported": ["tls_client_auth"]}
    with pytest.raises(
        LoginRequired, match="supports none of the methods client_secret_basic, client_secret_post"
    ):
        await world.call(
            world.authorizer(grant="client_credentials", client_id="mine", client_secret="secret.txt")
        )


async def test_a_server_that_registers_no_scopes_gets_none(world):
    def register(request):
        if "scope" in json.loads(request.body):
            return 400, b'{"error": "invalid_client_metadata"}'
        return world.server._register(request)[0], json.dumps(world.server._register(request)[1]).encode()

    world.server.replaced["/register"] = register
    assert await world.call(world.authorizer(prompt=world.user)) == (200, "mcp:basic")
    assert (await world.registered()).scopes is None


async def test_a_failure_is_logged_once(world):
    world.server.changes["server"] = {"registration_endpoint": ABSENT}
    authorizer = world.authorizer(prompt=world.user)
    for _ in range(3):
        with pytest.raises(LoginRequired):
            await world.call(authorizer)
    assert world.log.names() == ["oauth_failed"]


async def test_configured_scopes_replace_those_of_the_server(world):
    authorizer = world.authorizer(prompt=world.user, scopes=("mine",))
    assert await world.call(authorizer) == (200, "mine")
    world.server.challenge = (
        f'Bearer scope="other", resource_metadata="{world.server.origin}{RESOURCE_PATH}/mcp"'
    )
    world.server.tokens.clear()
    world.server.refreshes.clear()
    assert await world.call(authorizer) == (200, "mine other")


async def test_a_refresh_token_is_requested_where_it_needs_a_scope(world):
    world.server.changes["server"] = {"scopes_supported": ["mcp:basic", "offline_access"]}
    await world.call(world.authorizer(prompt=world.user))
    assert (await world.credentials()).requested == ("mcp:basic", "offline_access")
    assert "prompt=consent" in world.user.links[0]


async def test_a_logout_erases_and_revokes(world):
    await world.call(world.authorizer(prompt=world.user))
    found = await world.credentials()
    assert await world.authorizer().log_out() == (True, True)
    assert world.server.revoked == [found.refresh_token, found.access_token]
    assert await world.credentials() is None
    assert await world.registered() is None
    assert await world.authorizer().log_out() == (False, False)


@pytest.mark.parametrize(("change", "status"), [({"revocation_endpoint": ABSENT}, 200), ({}, 503)])
async def test_a_logout_erases_also_what_is_not_revoked(world, change, status):
    world.server.changes["server"] = change
    await world.call(world.authorizer(prompt=world.user))
    world.server.replaced["/revoke"] = (status, b"")
    assert await world.authorizer().log_out() == (True, status == 200 and not change)
    assert await world.credentials() is None


async def test_an_access_token_that_cannot_be_revoked_expires(world):
    await world.call(world.authorizer(prompt=world.user))
    found = await world.credentials()

    def revoke(request):
        if request.form["token"] == found.access_token:
            return 400, b'{"error": "unsupported_token_type"}'
        return world.server._revoke(request)[0], b"{}"

    world.server.replaced["/revoke"] = revoke
    assert await world.authorizer().log_out() == (True, True)
    assert world.server.revoked == [found.refresh_token]


async def test_no_token_is_in_the_log_and_all_are_hidden(world):
    authorizer = world.authorizer(prompt=world.user)
    await world.call(authorizer)
    world.now += 3600
    await world.call(authorizer)
    found = await world.credentials()
    assert sorted(world.log.hidden) == sorted((found.access_token, found.refresh_token))
    assert found.access_token not in str(world.log.events)
    assert found.refresh_token not in repr((found, await world.registered()))


async def test_a_second_process_waits_for_a_login_and_uses_it(world):
    others = [world.authorizer(prompt=world.user) for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for one in others:
            nursery.start_soon(world.call, one)
    assert len(world.user.links) == 1


async def test_a_daemon_does_not_wait_for_the_end_of_a_login(world, monkeypatch):
    monkeypatch.setattr("mcpbridged.bridge.oauth.authorizer._LOCK_SECONDS", 1)
    waiting = world.authorizer()
    failed = []

    async def request():
        try:
            await world.call(waiting)
        except LoginRequired as fault:
            failed.append(str(fault))

    async with world.store.locked(waiting._key):
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(request)
        # Together, and not one after the other, which takes 10 seconds.
        assert trio.current_time() - began < 8
    assert len(failed) == 10
    assert "a login for the server is in progress" in failed[0]
    with pytest.raises(LoginRequired, match="login required"):
        await world.call(waiting)


async def test_a_login_that_no_user_completes_ends(world, monkeypatch):
    monkeypatch.setattr("mcpbridged.bridge.oauth.flow.LOGIN_SECONDS", 0.05)
    world.user.show = lambda _url: None
    with pytest.raises(LoginRequired, match=r"not completed within 0\.05 seconds"):
        await world.call(world.authorizer(prompt=world.user))


async def test_a_user_who_refuses_is_reported(world):
    world.server.redirected = {"code": ABSENT, "error": "access_denied"}
    with pytest.raises(LoginRequired, match="'access_denied'"):
        await world.call(world.authorizer(prompt=world.user))
    assert "refused" in world.user.pages[0]


async def test_a_redirect_of_another_issuer_is_refused_before_the_code_is_sent(world):
    world.server.redirected = {"iss": "https://evil.example"}
    with pytest.raises(LoginRequired, match=r"from the issuer 'https://evil\.example'"):
        await world.call(world.authorizer(prompt=world.user))
    assert world.server.requests("/token") == []


async def test_a_redirect_with_a_wrong_state_does_not_end_the_login(world):
    class Attacked(User):
        async def _follow(self, url):
            page, _, query = url.partition("?")
            wrong = f"{page}?code=evil&state=evil"
            assert "belongs to no login" in await visit(wrong)
            assert "no such page" in await visit(f"{page}x?{query}")
            assert "no such page" in await visit(url, host="evil.example")
            assert "no such page" in await visit(url, method="POST")
            await super()._follow(url)

    async with trio.open_nursery() as nursery:
        user = Attacked(world.server, nursery)
        assert (await world.call(world.authorizer(prompt=user)))[0] == 200
    assert "evil" not in "".join(user.pages)


@pytest.mark.parametrize("code", ["temporarily_unavailable", None])
async def test_a_temporary_error_of_a_refresh_needs_no_login(world, code):
    await world.call(world.authorizer(prompt=world.user))
    before = await world.credentials()
    world.now += 3600
    world.server.replaced["/token"] = (429, json.dumps({"error": code}).encode() if code else b"")
    with pytest.raises(Unreachable, match="HTTP status 429"):
        await world.authorizer().headers()
    assert await world.credentials() == before


async def test_another_error_of_a_refresh_is_shown(world):
    await world.call(world.authorizer(prompt=world.user))
    world.now += 3600
    world.server.replaced["/token"] = (400, b'{"error": "unsupported_grant_type"}')
    with pytest.raises(LoginRequired, match=r"unsupported_grant_type.*run `mcp-bridge login remote`"):
        await world.authorizer().headers()


async def test_an_unusable_store_is_named(world):
    await world.call(world.authorizer(prompt=world.user))
    (world.folder / "oauth.json").chmod(0o644)
    with pytest.raises(LoginRequired, match="mode 0644; others must have no access"):
        await world.authorizer().headers()


async def test_a_login_without_a_user_is_refused(world):
    with pytest.raises(LoginRequired):
        await world.authorizer().log_in(BearerChallenge())


async def test_a_store_without_marks_is_read_again_after_a_while(world, autojump_clock):
    waiting = world.authorizer()
    world.store.mark = lambda: None
    assert await waiting.headers() == ()
    await world.store.write(
        waiting._key, Credentials("https://as", "r", "c", "https://as/token", access_token="t" * 20)
    )
    assert await waiting.headers() == ()
    await trio.sleep(6)
    assert await waiting.headers() == ((b"Authorization", b"Bearer " + b"t" * 20),)


async def test_a_server_without_its_metadata_is_unreachable(world):
    world.server.replaced[f"{RESOURCE_PATH}/mcp"] = (500, b"")
    with pytest.raises(Unreachable) as caught:
        await world.call(world.authorizer(prompt=world.user))
    assert not caught.value.sent


async def test_a_server_without_tls_elsewhere_gets_no_credentials(world):
    world.server.url = "http://h.example/mcp"
    authorizer = world.authorizer(prompt=world.user)
    with pytest.raises(LoginRequired, match="uses no TLS"):
        await authorizer.renew(Challenge(401, (), world.server.url), ())


async def test_a_cancelled_login_leaves_nothing_behind(world):
    world.user.show = world.user.links.append
    authorizer = world.authorizer(prompt=world.user)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.call, authorizer)
        while not world.user.links:
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert (await world.credentials()) is None
    del world.user.show
    assert (await world.call(authorizer))[0] == 200


async def test_requests_that_waited_for_a_refused_login_begin_no_other(world):
    world.server.redirected = {"code": ABSENT, "error": "access_denied"}
    authorizer = world.authorizer(prompt=world.user)
    refused = []

    async def call():
        with pytest.raises(LoginRequired, match="'access_denied'"):
            await world.call(authorizer)
        refused.append(True)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call)
    assert (len(refused), len(world.user.links)) == (3, 1)
    # A later request begins another login.
    world.server.redirected = {}
    assert (await world.call(authorizer))[0] == 200
