"""A stdio MCP server with large responses, and with thousands of log messages before a response.

`large_output.py [COUNT BYTES]` sends COUNT log messages of BYTES bytes before the response to `initialize`. Supports both
eras. The tool `big` returns `bytes` bytes; `log` sends `count` log lines (or, with `method`, other notifications) of
`bytes` bytes first, numbered from 0; `pid` returns the process id.
"""

import json
import os
import sys


def write(message):
    data = memoryview(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    while data:
        data = data[os.write(1, data) :]


def log(count, size, method="notifications/message"):
    fill = "x" * size
    for number in range(count):
        data = {"n": number, "fill": fill}
        write({"method": method, "params": {"level": "error", "data": data}})


def call(name, arguments):
    if name == "big":
        return "x" * arguments["bytes"]
    if name == "log":
        log(arguments["count"], arguments["bytes"], arguments.get("method", "notifications/message"))
    return str(os.getpid())


def result(asked):
    params = asked.get("params") or {}
    if asked["method"] == "initialize":
        if len(sys.argv) > 1:
            log(int(sys.argv[1]), int(sys.argv[2]))
        version = min(params["protocolVersion"], "2025-11-25")
        info = {"name": "large_output", "version": "1"}
        return {"protocolVersion": version, "capabilities": {"tools": {}, "logging": {}}, "serverInfo": info}
    if asked["method"] == "tools/list":
        return {
            "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("big", "log", "pid")]
        }
    if asked["method"] == "tools/call":
        return {"content": [{"type": "text", "text": call(params["name"], params["arguments"])}]}
    return {}


for line in sys.stdin.buffer:
    asked = json.loads(line)
    if "id" not in asked or "method" not in asked:
        continue
    if asked["method"] == "server/discover":
        write({"id": asked["id"], "error": {"code": -32601, "message": "Method not found"}})
    else:
        write({"id": asked["id"], "result": result(asked)})
