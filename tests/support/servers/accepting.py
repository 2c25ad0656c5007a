"""A legacy stdio MCP server that sends notifications and requests besides responses: `accepting.py [VERSION]`.

It answers `initialize` with VERSION, or with the version of the client. Tools: `echo`; `notify` sends a log message and
progress before its response; `ask` and `roots` send a request to the client; `slow` responds after `seconds`.
"""

import json
import os
import sys
import threading

NAMES = ("echo", "notify", "ask", "roots", "slow")
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]
FORM = {"type": "object", "properties": {"text": {"type": "string"}}}


def write(**message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def answer(raw_id, text):
    write(id=raw_id, result={"content": [{"type": "text", "text": text}]})


def call(raw_id, params, questions):
    name, given = params["name"], params.get("arguments", {})
    token = params.get("_meta", {}).get("progressToken")
    if name == "notify":
        write(method="notifications/message", params={"level": "error", "data": "logged"})
        if token is not None:
            write(method="notifications/progress", params={"progressToken": token, "progress": 1})
        answer(raw_id, "notified")
    elif name == "ask":
        key = f"q{len(questions)}"
        questions[key] = raw_id
        write(id=key, method="elicitation/create", params={"message": "which?", "requestedSchema": FORM})
    elif name == "roots":
        key = f"q{len(questions)}"
        questions[key] = raw_id
        write(id=key, method="roots/list")
    elif name == "slow":
        threading.Timer(given["seconds"], answer, (raw_id, "slow")).start()
    else:
        answer(raw_id, "echoed")


def main():
    questions = {}
    for line in sys.stdin:
        message = json.loads(line)
        for one in message if isinstance(message, list) else [message]:
            serve(one, questions)


def serve(message, questions):
    method, params, raw_id = message.get("method"), message.get("params", {}), message.get("id")
    if method == "initialize":
        version = sys.argv[1] if len(sys.argv) > 1 else params["protocolVersion"]
        capabilities = {"tools": {}, "logging": {}, "resources": {"subscribe": True}}
        info = {"name": "accepting", "version": "1"}
        write(
            id=raw_id,
            result={"protocolVersion": version, "capabilities": capabilities, "serverInfo": info},
        )
    elif method == "tools/list":
        write(id=raw_id, result={"tools": TOOLS})
    elif method == "tools/call":
        call(raw_id, params, questions)
    elif method == "resources/subscribe":
        write(method="notifications/resources/updated", params={"uri": params["uri"]})
        write(id=raw_id, result={})
    elif method in ("ping", "logging/setLevel"):
        write(id=raw_id, result={})
    elif method is None and raw_id in questions:
        error = message.get("error")
        answered = f"refused: {error['code']} {error['message']}" if error else json.dumps(message["result"])
        answer(questions[raw_id], answered)
    elif method is not None and raw_id is not None:
        write(id=raw_id, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main()
