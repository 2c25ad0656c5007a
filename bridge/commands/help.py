"""`mcp-bridge help` and `mcp-bridge version`."""

import platform

from ...validators.version import VERSION
from ..core.exit_codes import EX_OK
from .command_options import parser_of
from .invocation import BadUsage, Invocation
from .output import print_json, print_line
from .parser import COMMANDS, unknown_command
from .wrapper_options import options_parser


def help_(invocation: Invocation) -> int:
    """Print the help of a command, or of the program. Raises BadUsage."""
    name = invocation.options.topic
    if name and name not in COMMANDS:
        raise BadUsage(unknown_command(name))
    parser = parser_of(name) if name else options_parser()
    print_line(parser.format_help().rstrip("\n"))
    return EX_OK


def version(invocation: Invocation) -> int:
    """Print the version of this program."""
    if invocation.options.json:
        print_json({"version": VERSION, "python": platform.python_version()})
    else:
        print_line(f"mcp-bridge {VERSION}")
    return EX_OK
