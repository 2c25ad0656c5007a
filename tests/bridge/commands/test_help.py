"""`mcp-bridge help` and `mcp-bridge version`."""

import json
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands.help import help_, version
from mcpbridged.bridge.commands.invocation import BadUsage


def run(capsys, command, **options):
    assert command(SimpleNamespace(options=SimpleNamespace(**options))) == 0
    return capsys.readouterr().out


def test_help_is_that_of_the_option(capsys):
    assert "Expose a local stdio MCP server" in run(capsys, help_, topic=None)
    text = run(capsys, help_, topic="status")
    assert text.startswith("usage: mcp-bridge status ")
    assert "mcp-bridge status --watch" in text


def test_help_for_an_unknown_command_suggests_one():
    with pytest.raises(BadUsage, match="did you mean 'status'"):
        help_(SimpleNamespace(options=SimpleNamespace(topic="statsu")))


def test_the_version_can_be_read_by_a_program(capsys):
    text = run(capsys, version, json=False)
    found = json.loads(run(capsys, version, json=True))
    assert text == f"mcp-bridge {found['version']}\n"
    assert set(found) == {"version", "python"}
