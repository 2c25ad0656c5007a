"""A stdio server with the tools, the prompt and the resource that the documents name: `servers.py NAME`. Standard library only."""

import json
import sys

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TEXT = {"type": "string"}
TOOLS = {
    "git": {"git_log": {"repo_path": TEXT, "max_count": {"type": "integer"}}},
    "search": {
        "find": {
            "query": TEXT,
            "filter": {"type": "object"},
            "tags": {"type": "array", "items": TEXT},
            "text": TEXT,
        }
    },
    "charts": {"draw": {"kind": TEXT}},
}
NAME = sys.argv[1]


def answer(method, params):
    if method == "initialize":
        offered = {"tools": {}, "prompts": {}, "resources": {}}
        about = {"name": NAME, "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": offered, "serverInfo": about}
    if method == "tools/list":
        tools = TOOLS.get(NAME, {}).items()
        schemas = {name: {"type": "object", "properties": properties} for name, properties in tools}
        return {"tools": [{"name": name, "inputSchema": schema} for name, schema in schemas.items()]}
    if method == "tools/call" and params["name"] == "draw":
        return {"content": [{"type": "image", "mimeType": "image/png", "data": PIXEL}]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": json.dumps(params["arguments"])}]}
    if method == "prompts/list":
        return {"prompts": [{"name": "review", "arguments": [{"name": "branch", "required": True}]}]}
    if method == "prompts/get":
        text = f"Review {params['arguments']['branch']}."
        return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}
    if method == "resources/list":
        return {"resources": [{"uri": "docs://index", "name": "index"}]}
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "text": "The index."}]}
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request and "method" in request:
        result = answer(request["method"], request.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
