"""The calls and the tokens of the state of the page."""

import socket

import msgspec

from mcpbridged.bridge.config.settings import AdminConfig, Settings, TokenConfig
from mcpbridged.bridge.core.call_metrics import CallMetrics
from mcpbridged.bridge.core.effects import OK, RequestFinished
from mcpbridged.bridge.daemon.page_state import TokenUse, busiest, call_rows, token_uses
from mcpbridged.bridge.daemon.session_list import SessionStatus
from mcpbridged.transports.http.quota import Quota
from mcpbridged.validators.limits import Limits


def settings(**more):
    tokens = (TokenConfig("editor", b"x" * 32, frozenset({"git", "files"})), TokenConfig("ci", b"y" * 32))
    return Settings((), tokens=tokens, admin=AdminConfig(enabled=True), **more)


def test_the_use_of_each_token_is_counted_by_connections():
    quota = Quota(Limits())
    near, far = socket.socketpair()
    with near, far:
        one, other = quota.admit(near, "one"), quota.admit(far, "other")
        one.identify("editor")
        other.identify("owner")
        other.release()
        owner, editor, ci = token_uses(settings(), quota)
    assert (owner.name, owner.servers, owner.connections) == ("owner", ("*",), 0)
    assert owner.last_used > 1_600_000_000
    assert editor == TokenUse("editor", ("files", "git"), 1, 0.0)
    assert ci == TokenUse("ci", ("*",), 0, 0.0)


def test_without_authentication_the_owner_has_no_token():
    assert [use.name for use in token_uses(settings(authenticate=False), Quota(Limits()))] == ["editor", "ci"]


def end(metrics, method, tool, seconds, outcome=OK):
    """Count a request that took this time (seconds)."""
    metrics.add(RequestFinished(b"1", method, tool, 1.0 - seconds, outcome))


def test_the_calls_of_tools_come_first_and_the_most_frequent_of_them():
    metrics = CallMetrics(lambda: 1.0)
    for number in range(20):
        end(metrics, "tools/call", "search", 0.1, OK if number else "error -32603")
        end(metrics, "tools/list", "", 0.1)
    end(metrics, "tools/call", "echo", 0.2)
    rows = call_rows([("git", metrics), ("new", CallMetrics(lambda: 1.0)), ("off", None)])
    assert [(row.server, row.method, row.tool, row.count, row.failed) for row in rows] == [
        ("git", "tools/call", "search", 20, 1),
        ("git", "tools/call", "echo", 1, 0),
        ("git", "tools/list", "", 20, 0),
    ]
    assert 0.05 < rows[0].median <= rows[0].p95 <= 0.1
    assert abs(rows[0].mean - 0.1) < 1e-9


def test_the_number_of_rows_is_limited():
    metrics = CallMetrics(lambda: 1.0)
    for number in range(150):
        end(metrics, "tools/call", f"tool{number}", 0.1)
    assert len(call_rows([("git", metrics)])) == 100


def test_the_clients_that_were_active_last_are_shown():
    one = SessionStatus("git", "abc", "editor", "1", "owner", "http", "2025-11-25", 5.0, 0.0, 7, 0)
    many = [msgspec.structs.replace(one, idle=float(number)) for number in range(150)]
    assert [session.idle for session in busiest(reversed(many))] == [float(number) for number in range(100)]
