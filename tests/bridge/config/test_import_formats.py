"""The form of the configuration of each client."""

import json

import pytest

from mcpbridged.bridge.config.import_entry import Entry
from mcpbridged.bridge.config.import_formats import read_source
from mcpbridged.bridge.config.import_sources import CLIENTS
from mcpbridged.bridge.config.import_texts import BadImport, LeftOut, NoServers

TIME = {"command": "time-server"}


def source(top, suffix=".json", client=None):
    return read_source(top if isinstance(top, str) else json.dumps(top), suffix, client)


def names(found):
    return [name for name, _ in found.servers]


@pytest.mark.parametrize(
    ("top", "client"),
    [
        ({"mcpServers": {"time": TIME}}, "claude-desktop"),
        ({"mcpServers": {}, "servers": {"time": TIME}}, "vscode"),
        ({"servers": {"time": TIME}, "inputs": [{"id": "token", "type": "promptString"}]}, "vscode"),
        ({"mcp": {"servers": {"time": TIME}}}, "claude-desktop"),
        ({"editor.fontSize": 12, "mcp": {"inputs": [], "servers": {"time": TIME}}}, "claude-desktop"),
        ({"projects": {"/p": {"mcpServers": {"time": TIME}}}}, "claude-code"),
        ({"context_servers": {"time": TIME}}, "zed"),
        ({"extensions": {"time": {"type": "stdio", "cmd": "x"}}}, "goose"),
        ({"mcpServers": [{"name": "time", **TIME}]}, "continue"),
        ({"mcp": {"time": {"type": "local", "command": ["x"]}}}, "opencode"),
        ({"mcp": {"servers": {"time": {"type": "local", "command": ["x"]}}}}, "claude-desktop"),
        ({"mcpServers": {"time": {"httpUrl": "u"}}}, "gemini"),
        ({"mcpServers": {"time": {"serverUrl": "u"}}}, "windsurf"),
        ({"mcpServers": {"time": {**TIME, "autoApprove": []}}}, "cline"),
        ({"mcpServers": {"time": {"transport": {"type": "stdio", **TIME}}}}, "cline"),
        ({"mcp": {"time": {"type": "stdio", **TIME}}}, "crush"),
        ({"time": TIME}, "claude-desktop"),
        ({"name": "time", "server": {"type": "node", "mcp_config": TIME}}, "claude-desktop"),
    ],
)
def test_each_client_has_its_own_form(top, client):
    found = source(top)
    assert found.client.name == client
    assert names(found) == ["time"]
    assert isinstance(found.servers[0][1], Entry)


@pytest.mark.parametrize(
    ("text", "suffix", "client"),
    [
        ('[mcp_servers.time]\ncommand = "x"\n', "", None),
        ('# a comment\n[mcp_servers.time] # another\ncommand = "x"\n', "", None),
        ('mcp_servers.time.command = "x"\n', ".toml", None),
        ('mcp_servers.time.command = "x"\n', "", CLIENTS["codex"]),
        ("extensions:\n  time:\n    type: stdio\n    cmd: x\n", "", None),
        ("mcpServers:\n- name: time\n  command: x\n", ".yml", None),
        ('\ufeff// a comment\n{"mcpServers": {"time": {"command": "x"}}}', "", None),
        ('/* a comment */ {"mcpServers": {"time": {"command": "x"}}}', ".jsonc", None),
    ],
)
def test_the_language_is_found_without_a_suffix(text, suffix, client):
    assert names(source(text, suffix, client)) == ["time"]


@pytest.mark.parametrize(
    ("text", "suffix", "reason"),
    [
        ("", "", "not valid JSON: line 1, column 1"),
        ("hello", "", "not valid JSON"),
        ("[x]\na = ", ".toml", "not valid TOML"),
        ("a = " + "[" * 20_000, ".toml", "nested too deeply"),
        ("a: [", ".yaml", "not valid YAML"),
    ],
)
def test_a_broken_text_is_refused(text, suffix, reason):
    with pytest.raises(BadImport, match=reason):
        source(text, suffix)


@pytest.mark.parametrize(
    "top",
    [
        {},
        {"mcpServers": {}},
        {"mcpServers": 5},
        {"mcp": []},
        {"a": {"b": 1}},
        {"a": TIME, "b": 5},
        {"theme": "x"},
    ],
)
def test_a_text_without_servers_is_refused(top):
    with pytest.raises(NoServers, match="no servers found"):
        source(top)


def test_the_projects_of_claude_code_have_servers():
    found = source(
        {
            "mcpServers": {"all": TIME, "off": TIME},
            "projects": {
                "/p": {"mcpServers": {"a": TIME, "bad": []}, "disabledMcpServers": ["a", "off"]},
                "/q": {"mcpServers": None},
                "/r": 5,
            },
        }
    )
    assert names(found) == ["all", "off", "a", "bad"]
    assert [entry.enabled for _, entry in found.servers[:3]] == [True, True, False]
    assert found.servers[2][1].project == "/p"
    assert isinstance(found.servers[3][1], LeftOut)
    assert found.notes == ["'off': switched off in the project '/p' only, which stays with the client"]


def test_the_lists_of_gemini_disable_servers():
    top = {"mcpServers": {"a": TIME, "b": TIME, "c": TIME, "bad": 5}}
    for lists, enabled in (
        ({"excluded": ["a"]}, [False, True, True]),
        ({"allowed": ["a", "b"], "excluded": ["b"]}, [True, False, False]),
        ({"allowed": []}, [False] * 3),
    ):
        found = source({**top, "mcp": lists}, client=CLIENTS["gemini"])
        assert [entry.enabled for _, entry in found.servers[:3]] == enabled


def test_zed_has_an_older_form_and_servers_of_extensions():
    found = source(
        {
            "context_servers": {
                "old": {"command": {"path": "/x", "args": ["a"]}},
                "extension": {"source": "extension", "settings": {}},
                "far": {"url": "https://e.com"},
            },
            "agent": {"profiles": {"a": {"context_servers": {}}}},
        }
    )
    assert names(found) == ["old", "far"]
    assert (found.servers[0][1].command, found.servers[0][1].args) == ("/x", ["a"])
    assert found.skipped == ["extension"]
    assert len(found.notes) == 2


def test_continue_has_hub_blocks_names_and_an_older_form():
    found = source(
        {
            "mcpServers": [{"uses": "a/b"}, {"name": 5, **TIME}, "x"],
            "experimental": {
                "modelContextProtocolServers": [{"transport": {"type": "stdio", "command": "a"}}]
            },
        }
    )
    assert names(found) == ["server-1", "5", "server-3", "server-1"]
    assert [isinstance(entry, LeftOut) for _, entry in found.servers] == [True, False, True, False]
    assert found.servers[3][1].kind == "stdio"


def test_the_older_form_of_continue_may_be_alone():
    old = {"modelContextProtocolServers": [{"transport": {"type": "stdio", "command": "a"}}]}
    assert names(source({"experimental": old})) == ["server-1"]


def test_opencode_denies_tools_by_the_name_of_the_server():
    found = source(
        {
            "mcp": {
                "my.git": {"type": "local", "command": ["x"]},
                "far": {"type": "remote", "url": "https://e.com"},
                "off": {"enabled": False},
                "bad": {"type": "local", "enabled": True},
            },
            "tools": {
                "my_git_push": False,
                "my_git_": False,
                "far*": False,
                "bash": False,
                "my_git_log": True,
            },
            "permission": {"my_git_c*": "deny", "edit": "deny", "my_git_b": "ask"},
        }
    )
    git, far = found.servers[0][1], found.servers[1][1]
    assert git.patterns == ["push", "c*"]
    assert (git.enabled, far.enabled) == (True, False)
    assert found.skipped == ["off"]


def test_opencode_has_servers_behind_one_that_is_left_out():
    found = source(
        {
            "mcp": {
                "off": {"enabled": False},
                "a": {"type": "local", "command": ["x"]},
                "servers": {"bad": "no object", "b": {"command": ["x"]}},
            },
            "permission": {"a_*": "deny", "b_*": "deny"},
        }
    )
    assert {name: getattr(entry, "enabled", None) for name, entry in found.servers} == {
        "bad": None,
        "b": False,
        "a": False,
    }
    assert found.skipped == ["off"]


def test_goose_has_parts_of_its_own_an_older_form_and_empty_lists():
    found = source(
        {
            "extensions": {
                "developer": {"type": "builtin"},
                "a": {"enabled": False, "config": {"type": "stdio", "cmd": "x", "available_tools": []}},
                "b": {"type": "stdio", "cmd": "x", "available_tools": ["t"]},
            }
        }
    )
    assert names(found) == ["a", "b"]
    assert (found.servers[0][1].enabled, found.servers[0][1].allow) == (False, None)
    assert found.servers[1][1].allow == ["t"]
    assert found.notes == ["'developer' is left out: it is a part of Goose"]


def test_a_file_with_only_parts_of_the_client_has_no_servers_and_no_error():
    assert names(source({"extensions": {"developer": {"type": "builtin"}}})) == []


def test_inputs_with_a_default_that_are_no_passwords_are_known():
    inputs = [
        {"id": "a", "default": "x"},
        {"id": "b", "default": "y", "password": True},
        {"id": "c"},
        {"id": 5, "default": "z"},
        7,
    ]
    assert source({"servers": {"t": TIME}, "inputs": inputs}).inputs == {"a": "x"}
    assert source({"mcp": {"servers": {"t": TIME}, "inputs": inputs}}).inputs == {"a": "x"}


def test_a_bare_map_has_only_servers():
    assert names(source({"a": TIME, "b": {"url": "u"}, "c": {"x": 1}})) == ["a", "b"]


def test_a_bundle_without_a_name():
    assert names(source({"server": {"mcp_config": {**TIME, "platform_overrides": {}}}})) == ["server"]


def test_a_server_json_is_known_by_its_packages():
    assert names(source({"name": "a/b", "remotes": [{"type": "sse", "url": "u"}]})) == ["b"]


def of(top, client):
    return dict(source(top, client=CLIENTS[client]).servers)


@pytest.mark.parametrize(
    ("lists", "enabled"),
    [
        ({"excludeMCPServers": ["a"]}, [False, True]),
        ({"allowMCPServers": ["a"]}, [True, False]),
        ({"allowMCPServers": []}, [False, False]),
        ({"mcp": {"allowed": ["a", 5], "excluded": [5, "a"]}}, [False, False]),
    ],
)
def test_the_lists_of_servers_of_every_version_of_gemini_apply(lists, enabled):
    found = of({"mcpServers": {"a": TIME, "b": TIME}, **lists}, "gemini")
    assert [entry.enabled for entry in found.values()] == enabled


@pytest.mark.parametrize(
    ("permission", "enabled", "patterns", "problems"),
    [
        ("deny", False, [], 0),
        ({"a_x": {"*": "deny", "y": "allow"}}, True, ["x"], 0),
        ({"a_x": {"y*": "deny"}}, True, [], 1),
        ({"*": {"y*": "deny"}}, True, [], 1),
        ({"bash": {"rm *": "deny"}}, True, [], 0),
        ("allow", True, [], 0),
    ],
)
def test_every_form_of_a_permission_of_opencode_applies(permission, enabled, patterns, problems):
    top = {"mcp": {"a": {"type": "local", "command": ["x"]}}, "permission": permission}
    entry = of(top, "opencode")["a"]
    assert (entry.enabled, entry.patterns, len(entry.problems)) == (enabled, patterns, problems)


def test_the_tools_of_the_agents_of_opencode_are_named():
    top = {"mcp": {"a": {"type": "local", "command": ["x"]}}, "agent": {"b": {"tools": {"a_*": False}}}}
    assert "agents of opencode" in source(top, client=CLIENTS["opencode"]).notes[0]


def test_the_members_of_a_connection_may_be_in_an_object():
    inner = {"type": "streamableHttp", "url": "https://a.example/mcp", "headers": {"A": "b"}}
    entry = source({"mcpServers": {"a": {"transport": inner, "disabled": True, "timeout": 30}}}).servers[0][1]
    assert (entry.kind, entry.url, entry.headers) == ("streamableHttp", "https://a.example/mcp", {"A": "b"})
    assert (entry.enabled, entry.call_seconds) == (False, 30)


@pytest.mark.parametrize(
    ("client", "switches", "off"),
    [
        ("copilot", {"disabledMcpServers": ["Time"]}, ["Time"]),
        ("copilot", {"disabledMcpServers": ["time"]}, []),
        ("copilot", {"time": {"enabled": False}, "model": "x"}, []),
        ("gemini", {"time": {"enabled": False}, "date": {"enabled": True}}, ["Time"]),
        ("gemini", {"disabledMcpServers": ["Time"]}, []),
    ],
)
def test_another_file_of_the_client_switches_servers_off(client, switches, off):
    top = {"mcpServers": {"Time": TIME, "date": TIME, "bad": 1}}
    found = read_source(json.dumps(top), ".json", CLIENTS[client], json.dumps(switches))
    assert [name for name, one in found.servers if isinstance(one, Entry) and not one.enabled] == off


def test_a_switch_file_that_cannot_be_read_is_an_error():
    with pytest.raises(BadImport):
        read_source(json.dumps({"mcpServers": {"time": TIME}}), ".json", CLIENTS["copilot"], "{")
    assert source({"mcpServers": {"time": TIME}}).servers[0][1].enabled


def test_a_document_of_the_registry_is_from_no_client():
    found = source({"name": "a/b", "packages": [{"registryType": "npm", "identifier": "b", "version": "1"}]})
    assert found.client.title == "the MCP registry"
