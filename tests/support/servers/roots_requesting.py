"""A legacy server that asks for the roots of its client outside of calls, as server-filesystem does at `initialized`.

The tool `roots` returns what it has been answered: a list of answers. The tool `again` is answered first, and then the server
asks once more.
"""

import json
import os
import sys

answers = []
asked = 0


def write(message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def ask():
    global asked  # noqa: PLW0603
    asked += 1
    write({"id": f"roots-{asked}", "method": "roots/list"})


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
        ask()
    elif method == "tools/call":
        write({"id": number, "result": {"content": [{"type": "text", "text": json.dumps(answers)}]}})
        if params["name"].endswith("again"):
            ask()
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("roots", "again")]
        write({"id": number, "result": {"tools": tools}})
    elif method is None:
        answers.append(message.get("result", {"error": message.get("error")}))
    elif number is not None:
        write({"id": number, "error": {"code": -32601, "message": "no such method"}})
