"""`mcp-bridge tools` and `mcp-bridge call`: list the tools of a server, and call a tool."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import msgspec

from ...validators import mirrored_headers
from ..config.settings import CONTROL
from ..core.exit_codes import EX_FAILED, EX_OK
from ..core.suggestion import suggestion
from ..log import escaped, write_stderr
from .control_client import ErrorResponse, call_server, request, result_of
from .invocation import BadUsage, Invocation
from .output import print_json, print_line, stdout_terminal
from .table import Column, table

# Of the description of a tool in the table (characters).
_LONGEST: Final = 100
_COLUMNS: Final = (Column("tool", least=24), Column("arguments", least=16), Column("description", least=16))


def tools(invocation: Invocation) -> int:
    """Print a table of the tools of a server."""
    found = list(_listed(invocation.socket(), invocation.options.server))
    if invocation.options.json:
        print_json(found)
        return EX_OK
    rows = [
        (tool["name"], ", ".join(tool.get("inputSchema", {}).get("properties", {})), _first_line(tool))
        for tool in found
    ]
    print_line(table(_COLUMNS, rows, stdout_terminal(invocation.environment)))
    return EX_OK


def _first_line(tool: Mapping[str, Any]) -> str:
    lines = str(tool.get("description", "")).strip().splitlines()
    return lines[0][:_LONGEST] if lines else ""


def _listed(unix: Path, server: str) -> Iterator[dict[str, Any]]:
    known = [one["name"] for one in request(unix, "GET", f"{CONTROL}/status")["servers"]]
    if server not in known:
        raise ErrorResponse(
            f"there is no server {server!r}; there are: {', '.join(known) or 'none'}{suggestion(server, known)}"
        )
    params: dict[str, object] = {}
    while True:
        result = result_of(call_server(unix, server, "tools/list", params))
        yield from result["tools"]
        if "nextCursor" not in result:
            return
        params = {"cursor": result["nextCursor"]}


def call(invocation: Invocation) -> int:
    """Call a tool, and print its content to stdout and its progress to stderr. Raises BadUsage and ErrorResponse."""
    options = invocation.options
    try:
        arguments: Any = json.loads(options.arguments, parse_constant=_no_constant)
        json.dumps(arguments, ensure_ascii=False).encode()
    except ValueError as fault:
        raise BadUsage(f"ARGUMENTS is not valid JSON: {fault}") from None
    if not isinstance(arguments, dict):
        raise BadUsage(f"ARGUMENTS must be a JSON object, not {options.arguments!r}")
    unix = invocation.socket()
    known = {tool["name"]: tool for tool in _listed(unix, options.server)}
    tool = known.get(options.tool)
    if tool is None:
        raise ErrorResponse(
            f"{options.server} has no tool {options.tool!r}; list them with `mcp-bridge tools {options.server}`"
            f"{suggestion(options.tool, known)}"
        )
    params: dict[str, object] = {"name": options.tool, "arguments": arguments}
    headers = _mirrored(tool, cast("dict[str, Any]", arguments))
    result = result_of(_with_progress(call_server(unix, options.server, "tools/call", params, headers)))
    blocks: Any = result.get("content")
    if not isinstance(blocks, list) or not blocks:
        blocks = [result]
    for block in cast("list[Any]", blocks):
        text: Any = cast("dict[str, Any]", block).get("text") if isinstance(block, dict) else None
        lines = (text if isinstance(text, str) else json.dumps(block)).splitlines()
        print_line("\n".join(map(escaped, lines)))
    return EX_FAILED if result.get("isError") else EX_OK


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _with_progress(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the messages, and write each notification of progress to stderr."""
    for message in messages:
        if message.get("method") == "notifications/progress":
            params = message["params"]
            total = f"/{params['total']}" if "total" in params else ""
            text = f": {params['message']}" if "message" in params else ""
            write_stderr(escaped(f"{params['progress']}{total}{text}") + "\n")
        yield message


def _mirrored(tool: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that repeat arguments of a tool, as its schema demands (MCP 2026-07-28 basic/transports)."""
    headers: dict[str, str] = {}
    for mirror in mirrored_headers.param_headers(msgspec.json.encode(tool.get("inputSchema", {}))):
        value: Any = arguments
        for name in mirror.path:
            value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            headers[mirror.header] = mirrored_headers.encode_value(text)
    return headers
