"""The files of the clients."""

from pathlib import PurePath

import pytest

from mcpbridged.bridge.config.import_sources import CLIENTS, client_of, places_of, project_of

HERE = {"HOME": "/home/me"}


def test_the_places_follow_the_directories_of_the_user():
    assert [str(place) for place in places_of(CLIENTS["goose"], HERE)] == [
        "/home/me/.config/goose/config.yaml"
    ]
    there = {**HERE, "XDG_CONFIG_HOME": "/c"}
    assert [str(place) for place in places_of(CLIENTS["goose"], there)] == ["/c/goose/config.yaml"]
    assert [str(place) for place in places_of(CLIENTS["cursor"], there)] == ["/home/me/.cursor/mcp.json"]


def test_the_places_of_vs_code_are_not_those_of_cursor():
    assert [str(place) for place in places_of(CLIENTS["vscode"], HERE)] == [
        f"/home/me/.config/{name}/User/mcp.json" for name in ("Code", "Code - Insiders", "VSCodium")
    ]


@pytest.mark.parametrize(
    ("client", "variable", "place"),
    [
        ("claude-code", "CLAUDE_CONFIG_DIR", "/moved/.claude.json"),
        ("codex", "CODEX_HOME", "/moved/config.toml"),
        ("copilot", "COPILOT_HOME", "/moved/mcp-config.json"),
        ("gemini", "GEMINI_CLI_HOME", "/moved/.gemini/settings.json"),
        ("qwen", "QWEN_HOME", "/moved/settings.json"),
    ],
)
def test_a_variable_of_the_client_moves_its_files(client, variable, place):
    assert [str(one) for one in places_of(CLIENTS[client], {**HERE, variable: "/moved"})] == [place]
    assert str(next(places_of(CLIENTS[client], {**HERE, variable: "relative"}))).startswith("/home/me/")


@pytest.mark.parametrize(
    ("path", "client", "project"),
    [
        ("/home/me/.cursor/mcp.json", "cursor", ""),
        ("/home/me/src/a/.cursor/mcp.json", "cursor", "/home/me/src/a"),
        ("/p/.vscode/mcp.json", "vscode", "/p"),
        ("/p/.mcp.json", "claude-code", "/p"),
        ("/home/me/.mcp.json", "claude-code", ""),
        ("/p/.opencode/opencode.jsonc", "opencode", "/p"),
        ("/p/.junie/mcp/mcp.json", "jetbrains", "/p"),
        ("/p/other.json", None, ""),
        ("/home/me/.config/zed/settings.json", "zed", ""),
        ("/p/.github/mcp.json", "copilot", "/p"),
        ("/p/.roo/mcp.json", "roo", "/p"),
        ("/p/.kilocode/mcp.json", "roo", "/p"),
        ("/p/.crush.json", "crush", "/p"),
        ("/p/.amazonq/mcp.json", "kiro", "/p"),
        ("/home/me/.aws/amazonq/mcp.json", "kiro", ""),
    ],
)
def test_a_path_names_the_client_and_the_project(path, client, project):
    found = client_of(PurePath(path), HERE)
    assert (found and found.name) == client
    assert project_of(PurePath(path), HERE) == project
