"""Paths of the transports, and the launch of a server."""

import pytest

from mcpbridged.transports.options import (
    Launch,
    Paths,
    aggregate_of,
    both_spellings,
    is_discovery,
    member_path,
    spellings,
)


@pytest.mark.parametrize(
    ("path", "both"),
    [
        ("/mcp", ("/mcp", "/mcp/")),
        ("/mcp/", ("/mcp", "/mcp/")),
        ("/", ("/",)),
        ("", ("",)),
        ("/a//b", ("/a//b",)),
    ],
)
def test_a_path_has_a_second_spelling_unless_a_segment_is_empty(path, both):
    assert spellings(path) == both
    assert both_spellings([path]) == set(both)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/.well-known/oauth-authorization-server", True),
        ("/mcp/.well-known/openid-configuration", True),
        ("/.well-known/", True),
        ("/register", True),
        ("/register/", True),
        ("/mcp/register", False),
        ("/mcp", False),
        ("//.well-known/x", False),
        ("/.well-known/../mcp", False),
        ("/.well-known/%2e%2e/mcp", False),
        ("/.well-known/a%2Fb", False),
        ("/.well-known/..x", True),
    ],
)
def test_discovery_paths_are_unambiguous(path, found):
    assert is_discovery(path) is found


def test_a_server_has_its_paths_below_its_name():
    assert Paths.below("a") == Paths(
        "/servers/a/mcp", "/servers/a/sse", "/servers/a/messages", "/servers/a/ws", "/servers/a/pipe"
    )


def test_the_environment_of_a_launch_is_not_printed():
    assert "mcpb_s3cr3t" not in repr(Launch(("server",), {"TOKEN": "mcpb_s3cr3t"}))


def test_the_path_of_a_member_names_the_aggregate_whose_process_may_use_it():
    assert aggregate_of(member_path("dev", "git")) == "dev"
    assert aggregate_of(f"{member_path('dev', 'git')}/") == "dev"
    for path in (
        "/aggregates/dev/ws",
        "/aggregates/dev/members/git/mcp",
        "/servers/dev/ws",
        "/aggregates/a/b/members/c/ws",
    ):
        assert aggregate_of(path) == ""
    assert Paths.of_aggregate("dev").pipe == "/aggregates/dev/pipe"
