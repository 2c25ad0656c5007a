"""A legacy stdio MCP server whose calls run concurrently and send elicitations.

The tool `work` takes `who` (the text of its elicitations and of its result), `ask` (the number of elicitations), `seconds`
(of work before and after each) and `patience` (seconds until it cancels an elicitation, 0 for no limit). The text of its
result is `who` and, for each elicitation, a colon and the outcome: the `who` of the accepted form, the action,
`error CODE` or `gave up`.
"""

import json
import os
import sys
import threading

lock = threading.Lock()
numbers = iter(range(1, 1_000_000))
waiting = {}
cancelled = set()


def write(**message):
    with lock:
        os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def ask(who, patience):
    with lock:
        id_ = f"question-{next(numbers)}"
        came, answers = waiting[id_] = (threading.Event(), [])
    write(
        id=id_,
        method="elicitation/create",
        params={
            "message": who,
            "requestedSchema": {"type": "object", "properties": {"who": {"type": "string"}}},
        },
    )
    if not came.wait(patience or None):
        write(method="notifications/cancelled", params={"requestId": id_, "reason": "gave up"})
        return "gave up"
    answer = answers[0]
    if "error" in answer:
        return f"error {answer['error']['code']}"
    result = answer["result"]
    return result.get("content", {}).get("who") or result["action"]


def work(id_, arguments):
    who, seconds = arguments["who"], arguments.get("seconds", 0)
    pause = threading.Event()
    came = []
    for _ in range(arguments.get("ask", 0)):
        pause.wait(seconds)
        if id_ in cancelled:
            return
        came.append(ask(who, arguments.get("patience", 0)))
    pause.wait(seconds)
    if id_ not in cancelled:
        text = ":".join([who, *came])
        write(id=id_, result={"content": [{"type": "text", "text": text}]})


def main():
    for line in sys.stdin.buffer:
        message = json.loads(line)
        method, id_ = message.get("method"), message.get("id")
        if method is None:
            came, answers = waiting.pop(id_, (None, []))
            if came is not None:
                answers.append(message)
                came.set()
        elif method == "notifications/cancelled":
            cancelled.add(message["params"]["requestId"])
        elif id_ is None:
            pass
        elif method == "initialize":
            version = message["params"]["protocolVersion"]
            about = {"name": "concurrent-elicitation", "version": "1"}
            write(
                id=id_,
                result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about},
            )
        elif method == "tools/list":
            write(id=id_, result={"tools": [{"name": "work", "inputSchema": {"type": "object"}}]})
        elif method == "tools/call":
            arguments = message["params"].get("arguments", {})
            threading.Thread(target=work, args=(id_, arguments), daemon=True).start()
        else:
            write(id=id_, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main()
