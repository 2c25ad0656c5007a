"""Write the results of a command to stdout, and notices to stderr.

Text of a server or a client is escaped before it reaches the terminal.
"""

import sys

from ..log import escaped, write_stderr


def print_line(text: str) -> None:
    """Write a line to stdout at once. The caller escapes text that is not ours."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def notice(text: str) -> None:
    """Write a line to stderr, escaped and after the name of the program."""
    write_stderr(f"mcp-bridge: {escaped(text)}\n")
