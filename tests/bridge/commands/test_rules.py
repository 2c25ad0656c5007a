"""`mcp-bridge rules`: its lines, its JSON and its exit status."""

import argparse
import json

import pytest

from mcpbridged.bridge.commands.invocation import BadUsage, Invocation
from mcpbridged.bridge.commands.rules import key_of, rules_
from mcpbridged.bridge.commands.running_daemon import ConfigSource

from ...support.config_file import DIGEST, HERE, write_config_file

TEXT = f"""
rates.http = "5/second"
[servers.git]
command = "true"
tools.deny = [
  "git_push",
  "rm_*",
]
tool_rates."git_*" = "1/minute"
[tokens.ci]
sha256 = "{DIGEST}"
limits.sessions = 3
"""


def run(tmp_path, *words, text=TEXT, as_json=False):
    path = write_config_file(tmp_path, text)
    options = argparse.Namespace(explain=list(words) or None, json=as_json)
    return rules_(Invocation(options, ConfigSource(path, HERE), HERE))


def test_each_rule_is_listed_with_its_line(tmp_path, capsys):
    assert run(tmp_path) == 0
    file = tmp_path / "config.toml"
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:2: rates.http = 5/second",
        f"{file}:5: servers.git.tools.deny = git_push, rm_*",
        f'{file}:9: servers.git.tool_rates."git_*" = 1/minute',
        f"{file}:12: tokens.ci.limits.sessions = 3",
    ]
    assert run(tmp_path, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[1] == {"key": "servers.git.tools.deny", "value": ["git_push", "rm_*"], "line": 5}


def test_methods_and_scopes_are_listed(tmp_path, capsys):
    text = f"""[servers.git]
command = "true"
[tokens.a]
sha256 = "{"1" * 64}"
methods = ["tools/*"]
read_only = true
[access_tokens]
issuer = "https://i.example"
resource = "https://r.example"
[access_tokens.scopes.x]
servers = ["git"]
tools.deny = ["t"]
[access_tokens.scopes.all]
"""
    assert run(tmp_path, text=text) == 0
    assert [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "tokens.a.methods = tools/*",
        "tokens.a.read_only = True",
        "access_tokens.scopes.x.servers = git",
        "access_tokens.scopes.x.tools.deny = t",
    ]


def test_a_configuration_without_rules_says_so(tmp_path, capsys):
    assert run(tmp_path, text='[servers.git]\ncommand = "true"\n') == 0
    found = capsys.readouterr()
    assert (found.out, "no rules" in found.err) == ("", True)


def test_the_line_of_an_element_of_a_list_is_named(tmp_path, capsys):
    assert run(tmp_path, "ci", "git", "tools/call", "rm_x") == 1
    *_, step, end = capsys.readouterr().out.splitlines()
    assert step.endswith(f"[{tmp_path}/config.toml:7 servers.git.tools.deny]")
    assert end == "refused: tools/call rm_x gets -32602, over HTTP with the status 200"


def test_a_request_that_is_allowed_ends_with_0(tmp_path, capsys):
    assert run(tmp_path, "ci", "git", "tools/call", "git_log") == 0
    assert capsys.readouterr().out.endswith("allowed: tools/call git_log reaches git\n")


@pytest.mark.parametrize("words", [("ci",), ("ci", "git"), ("ci", "git", "tools/call", "x", "y")])
def test_other_numbers_of_words_are_refused(tmp_path, words):
    with pytest.raises(BadUsage, match="--explain needs PRINCIPAL SERVER METHOD"):
        run(tmp_path, *words)


def test_a_pattern_is_a_quoted_key():
    assert key_of(("tool_rates", "a *", 1)) == 'tool_rates."a *"'
    assert key_of(("servers", "my-git_2", "tools", "deny", 0)) == "servers.my-git_2.tools.deny"
