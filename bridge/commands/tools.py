"""`mcp-bridge tools`: list the tools of a server."""

import sys
from collections.abc import Mapping
from typing import Any, Final, cast

from ..core.exit_codes import EX_OK
from .invocation import Invocation
from .output import notice, print_line
from .printable import json_text
from .server_client import ServerClient
from .table import table
from .terminal import terminal_of

# Of the description of a tool in the table (characters).
_LONGEST: Final = 100


def tools(invocation: Invocation) -> int:
    """Print a table of the tools of a server, or with `--json` their definitions."""
    name = invocation.options.server
    listed = ServerClient(invocation.socket(), name).items_if_offered("tools/list", "tools")
    if not listed:
        notice(f"{name} offers no tools" if listed is None else f"{name} has no tools")
    if invocation.options.json or not listed:
        if invocation.options.json:
            print_line(json_text(listed or []))
        return EX_OK
    rows = [(str(tool.get("name", "")), ", ".join(_arguments(tool)), first_line(tool)) for tool in listed]
    print_line(
        table(("tool", "arguments", "description"), rows, terminal_of(sys.stdout, invocation.environment))
    )
    return EX_OK


def _arguments(tool: Mapping[str, Any]) -> list[str]:
    schema: Any = tool.get("inputSchema")
    properties: Any = cast("dict[str, Any]", schema).get("properties") if isinstance(schema, dict) else None
    return list(cast("dict[str, Any]", properties)) if isinstance(properties, dict) else []


def first_line(described: Mapping[str, Any]) -> str:
    """Return the beginning of the description of a tool, prompt or resource, or else its title."""
    lines = str(described.get("description") or described.get("title") or "").strip().splitlines()
    return lines[0][:_LONGEST] if lines else ""
