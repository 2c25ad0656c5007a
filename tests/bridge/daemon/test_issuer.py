"""The accepted access tokens under the present configuration."""

import json

import attrs
import pytest
import trio

from mcpbridged.bridge.config.access_token_settings import AccessTokenSettings
from mcpbridged.bridge.core.grants import Grant, Roles
from mcpbridged.bridge.daemon.issuer import Issuer as Accepted
from mcpbridged.bridge.log import LineLog
from mcpbridged.transports.http.gate import KeysNeeded
from mcpbridged.validators.http_head import Head

from ...support.issuer import ISSUER, Issuer

pytestmark = pytest.mark.anyio
THEIRS = Issuer()
BASE = "https://mcp.example"
HEAD = Head("POST", "/servers/git/mcp", "", 11, {}, None, False, True, False, "")


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(THEIRS.jwks("ec")))
    scopes = {"mcp": Grant(), "mcp:files": Grant(servers=frozenset({"files"}))}
    return AccessTokenSettings(ISSUER, BASE, "", file, "", frozenset(), ("ES256",), "scope", 60, 600, scopes)


async def test_the_settings_may_change(settings):
    changes = []
    accepted = Accepted(Roles(), LineLog("error", "text"), lambda: changes.append(1))
    token = THEIRS.token(BASE)

    async def name_of_first_client():
        try:
            return accepted.current().principal(token, HEAD.path)
        except KeysNeeded as needed:
            await needed.wait()
        return accepted.current().principal(token, HEAD.path)

    async with trio.open_nursery() as nursery:
        accepted.use(None, nursery)
        assert accepted.current() is None
        assert accepted.metadata("/.well-known/oauth-protected-resource") is None
        assert not accepted.end_expired()
        assert accepted.refusal(HEAD, "ci", "git").headers == ()
        accepted.use(settings, nursery)
        name = await name_of_first_client()
        assert changes
        before = accepted.current()
        accepted.use(settings, nursery)
        assert accepted.current() is before
        assert accepted.metadata("/.well-known/oauth-protected-resource")
        refused = accepted.refusal(HEAD, name, "git")
        assert (refused.status, refused.reason) == (403, "insufficient_scope")
        assert b'scope="mcp"' in refused.headers[0][1]
        assert accepted.refusal(HEAD, "ci", "git").headers == ()
        accepted.use(attrs.evolve(settings, scopes={"mcp": Grant(read_only=True)}), nursery)
        assert await name_of_first_client() != name
        accepted.use(None, nursery)
        assert accepted.current() is None
        nursery.cancel_scope.cancel()
