"""Metadata of protected resources and authorization servers, good and hostile."""

import json

import pytest

from mcpbridged.validators.oauth_metadata import (
    ProtectedResource,
    ServerMetadata,
    choose_issuer,
    default_metadata,
    protected_resource,
    server_metadata,
)
from mcpbridged.validators.oauth_refusal import OAuthRefusal
from mcpbridged.validators.oauth_urls import configured_server

SERVER = configured_server("https://h.example/mcp")
ISSUER = "https://as.example"
RESOURCE = {"resource": "https://h.example/mcp", "authorization_servers": [ISSUER]}
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "response_types_supported": ["code", "code id_token"],
    "code_challenge_methods_supported": ["plain", "S256"],
}
ABSENT = object()


def changed(base, **changes):
    return json.dumps(
        {key: value for key, value in {**base, **changes}.items() if value is not ABSENT}
    ).encode()


def test_the_metadata_of_a_protected_resource():
    data = changed(
        RESOURCE,
        authorization_servers=[ISSUER, "https://b.example/t"],
        scopes_supported=["a", "b c", 7],
        other={},
    )
    assert protected_resource(data, SERVER) == ProtectedResource(
        "https://h.example/mcp", (ISSUER, "https://b.example/t"), ("a",)
    )
    data = changed(RESOURCE, bearer_methods_supported=["body", "header"], scopes_supported="a b")
    assert protected_resource(data, SERVER).scopes is None


def test_authorization_servers_with_unusable_urls_are_left_out():
    data = changed(RESOURCE, authorization_servers=["http://as.example", "javascript:x", 7, ISSUER])
    assert protected_resource(data, SERVER).servers == (ISSUER,)


@pytest.mark.parametrize("named", [ABSENT, [], ISSUER, None])
def test_a_resource_may_name_no_authorization_server(named):
    assert protected_resource(changed(RESOURCE, authorization_servers=named), SERVER).servers == ()


HOSTILE_RESOURCES = {
    "no JSON": (b"<html>", "is not JSON"),
    "not UTF-8": (b'{"resource": "\xff"}', "is not JSON"),
    "deep": (b"[" * 60_000, "is not JSON"),
    "an array": (b"[]", "not a JSON object"),
    "no resource": (changed(RESOURCE, resource=ABSENT), "has no resource"),
    "another resource": (
        changed(RESOURCE, resource="https://evil.example/mcp"),
        "and not of https://h.example/mcp",
    ),
    "a resource of another type": (changed(RESOURCE, resource=["https://h.example/mcp"]), "has no resource"),
    "the metadata service of a cloud": (
        changed(RESOURCE, authorization_servers=["http://169.254.169.254/"]),
        "must be https",
    ),
    "a query": (changed(RESOURCE, authorization_servers=["https://as.example/?x=y"]), "has a query"),
    "tokens in the query only": (
        changed(RESOURCE, bearer_methods_supported=["query"]),
        "no token in the Authorization",
    ),
    "no way to send a token": (
        changed(RESOURCE, bearer_methods_supported=[]),
        "no token in the Authorization",
    ),
}


@pytest.mark.parametrize("name", HOSTILE_RESOURCES)
def test_hostile_metadata_of_a_resource_is_refused_with_a_reason(name):
    data, reason = HOSTILE_RESOURCES[name]
    with pytest.raises(OAuthRefusal, match=reason) as caught:
        protected_resource(data, SERVER)
    assert str(caught.value).isprintable()


def test_the_stored_authorization_server_is_kept_while_it_is_listed():
    listed = ("https://a", "https://b")
    assert choose_issuer(listed, "", "https://b") == "https://b"
    assert choose_issuer(listed, "", "https://c") == "https://a"
    assert choose_issuer(listed, "", "") == "https://a"


def test_only_the_configured_issuer_is_used():
    assert choose_issuer(("https://a", "https://b"), "https://b", "https://a") == "https://b"
    with pytest.raises(OAuthRefusal, match="not the configured issuer 'https://b/'"):
        choose_issuer(("https://a", "https://b"), "https://b/", "https://a")


def test_a_slash_that_an_sdk_has_added_names_the_same_issuer():
    assert choose_issuer(("https://a/", "https://b/"), "https://b", "") == "https://b/"
    assert choose_issuer(("https://a/", "https://b/"), "", "https://b") == "https://b/"
    assert server_metadata(changed(METADATA), f"{ISSUER}/", SERVER).issuer == ISSUER
    with pytest.raises(OAuthRefusal, match="is that of the issuer"):
        server_metadata(changed(METADATA), f"{ISSUER}//", SERVER)


def test_the_metadata_of_an_authorization_server():
    data = changed(
        METADATA,
        registration_endpoint=f"{ISSUER}/register",
        revocation_endpoint="https://other.example/revoke",
        scopes_supported=["a"],
        grant_types_supported=["authorization_code"],
        token_endpoint_auth_methods_supported=["none"],
        token_endpoint_auth_signing_alg_values_supported=["ES256"],
        authorization_response_iss_parameter_supported=True,
        client_id_metadata_document_supported=True,
    )
    assert server_metadata(data, ISSUER, SERVER) == ServerMetadata(
        ISSUER,
        f"{ISSUER}/token",
        f"{ISSUER}/authorize",
        f"{ISSUER}/register",
        "https://other.example/revoke",
        ("a",),
        ("authorization_code",),
        ("none",),
        ("ES256",),
        sends_issuer=True,
        takes_documents=True,
    )


def test_absent_members_have_no_effect():
    data = changed(METADATA, response_types_supported=ABSENT, registration_endpoint=None)
    found = server_metadata(data, ISSUER, SERVER)
    assert (found.registration_endpoint, found.scopes, found.grants, found.sends_issuer) == (
        "",
        None,
        None,
        False,
    )


def test_a_client_that_acts_for_itself_needs_a_token_endpoint_only():
    data = changed(METADATA, authorization_endpoint=ABSENT, code_challenge_methods_supported=ABSENT)
    assert server_metadata(data, ISSUER, SERVER, "client_credentials").token_endpoint == f"{ISSUER}/token"


HOSTILE_SERVERS = {
    "another issuer": (changed(METADATA, issuer="https://honest.example"), "is that of the issuer"),
    "the issuer with a slash": (changed(METADATA, issuer=f"{ISSUER}/"), "is that of the issuer"),
    "the issuer in capitals": (changed(METADATA, issuer="https://AS.example"), "is that of the issuer"),
    "the issuer with its port": (changed(METADATA, issuer=f"{ISSUER}:443"), "is that of the issuer"),
    "no issuer": (changed(METADATA, issuer=ABSENT), "is that of the issuer"),
    "no token endpoint": (changed(METADATA, token_endpoint=ABSENT), "the token endpoint is missing"),
    "a token endpoint over http": (changed(METADATA, token_endpoint="http://as.example/t"), "must be https"),
    "a token endpoint on the loopback": (
        changed(METADATA, token_endpoint="http://127.0.0.1/t"),
        "must be https",
    ),
    "no authorization endpoint": (
        changed(METADATA, authorization_endpoint=""),
        "authorization endpoint is missing",
    ),
    "a script": (changed(METADATA, authorization_endpoint="javascript:alert(1)"), "must begin with"),
    "a file": (changed(METADATA, authorization_endpoint="file:///etc/passwd"), "must begin with"),
    "a terminal": (changed(METADATA, authorization_endpoint=f"{ISSUER}/\x1b[2J"), "control character"),
    "a registration over http": (
        changed(METADATA, registration_endpoint="http://as.example"),
        "must be https",
    ),
    "a revocation of another type": (
        changed(METADATA, revocation_endpoint=7),
        "revocation endpoint is missing",
    ),
    "no PKCE": (changed(METADATA, code_challenge_methods_supported=ABSENT), "does not announce PKCE"),
    "plain PKCE": (changed(METADATA, code_challenge_methods_supported=["plain"]), "does not announce PKCE"),
    "no code": (changed(METADATA, response_types_supported=["token"]), "response type code"),
    "null": (b"null", "not a JSON object"),
}


@pytest.mark.parametrize("name", HOSTILE_SERVERS)
def test_hostile_metadata_of_an_authorization_server_is_refused_with_a_reason(name):
    data, reason = HOSTILE_SERVERS[name]
    with pytest.raises(OAuthRefusal, match=reason) as caught:
        server_metadata(data, ISSUER, SERVER)
    assert str(caught.value).isprintable()


def test_the_default_endpoints_are_at_the_root():
    found = default_metadata(configured_server("https://h.example/v1/mcp"))
    assert found == ServerMetadata(
        "https://h.example",
        "https://h.example/token",
        "https://h.example/authorize",
        "https://h.example/register",
    )
