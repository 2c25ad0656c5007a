"""A legacy MCP server whose tools write to stderr and exit.

Tool `write` writes each of `pieces` (base64) with one system call; `pause` is the time between two pieces (seconds). Tool `exit` exits
with `code`, after it has written `last`. At its start it writes its pid.
"""

import base64
import json
import os
import sys
import time


def answer(message):
    params = message.get("params", {})
    if message["method"] == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "stderr-writer", "version": "1"},
        }
    if message["method"] == "tools/list":
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("write", "exit")]}
    if message["method"] != "tools/call":
        return {}
    given = params.get("arguments", {})
    if params["name"] == "exit":
        os.write(2, given.get("last", "").encode())
        os._exit(given.get("code", 3))
    for piece in given["pieces"]:
        os.write(2, base64.b64decode(piece))
        time.sleep(given.get("pause", 0))
    return {"content": [{"type": "text", "text": given.get("text", "")}]}


def main():
    os.write(2, b"pid %d\n" % os.getpid())
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        text = json.dumps(
            {"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}, ensure_ascii=False
        )
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
