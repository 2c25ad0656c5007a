"""A server on stdio with one tool that is annotated as read-only, one that is not, and one without annotations."""

import json
import sys

TOOLS = [
    {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {"name": "write", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": False}},
    {"name": "plain", "inputSchema": {"type": "object"}},
]


def result_of(message):
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}, "prompts": {}},
                "serverInfo": {"name": "annotated", "version": "1"},
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return {"content": [{"type": "text", "text": message["params"]["name"]}]}
        case _:
            return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        if message["method"] == "server/discover":
            answer = {"error": {"code": -32601, "message": "unknown"}}
        else:
            answer = {"result": result_of(message)}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
