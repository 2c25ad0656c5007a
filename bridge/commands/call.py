"""`mcp-bridge call`: call a tool of a server, and print its result."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from ...validators import mirrored_headers
from ..core.exit_codes import EX_FAILED, EX_OK
from . import content
from .control_client import ErrorResponse
from .input_responder import InputResponder
from .invocation import BadUsage, Invocation
from .notifications import Notifications
from .output import notice, print_line
from .printable import json_text
from .server_client import ServerClient, not_there
from .terminal_user import terminal_user
from .tool_arguments import BadArgument, ToolArguments

# Of a file or stdin with arguments (bytes): the default limit of a message.
_LONGEST_FILE: Final = 16 * 1024 * 1024


def call(invocation: Invocation) -> int:
    """Call a tool, and print its content to stdout and its progress to stderr. Raises BadUsage and ErrorResponse."""
    options = invocation.options
    # Wrong JSON is an error of usage also where no daemon runs.
    _arguments(None, [word for word in options.arguments if word[:1] == "{"])
    client = interactive_client(invocation)
    tool = _find_tool(client, options.tool)
    schema: Any = tool.get("inputSchema")
    arguments = _arguments(schema, options.arguments)
    params = {"name": options.tool, "arguments": arguments}
    lacking = _lacking(schema, arguments)
    try:
        result = client.request("tools/call", params, mirrored(schema, arguments))
    except ErrorResponse as fault:
        raise (ErrorResponse(f"{fault}\n{lacking}") if lacking else fault) from None
    finally:
        client.done()
    if options.json:
        print_line(json_text(result))
    else:
        content.show(content.tool_parts(result), options.output, print_line, notice)
    if result.get("isError") is not True:
        return EX_OK
    if lacking:
        notice(lacking)
    return EX_FAILED


class InteractiveClient(ServerClient):
    """A client of one server whose user is at the terminal, if there is one."""

    def __init__(self, unix: Path, server: str, log_level: str | None) -> None:
        self._notifications = Notifications()
        # Without a level a server sends no log messages (MCP 2026-07-28 server/utilities/logging).
        level = log_level or ("info" if self._notifications.is_terminal else "")
        user = terminal_user(self._notifications.line)
        super().__init__(
            unix,
            server,
            InputResponder(server, user, notice),
            self._notifications,
            "" if level == "none" else level,
            self._notifications.progress,
        )

    def done(self) -> None:
        """Erase what is left of the progress."""
        self._notifications.clear()


def interactive_client(invocation: Invocation) -> InteractiveClient:
    """Return the client for a command that may need its user."""
    options = invocation.options
    return InteractiveClient(invocation.socket(), options.server, options.log_level)


def read_input(name: str) -> bytes:
    """Return the content of a file, or of stdin for "-". Raises OSError and ValueError."""
    if name == "-":
        if sys.stdin.isatty():
            notice("reading stdin; end it with Ctrl-D")
        data = sys.stdin.buffer.read(_LONGEST_FILE + 1)
    else:
        with Path(name).open("rb") as file:
            data = file.read(_LONGEST_FILE + 1)
    if len(data) > _LONGEST_FILE:
        raise ValueError(f"more than {_LONGEST_FILE} bytes")
    return data


def _arguments(schema: object, words: list[str]) -> dict[str, Any]:
    try:
        return ToolArguments(schema, read_input).of(words)
    except BadArgument as fault:
        raise BadUsage(f"ARGUMENTS: {fault}") from None


def _find_tool(client: ServerClient, name: str) -> dict[str, Any]:
    tools = client.items("tools/list", "tools")
    for tool in tools:
        if tool.get("name") == name:
            return tool
    known = [str(tool.get("name", "")) for tool in tools]
    raise not_there(client.server, "tool", name, known, "tools")


def _lacking(schema: object, arguments: Mapping[str, Any]) -> str:
    """Return a line that names the required arguments that were not given, empty if there are none."""
    found = cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}
    required: Any = found.get("required")
    names = [str(one) for one in cast("list[object]", required)] if isinstance(required, list) else []
    lacking = [name for name in names if name not in arguments]
    return f"required arguments that were not given: {', '.join(lacking)}" if lacking else ""


def mirrored(schema: object, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that repeat arguments of a tool, as its schema demands (MCP 2026-07-28 basic/transports)."""
    headers: dict[str, str] = {}
    for mirror in mirrored_headers.param_headers(msgspec.json.encode(schema or {})):
        value: Any = arguments
        for name in mirror.path:
            value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            headers[mirror.header] = mirrored_headers.encode_value(text)
    return headers
