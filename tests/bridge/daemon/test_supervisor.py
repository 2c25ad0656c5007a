"""Which processes may act for a principal, and what each principal may use."""

from types import SimpleNamespace

import pytest

from mcpbridged.bridge.config.settings import AggregateConfig, ServerConfig, Settings, TokenConfig
from mcpbridged.bridge.daemon.supervisor import Supervisor, permitted_servers
from mcpbridged.transports.options import member_path


def aggregate(name, *, named=True):
    about = AggregateConfig(("git",), named=named)
    return ServerConfig(name, knows_principal=True, aggregate=about)


# The processes of each server, by pid, with their principals.
PROCESSES = [
    (ServerConfig("git"), {1: "alice"}),
    (aggregate("aggregate", named=False), {2: "alice"}),
    (aggregate("dev"), {3: "alice", 4: "bob"}),
    (aggregate("ops"), {5: "alice"}),
]
SUPERVISOR = SimpleNamespace(
    _all=lambda: [
        SimpleNamespace(config=config, name=config.name, principals_by_pid=pids) for config, pids in PROCESSES
    ]
)


@pytest.mark.parametrize(
    ("pid", "principal", "path", "may"),
    [
        (1, "alice", "/servers/git/ws", False),
        (2, "alice", "/servers/git/ws", True),
        (2, "bob", "/servers/git/ws", False),
        (9, "alice", "/servers/git/ws", False),
        (3, "alice", member_path("dev", "git"), True),
        (4, "bob", member_path("dev", "git"), True),
        (3, "bob", member_path("dev", "git"), False),
        (3, "", member_path("dev", "git"), False),
        (1, "alice", member_path("dev", "git"), False),
        (2, "alice", member_path("dev", "git"), False),
        (5, "alice", member_path("dev", "git"), False),
        (5, "alice", f"{member_path('dev', 'git')}/", False),
        (9, "", member_path("dev", "git"), False),
    ],
)
def test_a_path_of_a_member_is_for_a_process_of_its_aggregate_and_principal(pid, principal, path, may):
    assert Supervisor.may_delegate(SUPERVISOR, pid, principal, path) == may


@pytest.mark.parametrize(
    ("servers", "aggregates", "found"),
    [
        ({"*"}, {"*"}, None),
        ({"*"}, set(), {"git", "aggregate"}),
        ({"*"}, {"dev"}, {"git", "aggregate", "dev"}),
        ({"git"}, {"*"}, {"git", "dev", "ops"}),
        (set(), {"dev"}, {"dev"}),
        # The name of an aggregate in `servers` is no right to it.
        ({"git", "dev"}, set(), {"git"}),
    ],
)
def test_the_servers_and_aggregates_of_a_token(servers, aggregates, found):
    token = TokenConfig("t", b"1", frozenset(servers), aggregates=frozenset(aggregates))
    settings = Settings(tuple(config for config, _ in PROCESSES), tokens=(token,))
    assert permitted_servers(settings).get("t") == found
