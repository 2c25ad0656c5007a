"""Requests of an OAuth client, and responses good and hostile."""

import json
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.oauth_messages import (
    LONGEST_TOKEN,
    Registration,
    Tokens,
    authorization_url,
    error_response,
    pkce_challenge,
    redirected_code,
    registration_request,
    registration_response,
    token_response,
)
from mcpbridged.validators.oauth_metadata import ServerMetadata
from mcpbridged.validators.oauth_refusal import ErrorAnswer, OAuthRefusal, WrongState

METADATA = ServerMetadata("https://as.example", "https://as.example/token", "https://as.example/authorize")
REDIRECT = "http://127.0.0.1:4000/callback"
STATE = "s" * 43


def url_of(metadata=METADATA, scopes=("a", "b")):
    return authorization_url(
        metadata,
        client_id="c&d",
        redirect_uri=REDIRECT,
        state=STATE,
        challenge="x",
        resource="https://h/mcp",
        scopes=scopes,
    )


def test_the_challenge_of_the_specification():
    # RFC 7636 appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert pkce_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_url_of_an_authorization_request():
    parts = urlsplit(url_of())
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == METADATA.authorization_endpoint
    assert parse_qsl(parts.query, strict_parsing=True) == [
        ("response_type", "code"),
        ("client_id", "c&d"),
        ("redirect_uri", REDIRECT),
        ("state", STATE),
        ("code_challenge", "x"),
        ("code_challenge_method", "S256"),
        ("resource", "https://h/mcp"),
        ("scope", "a b"),
    ]


def test_without_scopes_the_server_decides():
    assert "scope" not in dict(parse_qsl(urlsplit(url_of(scopes=())).query))


def test_offline_access_needs_consent():
    assert dict(parse_qsl(urlsplit(url_of(scopes=("offline_access",))).query))["prompt"] == "consent"


@pytest.mark.parametrize("end", ["?tenant=x", "?tenant=x&y=z", "?"])
def test_the_query_of_the_endpoint_is_kept(end):
    metadata = attrs.evolve(METADATA, authorization_endpoint=METADATA.authorization_endpoint + end)
    text = url_of(metadata)
    assert text.startswith(metadata.authorization_endpoint)
    assert dict(parse_qsl(urlsplit(text).query, strict_parsing=True))["response_type"] == "code"


@pytest.mark.parametrize(
    "name", ["client_id", "redirect_uri", "resource", "scope", "request_uri", "request", "state"]
)
def test_an_endpoint_that_sets_a_parameter_of_the_request_is_refused(name):
    metadata = attrs.evolve(METADATA, authorization_endpoint=f"{METADATA.authorization_endpoint}?{name}=")
    with pytest.raises(OAuthRefusal, match="authorization endpoint has a parameter"):
        url_of(metadata)


def redirect(metadata=METADATA, **parameters):
    return redirected_code(urlencode({"state": STATE, **parameters}), STATE, metadata)


SENDS_ISSUER = attrs.evolve(METADATA, sends_issuer=True)


@pytest.mark.parametrize(
    ("metadata", "parameters"),
    [
        (METADATA, {}),
        (METADATA, {"iss": METADATA.issuer}),
        (SENDS_ISSUER, {"iss": METADATA.issuer}),
        (METADATA, {"x": ""}),
    ],
)
def test_the_code_of_a_redirect(metadata, parameters):
    assert redirect(metadata, code="a-code", **parameters) == "a-code"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        f"code=c&state={STATE}x",
        f"code=c&state={STATE[:-1]}",
        f"code=c&state={STATE}&state=x",
        f"code=c&state={STATE}&" + "a=b&" * 64,
        "error=access_denied",
    ],
)
def test_a_redirect_of_another_request_is_refused_as_such(query):
    with pytest.raises(WrongState):
        redirected_code(query, STATE, METADATA)


def test_a_redirect_may_have_16_kib():
    query = f"state={STATE}&code="
    code = "c" * (16_384 - len(query))
    assert redirected_code(query + code, STATE, METADATA) == code
    with pytest.raises(WrongState, match="has 16385 characters; the limit is 16384"):
        redirected_code(f"{query}{code}c", STATE, METADATA)


HOSTILE_REDIRECTS = {
    "another issuer": (
        METADATA,
        {"code": "c", "iss": "https://evil.example"},
        "from the issuer 'https://evil.example'",
    ),
    "the issuer with a slash": (METADATA, {"code": "c", "iss": "https://as.example/"}, "from the issuer"),
    "the issuer in capitals": (METADATA, {"code": "c", "iss": "https://AS.example"}, "from the issuer"),
    "an empty issuer": (METADATA, {"code": "c", "iss": ""}, "from the issuer"),
    "no issuer although announced": (SENDS_ISSUER, {"code": "c"}, "has no iss"),
    "an error of another issuer": (
        METADATA,
        {"error": "SHOWN", "iss": "https://evil.example"},
        "from the issuer",
    ),
    "an error of no issuer": (SENDS_ISSUER, {"error": "SHOWN"}, "has no iss"),
    "no code": (METADATA, {}, "no authorization code"),
    "an empty code": (METADATA, {"code": ""}, "no authorization code"),
    "a line end in the code": (METADATA, {"code": "c\r\nX: y"}, "no authorization code"),
}


@pytest.mark.parametrize("name", HOSTILE_REDIRECTS)
def test_a_hostile_redirect_is_refused_with_a_reason(name):
    metadata, parameters, reason = HOSTILE_REDIRECTS[name]
    with pytest.raises(OAuthRefusal, match=reason) as caught:
        redirect(metadata, **parameters)
    assert not isinstance(caught.value, WrongState)
    assert "SHOWN" not in str(caught.value)


def test_a_parameter_that_is_there_twice_is_refused():
    with pytest.raises(OAuthRefusal, match="twice"):
        redirected_code(f"code=a&code=b&state={STATE}", STATE, METADATA)


def test_an_error_of_the_authorization_server_is_shown_escaped():
    with pytest.raises(ErrorAnswer) as caught:
        redirect(error="access_denied", error_description="The user\x1b[2J said no")
    assert caught.value.code == "access_denied"
    assert str(caught.value).endswith(r"'access_denied': 'The user\x1b[2J said no'")


@given(st.text(max_size=200))
def test_any_query_is_refused_or_has_a_code(query):
    with pytest.raises(OAuthRefusal):
        redirected_code(query, STATE, METADATA)


def test_the_request_to_register_a_client():
    assert registration_request(METADATA, REDIRECT, ("a", "b"), "none") == {
        "client_name": "mcp-bridge",
        "application_type": "native",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "a b",
    }


@pytest.mark.parametrize(
    ("grants", "refresh"), [(("authorization_code",), False), (("refresh_token",), True)]
)
def test_only_supported_grants_are_registered(grants, refresh):
    body = registration_request(attrs.evolve(METADATA, grants=grants), REDIRECT, (), "none")
    assert ("refresh_token" in body["grant_types"]) is refresh
    assert "scope" not in body


def as_json(**members):
    return json.dumps(members).encode()


def test_a_registered_client():
    data = as_json(
        client_id="c",
        client_secret="s",
        client_secret_expires_at=5,
        token_endpoint_auth_method="client_secret_post",
        redirect_uris=[REDIRECT],
        scope="a b",
    )
    assert registration_response(201, data, REDIRECT) == Registration(
        "c", "s", "client_secret_post", 5, ("a", "b")
    )


def test_a_client_that_is_registered_with_less():
    data = as_json(
        client_id="c", client_secret=None, client_secret_expires_at=-1, token_endpoint_auth_method=7
    )
    assert registration_response(200, data, REDIRECT) == Registration("c")
    assert registration_response(200, as_json(client_id="c"), REDIRECT) == Registration("c")


HOSTILE_REGISTRATIONS = {
    "no JSON": (201, b"", "is not JSON"),
    "no client ID": (201, as_json(), "no text for the client ID"),
    "an empty client ID": (201, as_json(client_id=""), "no text for the client ID"),
    "a line end": (201, as_json(client_id="a\r\nX: y"), "not allowed"),
    "a long client ID": (201, as_json(client_id="a" * 4097), "the limit is 4096"),
    "a line end in the secret": (201, as_json(client_id="a", client_secret="a\nb"), "not allowed"),
    "a secret of another type": (
        201,
        as_json(client_id="a", client_secret=7),
        "no text for the client secret",
    ),
    "another redirect": (
        201,
        as_json(client_id="a", redirect_uris=["https://evil.example"]),
        "another redirect URI",
    ),
    "an error": (
        400,
        as_json(error="invalid_redirect_uri", error_description="no"),
        "'invalid_redirect_uri': 'no'",
    ),
    "a redirect": (307, b"", "HTTP status 307"),
}


@pytest.mark.parametrize("name", HOSTILE_REGISTRATIONS)
def test_a_hostile_registration_is_refused_with_a_reason(name):
    status, data, reason = HOSTILE_REGISTRATIONS[name]
    with pytest.raises(OAuthRefusal, match=reason):
        registration_response(status, data, REDIRECT)


def test_a_token_response():
    data = as_json(access_token="t", token_type="Bearer", expires_in=3600, refresh_token="r", scope="a b")
    assert token_response(200, data) == Tokens("t", 3600, "r", ("a", "b"))
    assert token_response(200, as_json(access_token="t", token_type="bEARER")) == Tokens("t")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (0.5, 0.5),
        (0, None),
        (-1, None),
        ("soon", None),
        (None, None),
        (True, None),
        ([1], None),
        (10**30, 10 * 366 * 86400),
        ("9" * 19, 10 * 366 * 86400),
        ("9" * 20, None),
        pytest.param(10**400, None, id="beyond-float"),
    ],
)
def test_the_validity_of_a_token(given, seconds):
    data = as_json(access_token="t", token_type="bearer", expires_in=given)
    assert token_response(200, data).valid_seconds == seconds


@pytest.mark.parametrize("refresh", ["", None])
def test_a_response_without_a_refresh_token(refresh):
    data = as_json(access_token="t", token_type="bearer", refresh_token=refresh, scope=None)
    assert token_response(200, data) == Tokens("t")


HOSTILE_TOKENS = {
    "no JSON": (200, b"access_token=t", "is not JSON"),
    "no token": (200, as_json(token_type="bearer"), "no text for the access token"),
    "no type": (200, as_json(access_token="SECRET"), "has the type ''"),
    "another type": (200, as_json(access_token="SECRET", token_type="DPoP"), "only bearer tokens"),
    "a line end": (200, as_json(access_token="SECRET\r\nHost: evil", token_type="bearer"), "not allowed"),
    "a space": (200, as_json(access_token="SECRET x", token_type="bearer"), "not allowed"),
    "not ASCII": (200, as_json(access_token="SECRETé", token_type="bearer"), "not allowed"),
    "a long token": (
        200,
        as_json(access_token="t" * (LONGEST_TOKEN + 1), token_type="bearer"),
        "the limit is 16384",
    ),
    "a token of another type": (
        200,
        as_json(access_token={"a": 1}, token_type="bearer"),
        "no text for the access",
    ),
    "a line end in the refresh token": (
        200,
        as_json(access_token="t", token_type="bearer", refresh_token="SECRET\n"),
        "the refresh token has a character",
    ),
    "a redirect": (302, b"", "HTTP status 302"),
    "an error with status 200": (200, as_json(error="invalid_grant"), "'invalid_grant'"),
}


@pytest.mark.parametrize("name", HOSTILE_TOKENS)
def test_a_hostile_token_response_is_refused_without_showing_a_token(name):
    status, data, reason = HOSTILE_TOKENS[name]
    with pytest.raises(OAuthRefusal, match=reason) as caught:
        token_response(status, data)
    assert "SECRET" not in str(caught.value)


def test_an_error_response_has_its_code():
    with pytest.raises(ErrorAnswer) as caught:
        token_response(400, as_json(error="invalid_grant", error_description=7))
    assert caught.value.code == "invalid_grant"


@pytest.mark.parametrize(("data", "code"), [(b"<html>", ""), (b"{}", ""), (b'{"error":"e"}', "e")])
def test_an_error_of_any_form(data, code):
    found = error_response(503, data, "refused")
    assert (str(found).startswith("refused: HTTP status 503"), found.code) == (True, code)


def test_no_secret_is_in_a_representation():
    assert "SECRET" not in repr((Registration("c", "SECRET"), Tokens("SECRET", None, "SECRET")))
