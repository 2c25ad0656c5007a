"""A legacy stdio MCP server that sends elicitations and returns its pid.

Tools: `self` returns pid, capabilities and clientInfo as JSON. `ask` requests a text with elicitation/create and returns
it. `hold` gets its response at the next `release`.
"""

import json
import os
import sys

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("self", "ask", "hold", "release")]


def write(**message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def answer(raw_id, text):
    write(id=raw_id, result={"content": [{"type": "text", "text": text}]})


def main():
    initialized, questions, held = {}, {}, []
    for line in sys.stdin:
        message = json.loads(line)
        method, params, raw_id = message.get("method"), message.get("params", {}), message.get("id")
        if method == "initialize":
            initialized = {name: params[name] for name in ("capabilities", "clientInfo")}
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "eliciting", "version": "1"},
            }
            write(id=raw_id, result=result)
        elif method == "tools/list":
            write(id=raw_id, result={"tools": TOOLS})
        elif method == "tools/call":
            name, text = params["name"], params.get("arguments", {}).get("text", "")
            if name == "self":
                answer(raw_id, json.dumps({"pid": os.getpid(), **initialized}))
            elif name == "ask":
                key = f"q{len(questions)}"
                questions[key] = raw_id
                form = {"type": "object", "properties": {"text": {"type": "string"}}}
                write(id=key, method="elicitation/create", params={"message": text, "requestedSchema": form})
            elif name == "hold":
                held.append(raw_id)
            else:
                for one in held:
                    answer(one, "released")
                held.clear()
                answer(raw_id, str(os.getpid()))
        elif raw_id in questions:
            error = message.get("error")
            answer(
                questions[raw_id],
                f"refused: {error['code']}" if error else message["result"]["content"]["text"],
            )
        elif method is not None and raw_id is not None:
            write(id=raw_id, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main()
