"""A server of both eras, or of one: `replica.py NAME both|legacy`. NAME is that of the daemon that has started it.

`count` returns the name and how often this process was called. `confirm` requests an input: in the modern era with a state that any
process of the server can continue, in the legacy era with elicitation/create.
"""

import json
import sys

NAME, ERAS = sys.argv[1:]
WHOLE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
ABOUT = {"capabilities": {"tools": {}}, "serverInfo": {"name": "replica", "version": "1"}}
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
QUESTION = {"mode": "form", "message": "sure?", "requestedSchema": SCHEMA}
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("count", "confirm")]
calls = 0


def send(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def text(value):
    return {"content": [{"type": "text", "text": value}], **(WHOLE if modern else {})}


def answered(reply, begun):
    return text(f"{reply.get('action')} begun by {begun}, ended by {NAME}")


def called(number, params):
    global calls  # noqa: PLW0603 - of this process
    calls += 1
    if params["name"] == "count":
        return text(f"{NAME} {calls}")
    if not modern:
        waiting[f"q{number}"] = number
        send({"id": f"q{number}", "method": "elicitation/create", "params": QUESTION})
        return None
    if "requestState" in params:
        return answered(params["inputResponses"]["sure"], params["requestState"])
    question = {"method": "elicitation/create", "params": QUESTION}
    return {"resultType": "input_required", "inputRequests": {"sure": question}, "requestState": NAME}


waiting = {}
for line in sys.stdin:
    message = json.loads(line)
    params, method = message.get("params", {}), message.get("method")
    modern = "io.modelcontextprotocol/protocolVersion" in params.get("_meta", {})
    if method is None:
        send({"id": waiting.pop(message["id"]), "result": answered(message["result"], NAME)})
    elif "id" in message:
        found = None
        match method:
            case "initialize":
                found = {"protocolVersion": params["protocolVersion"], **ABOUT}
            case "server/discover" if ERAS == "both":
                found = {"supportedVersions": ["2026-07-28"], **ABOUT, **WHOLE}
            case "tools/list":
                found = {"tools": TOOLS, **(WHOLE if modern else {})}
            case "tools/call":
                found = called(message["id"], params)
                if found is None:
                    continue
            case "ping":
                found = {}
        send(
            {
                "id": message["id"],
                **({"result": found} if found is not None else {"error": {"code": -32601, "message": "no"}}),
            }
        )
