"""What the configuration allows a request, and which key decides."""

from pathlib import Path

import pytest

from mcpbridged.bridge.config import load, rules, tables
from mcpbridged.bridge.config.rules import LIMITS, PASSES, REFUSES, Question

from ...support.config_file import HERE

TEXT = (
    """
rates.principal = "9/second"
rates.websocket = "8/second"
tool_rates."a b" = "7/second"
limits.in_flight = 5
limits.argument_depth = 4
features.deny = ["logging"]
content.output = "warn"
[servers.git]
command = "true"
tools.allow = ["git_*", "log"]
tools.deny = ["x", "git_push"]
features.deny = ["roots", "prompts"]
limits.argument_bytes = 100
argument_bytes."git_*" = 200
rates.server = "6/second"
content.arguments = "refuse"
[servers.free]
command = "true"
content.output = "off"
[servers.checked]
command = "true"
content = {output = "off", mime = "warn", schemes = "refuse", characters = "rewrite"}
[servers.off]
command = "true"
enabled = false
[tokens.ci]
sha256 = "ABAB"
servers = ["git", "off"]
tools.deny = ["git_l*"]
features.deny = ["completions"]
rates.requests = "5/second"
limits.connections = 3
[tokens.any]
sha256 = "CDCD"
[tokens.few]
sha256 = "EFEF"
servers = ["git"]
aggregates = ["work"]
[tokens.reader]
sha256 = "1212"
read_only = true
limits.sessions = 2
[tokens.lister]
sha256 = "3434"
methods = ["tools/list", "prompts/*"]
[access_tokens]
issuer = "https://login.example"
resource = "https://mcp.example"
[access_tokens.scopes.all]
[access_tokens.scopes."x:read"]
read_only = true
[access_tokens.scopes."x:git"]
servers = ["git"]
methods = ["tools/*"]
tools.allow = ["git_*"]
[access_tokens.scopes."x:log"]
servers = ["git"]
methods = ["tools/call"]
tools.allow = ["log"]
[aggregate]
servers = ["git"]
[aggregates.work]
servers = ["git"]
[aggregates.home]
servers = ["free"]
""".replace("ABAB", "ab" * 32)
    .replace("CDCD", "cd" * 32)
    .replace("EFEF", "ef" * 32)
    .replace("1212", "12" * 32)
    .replace("3434", "34" * 32)
)
READ = tables.parse(TEXT.encode())
SETTINGS = load.plan_tables(tables.Reading(READ, TEXT), Path("/x/config.toml"), HERE)


def steps(*words):
    return rules.explain(Question(*words), READ, SETTINGS)


@pytest.mark.parametrize(
    ("words", "path", "status", "code"),
    [
        (("ci", "free", "ping"), ("tokens", "ci", "servers"), 403, -32600),
        (("ci", "aggregate", "ping"), ("tokens", "ci", "servers"), 403, -32600),
        (("ci", "work", "ping"), ("tokens", "ci", "servers"), 403, -32600),
        (("few", "home", "ping"), ("tokens", "few", "aggregates"), 403, -32600),
        (("ci", "off", "ping"), ("servers", "off", "enabled"), 404, -32600),
        (("owner", "git", "logging/setLevel"), ("features", "deny", 0), 404, -32601),
        (("owner", "git", "prompts/get"), ("servers", "git", "features", "deny", 1), 404, -32601),
        (("ci", "git", "completion/complete"), ("tokens", "ci", "features", "deny", 0), 404, -32601),
        (("owner", "git", "tools/call", "git_push"), ("servers", "git", "tools", "deny", 1), 200, -32602),
        (("owner", "git", "tools/call", "other"), ("servers", "git", "tools", "allow"), 200, -32602),
        (("ci", "git", "tools/call", "git_log"), ("tokens", "ci", "tools", "deny", 0), 200, -32602),
        (("reader", "free", "vendor/write"), ("tokens", "reader", "read_only"), 404, -32601),
        (("lister", "free", "tools/call", "x"), ("tokens", "lister", "methods"), 404, -32601),
        (("scope:x:git", "free", "ping"), ("access_tokens", "scopes"), 403, -32600),
        (("scope:x:git x:log", "free", "ping"), ("access_tokens", "scopes"), 403, -32600),
        (
            ("scope:x:git", "git", "resources/list"),
            ("access_tokens", "scopes", "x:git", "methods"),
            404,
            -32601,
        ),
        (("scope:x:log", "git", "tools/list"), ("access_tokens", "scopes", "x:log", "methods"), 404, -32601),
        (
            ("scope:x:git", "git", "tools/call", "log"),
            ("access_tokens", "scopes", "x:git", "tools", "allow"),
            200,
            -32602,
        ),
        (
            ("scope:x:git x:log", "git", "tools/call", "git_push"),
            ("servers", "git", "tools", "deny", 1),
            200,
            -32602,
        ),
        (
            ("scope:x:read", "free", "vendor/write"),
            ("access_tokens", "scopes", "x:read", "read_only"),
            404,
            -32601,
        ),
    ],
)
def test_a_refusal_is_the_last_step_and_names_the_deciding_value(words, path, status, code):
    *before, last = steps(*words)
    assert all(step.result != REFUSES and step.refusal is None for step in before)
    assert (last.result, last.path, tuple(last.refusal)) == (REFUSES, path, (status, code))


@pytest.mark.parametrize("method", ["resources/list", "tools/call"])
def test_checks_of_texts_are_explained_for_all_methods(method):
    words = ("owner", "checked", method, *(["log"] if method == "tools/call" else []))
    found = [(step.text, step.path[-1]) for step in steps(*words) if step.name == "content"]
    assert found == [
        ("media types and base64 in the response are checked (warn)", "mime"),
        ("schemes of addresses in the response are checked (refuse)", "schemes"),
        ("hidden characters in the response are checked (rewrite)", "characters"),
    ]


def test_checks_of_schemas_are_explained_for_calls_of_tools_only():
    found = [step.text for step in steps("owner", "git", "tools/call", "log") if step.name == "content"]
    assert found == [
        "arguments and inputSchema are compared (refuse)",
        "output and outputSchema are compared (warn)",
    ]
    for words in (("owner", "git", "resources/list"), ("owner", "free", "tools/call")):
        assert all(step.name != "content" for step in steps(*words))


def test_a_request_that_passes_has_each_step_with_its_key():
    found = steps("ci", "git", "tools/call", "git_diff")
    assert [(step.name, step.result, step.path) for step in found] == [
        ("principal", PASSES, ("tokens", "ci")),
        ("server", PASSES, ("tokens", "ci", "servers")),
        ("feature", PASSES, ()),
        ("method", PASSES, ()),
        ("tools of servers.git", PASSES, ("servers", "git", "tools", "allow", 0)),
        ("tools of tokens.ci", PASSES, ()),
        ("arguments", LIMITS, ("servers", "git", "argument_bytes", "git_*")),
        ("arguments", LIMITS, ("limits", "argument_depth")),
        ("content", LIMITS, ("servers", "git", "content", "arguments")),
        ("content", LIMITS, ("content", "output")),
        ("rate", LIMITS, ("tokens", "ci", "rates", "requests")),
        ("rate", LIMITS, ("servers", "git", "rates", "server")),
        ("rate", LIMITS, ("rates", "websocket")),
        ("connections", LIMITS, ("tokens", "ci", "limits", "connections")),
        ("sessions", LIMITS, ()),
        ("requests", LIMITS, ("limits", "in_flight")),
    ]


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (
            ("any", "free", "ping"),
            [("tokens", "any"), (), (), (), ("rates", "principal"), ("rates", "websocket")],
        ),
        (("owner", "free", "tools/list"), [(), (), (), ("rates", "principal"), ("rates", "websocket")]),
        # A tool that is not given may be denied.
        (
            ("local", "git", "tools/call"),
            [(), (), (), ("servers", "git", "tools"), ("servers", "git", "limits", "argument_bytes")],
        ),
        (
            ("owner", "free", "tools/call", "a b"),
            [(), (), (), (), ("limits", "argument_depth"), ("rates", "principal"), ("tool_rates", "a b")],
        ),
        (
            ("few", "work", "ping"),
            [("tokens", "few"), ("tokens", "few", "aggregates"), ("aggregates", "work", "servers")],
        ),
        (("any", "aggregate", "ping"), [("tokens", "any"), (), ("aggregate", "servers")]),
    ],
)
def test_the_paths_of_steps_are_those_of_the_file(words, paths):
    found = [step.path for step in steps(*words)]
    assert found[: len(paths)] == paths
    assert all(step.result != REFUSES for step in steps(*words))


def test_the_names_are_those_of_the_file():
    names = ("owner", "local", "ci", "any", "few", "reader", "lister")
    scopes = ("scope:all", "scope:x:read", "scope:x:git", "scope:x:log")
    assert rules.principals(SETTINGS) == names + scopes
    assert rules.servers(READ) == ("git", "free", "checked", "off", "aggregate", "work", "home")


def passed(*words):
    """Return the paths of the steps `method`, `tools of` and `read-only tools` of a request that is not refused."""
    found = steps(*words)
    assert found[-1].result != REFUSES
    return [
        step.path
        for step in found
        if step.name in ("method", "read-only tools") or step.name.startswith("tools of")
    ]


def test_one_scope_that_permits_is_enough():
    scopes = ("access_tokens", "scopes")
    assert passed("scope:x:git x:log", "git", "tools/call", "log") == [
        (*scopes, "x:git", "methods", 0),
        ("servers", "git", "tools", "allow", 1),
        (*scopes, "x:log", "tools", "allow", 0),
    ]
    assert passed("scope:x:log x:git", "git", "tools/list") == [(*scopes, "x:git", "methods", 0)]
    # The scope that reads only is not what decides, whatever the order is.
    assert passed("scope:x:read all", "free", "tools/call", "x") == [(), (), ()]
    assert passed("scope:x:read", "free", "tools/call", "x") == [(), (), (), (*scopes, "x:read", "read_only")]


def test_methods_and_tools_that_only_read():
    assert passed("reader", "free", "tools/list") == [()]
    assert passed("reader", "free", "tools/call", "x") == [(), (), (), ("tokens", "reader", "read_only")]
    assert passed("lister", "free", "prompts/get") == [("tokens", "lister", "methods", 1)]
    # Without these requests there is no connection.
    assert passed("lister", "free", "initialize") == [()]
    assert passed("lister", "free", "notifications/initialized") == [()]


def test_the_quotas_have_their_numbers():
    texts = {step.name: (step.text, step.path) for step in steps("ci", "git", "ping")}
    assert texts["connections"] == (
        "at most 3 at once over TCP (connections)",
        ("tokens", "ci", "limits", "connections"),
    )
    texts = {step.name: (step.text, step.path) for step in steps("reader", "free", "ping")}
    assert texts["sessions"] == (
        "at most 2 at once at the server",
        ("tokens", "reader", "limits", "sessions"),
    )
    assert texts["connections"][0].startswith("at most 1024 at once")
    assert texts["requests"][1] == ("limits", "in_flight")


def test_scopes_are_principals():
    assert "scope:x:git" in rules.principals(SETTINGS)
    assert rules.scopes_in("scope:a b") == ["a", "b"]
    assert rules.scopes_in("owner") == []
