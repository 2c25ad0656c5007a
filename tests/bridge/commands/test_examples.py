"""The examples in the help of each command."""

import re
from pathlib import Path

import pytest

from mcpbridged.bridge.commands.command_options import parser_of
from mcpbridged.bridge.commands.examples import EXAMPLES
from mcpbridged.bridge.commands.parser import COMMANDS

from ...support.command_lines import usage_fault

ROOT = Path(__file__).parents[3]
MANUALS = ROOT / "man"


def test_each_command_has_examples():
    assert list(EXAMPLES) == list(COMMANDS)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_each_example_can_be_parsed(line):
    assert usage_fault(line) == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_are_in_its_help_as_they_are(name):
    text = parser_of(name).format_help()
    for line in EXAMPLES[name]:
        assert line.startswith(f"mcp-bridge {name}")
        assert f"\n  {line}\n" in text


@pytest.mark.parametrize("page", sorted(path.name for path in MANUALS.iterdir()))
def test_each_manual_page_has_examples(page):
    assert re.search(r"^\.SH EXAMPLES?$", (MANUALS / page).read_text(), re.MULTILINE)
