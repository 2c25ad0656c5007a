"""What is on and was not used for long."""

import pytest

from mcpbridged.bridge.commands.doctor.unused import LONG, unused_features, unused_server, unused_tokens
from mcpbridged.bridge.config.settings import AGGREGATE, ServerConfig

DAY = 86_400
NOW = 1_000 * DAY
SERVER = {
    "name": "git",
    "calls": 0,
    "pids": [],
    "memory": 0,
    "since": NOW - 9 * DAY,
    "methods_since": 0,
    "used_methods": [],
}
COUNTED = {
    **SERVER,
    "calls": 99,
    "methods_since": NOW - 8 * DAY,
    "used_methods": ["tools/call", "prompts/list"],
}
OFFERED = {"tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {}}


def about(server, config=None, **changes):
    return [*unused_server({**server, **changes}, config or ServerConfig("git"), NOW)]


def features(offered=OFFERED, without=(), **changes):
    return [*unused_features({**COUNTED, **changes}, ServerConfig("git", without=without), offered, NOW)]


def test_tokens_are_reported_after_a_week():
    [one, other] = unused_tokens(["a", "b"], LONG)
    assert one.text == "tokens.a: no client has used it for 7 days"
    assert one.commands == ("mcp-bridge token revoke a", "mcp-bridge reload")
    assert other.text.startswith("tokens.b: ")
    assert not [*unused_tokens(["a"], LONG - 1)]


def test_a_server_without_requests_is_reported_with_what_it_costs():
    [found] = about(SERVER)
    assert found.text == "servers.git: no client has used it for 9 days"
    assert found.commands == ("mcp-bridge disable git",)
    [found] = about(SERVER, ServerConfig("git", eager=True), pids=[7], memory=50 * 2**20)
    assert found.text.endswith("for 9 days; 1 process uses 50 MiB")
    [found] = about(SERVER, ServerConfig("git", spare=2), pids=[7, 8], memory=50 * 2**20)
    assert found.text.endswith("; 2 processes use 50 MiB")


@pytest.mark.parametrize(
    "changes",
    [
        {"since": NOW - LONG + 1},
        {"calls": 1},
        {"name": AGGREGATE},
        {"calls": 1, "methods_since": NOW - LONG + 1},
        {"calls": 1, "methods_since": NOW - LONG, "used_methods": ["tools/call"]},
    ],
)
def test_a_server_that_may_be_used_is_not_reported(changes):
    assert not about(SERVER, **changes)


def test_a_server_of_a_former_daemon_is_not_reported():
    assert not about({name: SERVER[name] for name in ("name", "calls", "pids", "memory")})


def test_requests_of_the_doctor_are_no_use():
    [found] = about(
        SERVER, calls=3, methods_since=NOW - 8 * DAY, used_methods=["server/discover", "tools/list"]
    )
    assert found.text == "servers.git: no client has used it for 8 days"


def test_capabilities_that_no_client_has_used_can_be_denied():
    [found] = features(without=("sampling",))
    assert (
        found.text == "servers.git: no client has used its prompts and resources and completions for 8 days"
    )
    assert found.commands[0] == 'features = { deny = ["sampling", "prompts", "resources", "completions"] }'
    [found] = features(used_methods=["tools/call", "prompts/get", "subscriptions/listen"])
    assert found.commands[0] == 'features = { deny = ["completions"] }'


@pytest.mark.parametrize(
    "changes",
    [
        {"offered": {"tools": {}, "logging": {}}},
        {"offered": ()},
        {"used_methods": ["prompts/get", "resources/read", "completion/complete"]},
        {"used_methods": []},
        {"calls": 19},
        {"methods_since": 0},
        {"methods_since": NOW - LONG + 1},
    ],
)
def test_capabilities_that_may_be_used_are_not_reported(changes):
    assert not features(**changes)
