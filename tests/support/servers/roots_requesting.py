"""A legacy server that requests the roots of its client outside of calls, as server-filesystem does at `initialized`.

The tool `roots` returns a list of the responses. The tool `again` sends its response first and then a further request.
"""

import json
import os
import sys

answers = []
requested = 0


def write(message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def request_roots():
    global requested  # noqa: PLW0603
    requested += 1
    write({"id": f"roots-{requested}", "method": "roots/list"})


for line in sys.stdin:
    message = json.loads(line)
    number, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method == "initialize":
        capabilities = {"tools": {}}
        info = {"name": "roots-requesting", "version": "0"}
        version = params["protocolVersion"]
        write(
            {
                "id": number,
                "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info},
            }
        )
    elif method == "notifications/initialized":
        request_roots()
    elif method == "tools/call":
        write({"id": number, "result": {"content": [{"type": "text", "text": json.dumps(answers)}]}})
        if params["name"].endswith("again"):
            request_roots()
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("roots", "again")]
        write({"id": number, "result": {"tools": tools}})
    elif method is None:
        answers.append(message.get("result", {"error": message.get("error")}))
    elif number is not None:
        write({"id": number, "error": {"code": -32601, "message": "no such method"}})
