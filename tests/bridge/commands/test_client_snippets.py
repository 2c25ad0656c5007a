"""The configuration snippet of each client."""

import json
import subprocess
import tomllib

import pytest

from mcpbridged.bridge.commands.client_snippets import CLIENTS, command_snippet, file_of, http_snippet
from mcpbridged.bridge.config.import_sources import CLIENTS as SOURCES
from mcpbridged.bridge.config.import_yaml import read_yaml

URL = "http://127.0.0.1:8808/servers/git/mcp"
HEADERS = {"Authorization": "Bearer TOKEN"}
WITHOUT_HTTP = ("claude", "claude-desktop", "mcp-proxy")


def pasted(client, token="TOKEN"):
    return http_snippet(client, "git", URL, token)


def test_these_are_the_clients():
    assert {file_of(client) for client in CLIENTS} == set(SOURCES)


@pytest.mark.parametrize(
    ("client", "place", "meaning"),
    [
        ("cursor", "~/.cursor/mcp.json", {"mcpServers": {"git": {"url": URL, "headers": HEADERS}}}),
        (
            "windsurf",
            "~/.codeium/windsurf/mcp_config.json",
            {"mcpServers": {"git": {"serverUrl": URL, "headers": HEADERS}}},
        ),
        (
            "zed",
            "~/.config/zed/settings.json",
            {"context_servers": {"git": {"url": URL, "headers": HEADERS}}},
        ),
        (
            "gemini",
            "~/.gemini/settings.json",
            {"mcpServers": {"git": {"httpUrl": URL, "headers": HEADERS}}},
        ),
        (
            "qwen",
            "~/.qwen/settings.json",
            {"mcpServers": {"git": {"httpUrl": URL, "headers": HEADERS}}},
        ),
        (
            "copilot",
            "~/.copilot/mcp-config.json",
            {"mcpServers": {"git": {"type": "http", "tools": ["*"], "url": URL, "headers": HEADERS}}},
        ),
        (
            "crush",
            "~/.config/crush/crush.json",
            {"mcp": {"git": {"type": "http", "url": URL, "headers": HEADERS}}},
        ),
        ("kiro", "~/.kiro/settings/mcp.json", {"mcpServers": {"git": {"url": URL, "headers": HEADERS}}}),
        (
            "roo",
            "mcp_settings.json",
            {"mcpServers": {"git": {"type": "streamable-http", "url": URL, "headers": HEADERS}}},
        ),
    ],
)
def test_a_client_with_a_json_file(client, place, meaning):
    assert json.loads(pasted(client).text) == meaning
    assert place in pasted(client).where


def test_vscode_prompts_for_the_token_because_its_file_is_often_committed():
    found = json.loads(pasted("vscode").text)
    assert found["servers"] == {
        "git": {"type": "http", "url": URL, "headers": {"Authorization": "Bearer ${input:token}"}}
    }
    assert [(asked["id"], asked["type"], asked["password"]) for asked in found["inputs"]] == [
        ("token", "promptString", True)
    ]
    assert pasted("vscode").where == "VS Code: .vscode/mcp.json; it prompts for the token: TOKEN"


def test_a_file_of_the_user_has_the_token_itself_for_vscode():
    found = http_snippet("vscode", "git", URL, "TOKEN", private=True)
    assert json.loads(found.text) == {"servers": {"git": {"type": "http", "url": URL, "headers": HEADERS}}}


def test_codex_has_the_token_in_its_file():
    assert tomllib.loads(pasted("codex").text) == {
        "mcp_servers": {"git": {"url": URL, "http_headers": HEADERS}}
    }
    assert pasted("codex").where == "Codex: ~/.codex/config.toml"


@pytest.mark.parametrize(
    ("client", "meaning"),
    [
        ("goose", {"extensions": {"git": {"name": "git", "uri": URL, "headers": HEADERS}}}),
        (
            "continue",
            {"mcpServers": [{"name": "git", "url": URL, "requestOptions": {"headers": HEADERS}}]},
        ),
    ],
)
def test_a_client_with_a_yaml_file(client, meaning):
    found = read_yaml(pasted(client).text)
    assert includes(found, meaning)


def includes(found, wanted):
    if isinstance(wanted, dict):
        return all(key in found and includes(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return all(includes(*pair) for pair in zip(found, wanted, strict=True))
    return found == wanted


def words_of_the_shell(text):
    """Return the arguments with which a shell would start `claude`."""
    script = 'claude() { printf "%s\\n" "$@"; }\n' + text
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.splitlines()


def test_claude_code_gets_the_token_in_its_file_and_never_on_a_command_line():
    assert json.loads(pasted("claude-code").text) == {
        "mcpServers": {"git": {"type": "http", "url": URL, "headers": HEADERS}}
    }
    assert pasted("claude-code").where == "Claude Code: ~/.claude.json"


def test_a_token_with_quotes_stays_one_text_in_json():
    found = json.loads(pasted("cursor", 'a"b\\ü').text)
    assert found["mcpServers"]["git"]["headers"] == {"Authorization": 'Bearer a"b\\ü'}


@pytest.mark.parametrize("client", [client for client in CLIENTS if client not in WITHOUT_HTTP])
def test_the_place_is_one_line_the_text_ends_with_one_and_no_repr_shows_the_token(client):
    found = pasted(client)
    assert "\n" not in found.where
    assert found.text.endswith("\n")
    assert "TOKEN" not in repr(found)


def test_an_unknown_client_is_rejected_by_its_name():
    with pytest.raises(ValueError, match=r"there is no client 'emacs'; there are claude, claude-desktop"):
        http_snippet("emacs", "git", URL, "TOKEN")
    with pytest.raises(ValueError, match="there is no client"):
        command_snippet("emacs", "git", ["x"])
    with pytest.raises(ValueError, match="Claude Desktop cannot use HTTP servers"):
        http_snippet("claude", "git", URL, "TOKEN")


COMMAND = ["/opt/my bin/mcp-bridge", "connect", "git"]
ENTRY = {"command": COMMAND[0], "args": COMMAND[1:]}


@pytest.mark.parametrize(
    ("client", "meaning"),
    [
        ("claude", {"mcpServers": {"git": ENTRY}}),
        ("cursor", {"mcpServers": {"git": ENTRY}}),
        ("windsurf", {"mcpServers": {"git": ENTRY}}),
        ("gemini", {"mcpServers": {"git": ENTRY}}),
        ("zed", {"context_servers": {"git": ENTRY}}),
        ("vscode", {"servers": {"git": {"type": "stdio", **ENTRY}}}),
        ("mcp-proxy", {"mcpServers": {"git": ENTRY}}),
        ("copilot", {"mcpServers": {"git": {"type": "local", "tools": ["*"], **ENTRY}}}),
        ("roo", {"mcpServers": {"git": {"type": "stdio", **ENTRY}}}),
        ("crush", {"mcp": {"git": {"type": "stdio", **ENTRY}}}),
        ("cline", {"mcpServers": {"git": {"type": "stdio", **ENTRY}}}),
        ("opencode", {"mcp": {"git": {"type": "local", "command": COMMAND, "enabled": True}}}),
    ],
)
def test_a_client_that_starts_a_command_needs_no_token(client, meaning):
    assert json.loads(command_snippet(client, "git", COMMAND).text) == meaning


def test_a_command_for_goose_and_continue():
    found = read_yaml(command_snippet("goose", "git", COMMAND).text)
    assert includes(found, {"extensions": {"git": {"cmd": COMMAND[0], "args": COMMAND[1:], "enabled": True}}})
    found = read_yaml(command_snippet("continue", "git", COMMAND).text)
    assert found == {"mcpServers": [{"name": "git", "type": "stdio", **ENTRY}]}


def test_a_command_for_codex_and_claude_code():
    assert tomllib.loads(command_snippet("codex", "git", COMMAND).text) == {"mcp_servers": {"git": ENTRY}}
    assert words_of_the_shell(command_snippet("claude-code", "git", COMMAND).text) == [
        "mcp",
        "add",
        "git",
        "--",
        *COMMAND,
    ]


@pytest.mark.parametrize("client", [client for client in CLIENTS if client not in WITHOUT_HTTP])
def test_without_authentication_there_is_no_token(client):
    found = pasted(client, "")
    assert URL in found.text
    for word in ("Authorization", "oken"):
        assert word not in found.text + found.where
