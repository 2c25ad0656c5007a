"""Which documents are requested in which order, and what their absence means."""

import json

import pytest

from mcpbridged.bridge.oauth.discovery import discover
from mcpbridged.transports.client.ports import Redirected, Unreachable
from mcpbridged.validators.oauth_challenge import BearerChallenge
from mcpbridged.validators.oauth_refusal import OAuthRefusal
from mcpbridged.validators.oauth_urls import configured_server

pytestmark = pytest.mark.anyio

SERVER = configured_server("https://h.example/mcp")
RESOURCE = "https://h.example/.well-known/oauth-protected-resource"
AS = "https://as.example"


def resource(**members):
    return 200, {"resource": "https://h.example/mcp", "authorization_servers": [AS], **members}


def metadata(issuer=AS, **members):
    return 200, {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "code_challenge_methods_supported": ["S256"],
        **members,
    }


class Site:
    """Documents by URL: (status, JSON or bytes), or an exception."""

    def __init__(self, **_):
        self.documents = {}
        self.requested = []

    async def get(self, url):
        self.requested.append(url)
        found = self.documents.get(url, (404, b""))
        if isinstance(found, Exception):
            raise found
        status, content = found
        return status, content if isinstance(content, bytes) else json.dumps(content).encode()


@pytest.fixture
def site():
    return Site()


async def find(site, challenge=None, *, required="", stored="", grant="authorization_code"):
    return await discover(
        site, SERVER, challenge or BearerChallenge(), required=required, stored=stored, grant=grant
    )


async def test_the_named_document_comes_first(site):
    site.documents = {
        "https://h.example/custom.json": resource(scopes_supported=["a"]),
        f"{AS}/.well-known/oauth-authorization-server": metadata(),
    }
    found = await find(site, BearerChallenge("https://h.example/custom.json"))
    assert (found.resource, found.scopes, found.metadata.issuer) == ("https://h.example/mcp", ("a",), AS)
    assert site.requested == list(site.documents)


async def test_the_well_known_documents_follow_in_order(site):
    site.documents = {
        RESOURCE: resource(authorization_servers=[f"{AS}/t"]),
        f"{AS}/t/.well-known/openid-configuration": metadata(f"{AS}/t"),
    }
    await find(site, BearerChallenge("https://h.example/gone.json"))
    assert site.requested == [
        "https://h.example/gone.json",
        f"{RESOURCE}/mcp",
        RESOURCE,
        f"{AS}/.well-known/oauth-authorization-server/t",
        f"{AS}/.well-known/openid-configuration/t",
        f"{AS}/t/.well-known/openid-configuration",
    ]


NOT_THERE = {
    "not found": (404, b""),
    "a page": (200, b"<html>"),
    "an array": (200, []),
    "unauthorized": (401, {}),
    "a redirect to a login page": Redirected("it redirects", sent=True),
}


@pytest.mark.parametrize("name", NOT_THERE)
async def test_a_url_without_a_document_is_passed_over(site, name):
    site.documents = {
        f"{RESOURCE}/mcp": NOT_THERE[name],
        RESOURCE: resource(),
        f"{AS}/.well-known/oauth-authorization-server": NOT_THERE[name],
        f"{AS}/.well-known/openid-configuration": metadata(),
    }
    assert (await find(site)).metadata.issuer == AS


@pytest.mark.parametrize("name", NOT_THERE)
async def test_a_server_without_documents_has_the_default_endpoints(site, name):
    site.documents = dict.fromkeys(
        (
            f"{RESOURCE}/mcp",
            RESOURCE,
            "https://h.example/.well-known/oauth-authorization-server",
            "https://h.example/.well-known/openid-configuration",
        ),
        NOT_THERE[name],
    )
    found = await find(site)
    assert found.metadata.token_endpoint == "https://h.example/token"
    assert (found.resource, found.scopes) == ("https://h.example/mcp", None)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_server_can_be_its_own_authorization_server(site, slash):
    root = "https://h.example/.well-known/oauth-authorization-server"
    site.documents = {root: metadata(f"https://h.example{slash}")}
    assert (await find(site)).metadata.issuer == f"https://h.example{slash}"


async def test_a_resource_that_names_no_authorization_server_is_its_own(site):
    site.documents = {
        RESOURCE: resource(authorization_servers=[], scopes_supported=["a"], resource="https://h.example"),
        "https://h.example/.well-known/oauth-authorization-server": metadata("https://h.example"),
    }
    found = await find(site)
    assert (found.resource, found.scopes) == ("https://h.example", ("a",))
    assert found.metadata.issuer == "https://h.example"


async def test_a_configured_issuer_helps_where_no_document_names_it(site):
    site.documents = {f"{AS}/.well-known/oauth-authorization-server": metadata()}
    assert (await find(site, required=AS)).metadata.issuer == AS
    own = "https://h.example"
    site.documents = {f"{own}/.well-known/oauth-authorization-server": metadata(own)}
    assert (await find(site, required=own)).metadata.issuer == own


UNCERTAIN = {
    "a failing server": (503, b""),
    "too many requests": (429, b""),
    "an unreachable server": Unreachable("connection refused"),
    "an address that is refused": Unreachable("which the server has named, is not used"),
}


@pytest.mark.parametrize("name", UNCERTAIN)
async def test_a_failure_is_no_proof_that_there_is_no_document(site, name):
    site.documents = {f"{RESOURCE}/mcp": UNCERTAIN[name]}
    with pytest.raises(Unreachable):
        await find(site)
    assert not any("oauth-authorization-server" in url for url in site.requested)
    site.documents = {
        f"{RESOURCE}/mcp": resource(),
        f"{AS}/.well-known/oauth-authorization-server": UNCERTAIN[name],
    }
    with pytest.raises(Unreachable):
        await find(site)
    # Another URL may have the document.
    site.documents[f"{AS}/.well-known/openid-configuration"] = metadata()
    assert (await find(site)).metadata.issuer == AS


async def test_a_refused_document_is_no_proof_that_there_is_none(site):
    site.documents = {f"{RESOURCE}/mcp": resource(resource="https://evil.example/mcp")}
    with pytest.raises(OAuthRefusal, match="evil"):
        await find(site)
    assert not any("oauth-authorization-server" in url for url in site.requested)
    site.documents = {
        f"{RESOURCE}/mcp": resource(),
        f"{AS}/.well-known/oauth-authorization-server": metadata("https://honest.example"),
    }
    with pytest.raises(OAuthRefusal, match="honest"):
        await find(site)


async def test_another_document_may_be_the_right_one(site):
    # A server that ignores the path after the well-known one.
    site.documents = {
        f"{RESOURCE}/mcp": resource(authorization_servers=[f"{AS}/t"]),
        f"{AS}/.well-known/oauth-authorization-server/t": metadata(),
        f"{AS}/.well-known/openid-configuration/t": metadata(f"{AS}/t"),
    }
    assert (await find(site)).metadata.issuer == f"{AS}/t"


async def test_an_authorization_server_without_metadata_is_refused(site):
    site.documents = {RESOURCE: resource()}
    with pytest.raises(OAuthRefusal, match="has no metadata at its well-known URLs"):
        await find(site)


async def test_a_hostile_url_in_the_challenge_is_refused(site):
    for url in (
        "http://169.254.169.254/x",
        "file:///etc/passwd",
        "http://127.0.0.1/x",
        "https://u@h.example/",
    ):
        with pytest.raises(OAuthRefusal, match="resource_metadata"):
            await find(site, BearerChallenge(url))
    assert site.requested == []


async def test_a_client_that_acts_for_itself_needs_no_pkce(site):
    site.documents = {
        RESOURCE: resource(),
        f"{AS}/.well-known/oauth-authorization-server": metadata(code_challenge_methods_supported=None),
    }
    with pytest.raises(OAuthRefusal, match="PKCE"):
        await find(site)
    assert (await find(site, grant="client_credentials")).metadata.issuer == AS
