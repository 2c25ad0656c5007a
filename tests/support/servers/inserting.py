"""A stdio MCP server that sends MESSAGE before each response, and waits in between, which MCP permits.

Usage: inserting.py MESSAGE SECONDS [COUNT]. MESSAGE is a key of `MESSAGES`, or one of the
faults in `ENDS`. Supports both eras. Responses of a client to its requests are ignored.
"""

import json
import os
import sys
import time

LOG = {"level": "error", "logger": "fixture", "data": "before the answer"}
MESSAGES = {
    "log": {"method": "notifications/message", "params": LOG},
    "progress": {"method": "notifications/progress", "params": {"progressToken": "none", "progress": 1}},
    "tools-changed": {"method": "notifications/tools/list_changed"},
    "prompts-changed": {"method": "notifications/prompts/list_changed", "params": {}},
    "resource-updated": {"method": "notifications/resources/updated", "params": {"uri": "file:///x"}},
    "cancelled": {"method": "notifications/cancelled", "params": {"requestId": "none"}},
    "unknown": {"method": "notifications/vendor/unknown", "params": {"n": 1}},
    "ping": {"id": "ping-1", "method": "ping"},
    "roots": {"id": "roots-1", "method": "roots/list"},
    "sampling": {"id": "s-1", "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
    "elicitation": {
        "id": "e-1",
        "method": "elicitation/create",
        "params": {"message": "?", "requestedSchema": {}},
    },
    "unmatched": {"id": "no-such-request", "result": {}},
}
RAW = {
    "noise": b"Server listening on stdio\n",
    "empty": b"\n\n\n",
    "half": b'{"jsonrpc":"2.0","method":"notifications/mess',
    "binary": bytes(range(128, 256)) + b"\n",
}
ENDS = ("silent", "exits", "closes-stdout")


def write(message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def before(kind, seconds, count):
    if kind == "silent":
        time.sleep(3600)
    if kind == "exits":
        sys.exit(3)
    if kind == "closes-stdout":
        os.close(1)
        time.sleep(3600)
    for _ in range(count):
        if kind in MESSAGES:
            write(MESSAGES[kind])
        elif kind == "half":
            os.write(1, RAW[kind])
            time.sleep(seconds)
            os.write(1, b'age","params":{"level":"error","data":"x"}}\n')
        elif kind in RAW:
            os.write(1, RAW[kind])
    time.sleep(seconds)


def result_of(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"]
            if params["protocolVersion"] < "2026"
            else "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}, "logging": {}, "resources": {"subscribe": True}},
            "serverInfo": {"name": "inserting", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
    return {"content": [{"type": "text", "text": "done"}]}


def main():
    kind, seconds = sys.argv[1], float(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        # The era that this server does not support.
        if message["method"] == "server/discover":
            write({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
            continue
        before(kind, seconds, count)
        write({"id": message["id"], "result": result_of(message["method"], message.get("params") or {})})


if __name__ == "__main__":
    main()
