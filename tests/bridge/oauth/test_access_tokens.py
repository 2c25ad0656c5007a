"""Which access tokens are accepted for which server, as which principal, and what the metadata says."""

import json

import attrs
import pytest

from mcpbridged.bridge.core.grants import Grant, Roles
from mcpbridged.bridge.oauth import access_tokens
from mcpbridged.bridge.oauth.access_tokens import AccessTokens
from mcpbridged.bridge.oauth.signing_keys import read_keys
from mcpbridged.transports.http.gate import KeysNeeded
from mcpbridged.validators.access_token import BadAccessToken
from mcpbridged.validators.rejection import Rejection

from ...support import issuer
from ...support.issuer import ISSUER, Issuer

BASE = issuer.SETTINGS.resource
PATH = "/servers/git/mcp"
THEIRS = Issuer()
SETTINGS = attrs.evolve(
    issuer.SETTINGS, scopes={"mcp": Grant(), "mcp:git": Grant(servers=frozenset({"git"}))}
)


class Source:
    """Keys, and whether they may be requested again."""

    def __init__(self, keys, can_refresh=False):
        self.keys = keys
        self.can_refresh = can_refresh

    async def refreshed(self):
        pass


class Log:
    def __init__(self):
        self.events = []

    def info(self, event, **fields):
        self.events.append((event, fields))

    warning = info


def keys_of(*kids):
    return read_keys(json.dumps(THEIRS.jwks(*kids)), SETTINGS.algorithms)


def tokens_with(settings=SETTINGS, keys=None, **more):
    return AccessTokens(settings, Source(keys_of() if keys is None else keys, **more), Roles(), Log())


def why(tokens, token, path=PATH):
    with pytest.raises(BadAccessToken) as caught:
        tokens.principal(token, path)
    return str(caught.value)


def test_the_principal_stands_for_the_subject_and_its_rights():
    tokens = tokens_with()
    names = [
        tokens.principal(THEIRS.token(BASE, **claims), PATH)
        for claims in [{}, {"kid": "rsa"}, {"sub": "other"}, {"scope": "mcp:git"}, {"scope": "mcp mcp:git"}]
    ]
    assert names[0] == names[1]
    assert len({*names}) == 4
    assert all(len(name) <= 32 and name.startswith("_jwt-") for name in names)
    changed = attrs.evolve(SETTINGS, scopes={"mcp": Grant(read_only=True)})
    assert tokens_with(changed).principal(THEIRS.token(BASE), PATH) not in names


def test_the_scopes_are_the_rights():
    tokens = tokens_with()
    for scope, permitted in [("mcp", True), ("mcp:git", False), ("openid x", False), (None, False)]:
        name = tokens.principal(THEIRS.token(BASE, scope=scope), PATH)
        assert tokens._roles.permits(name, "files") is permitted
    assert tokens._roles.permits(tokens.principal(THEIRS.token(BASE, scope="mcp:git"), PATH), "git")


def test_an_opaque_token_is_left_to_the_configuration():
    assert tokens_with().principal("mcpb_abc", PATH) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"exp": 1}, "expired"),
        ({"header": {"alg": "ES256", "crit": ["x"]}}, "critical_header"),
        ({"sub": None}, "subject"),
    ],
)
def test_a_token_is_refused(changes, reason):
    assert why(tokens_with(), THEIRS.token(BASE, **changes)) == reason


def test_a_signature_of_another_key_is_refused():
    assert why(tokens_with(), Issuer().token(BASE)) == "signature"


def test_the_audience_is_compared_at_each_request():
    tokens = tokens_with()
    token = THEIRS.token([f"{BASE}{PATH}", "https://other.example"])
    assert tokens.principal(token, PATH)
    assert why(tokens, token, "/servers/files/mcp") == "audience"
    assert tokens.principal(token, "/servers/git/ws")
    assert why(tokens, THEIRS.token("https://other.example")) == "audience"
    named = tokens_with(attrs.evolve(SETTINGS, audience=frozenset({"api://mcp"})))
    assert named.principal(THEIRS.token("api://mcp"), PATH)
    assert why(named, token) == "audience"


def test_the_end_of_validity_is_compared_at_each_request(monkeypatch):
    tokens = tokens_with()
    at = access_tokens.now()
    token = THEIRS.token(BASE, exp=int(at) + 10)
    assert tokens.principal(token, PATH)
    assert not tokens.expire(at + 60)
    assert tokens.expire(at + 75)
    assert not tokens.expire(at + 75)
    monkeypatch.setattr(access_tokens, "now", lambda: at + 75)
    assert why(tokens, token) == "expired"
    assert why(tokens, token) == "expired"


def test_a_signature_is_verified_once_until_the_keys_change(monkeypatch):
    tokens = tokens_with()
    token = THEIRS.token(BASE)
    name = tokens.principal(token, PATH)
    monkeypatch.setattr(access_tokens, "verify", lambda *_: False)
    assert tokens.principal(token, PATH) == name
    tokens.drop()
    assert why(tokens, token) == "signature"


def test_the_number_of_stored_tokens_is_limited(monkeypatch):
    monkeypatch.setattr(access_tokens, "_MOST_VERIFIED", 2)
    monkeypatch.setattr(access_tokens, "_MOST_ENDS", 2)
    tokens = tokens_with()
    at = int(access_tokens.now())
    for number in range(3):
        tokens.principal(THEIRS.token(BASE, exp=at + 100 + number), PATH)
    assert len(tokens._verified) == 2
    # The latest end is noted again when the open streams are checked after an earlier end.
    assert tokens._ends == {at + 161, at + 162}


def test_an_unknown_key_is_requested_if_that_is_possible():
    token = THEIRS.token(BASE)
    with pytest.raises(KeysNeeded):
        tokens_with(keys=keys_of("rsa"), can_refresh=True).principal(token, PATH)
    assert why(tokens_with(keys=keys_of("rsa")), token) == "unknown_key"
    # A token that is refused whatever its key is causes no request.
    assert (
        why(tokens_with(keys=(), can_refresh=True), THEIRS.token(BASE, header={"jku": "x"}))
        == "key_in_header"
    )


def test_without_any_key_the_service_is_unavailable():
    with pytest.raises(Rejection) as caught:
        tokens_with(keys=()).principal(THEIRS.token(BASE), PATH)
    assert (caught.value.status, caught.value.reason) == (503, "keys_unavailable")


def test_the_metadata_is_the_same_for_servers_that_do_not_exist():
    tokens = tokens_with()
    root = json.loads(tokens.metadata("/.well-known/oauth-protected-resource"))
    assert root == {
        "resource": BASE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["mcp", "mcp:git"],
        "bearer_methods_supported": ["header"],
        "resource_name": "mcp-bridge",
    }
    for name in ("git", "nothing"):
        path = f"/servers/{name}/mcp"
        found = json.loads(tokens.metadata(f"/.well-known/oauth-protected-resource{path}"))
        assert found == {**root, "resource": f"{BASE}{path}"}
    for path in (
        "/register",
        "/.well-known/oauth-protected-resource/a b",
        "/.well-known/oauth-protected-resourcex",
    ):
        assert tokens.metadata(path) is None


def test_below_a_prefix_the_metadata_has_the_prefix():
    tokens = tokens_with(attrs.evolve(SETTINGS, resource=f"{BASE}/bridge"))
    for path in ("/bridge/mcp", "/mcp"):
        found = json.loads(tokens.metadata(f"/.well-known/oauth-protected-resource{path}"))
        assert found["resource"] == f"{BASE}/bridge/mcp"
    assert b'"https://mcp.example/.well-known/oauth-protected-resource/bridge/mcp"' in tokens.challenge(
        "/mcp", "", ""
    )
    token = THEIRS.token(f"{BASE}/bridge{PATH}")
    assert tokens.principal(token, PATH) == tokens.principal(token, f"/bridge{PATH}")


def test_a_challenge_names_the_metadata_and_the_scopes():
    tokens = tokens_with()
    at = f'resource_metadata="{BASE}/.well-known/oauth-protected-resource{PATH}"'
    assert tokens.challenge(PATH, "", "").decode() == f'Bearer {at}, scope="mcp mcp:git"'
    text = tokens.challenge(PATH, "insufficient_scope", "more", tokens.scopes_for("files")).decode()
    assert text == f'Bearer {at}, error="insufficient_scope", error_description="more", scope="mcp"'
    # A path is not repeated if it could end the value.
    assert b'x"' not in tokens.challenge('/servers/x"/mcp', "", "")
