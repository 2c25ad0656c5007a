"""Whether requests of an open connection would still be admitted."""

import pytest

from mcpbridged.validators.bearer import TokenSet

from ...support.exchange import head
from ...support.http_service import make_service
from ...support.serving import TOKEN


async def endpoint(_exchange):
    """Do nothing (Endpoint)."""


@pytest.fixture
def service():
    return make_service({"/mcp": endpoint}, tokens=TokenSet({TOKEN: "owner"}))


REQUEST = head("POST", "/mcp", {"Authorization": f"Bearer {TOKEN}"})


def test_a_request_is_still_admitted_while_nothing_changes(service):
    assert service.still_admits(REQUEST, "owner")


def test_a_removed_token_ends_the_access(service):
    service.gate.tokens.replace(TokenSet({}))
    assert not service.still_admits(REQUEST, "owner")


def test_a_token_that_changes_its_principal_ends_the_access(service):
    service.gate.tokens.replace(TokenSet({TOKEN: "another"}))
    assert not service.still_admits(REQUEST, "owner")


def test_a_right_that_is_withdrawn_ends_the_access(service):
    service.route.replace({"/mcp": endpoint}, {"/mcp": "files"}, lambda *_: False)
    assert not service.still_admits(REQUEST, "owner")


def test_a_removed_server_is_drained_and_not_cut_off(service):
    service.route.replace({})
    assert service.still_admits(REQUEST, "owner")


def test_the_paths_of_control_endpoints_have_both_spellings(service):
    assert make_service().control == frozenset()
    assert type(service)(
        service.limits,
        service.gate,
        service.route,
        service.ticker,
        service.poller,
        service.log,
        service.quota,
        control={"/control"},
    ).control == {"/control", "/control/"}
