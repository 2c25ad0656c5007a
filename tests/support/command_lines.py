"""Parse command lines of documents as the program does, without running them."""

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Mapping
from functools import cache

from mcpbridged.bridge.commands.command_options import commands_parser
from mcpbridged.bridge.commands.parser import COMMANDS
from mcpbridged.bridge.commands.wrapper import read_arguments

ENVIRONMENT = {"SEARCH_API_KEY": "x"}
# What stands for a value that is one of a few.
PLACEHOLDERS = {
    "CLIENT": "cursor",
    "SHELL": "bash",
    "COMMAND": "status",
    "DOCUMENT": "claude_desktop_config.json",
    "SECONDS": "1",
    "PORT": "8808",
    "...": "",
    "…": "",
}
_ENDS = {"|", ">", ">>", "<", "&", "&&", "||", ";", "2>&1"}


@cache
def _parser() -> argparse.ArgumentParser:
    return commands_parser()


def parse(line: str, environment: Mapping[str, str] = ENVIRONMENT) -> None:
    """Parse a line as the program does. Raises SystemExit for wrong usage, and ValueError for an unfinished quote."""
    program, *words = shlex.split(line)
    assert program == "mcp-bridge"
    if words[0] in COMMANDS:
        assert _parser().parse_args(words).command == words[0]
    else:
        read_arguments(words, dict(environment))


def commands_in(line: str) -> list[str]:
    """Return each command of mcp-bridge in a line of shell, without comments, redirections and pipes."""
    words = shlex.shlex(line, posix=False, punctuation_chars="|&;<>")
    words.whitespace_split = True
    words.commenters = "#"
    # A quote that is open at the end is that of a longer line, which the caller has not joined.
    found, current = [], None
    try:
        split = list(words)
    except ValueError:
        # An open quote: the parser names it.
        return [line] if line.startswith("mcp-bridge ") else []
    for word in split:
        if word == "mcp-bridge":
            current = [word]
            found.append(current)
        elif set(word) <= set("|&;<>"):
            current = None
        elif current is not None:
            current.append(word)
    return [" ".join(words) for words in found if len(words) > 1]


def logical_lines(text: str) -> list[str]:
    """Return the lines of a block of shell: a line that ends with a backslash goes on, and so does one in an open quote."""
    found: list[str] = []
    rest = ""
    for line in text.split("\n"):
        whole = f"{rest}\n{line}" if rest else line
        if whole.endswith("\\") or _is_open(whole):
            rest = whole
        else:
            found.append(whole)
            rest = ""
    return [line for line in (*found, rest) if line.strip() and not line.lstrip().startswith("#")]


def _is_open(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def filled(line: str) -> str:
    """Return a line with values in place of what stands for them: `[NAME]` is NAME, and CLIENT is a client."""
    line = re.sub(r"\[([^\[\]=]*)\]", r"\1", line)
    line = line.replace("--stdio ...", "--stdio CMD")
    for name, value in PLACEHOLDERS.items():
        line = (
            re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w/])", value, line)
            if name.isalpha()
            else line.replace(name, value)
        )
    return line


def usage_fault(line: str) -> str:
    """Return what the program prints about a line with wrong usage, and "" for a line that would run."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
            parse(filled(line))
    except SystemExit as end:
        return "" if end.code == 0 else f"{line}: {printed.getvalue().strip() or end.code}"
    except ValueError as fault:
        return f"{line}: {fault}"
    return ""
