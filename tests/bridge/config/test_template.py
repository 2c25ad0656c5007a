"""The text of a new configuration file."""

import re
import tomllib

from mcpbridged.bridge.config import load
from mcpbridged.bridge.config.template import TEMPLATE

from ...support.config_file import HERE


def test_a_new_file_is_valid_and_has_the_defaults(tmp_path):
    settings = load.plan_text(TEMPLATE, tmp_path / "config.toml", HERE)
    empty = load.plan_text("", tmp_path / "config.toml", HERE)
    assert settings == empty


def test_every_example_of_a_new_file_is_valid(tmp_path):
    text = re.sub(r"^# (?=\[|[a-z_.A-Z]+ = )", "", TEMPLATE, flags=re.MULTILINE)
    settings = load.plan_text(text, tmp_path / "config.toml", HERE)
    assert [server.name for server in settings.servers] == ["time", "example", "aggregate", "work"]
    assert settings.servers[0].launch.argv == ("uvx", "mcp-server-time")
    assert tomllib.loads(text)["listen"]["http"] == "127.0.0.1:8808"
    assert settings.log_calls
