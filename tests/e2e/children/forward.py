"""A server that offers and uses every feature, also features that its client has not declared: `forward.py FILE [modern]`.

It writes each message that it receives to FILE, one message a line. Its tool `think` requests sampling: with a request whose
response is the text of the tool, or in the modern era with an `input_required` result.
"""

import json
import sys
from pathlib import Path

RECEIVED, MODERN = Path(sys.argv[1]), "modern" in sys.argv
INFO = {"name": "forward", "version": "1"}
WHOLE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
SAMPLING = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "hm"}}], "maxTokens": 9},
}
CHANGING = {"listChanged": True}
CAPABILITIES = {"tools": CHANGING, "prompts": CHANGING, "resources": {}, "logging": {}, "completions": {}}


def write(**message: object) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def think(message: dict) -> None:
    write(method="notifications/message", params={"level": "error", "data": "thinking"})
    write(method="notifications/prompts/list_changed")
    if MODERN:
        required = {"resultType": "input_required", "inputRequests": {"it": SAMPLING}, "requestState": "mine"}
        write(id=message["id"], result=required)
    else:
        write(id=f"of-{json.dumps(message['id'])}", **SAMPLING)


def answer(message: dict) -> None:
    match message["method"]:
        case "initialize":
            version = message["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": INFO}
        case "server/discover":
            result = {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES}
        case "tools/list":
            result = {"tools": [{"name": "think", "inputSchema": {"type": "object"}}]}
        case "prompts/list":
            result = {"prompts": [{"name": "greet"}]}
        case "tools/call":
            think(message)
            return
        case _:
            result = {}
    write(id=message["id"], result={**result, **(WHOLE if MODERN else {})})


for line in sys.stdin:
    message = json.loads(line)
    with RECEIVED.open("a") as file:
        file.write(line)
    if "method" in message and "id" in message:
        answer(message)
    elif "error" in message or "result" in message:
        text = json.dumps(message.get("error") or message["result"])
        write(
            id=json.loads(message["id"].removeprefix("of-")),
            result={"content": [{"type": "text", "text": text}]},
        )
