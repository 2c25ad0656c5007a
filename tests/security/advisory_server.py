"""A stdio server with the behaviour that each advisory is about. Run as `advisory_server.py [early-log]`.

Tools: `write` writes a text to stderr; `die` writes nothing and exits; `ask` asks its client a question with a text in it.
"""

import json
import sys

# By the id of a question, the id of the call that is answered after it.
asking = {}


def send(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def call(id_, name, text):
    match name:
        case "die":
            sys.exit(3)
        case "write":
            print(text, file=sys.stderr, flush=True)
        case "ask":
            schema = {"type": "object", "properties": {}}
            params = {"message": text, "requestedSchema": schema}
            asking[f"question of {text}"] = id_
            send({"id": f"question of {text}", "method": "elicitation/create", "params": params})
            return
    send({"id": id_, "result": {"content": [{"type": "text", "text": text}]}})


for line in sys.stdin:
    message = json.loads(line)
    id_, params = message.get("id"), message.get("params", {})
    if message.get("method") == "initialize":
        if "early-log" in sys.argv:
            send({"method": "notifications/message", "params": {"level": "info", "data": "starting"}})
        info = {"name": "advisory", "version": "1"}
        version = params["protocolVersion"]
        send(
            {
                "id": id_,
                "result": {
                    "protocolVersion": version,
                    "capabilities": {"tools": {}, "logging": {}},
                    "serverInfo": info,
                },
            }
        )
    elif message.get("method") == "tools/call":
        call(id_, params["name"], params.get("arguments", {}).get("text", ""))
    elif id_ in asking:
        # The answer of the client, or the error of the bridge.
        send({"id": asking.pop(id_), "result": {"content": [{"type": "text", "text": json.dumps(message)}]}})
    elif "method" in message and id_ is not None:
        send({"id": id_, "result": {}})
