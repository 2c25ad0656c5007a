"""What the presets derive from a command and its variables."""

import pytest

from mcpbridged.bridge.core.sandbox_presets import PRESETS, BadPreset, PresetRules, preset_rules

HOME = {"HOME": "/home/u"}


@pytest.mark.parametrize(
    ("argv", "write"),
    [
        (["mcp-server-filesystem", "/a", "/b"], ("/a", "/b")),
        (["node", "/x/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js", "/a"], ("/a",)),
        (["npx", "-y", "@modelcontextprotocol/server-filesystem@1", "--flag", "/a"], ("/a",)),
        (["files", "/a"], ("/a",)),
    ],
)
def test_the_filesystem_server_writes_to_the_directories_in_its_arguments(argv, write):
    assert preset_rules("filesystem", argv, HOME) == PresetRules((), write, network=False)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["mcp-server-filesystem"], "names no directory"),
        (["mcp-server-filesystem", "docs"], "'docs' is a relative path"),
        (["mcp-server-filesystem", "/a", "."], "'.' is a relative path"),
    ],
)
def test_a_filesystem_server_without_absolute_directories_is_refused(argv, reason):
    with pytest.raises(BadPreset, match=f"sandbox_preset 'filesystem': .*{reason}.*, or set write"):
        preset_rules("filesystem", argv, HOME)


@pytest.mark.parametrize(
    "argv",
    [
        ["mcp-server-git", "--repository", "/src"],
        ["mcp-server-git", "-r", "/src"],
        ["uvx", "mcp-server-git", "--repository=/src"],
    ],
)
def test_the_git_server_writes_to_its_repository_and_reads_the_settings_of_git(argv):
    found = preset_rules("git", argv, HOME)
    assert found == PresetRules(("/home/u/.gitconfig", "/home/u/.config/git"), ("/src",), network=False)
    assert preset_rules("git", argv, {**HOME, "XDG_CONFIG_HOME": "/c"}).optional_read[1] == "/c/git"
    assert preset_rules("git", argv, {}).optional_read == ()


@pytest.mark.parametrize(
    "argv", [["mcp-server-git"], ["mcp-server-git", "-r"], ["mcp-server-git", "-r", "x"]]
)
def test_a_git_server_without_a_repository_needs_a_list(argv):
    with pytest.raises(BadPreset, match="or set write"):
        preset_rules("git", argv, HOME)
    found = preset_rules("git", argv, HOME, has_write=True)
    assert (found.write, found.optional_read[0]) == ((), "/home/u/.gitconfig")


def test_a_server_with_a_file_writes_to_its_directory():
    assert preset_rules("memory", ["m"], {**HOME, "MEMORY_FILE_PATH": "/d/m/x.json"}).write == ("/d/m",)
    assert preset_rules("sqlite", ["m", "--db-path", "/d//db/x.db"], HOME).write == ("/d/db",)


@pytest.mark.parametrize("file", ["", "x.json", "/x.json", "/tmp/x", "/home/u/x", "/home/u/.config/x"])
def test_the_directory_of_a_file_must_be_for_this_server_alone(file):
    with pytest.raises(BadPreset, match=r"env\.MEMORY_FILE_PATH must be"):
        preset_rules("memory", ["m"], {**HOME, "MEMORY_FILE_PATH": file})


def test_only_servers_that_need_no_network_and_download_nothing_have_none():
    argv = ["filesystem", "/a", "-r", "/r", "--db-path", "/d/x/y"]
    variables = {**HOME, "MEMORY_FILE_PATH": "/d/m/x"}
    assert {name for name in PRESETS if preset_rules(name, argv, variables, has_write=True).network} == {
        "fetch"
    }
    assert all(
        preset_rules(name, argv, variables, has_write=True, downloads=True).network for name in PRESETS
    )
    assert preset_rules("", argv, variables) == PresetRules()
