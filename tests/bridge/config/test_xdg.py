"""The default places of files."""

import os
from pathlib import Path

from mcpbridged.bridge.config.xdg import default_path, runtime_directory


def test_the_working_directory_is_never_searched():
    assert default_path({"HOME": "/h"}) == Path("/h/.config/mcp-bridge/config.toml")
    assert default_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/mcp-bridge/config.toml")
    for here in (".", "x/y", ""):
        assert default_path({"XDG_CONFIG_HOME": here, "HOME": "/h"}) == default_path({"HOME": "/h"})
        assert default_path({"HOME": here}) == Path("/.config/mcp-bridge/config.toml")


def test_the_runtime_directory_is_the_state_directory_where_there_is_none():
    assert runtime_directory({"XDG_RUNTIME_DIR": "/run/x"}).as_posix() == "/run/x/mcp-bridge"
    if not os.path.isdir(f"/run/user/{os.geteuid()}"):
        assert runtime_directory({"XDG_STATE_HOME": "/s"}).as_posix() == "/s/mcp-bridge"
        assert runtime_directory({"HOME": "/h"}).as_posix() == "/h/.local/state/mcp-bridge"
        for here in (".", "x/y", ""):
            given = {"XDG_RUNTIME_DIR": here, "XDG_STATE_HOME": here, "HOME": "/h"}
            assert runtime_directory(given).as_posix() == "/h/.local/state/mcp-bridge"
