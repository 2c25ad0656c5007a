"""A server that writes one line with its pid into a journal for each message that it receives: `counting.py JOURNAL`.

The tool `slow` responds after `seconds`, `ask` requests the roots of the client and waits, any other tool responds at once.
A response has as many bytes more as `size` says. A call with a progress token gets one notification of progress before it.
"""

import json
import os
import sys
import threading
import time

JOURNAL = sys.argv[1]
lock = threading.Lock()


def write(message):
    with lock:
        os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def note(text):
    with open(JOURNAL, "a") as journal:
        journal.write(f"{os.getpid()} {text}\n")


def call(number, params):
    name, arguments = params["name"], params.get("arguments", {})
    if name == "ask":
        write({"id": "roots", "method": "roots/list"})
        return
    if name == "slow":
        time.sleep(arguments["seconds"])
    if "progressToken" in params.get("_meta", {}):
        progress = {"progressToken": params["_meta"]["progressToken"], "progress": 1}
        write({"method": "notifications/progress", "params": {**progress, "message": arguments["number"]}})
    text = json.dumps({"pid": os.getpid(), **arguments, "filling": "x" * arguments.get("size", 0)})
    write({"id": number, "result": {"content": [{"type": "text", "text": text}]}})


for line in sys.stdin:
    message = json.loads(line)
    number, method, params = message.get("id"), message.get("method", "answer"), message.get("params", {})
    words = [str(params[key]) for key in ("name", "level", "uri") if key in params]
    note(" ".join([method, *words, str(params.get("arguments", {}).get("number", number))]))
    if method == "initialize":
        offered = {
            "tools": {"listChanged": True},
            "prompts": {},
            "resources": {"subscribe": True, "listChanged": True},
        }
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {**offered, "logging": {}},
            "serverInfo": {"name": "counting", "version": "0"},
        }
        write({"id": number, "result": result})
    elif method == "tools/call":
        threading.Thread(target=call, args=(number, params), daemon=True).start()
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("slow", "ask", "quick")]
        write({"id": number, "result": {"tools": tools}})
    elif method == "server/discover":
        write({"id": number, "error": {"code": -32601, "message": "no such method"}})
    elif number is not None and method != "answer":
        write({"id": number, "result": {}})
