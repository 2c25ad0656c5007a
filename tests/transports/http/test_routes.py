"""Which endpoint a path leads to, and who may use it."""

import json

import pytest

from mcpbridged.transports.endpoints.streamable_http import StreamableHttp
from mcpbridged.transports.http.routes import Routes, endpoints, healthz, no_oauth, readyz
from mcpbridged.transports.options import Paths
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeBackend, FakeExchange, head
from ...support.serving import RecordingLog

pytestmark = pytest.mark.anyio


async def one(_exchange):
    """Do nothing (Endpoint)."""


async def two(_exchange):
    """Do nothing (Endpoint)."""


def status_of(routes, path, principal="", method="GET"):
    with pytest.raises(Rejection) as caught:
        routes(head(method, path), principal)
    return caught.value.status


def test_a_slash_at_the_end_makes_no_difference_and_nothing_else_is_normalised():
    routes = Routes({"/mcp": one, "/a/": two}, {})
    assert [routes(head("GET", path), "") for path in ("/mcp", "/mcp/", "/a", "/a/")] == [one, one, two, two]
    assert [status_of(routes, path) for path in ("/MCP", "/%6dcp", "/mcp//", "/./mcp")] == [404] * 4


def test_options_for_the_whole_server_gets_the_methods():
    assert status_of(Routes({}, {}), "*", method="OPTIONS") == 405


def test_the_generation_grows_with_each_change():
    routes = Routes({"/a": one}, {})
    before = routes.generation
    routes.replace({"/b": two})
    assert routes.generation == before + 1
    assert routes(head("GET", "/b"), "") is two
    assert status_of(routes, "/a") == 404


def test_health_survives_a_change_and_takes_precedence():
    routes = Routes({}, {"/healthz": healthz})
    routes.replace({"/healthz": one})
    assert routes(head("GET", "/healthz/"), "") is healthz


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server/mcp", "/register"])
def test_a_discovery_path_never_leads_to_a_server(path):
    assert Routes({path: one}, {})(head("GET", path), "") is no_oauth


def test_a_principal_uses_only_the_servers_of_its_rights():
    routes = Routes({}, {})
    routes.replace(
        {"/a": one, "/b": two, "/c": one},
        {"/a": "a", "/b": "b"},
        lambda principal, server: principal != "limited" or server == "a",
    )
    assert routes(head("GET", "/a"), "limited") is one
    assert status_of(routes, "/b/", "limited") == 403
    assert routes(head("GET", "/b"), "other") is two
    assert routes(head("GET", "/c"), "limited") is one


def test_an_empty_path_disables_a_transport():
    table = endpoints(Paths(sse="", messages=""), FakeBackend(), Limits(), RecordingLog())
    assert set(table) == {"/mcp", "/ws", "/pipe"}
    assert isinstance(table["/mcp"], StreamableHttp)


async def sent(endpoint, method="GET", target="/readyz", **more):
    exchange = FakeExchange(head(method, target), **more)
    await endpoint(exchange)
    [(status, _, body)] = exchange.answers
    return status, body, exchange


async def test_the_oauth_error_ends_the_attempt_of_a_client_and_is_counted():
    status, body, exchange = await sent(no_oauth)
    assert (status, json.loads(body)["error"], exchange.refusals) == (404, "invalid_request", [404])


async def test_with_an_issuer_the_error_names_where_its_metadata_is():
    documents = {"/.well-known/oauth-protected-resource": b"{}"}
    routes = Routes({}, {}, metadata=documents.get)
    endpoint = routes(head("GET", "/.well-known/oauth-authorization-server"), "")
    status, body, exchange = await sent(endpoint)
    error = json.loads(body)
    assert (status, error["error"], exchange.refusals) == (404, "invalid_request", [404])
    assert "/.well-known/oauth-protected-resource" in error["error_description"]
    assert "no OAuth" not in error["error_description"]
    assert (await sent(routes(head("GET", "/.well-known/oauth-protected-resource"), "")))[:2] == (200, b"{}")


async def test_health_needs_a_method_that_reads():
    assert (await sent(healthz))[:2] == (200, b"ok")
    assert (await sent(healthz, "HEAD"))[0] == 200
    for endpoint in (healthz, readyz(lambda _name: True)):
        with pytest.raises(Rejection) as caught:
            await sent(endpoint, "POST")
        assert (caught.value.status, caught.value.headers) == (405, ((b"Allow", b"GET, HEAD"),))


async def test_readiness_is_that_of_all_servers_or_of_one():
    endpoint = readyz({"": False, "a": True, "b": False}.__getitem__)
    assert (await sent(endpoint))[:2] == (503, b"not ready")
    assert (await sent(endpoint, target="/readyz?server=a"))[:2] == (200, b"ready")
    assert (await sent(endpoint, target="/readyz?server=b"))[0] == 503


async def test_a_denied_server_is_not_ready():
    endpoint = readyz(lambda _name: True, lambda principal, server: (principal, server) != ("owner", "a"))
    assert (await sent(endpoint, target="/readyz?server=a"))[:2] == (503, b"not ready")
    assert (await sent(endpoint, target="/readyz?server=a", principal="admin"))[0] == 200
    assert (await sent(endpoint))[0] == 200


def test_the_pipe_of_an_unknown_server_is_refused_with_the_servers_of_the_principal():
    routes = Routes({}, {}, lambda name, known: f"; {name} is none of {', '.join(known)}")
    routes.replace(
        {"/servers/a/pipe": one, "/servers/b/pipe": two},
        {"/servers/a/pipe": "a", "/servers/b/pipe": "b", "/mcp": "b"},
        lambda principal, server: principal != "limited" or server == "b",
    )

    def text_of(path, principal):
        with pytest.raises(Rejection) as refused:
            routes(head("GET", path), principal)
        assert refused.value.status == 404
        return str(refused.value)

    assert text_of("/servers/c/pipe", "local") == "there is no server of this name; c is none of a, b"
    assert text_of("/servers/c/pipe", "limited") == "there is no server of this name; c is none of b"
    for path in ("/servers/c/mcp", "/c/pipe", "/servers/c/x/pipe", "/x/c/pipe"):
        assert text_of(path, "local") == "Not found"
    with pytest.raises(Rejection, match=r"\ANot found\Z"):
        Routes({}, {})(head("GET", "/servers/c/pipe"), "local")
