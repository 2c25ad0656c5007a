"""Requests of revision 2026-07-28 and the headers that mirror them."""

from typing import Any

from .raw_http import BOTH

PREFIX = "io.modelcontextprotocol/"


ASKABLE = {"elicitation": {}, "sampling": {}, "roots": {}}


SUBSCRIPTION = f"{PREFIX}subscriptionId"


def request(method: str, params: Any = None, id: Any = 1, caps: Any = None, **meta: Any) -> dict[str, Any]:  # noqa: A002
    envelope = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": caps or {}, **meta}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**(params or {}), "_meta": envelope}}


def headers_of(body: dict[str, Any], **more: str | None) -> dict[str, str]:
    """Return the headers that mirror a request, with these changes. None removes a header."""
    params = body["params"]
    name = params.get("name", params.get("uri"))
    headers = {
        "Accept": BOTH,
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": body["method"],
        **({"Mcp-Name": name} if name else {}),
        **more,
    }
    return {header: value for header, value in headers.items() if value is not None}


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}
