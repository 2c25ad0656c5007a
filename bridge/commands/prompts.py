"""`mcp-bridge prompts` and `mcp-bridge prompt`: list the prompts of a server, and print the messages of a prompt."""

import sys
from collections.abc import Mapping
from typing import Any, cast

from ..core.exit_codes import EX_OK
from ..log import escaped
from . import content
from .call import interactive_client, read_input
from .invocation import BadUsage, Invocation
from .output import notice, print_line
from .printable import json_text
from .server_client import ServerClient, not_there
from .table import table
from .terminal import terminal_of
from .tool_arguments import BadArgument, ToolArguments
from .tools import first_line


def prompts(invocation: Invocation) -> int:
    """Print a table of the prompts of a server, or with `--json` their definitions."""
    name = invocation.options.server
    listed = ServerClient(invocation.socket(), name).items_if_offered("prompts/list", "prompts")
    if listed is None:
        notice(f"{name} offers no prompts")
    found = listed or []
    if invocation.options.json:
        print_line(json_text(found))
    elif found:
        rows = [(str(prompt.get("name", "")), _shown(prompt), first_line(prompt)) for prompt in found]
        print_line(
            table(
                ("prompt", "arguments", "description"), rows, terminal_of(sys.stdout, invocation.environment)
            )
        )
    elif listed is not None:
        notice(f"{name} has no prompts")
    return EX_OK


def prompt(invocation: Invocation) -> int:
    """Print the messages of a prompt. Raises BadUsage and ErrorResponse."""
    options = invocation.options
    client = interactive_client(invocation)
    listed = client.items("prompts/list", "prompts")
    found = next((one for one in listed if one.get("name") == options.prompt), None)
    if found is None:
        known = [str(one.get("name", "")) for one in listed]
        raise not_there(options.server, "prompt", options.prompt, known, "prompts")
    try:
        # All arguments of prompts are strings (MCP 2025-11-25 server/prompts).
        schema = {"additionalProperties": {"type": "string"}, "properties": _properties(found)}
        arguments = ToolArguments(schema, read_input).of(options.arguments)
    except BadArgument as fault:
        raise BadUsage(f"ARGUMENTS: {fault}") from None
    wrong = [key for key, value in arguments.items() if not isinstance(value, str)]
    if wrong:
        raise BadUsage(f"ARGUMENTS: {wrong[0]}: must be a string, as all arguments of prompts")
    lacking = [
        one["name"] for one in _declared(found) if one.get("required") and one["name"] not in arguments
    ]
    if lacking:
        notice(f"required arguments that were not given: {', '.join(lacking)}")
    try:
        result = client.request("prompts/get", {"name": options.prompt, "arguments": arguments})
    finally:
        client.done()
    if options.json:
        print_line(json_text(result))
        return EX_OK
    messages: Any = result.get("messages")
    for message in cast("list[object]", messages) if isinstance(messages, list) else ():
        one = content.as_object(message)
        blocks: object = one.get("content")
        print_line(f"{escaped(str(one.get('role', '')))}:")
        shown = cast("list[object]", blocks) if isinstance(blocks, list) else [blocks]
        parts = content.parts_of(shown)
        content.show(list(parts), "", print_line, notice)
    return EX_OK


def _declared(prompt: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed: Any = prompt.get("arguments")
    found = [
        cast("dict[str, Any]", one)
        for one in (cast("list[object]", listed) if isinstance(listed, list) else [])
        if isinstance(one, dict)
    ]
    return [one for one in found if isinstance(one.get("name"), str)]


def _properties(prompt: Mapping[str, Any]) -> dict[str, object]:
    return {one["name"]: {"type": "string"} for one in _declared(prompt)}


def _shown(prompt: Mapping[str, Any]) -> str:
    """Return the names of the arguments; those that may be left out are in brackets."""
    return ", ".join(one["name"] if one.get("required") else f"[{one['name']}]" for one in _declared(prompt))
