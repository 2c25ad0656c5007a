"""A server that returns its environment variables, and writes them to stderr as well: `variables.py [modern [only]]`.

Its tool `variable` returns the pid and the variable of that `name`, or the working directory for `getcwd()`. `die` ends the process. In the modern era `state` returns
the request state. The process exits at its start if KEY begins with "bad".
"""

import json
import os
import sys

INFO = {"name": "variables", "version": "1"}
MODERN = "modern" in sys.argv
# The method of the other era; a modern server that is not `only` modern has both.
UNKNOWN = "initialize" if "only" in sys.argv else "" if MODERN else "server/discover"
WHOLE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
ASKED = {"method": "roots/list"}


def read(name: str) -> str:
    value = os.getcwd() if name == "getcwd()" else os.environ.get(name)
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
        case "server/discover":
            return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **WHOLE}
        case "tools/call" if params["name"] == "state":
            if "requestState" in params:
                return {"content": [{"type": "text", "text": params["requestState"]}], **WHOLE}
            return {"resultType": "input_required", "inputRequests": {"roots": ASKED}, "requestState": "mine"}
        case "tools/call" if params["name"] == "die":
            sys.exit(f"I die of {os.environ.get('KEY')}")
        case "tools/call":
            return {"content": [{"type": "text", "text": read(params["arguments"]["name"])}]}
    return {}


if os.environ.get("KEY", "").startswith("bad"):
    sys.exit(f"no such key: {os.environ['KEY']}")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == UNKNOWN:
        answer["error"] = {"code": -32601, "message": "no such method"}
    else:
        answer["result"] = result_of(message["method"], message.get("params", {}))
    print(json.dumps(answer), flush=True)
