"""Which processes may act for a principal, and what each principal may use."""

from types import SimpleNamespace

import pytest

from mcpbridged.bridge.config.settings import AggregateConfig, ServerConfig, Settings, TokenConfig
from mcpbridged.bridge.core.grants import Role
from mcpbridged.bridge.daemon.supervisor import Supervisor, grants_of
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
    ("servers", "aggregates", "found", "through"),
    [
        ({"*"}, {"*"}, {"*"}, set()),
        ({"*"}, set(), {"git", "aggregate"}, set()),
        ({"*"}, {"dev"}, {"git", "aggregate", "dev"}, {"git"}),
        ({"git"}, {"*"}, {"git", "dev", "ops"}, {"git"}),
        (set(), {"dev"}, {"dev"}, {"git"}),
        # The name of an aggregate in `servers` is no right to it.
        ({"git", "dev"}, set(), {"git"}, set()),
    ],
)
def test_the_servers_and_aggregates_of_a_token(servers, aggregates, found, through):
    token = TokenConfig("t", b"1", frozenset(servers), aggregates=frozenset(aggregates))
    settings = Settings(tuple(config for config, _ in PROCESSES), tokens=(token,))
    [(name, grant)] = grants_of(settings)
    assert (name, grant.servers, grant.through) == ("t", found, through)
    # A member of an aggregate is no route of the token, and its permissions apply there.
    role = Role((grant,))
    assert role.covers("git") == bool({"*", "git"} & found)
    assert bool(role.within("git")) == bool({"*", "git"} & (found | through))
