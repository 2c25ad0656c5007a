"""The tables of aggregates are checked, with the place of each error."""

import pytest

from mcpbridged.bridge.config import load
from mcpbridged.bridge.config.aggregate_checks import members_of
from mcpbridged.bridge.config.tables import BadConfig

HERE = {"XDG_RUNTIME_DIR": "/run/me", "HOME": "/home/me", "PATH": "/usr/bin"}
SERVERS = """\
[servers.git]
command = "x"
[servers.time]
command = "x"
[servers.off]
command = "x"
enabled = false
[aggregates.dev]
"""


def faults(path, text):
    with pytest.raises(BadConfig) as caught:
        load.plan_text(text, path, HERE)
    return [(fault.spot.line, fault.spot.column, fault.text) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("table", "line", "column", "text"),
    [
        (
            'servers = ["git", "nobody"]',
            9,
            19,
            "aggregates.dev: servers: there is no server 'nobody'; there are git, time",
        ),
        ('servers = ["off"]', 9, 12, "aggregates.dev: servers: servers.off is disabled (enabled = false)"),
        ('servers = ["git", "git"]', 9, 19, "aggregates.dev: servers: 'git' is listed 2 times"),
        (
            'servers = ["dev"]',
            9,
            12,
            "aggregates.dev: servers: 'dev' is an aggregate, and an aggregate holds servers only",
        ),
        ("", 8, 13, "aggregates.dev: servers is missing"),
        (
            'servers = ["git"]\ntools.allow = ["git__*", "log"]',
            10,
            26,
            "aggregates.dev: tools.allow: 'log' matches no tool: a tool is named SERVER__TOOL, such as git__TOOL",
        ),
        (
            'servers = ["git"]\ntools.deny = ["time__*"]',
            10,
            15,
            "aggregates.dev: tools.deny: 'time__*' matches no tool: a tool is named SERVER__TOOL, such as git__TOOL",
        ),
        (
            'servers = ["git"]\nrename.time__now = "now"',
            10,
            8,
            "aggregates.dev: rename: 'time__now' is no tool: a tool is named SERVER__TOOL, such as git__TOOL; there are git",
        ),
        (
            'servers = ["git"]\ntools.deny = ["*__push"]\ndescribe.git__push = "now"',
            11,
            10,
            "aggregates.dev: describe: 'git__push' is not offered: tools.allow or tools.deny hides it",
        ),
        (
            'servers = ["git"]\nrename.git__a = "x"\nrename.git__b = "x"',
            11,
            17,
            "aggregates.dev: rename: 'git__a' and 'git__b' would both be named 'x'",
        ),
        (
            'servers = ["git"]\nrename.git__a = "git__a"',
            10,
            17,
            "aggregates.dev: rename: 'git__a' has this name already",
        ),
        (
            'servers = ["git"]\nrename.git__a = "a b"',
            10,
            17,
            "aggregates.dev: rename.git__a: must be 1 to 128 letters, digits, underscores, dashes and dots, not the string 'a b'",
        ),
        (
            'servers = ["git"]\nsurface = "small"',
            10,
            11,
            "aggregates.dev: surface: must be 'all' or 'search', not the string 'small'; did you mean 'all'?",
        ),
        (
            'servers = ["git"]\nrenames = {}',
            10,
            1,
            "aggregates.dev: there is no key 'renames'; did you mean 'rename'?",
        ),
    ],
)
def test_each_error_has_its_place(tmp_path, table, line, column, text):
    assert faults(tmp_path / "config.toml", SERVERS + table) == [(line, column, text)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("git", "aggregates.git: its name is that of the server 'git'; choose another name"),
        (
            "OFF",
            "aggregates.OFF: its name differs in capitals only from that of the server 'off'; choose another name",
        ),
        ("aggregate", "aggregates.aggregate: the name is reserved for the [aggregate]; choose another name"),
    ],
)
def test_a_name_is_that_of_no_server(tmp_path, name, text):
    table = SERVERS.replace("aggregates.dev", f"aggregates.{name}") + 'servers = ["git"]'
    assert faults(tmp_path / "config.toml", table) == [(8, 13, text)]


def test_a_name_has_the_form_of_names(tmp_path):
    table = SERVERS.replace("aggregates.dev", 'aggregates."a b"') + 'servers = ["git"]'
    [(line, column, text)] = faults(tmp_path / "config.toml", table)
    assert (line, column) == (8, 13)
    assert text.startswith("aggregates.'a b': a name is 1 to 32 letters")


def test_two_aggregates_do_not_differ_in_capitals_only(tmp_path):
    table = f'{SERVERS}servers = ["git"]\n[aggregates.Dev]\nservers = ["git"]'
    assert [text for *_, text in faults(tmp_path / "config.toml", table)] == [
        "aggregates.dev: its name differs in capitals only from that of the aggregate 'Dev'; choose another name",
        "aggregates.Dev: its name differs in capitals only from that of the aggregate 'dev'; choose another name",
    ]


def test_an_aggregate_needs_the_socket_and_servers(tmp_path):
    text = '[listen]\nunix = false\n[aggregates.dev]\nservers = ["*"]'
    assert faults(tmp_path / "config.toml", text) == [
        (2, 8, "aggregates.dev: it needs the Unix socket, but listen.unix is false"),
        (4, 12, "aggregates.dev: servers: there is no server"),
    ]


def test_there_is_a_limit(tmp_path):
    tables = "".join(f'[aggregates.a{number}]\nservers = ["*"]\n' for number in range(65))
    assert faults(tmp_path / "config.toml", f"[servers.git]\ncommand = 'x'\n{tables}")[-1][2] == (
        "aggregates: there are 65, and the limit is 64"
    )


def test_a_star_stands_for_the_other_servers(tmp_path):
    assert members_of(("*",), ("a", "b")) == ("a", "b")
    assert members_of(("b", "*"), ("a", "b", "c")) == ("b", "a", "c")
    settings = load.plan_text(f'{SERVERS}servers = ["time", "*"]\nrename.git__a = "a"', tmp_path / "c", HERE)
    made = settings.servers[-1]
    assert made.aggregate.servers == ("time", "git")
    assert (made.name, made.aggregate.name, made.aggregate.rename) == ("dev", "dev", {"git__a": "a"})
    assert made.launch.env["MCP_BRIDGE_AGGREGATE"] == "dev"
    assert (made.paths.mcp, made.where, settings.root) == ("/aggregates/dev/mcp", "aggregates.dev", "")


def test_patterns_that_may_match_are_accepted(tmp_path):
    table = 'servers = ["git"]\ntools.allow = ["*", "git__log", "g*", "git__[ab]", "?it__x"]\ndescribe.git__log = "x"'
    assert load.plan_text(SERVERS + table, tmp_path / "c", HERE).servers[-1].aggregate.allow[0] == "*"


def test_an_aggregate_and_named_ones_are_separate(tmp_path):
    text = f'{SERVERS}servers = ["git"]\n[aggregate]\nservers = ["time"]'
    settings = load.plan_text(text, tmp_path / "c", HERE)
    assert [(server.name, server.where) for server in settings.servers[-2:]] == [
        ("aggregate", "aggregate"),
        ("dev", "aggregates.dev"),
    ]
    assert (settings.root, settings.own_servers) == ("aggregate", 2)
    assert "MCP_BRIDGE_AGGREGATE" not in settings.servers[-2].launch.env


def test_a_star_is_no_server_of_the_only_aggregate(tmp_path):
    text = "[servers.git]\ncommand = 'x'\n[aggregate]\nservers = ['*']"
    assert (
        faults(tmp_path / "config.toml", text)[0][2]
        == "aggregate: servers: there is no server '*'; there are git"
    )


TOKEN = f'{SERVERS}servers = ["git"]\n[tokens.t]\nsha256 = "{"0" * 64}"\n'


@pytest.mark.parametrize(
    ("keys", "servers", "aggregates"),
    [
        ("", {"*"}, {"*"}),
        ('servers = ["*"]', {"*"}, {"*"}),
        ('servers = ["git"]', {"git"}, set()),
        ('aggregates = ["dev"]', set(), {"dev"}),
        ('servers = ["git"]\naggregates = ["*"]', {"git"}, {"*"}),
        ('servers = ["*"]\naggregates = []', {"*"}, set()),
        ("servers = []", set(), set()),
    ],
)
def test_the_scope_of_a_token(tmp_path, keys, servers, aggregates):
    [token] = load.plan_text(TOKEN + keys, tmp_path / "c", HERE).tokens
    assert (token.servers, token.aggregates) == (servers, aggregates)


@pytest.mark.parametrize(
    ("keys", "column", "text"),
    [
        ('aggregates = ["nobody"]', 15, "tokens.t: aggregates: there is no table [aggregates.nobody]; there are dev"),
        ('servers = ["dev"]', 12, "tokens.t: servers: there is no server 'dev'; it is an aggregate, which belongs into aggregates = [\"dev\"]"),
    ],
)  # fmt: skip
def test_the_scope_of_a_token_names_what_is_there(tmp_path, keys, column, text):
    assert faults(tmp_path / "config.toml", TOKEN + keys) == [(12, column, text)]
