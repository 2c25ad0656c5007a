"""The examples in the help of each command."""

import re
import shlex
from pathlib import Path

import pytest

from mcpbridged.bridge.commands.command_options import commands_parser, parser_of
from mcpbridged.bridge.commands.examples import EXAMPLES
from mcpbridged.bridge.commands.parser import COMMANDS
from mcpbridged.bridge.commands.wrapper import read_arguments

ROOT = Path(__file__).parents[3]
MANUALS = ROOT / "man"
# COMPATIBILITY.md is a report with names of commands.
DOCUMENTS = ["README.md", "SECURITY.md", "CONTRIBUTING.md"] + [
    f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "COMPATIBILITY.md"
]


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


def lines_of(document):
    """Return the command lines in blocks and spans of code, without comments and redirections."""
    text = (ROOT / document).read_text()
    found = re.findall(r"^ {4}(mcp-bridge (?!\d).*)$", text, re.MULTILINE)
    found += re.findall(r"`(mcp-bridge [a-z-][^`\n]*)`", text)
    return [re.split(r"\s(?:#|>|\|)", line)[0].replace(" CLIENT ", " cursor ") for line in found]


def usage_code(line):
    """Return the exit code of the parser: 0 for a line that would run, and 64 for wrong usage."""
    try:
        parse(line, {"SEARCH_API_KEY": "x"})
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_command_lines_of_the_documents_can_be_parsed(document):
    # A command alone is often its name and no line to type.
    lines = [line for line in lines_of(document) if line.split()[1:] not in [[name] for name in COMMANDS]]
    assert [line for line in lines if usage_code(line) != 0] == []


def test_the_documents_have_command_lines():
    assert sum(len(lines_of(document)) for document in DOCUMENTS) > 50
