"""`mcp-bridge help` and `mcp-bridge version`."""

import platform

from ..core.exit_codes import EX_OK
from .command_options import command_parsers
from .invocation import BadUsage, Invocation
from .output import print_json, print_line
from .parser import COMMANDS, unknown_command
from .wrapper_options import options_parser


def help_(invocation: Invocation) -> int:
    """Print the help of a command, or of the program. Raises BadUsage."""
    name = invocation.options.topic
    if name and name not in COMMANDS:
        raise BadUsage(unknown_command(name))
    parser = command_parsers()[name] if name else options_parser()
    print_line(parser.format_help().rstrip("\n"))
    return EX_OK


def version(invocation: Invocation) -> int:
    """Print the version of this program."""
    from importlib.metadata import version as version_of  # noqa: PLC0415 - its import is slow

    found = version_of("mcpbridged")
    if invocation.options.json:
        print_json({"version": found, "python": platform.python_version()})
    else:
        print_line(f"mcp-bridge {found}")
    return EX_OK
