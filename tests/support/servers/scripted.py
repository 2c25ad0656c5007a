"""A server of either era that writes the bytes that a call contains. Standard library only.

`scripted.py legacy|modern`. The tool `raw` writes the bytes of `hex` instead of a response, with the id of the call for $ID and
that of the newest request of the server for $LAST; `echo` returns its arguments as text, exactly as they were written. A resource
has its URI as text; `missing:` is not found, with the data of the error in the URI. `subscribe` and `logging` are offered.
"""

import json
import os
import sys

MODERN = sys.argv[1] == "modern"
OFFERED = {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}}
INFO = {"name": "scripted", "version": "1"}


def write(data):
    while data:
        data = data[os.write(1, data) :]


def send(message):
    write(json.dumps(message, ensure_ascii=True).encode() + b"\n")


def answer(id_, result):
    if MODERN:
        result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **result}
    send({"jsonrpc": "2.0", "id": id_, "result": result})


def serve(line):
    request = json.loads(line)
    id_, method, params = request.get("id"), request.get("method"), request.get("params") or {}
    if id_ is None or method is None:
        return
    if method == "initialize":
        if MODERN:
            error = {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"], "requested": ""}}
            send({"jsonrpc": "2.0", "id": id_, "error": error})
        else:
            version = params["protocolVersion"]
            answer(id_, {"protocolVersion": version, "capabilities": OFFERED, "serverInfo": INFO})
    elif method == "server/discover" and MODERN:
        about = {"supportedVersions": ["2026-07-28"], "capabilities": OFFERED}
        answer(id_, {**about, "_meta": {"io.modelcontextprotocol/serverInfo": INFO}})
    elif method == "tools/list":
        schema = {"type": "object"}
        answer(id_, {"tools": [{"name": name, "inputSchema": schema} for name in ("raw", "echo")]})
    elif method == "tools/call" and params["name"] == "raw":
        write(bytes.fromhex(params["arguments"]["hex"]).replace(b"$ID", json.dumps(id_).encode()))
    elif method == "tools/call":
        answer(id_, {"content": [{"type": "text", "text": line.decode()}]})
    elif method == "resources/list":
        answer(id_, {"resources": []})
    elif method == "resources/read" and params["uri"].startswith("missing:"):
        data = json.loads(params["uri"].removeprefix("missing:"))
        code = -32602 if MODERN else -32002
        send({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": "not found", "data": data}})
    elif method == "resources/read":
        answer(id_, {"contents": [{"uri": params["uri"], "text": params["uri"]}]})
    elif method in ("ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
        answer(id_, {})
    else:
        send({"jsonrpc": "2.0", "id": id_, "error": {"code": -32601, "message": "no such method"}})


for line in sys.stdin.buffer:
    serve(line)
