"""A server that has everything and asks for everything, whatever its client has declared.

`forward.py FILE [modern]` writes each message that it gets to FILE, a line each. Its tool `think` asks for sampling: in a request
of its own, whose answer is then the tool's text, or in the modern era in its answer.
"""

import json
import sys
from pathlib import Path

HEARD, MODERN = Path(sys.argv[1]), "modern" in sys.argv
INFO = {"name": "forward", "version": "1"}
WHOLE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
ASKED = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "hm"}}], "maxTokens": 9},
}
CHANGING = {"listChanged": True}
CAPABILITIES = {"tools": CHANGING, "prompts": CHANGING, "resources": {}, "logging": {}, "completions": {}}


def say(**message: object) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def think(message: dict) -> None:
    say(method="notifications/message", params={"level": "error", "data": "thinking"})
    say(method="notifications/prompts/list_changed")
    if MODERN:
        asked = {"resultType": "input_required", "inputRequests": {"it": ASKED}, "requestState": "mine"}
        say(id=message["id"], result=asked)
    else:
        say(id=f"of-{json.dumps(message['id'])}", **ASKED)


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
    say(id=message["id"], result={**result, **(WHOLE if MODERN else {})})


for line in sys.stdin:
    message = json.loads(line)
    with HEARD.open("a") as file:
        file.write(line)
    if "method" in message and "id" in message:
        answer(message)
    elif "error" in message or "result" in message:
        text = json.dumps(message.get("error") or message["result"])
        say(
            id=json.loads(message["id"].removeprefix("of-")),
            result={"content": [{"type": "text", "text": text}]},
        )
