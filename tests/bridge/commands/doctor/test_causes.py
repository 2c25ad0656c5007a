"""The output of a server that fails leads to its cause, and to lines that can be pasted."""

import pytest

from mcpbridged.bridge.commands.doctor.causes import (
    error_line,
    fix_for,
    install_commands,
    misspelt_fix,
    silent_fix,
)

PYTHON = ["/opt/venv/bin/python", "server.py"]


@pytest.mark.parametrize(
    ("command", "lines", "words", "commands"),
    [
        (PYTHON, ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'requests'"], "requests", ("/opt/venv/bin/python -m pip install requests",)),
        (PYTHON, ["ModuleNotFoundError: No module named 'yaml.nodes'"], "PyYAML", ("/opt/venv/bin/python -m pip install PyYAML",)),
        (["uvx", "x"], ["ModuleNotFoundError: No module named 'dotenv'"], "python-dotenv", ('command = "uvx"', 'args = ["--with", "python-dotenv", "x"]', "mcp-bridge reload")),
        (["uv", "run", "x"], ["ModuleNotFoundError: No module named 'a'"], "package a", ('command = "uv"', 'args = ["run", "--with", "a", "x"]', "mcp-bridge reload")),
        (["node", "x.js"], ["Error: Cannot find module '@scope/pkg'"], "@scope/pkg", ("npm install --global @scope/pkg",)),
        (PYTHON, ["KeyError: 'GITHUB_TOKEN'"], "set in the daemon and not passed", ('pass_env = ["GITHUB_TOKEN"]', "mcp-bridge reload")),
        (PYTHON, ["Please set AWS_PROFILE"], "AWS_PROFILE", ('pass_env = ["@clouds"]', "mcp-bridge reload")),
        (PYTHON, ["Error: SLACK_TOKEN is required"], "which is not set", ("install -m 600 /dev/stdin ~/.config/mcp-bridge/slack_token", 'secrets.SLACK_TOKEN = "~/.config/mcp-bridge/slack_token"', "mcp-bridge reload")),
    ],
)  # fmt: skip
def test_a_known_cause_has_a_fix(command, lines, words, commands):
    fix = fix_for("git", command, lines, ["GITHUB_TOKEN", "AWS_PROFILE", "OTHER_THING"])
    assert words in fix.text
    assert fix.commands == commands


@pytest.mark.parametrize("lines", [[], ["Segmentation fault"], ["listening on MY_SOCKET"], ["OTHER THING"]])
def test_an_unknown_cause_has_none(lines):
    assert fix_for("git", PYTHON, lines, ["OTHER_THING"]) is None


def test_the_line_of_the_error_is_found_in_a_stack_trace():
    lines = ["Error: the first", "    at Module._load (node:internal)", "Node.js v20.1.0"]
    assert error_line(lines) == "Error: the first"
    assert error_line(["one", "two", " "]) == "two"
    assert error_line([]) == ""


def test_a_misspelt_program_gets_a_command():
    fix = misspelt_fix("git", ["uvxx", "mcp-server-git"], ["ls"])
    assert fix.text == "is uvx meant? Change [servers.git] with mcp-bridge edit"
    assert fix.commands == (
        "pipx install uv",
        'command = "uvx"',
        'args = ["mcp-server-git"]',
        "mcp-bridge reload",
    )
    assert misspelt_fix("git", ["my-servr", "sk-livecanary"], ["my-server"]).commands == (
        "mcp-bridge reload",
    )
    assert misspelt_fix("git", ["zzz"], ["ls"]) is None
    assert install_commands("/usr/bin/npx") == ("sudo apt install npm",)


def test_a_silent_server_is_tried_in_a_terminal_and_a_web_server_in_stdio_mode():
    fix = silent_fix("git", ["my server", "x"], in_http_mode=False)
    assert fix.commands[0].startswith('echo \'{"jsonrpc"')
    assert fix.commands[0].endswith("| 'my server' x")
    fix = silent_fix("git", ["server"], in_http_mode=True)
    assert fix.commands[:2] == ('command = "server"', 'args = ["--transport", "stdio"]')
    assert "canary" not in str(silent_fix("git", ["s", "sk-livecanary"], in_http_mode=False))
