"""`mcp-bridge resources` and `mcp-bridge read`: list the resources of a server, and print the contents of one."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..core.exit_codes import EX_OK
from . import content
from .call import interactive_client
from .control_client import ErrorResponse
from .invocation import Invocation
from .output import notice, print_line
from .printable import json_text
from .server_client import ServerClient
from .table import table
from .terminal import terminal_of
from .tools import first_line


def resources(invocation: Invocation) -> int:
    """Print a table of the resources of a server and of its templates, or with `--json` their definitions."""
    name = invocation.options.server
    client = ServerClient(invocation.socket(), name)
    listed = client.items_if_offered("resources/list", "resources")
    templates = client.items_if_offered("resources/templates/list", "resourceTemplates")
    if listed is None and templates is None:
        notice(f"{name} offers no resources")
    if invocation.options.json:
        print_line(json_text({"resources": listed or [], "resourceTemplates": templates or []}))
        return EX_OK
    rows = [
        *(_row(one, "uri") for one in listed or ()),
        *(_row(one, "uriTemplate") for one in templates or ()),
    ]
    if rows:
        print_line(
            table(
                ("resource", "name", "type", "size", "description"),
                rows,
                terminal_of(sys.stdout, invocation.environment),
            )
        )
    elif listed is not None or templates is not None:
        notice(f"{name} has no resources")
    if templates:
        notice("replace {...} in a template, and use the result as URI of `mcp-bridge read`")
    return EX_OK


def _row(resource: Mapping[str, Any], key: str) -> Sequence[str]:
    size: object = resource.get("size")
    return (
        str(resource.get(key, "")),
        str(resource.get("name", "")),
        str(resource.get("mimeType", "")),
        content.size_of(int(size)) if isinstance(size, int | float) and 0 <= size < 1e15 else "",
        first_line(resource),
    )


def read(invocation: Invocation) -> int:
    """Print the contents of a resource, or write them to a file. Raises ErrorResponse."""
    options = invocation.options
    client = interactive_client(invocation)
    try:
        result = client.request("resources/read", {"uri": options.uri})
    finally:
        client.done()
    if options.json:
        print_line(json_text(result))
        return EX_OK
    contents: Any = result.get("contents")
    parts = [
        part
        for one in (cast("list[object]", contents) if isinstance(contents, list) else [])
        for part in content.resource_parts(cast("dict[str, Any]", one) if isinstance(one, dict) else {})
    ]
    if not parts:
        raise ErrorResponse(f"{options.server} returned no contents for {options.uri}")
    content.show(parts, options.output, print_line, notice)
    return EX_OK
