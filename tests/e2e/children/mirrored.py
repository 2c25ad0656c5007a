"""A server whose tool `where` requires headers that mirror its arguments. A call with `change` changes their names."""

import json
import sys

HEADERS = {"region": "Region", "level": "Level", "dry": "Dry-Run", "deep": "Deep"}


def tool(headers):
    deep = {"type": "object", "properties": {"deep": {"type": "string", "x-mcp-header": headers["deep"]}}}
    properties = {
        "region": {"type": "string", "x-mcp-header": headers["region"]},
        "level": {"type": "integer", "x-mcp-header": headers["level"]},
        "dry": {"type": "boolean", "x-mcp-header": headers["dry"]},
        "in": deep,
        "change": {"type": "boolean"},
    }
    return {"name": "where", "inputSchema": {"type": "object", "properties": properties}}


def write(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


headers = HEADERS
for line in sys.stdin:
    message = json.loads(line)
    params = message.get("params", {})
    match message.get("method"):
        case "initialize":
            about = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "mirrored", "version": "0"},
            }
            write(id=message["id"], result=about)
        case "tools/list" if "cursor" in params:
            write(id=message["id"], result={"tools": [tool(headers)]})
        case "tools/list":
            write(id=message["id"], result={"tools": [], "nextCursor": "more"})
        case "tools/call":
            if params["arguments"].get("change"):
                headers = {name: f"New-{header}" for name, header in HEADERS.items()}
                write(method="notifications/tools/list_changed")
            write(
                id=message["id"],
                result={"content": [{"type": "text", "text": json.dumps(params["arguments"])}]},
            )
        case _ if "id" in message:
            write(id=message["id"], error={"code": -32601, "message": "there is no such method"})
