"""`mcp-bridge completion`: print the completion script for a shell."""

from ..core.exit_codes import EX_OK
from .command_options import commands_parser
from .completion_scripts import completion_script
from .invocation import Invocation
from .output import print_line
from .wrapper_options import options_parser


def completion(invocation: Invocation) -> int:
    print_line(completion_script(invocation.options.shell, commands_parser(), options_parser()))
    return EX_OK
