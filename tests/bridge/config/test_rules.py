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
[tokens.any]
sha256 = "CDCD"
[tokens.few]
sha256 = "EFEF"
servers = ["git"]
aggregates = ["work"]
[aggregate]
servers = ["git"]
[aggregates.work]
servers = ["git"]
[aggregates.home]
servers = ["free"]
""".replace("ABAB", "ab" * 32)
    .replace("CDCD", "cd" * 32)
    .replace("EFEF", "ef" * 32)
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
        ("tools of servers.git", PASSES, ("servers", "git", "tools", "allow", 0)),
        ("tools of tokens.ci", PASSES, ()),
        ("arguments", LIMITS, ("servers", "git", "argument_bytes", "git_*")),
        ("arguments", LIMITS, ("limits", "argument_depth")),
        ("content", LIMITS, ("servers", "git", "content", "arguments")),
        ("content", LIMITS, ("content", "output")),
        ("rate", LIMITS, ("tokens", "ci", "rates", "requests")),
        ("rate", LIMITS, ("servers", "git", "rates", "server")),
        ("rate", LIMITS, ("rates", "websocket")),
        ("requests", LIMITS, ("limits", "in_flight")),
    ]


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (
            ("any", "free", "ping"),
            [("tokens", "any"), (), (), ("rates", "principal"), ("rates", "websocket")],
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
    assert rules.principals(SETTINGS) == ("owner", "local", "ci", "any", "few")
    assert rules.servers(READ) == ("git", "free", "checked", "off", "aggregate", "work", "home")
