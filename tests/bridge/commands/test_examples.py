"""The examples in the help of each command."""

import re
import shlex
from pathlib import Path

import pytest

from mcpbridged.bridge.commands.command_options import commands_parser, parser_of
from mcpbridged.bridge.commands.examples import EXAMPLES
from mcpbridged.bridge.commands.parser import COMMANDS
from mcpbridged.bridge.commands.wrapper import read_arguments

MANUALS = Path(__file__).parents[3] / "man"


def parse(line, environment):
    """Parse a line as the program does. Raises SystemExit for wrong usage."""
    program, *words = shlex.split(line)
    assert program == "mcp-bridge"
    if words[0] in COMMANDS:
        assert commands_parser().parse_args(words).command == words[0]
    else:
        read_arguments(words, environment)


def test_each_command_has_examples():
    assert list(EXAMPLES) == list(COMMANDS)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_each_example_can_be_parsed(line):
    parse(line, {})


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_are_in_its_help_as_they_are(name):
    text = parser_of(name).format_help()
    for line in EXAMPLES[name]:
        assert line.startswith(f"mcp-bridge {name}")
        assert f"\n  {line}\n" in text


@pytest.mark.parametrize("page", sorted(path.name for path in MANUALS.iterdir()))
def test_each_manual_page_has_examples(page):
    assert re.search(r"^\.SH EXAMPLES?$", (MANUALS / page).read_text(), re.MULTILINE)


def test_the_examples_of_the_manual_can_be_parsed():
    section = (MANUALS / "mcp-bridge.1").read_text().split(".SH EXAMPLES\n")[1].split("\n.SH ")[0]
    lines = [
        line.replace("\\-", "-").replace("\\(aq", "'")
        for line in section.splitlines()
        if line.startswith("mcp\\-bridge ")
    ]
    assert len(lines) > 5
    # The shell runs it in the background.
    lines = [line.removesuffix(" &") for line in lines]
    for line in lines:
        parse(line, {"SEARCH_API_KEY": "x"})
