"""Rates of requests by principal, transport, server and tool."""

import pytest

from mcpbridged.bridge.core import request_rates
from mcpbridged.bridge.core.request_rates import RateTable, RequestRates, ServerRates
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.token_bucket import parse_rate

ONE = parse_rate("1/minute")
TWO = parse_rate("2/minute")


def refused(guard, *request, now=0.0, **options):
    with pytest.raises(Rejection) as caught:
        guard.take(*request, now, **options)
    return caught.value


def keys_of(guard, *request, **options):
    return [applied.key for applied in guard.applied(*request, **options)]


def test_without_rates_a_guard_is_off():
    guard = RequestRates().guard("git")
    assert not guard.on
    assert not keys_of(guard, "a", "http", "x")
    # Rates of another server do not matter.
    assert not RequestRates(RateTable(servers={"time": ServerRates(ONE)})).guard("git").on


@pytest.mark.parametrize(
    "table",
    [
        RateTable(principal=ONE),
        RateTable(transports={"http": ONE}),
        RateTable(server=ONE),
        RateTable(tools=(("*", ONE),)),
        RateTable(tokens={"ci": ONE}),
        RateTable(servers={"git": ServerRates(principal=ONE)}),
        RateTable(servers={"git": ServerRates(server=ONE)}),
        RateTable(servers={"git": ServerRates(tools=(("*", ONE),))}),
    ],
)
def test_any_rate_turns_a_guard_on(table):
    rates = RequestRates()
    guard = rates.guard("git")
    rates.configure(table)
    assert guard.on
    rates.configure(RateTable())
    assert not guard.on


def test_the_rates_that_apply_are_those_of_the_manual():
    table = RateTable(
        principal=ONE,
        transports={"http": ONE, "websocket": ONE},
        server=ONE,
        tools=(("delete_*", ONE),),
        servers={"git": ServerRates(ONE, ONE, (("git_*", ONE), ("git_push", ONE)))},
        tokens={"ci": ONE},
    )
    rates = RequestRates(table)
    git, other = rates.guard("git"), rates.guard("other")
    assert keys_of(git, "a", "http", None) == [
        "rates.principal",
        "rates.http",
        "servers.git.rates.principal",
        "servers.git.rates.server",
    ]
    assert keys_of(git, "ci", "pipe", "git_push") == [
        "tokens.ci.rates.requests",
        "servers.git.rates.principal",
        "servers.git.rates.server",
        'servers.git.tool_rates."git_*"',
        'servers.git.tool_rates."git_push"',
    ]
    assert keys_of(other, "a", "sse", "delete_all") == [
        "rates.principal",
        "rates.server",
        'tool_rates."delete_*"',
    ]
    # The aggregate has counted these for the principal and the transport.
    assert keys_of(other, "a", "websocket", "x", forwarded=True) == ["rates.server"]
    assert git.reads_tools
    assert not RequestRates(RateTable(principal=ONE)).guard("git").reads_tools


def test_a_request_beyond_the_rate_names_it_and_when_to_repeat():
    guard = RequestRates(RateTable(principal=parse_rate("60/minute burst 2"))).guard("git")
    guard.take("a", "http", None, 0.0)
    guard.take("a", "http", None, 0.0)
    rejection = refused(guard, "a", "http", None)
    assert (rejection.status, rejection.code, rejection.reason) == (429, -32000, "rate_limit")
    assert rejection.text == "the limit of 60/minute burst 2 requests is reached (rates.principal)"
    assert rejection.headers == ((b"Retry-After", b"1"),)
    assert rejection.data == {
        "reason": "rate_limit",
        "limit": 60,
        "seconds": 60,
        "burst": 2,
        "key": "rates.principal",
        "retryAfter": 1,
    }
    # After that time it is admitted.
    guard.take("a", "http", None, 1.0)


def test_the_rate_of_a_principal_is_one_for_all_servers_and_is_not_that_of_another():
    rates = RequestRates(RateTable(principal=ONE))
    rates.guard("git").take("a", "http", None, 0.0)
    refused(rates.guard("time"), "a", "websocket", None)
    rates.guard("git").take("b", "http", None, 0.0)


def test_the_rate_of_a_server_is_one_for_all_principals():
    rates = RequestRates(RateTable(server=ONE))
    rates.guard("git").take("a", "http", None, 0.0)
    refused(rates.guard("git"), "b", "http", None)
    rates.guard("time").take("a", "http", None, 0.0)


def test_the_rate_of_a_transport_is_one_for_each_principal():
    guard = RequestRates(RateTable(transports={"http": ONE})).guard("git")
    guard.take("a", "http", None, 0.0)
    refused(guard, "a", "http", None)
    guard.take("a", "websocket", None, 0.0)
    guard.take("b", "http", None, 0.0)


def test_the_tools_of_one_pattern_have_a_rate_together():
    guard = RequestRates(RateTable(tools=(("delete_*", ONE),))).guard("git")
    guard.take("a", "http", "delete_a", 0.0)
    refused(guard, "a", "http", "delete_b")
    guard.take("a", "http", "list", 0.0)
    guard.take("a", "http", None, 0.0)
    guard.take("b", "http", "delete_b", 0.0)


def test_a_refused_request_takes_no_token_of_other_rates():
    guard = RequestRates(RateTable(principal=TWO, tools=(("x", ONE),))).guard("git")
    guard.take("a", "http", "x", 0.0)
    for _ in range(5):
        assert refused(guard, "a", "http", "x").data["key"] == 'tool_rates."x"'
    guard.take("a", "http", "y", 0.0)
    assert refused(guard, "a", "http", "y").data["key"] == "rates.principal"


def test_the_error_names_the_rate_that_takes_longest():
    guard = RequestRates(RateTable(principal=parse_rate("1/second"), server=parse_rate("1/hour"))).guard(
        "git"
    )
    guard.take("a", "http", None, 0.0)
    rejection = refused(guard, "a", "http", None)
    assert (rejection.data["key"], rejection.data["retryAfter"]) == ("rates.server", 3600)


def test_a_changed_rate_begins_with_a_full_bucket_and_others_keep_theirs():
    rates = RequestRates(RateTable(principal=ONE, server=ONE))
    guard = rates.guard("git")
    guard.take("a", "http", None, 0.0)
    rates.configure(RateTable(principal=TWO))
    guard.take("a", "http", None, 0.0)
    rates.configure(RateTable(principal=TWO, server=ONE))
    assert refused(guard, "a", "http", None).data["key"] == "rates.server"


def test_the_table_of_buckets_is_bounded(monkeypatch):
    monkeypatch.setattr(request_rates, "MOST_BUCKETS", 3)
    rates = RequestRates(RateTable(principal=ONE))
    guard = rates.guard("git")
    for name in "abc":
        guard.take(name, "http", None, 0.0)
    # Used again, so that the next one is the oldest.
    refused(guard, "a", "http", None)
    guard.take("d", "http", None, 0.0)
    assert len(rates._buckets) == 3
    refused(guard, "a", "http", None)
    guard.take("b", "http", None, 0.0)


def test_a_server_that_was_removed_leaves_nothing():
    rates = RequestRates(RateTable(principal=ONE))
    git = rates.guard("git")
    rates.guard("time")
    rates.keep(frozenset({"git"}))
    assert list(rates._guards) == ["git"]
    assert rates.guard("git") is git
