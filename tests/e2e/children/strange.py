"""A server whose tool `it` has the result that its argument says, whatever that is."""

import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "initialize":
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "strange", "version": "0"},
            }
        case "tools/list":
            result = {"tools": [{"name": "it", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            result = json.loads(sys.argv[1])
        case _:
            continue
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
    sys.stdout.flush()
