"""A server with a late response to `initialize`, whose tools return the messages that it has read, also before this response.

Arguments: `slow`, `refuse`, `exit` or `invalid` for the reaction to `initialize`; `modern` for the era.
"""

import json
import os
import select
import sys

# Time in which input is read before the response to `initialize` (seconds).
LATE = 0.2
MODE = sys.argv[1]
MODERN = "modern" in sys.argv

buffered = bytearray()
seen = []
# Whether a message was read before the response to `initialize`.
early = []


def lines():
    while data := os.read(0, 65536):
        buffered.extend(data)
        while b"\n" in buffered:
            line, _, rest = buffered.partition(b"\n")
            buffered[:] = rest
            yield json.loads(line)


def write(message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def opening(message):
    early.append(bool(buffered or select.select([0], [], [], LATE)[0]))
    if MODE == "exit":
        sys.exit(3)
    if MODE == "refuse":
        return {"error": {"code": -32602, "message": "not today"}}
    if MODE == "invalid":
        os.write(1, b'{"jsonrpc":"2.0","id":%d,"result":NaN}\n' % message["id"])
        return None
    if MODERN:
        return {
            "result": {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "ttlMs": 0,
                "cacheScope": "private",
            }
        }
    return {
        "result": {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "early", "version": "0"},
        }
    }


def answer(message):
    match message["method"]:
        case "server/discover" if MODERN:
            return opening(message)
        case "initialize" if not MODERN:
            return opening(message)
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in "abc"]
            return {"result": {"tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}}
        case "tools/call":
            text = json.dumps({"early": any(early), "seen": seen})
            return {"result": {"content": [{"type": "text", "text": text}], "resultType": "complete"}}
        case "ping":
            return {"result": {}}
    return {"error": {"code": -32601, "message": "no such method"}}


for found in lines():
    seen.append(found.get("params", {}).get("name") or found.get("method", "response"))
    if "id" in found and "method" in found and (said := answer(found)) is not None:
        write({"id": found["id"], **said})
