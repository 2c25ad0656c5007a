"""Write the results of a command to stdout, and notices to stderr.

Text of a server or a client is escaped before it reaches the terminal.
"""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.exit_codes import ReportedError
    from .terminal import Terminal


def print_line(text: str) -> None:
    """Write a line to stdout at once. The caller escapes text that is not ours."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(value: object) -> None:
    """Write a value to stdout as JSON: ASCII, because a control character in a name must not reach the terminal."""
    import json  # noqa: PLC0415 - `mcp-bridge --version` prints no JSON

    print_line(json.dumps(value, indent=2))


def stdout_terminal(environment: Mapping[str, str]) -> "Terminal":
    """Return the terminal that stdout leads to, or its absence."""
    from .terminal import terminal_of  # noqa: PLC0415 - only for a table

    return terminal_of(sys.stdout, environment)


def notice(text: str) -> None:
    """Write a line to stderr, escaped and after the name of the program; on a terminal it is broken between words.

    A line that begins with a space is the output of a program, or a line of a file with a mark below its column. It stays as it is,
    without the name.
    """
    from ..log import escaped, write_stderr  # noqa: PLC0415 - `mcp-bridge --version` writes no notice

    line = escaped(text)
    write_stderr(f"{line if text.startswith(' ') else fitted(f'mcp-bridge: {line}')}\n")


def fitted(line: str) -> str:
    """Return a line for stderr: on a terminal it is broken between words."""
    if not sys.stderr.isatty():
        return line
    from .terminal import terminal_of  # noqa: PLC0415 - only for a terminal
    from .text_width import wrapped  # noqa: PLC0415 - only for a terminal

    return "\n".join(wrapped(line, terminal_of(sys.stderr, os.environ).width, "  "))


def notice_of_faults(fault: "ReportedError") -> None:
    """Write an error to stderr, or all errors of a configuration; on a terminal with the lines of the file, if they may be shown."""
    for line in fault.lines(with_source=sys.stderr.isatty()):
        notice(line)
