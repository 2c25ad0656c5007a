"""A server whose tool `it` returns its argument as the result: `strange.py [modern]`."""

import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "server/discover" if "modern" in sys.argv:
            result = {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "ttlMs": 0,
                "cacheScope": "private",
            }
        case "initialize" if "modern" not in sys.argv:
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "strange", "version": "0"},
            }
        case "tools/list":
            result = {"tools": [{"name": "it", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            result = json.loads(sys.argv[1])
        case _ if "id" not in message:
            continue
        case _:
            result = None
    answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "no"}}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}) + "\n")
    sys.stdout.flush()
