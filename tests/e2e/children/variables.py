"""A server of the handshake era that tells its environment, and says on stderr what it has told.

Its tool `variable` answers with its pid and the variable of that `name`. It ends at once where KEY begins with "bad".
"""

import json
import os
import sys

INFO = {"name": "variables", "version": "1"}


def told(name: str) -> str:
    value = os.environ.get(name)
    print(f"telling {value}", file=sys.stderr, flush=True)
    return json.dumps({"pid": os.getpid(), "value": value})


def result_of(method: str, params: dict) -> dict:
    match method:
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": INFO,
            }
        case "tools/list":
            return {"tools": [{"name": "variable", "inputSchema": {"type": "object"}}]}
        case "tools/call" if params["name"] == "die":
            sys.exit(f"I die of {os.environ.get('KEY')}")
        case "tools/call":
            return {"content": [{"type": "text", "text": told(params["arguments"]["name"])}]}
    return {}


if os.environ.get("KEY", "").startswith("bad"):
    sys.exit(f"no such key: {os.environ['KEY']}")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "server/discover":
        answer["error"] = {"code": -32601, "message": "no such method"}
    else:
        answer["result"] = result_of(message["method"], message.get("params", {}))
    print(json.dumps(answer), flush=True)
