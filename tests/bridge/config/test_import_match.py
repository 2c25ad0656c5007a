"""Servers that the configuration already has."""

import pytest

from mcpbridged.bridge.config.import_match import (
    is_bridge,
    is_same,
    lost_restrictions,
    origin_comment,
    origins_of,
)


def command(*words, **keys):
    return {"command": [*words], **keys}


@pytest.mark.parametrize(
    ("known", "new", "named", "same"),
    [
        (command("npx", "-y", "a@1"), command("npx", "a"), False, True),
        (command("npx", "-y", "@s/a@1", "/x"), command("npx", "-y", "@s/a@2", "/x"), False, True),
        (command("npx", "a", "/x"), command("npx", "a", "/y"), False, False),
        (command("npx", "a", "/x"), command("npx", "a", "/y"), True, True),
        (command("npx", "a"), command("npx", "b"), True, False),
        (command("uvx", "--from", "a==1", "b"), command("uvx", "--from", "a==2", "b"), False, True),
        ({"command": "npx", "args": ["-y", "a"]}, command("npx", "a"), False, True),
        (command("/usr/bin/node", "/x.js"), command("node", "/x.js"), False, True),
        (command("node", "/x.js"), command("node", "/y.js"), True, False),
        (command("a", env={"X": "1"}), command("a", env={"X": "2"}), False, False),
        (command("a", env={"X": "1"}), command("a", env={"X": "2"}), True, True),
        (command("a", env={"X": "1"}), command("a", env={"Y": "2"}), False, True),
        (command("a", secrets={"X": "1"}), command("a", secrets={"X": "2"}), False, True),
        (command("a", cwd="/x"), command("a", cwd="/y"), False, False),
        (command("a", cwd="/x"), command("a"), False, True),
        (
            command("/bin/sh", "-c", 'exec npx a "$T"'),
            command("/bin/sh", "-c", 'exec npx a "$T"'),
            False,
            True,
        ),
        (command("/bin/sh", "-c", "exec a b"), command("/bin/sh", "-c", "exec c d"), True, False),
        (command("/bin/sh", "x"), command("/bin/sh", "x"), False, True),
        ({"url": "https://E.com/mcp/"}, {"url": "https://e.com/mcp"}, False, True),
        ({"url": "https://e.com/a"}, {"url": "https://e.com/b"}, True, False),
        ({"url": "https://e.com/a"}, command("a"), True, False),
        ({}, command("a"), True, False),
    ],
)
def test_the_same_server(known, new, named, same):
    assert is_same(known, new, named=named) is same


@pytest.mark.parametrize(
    ("keys", "ours"),
    [
        (command("/x/mcp-bridge", "connect", "a"), True),
        (command("uvx", "mcpbridged", "connect", "a"), True),
        (command("mcp-bridge", "--stdio", "x"), False),
        (command("connect"), False),
        ({"url": "http://127.0.0.1:8808/servers/a/mcp"}, True),
        ({"url": "http://127.0.0.1:8808/mcp"}, False),
        # Another bridge in between, and another bridge at another port.
        (command("npx", "mcp-remote", "http://localhost:8808/servers/a/mcp"), True),
        ({"url": "http://127.0.0.1:8096/servers/fetch/sse"}, False),
        ({"url": "https://e.com/servers/a/mcp"}, False),
    ],
)
def test_a_server_of_this_bridge(keys, ours):
    assert is_bridge(keys) is ours


def test_the_comment_about_the_origin_is_found_again():
    comment = origin_comment("cursor", 'My "x"')
    text = f"""
    [listen]
    # imported from cursor: "no"
    [servers.a]
    # {comment}
    command = ["x"]
    [servers."b c"]
    # another comment
    [ servers . 'd' ]
    # imported from zed: "d"
    [servers.e]"""
    assert origins_of(text) == {comment: "a", 'imported from zed: "d"': "d"}


@pytest.mark.parametrize(
    ("known", "new", "lost"),
    [
        ({}, {}, []),
        ({"tools": {"deny": ["a", "b"]}}, {"tools": {"deny": ["a"]}}, []),
        ({}, {"tools": {"deny": ["a"]}}, ["tools.deny a"]),
        ({"tools": {"allow": ["a"]}}, {"tools": {"allow": ["a", "b"]}}, []),
        ({"tools": {"allow": ["a", "c"]}}, {"tools": {"allow": ["a", "b"]}}, ["tools.allow a, b"]),
        ({"tools": {"deny": ["x"]}}, {"tools": {"allow": []}}, ["tools.allow (none)"]),
        ({}, {"enabled": False}, ["enabled = false"]),
        ({"enabled": False}, {"enabled": False}, []),
        (command("a"), command("a", "--read-only"), ["the argument --read-only"]),
        (command("a", "--read-only"), command("a", "--read-only"), []),
        (
            command("/bin/sh", "-c", "exec a"),
            command("/bin/sh", "-c", "exec a --read-only"),
            ["the argument --read-only"],
        ),
    ],
)
def test_restrictions_that_the_known_server_lacks(known, new, lost):
    assert lost_restrictions(known, new) == lost


def test_a_shell_command_that_cannot_be_split_is_compared_by_its_words():
    known = command("/bin/sh", "-c", "exec a 'open")
    assert lost_restrictions(known, known) == []
    assert lost_restrictions(command("a"), command("/bin/sh", "-c", "exec a 'open", "--read-only"))
