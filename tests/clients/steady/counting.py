"""`counting.py ERA JOURNAL VERSION [FAULT]`: a stdio server that writes each execution of its tool into JOURNAL before it answers.

ERA is "legacy" (the handshake revisions) or "modern" (2026-07-28 only). The tool `count` has the arguments `number` and
`seconds`, waits so long, and answers with the number and VERSION. A line of the journal is the process id and the number.
FAULT is planted for the self check: "twice" executes every fifth call twice, "other" answers every fifth call with
another number, "silent" does not answer every fifth call, "nameless" answers every fifth call with an error without a reason.
"""

import json
import os
import sys
import threading
import time

ERA, JOURNAL, VERSION, *FAULT = sys.argv[1:]
PREFIX = "io.modelcontextprotocol/"
LOCK = threading.Lock()
# One write for each line, because several processes append to the file.
journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
executed = 0


def write(message):
    with LOCK:
        os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def execute(number):
    os.write(journal, f"{os.getpid()} {number}\n".encode())


def is_faulty():
    global executed  # noqa: PLW0603 - counts the calls of this process
    executed += 1
    return FAULT and executed % 5 == 0


def call(identity, arguments):
    number, fault = arguments["number"], FAULT[0] if is_faulty() else ""
    execute(number)
    if fault == "twice":
        execute(number)
    if arguments.get("seconds"):
        time.sleep(arguments["seconds"])
    if fault == "silent":
        return
    if fault == "nameless":
        write({"id": identity, "error": {"code": -32603, "message": "failed"}})
        return
    told = f"{number}?" if fault == "other" else number
    text = json.dumps({"number": told, "version": VERSION, "pid": os.getpid()})
    answer(identity, {"content": [{"type": "text", "text": text}]})


def answer(identity, result):
    complete = {"resultType": "complete"} if ERA == "modern" else {}
    write({"id": identity, "result": {**result, **complete}})


def open_session(method, params):
    """Return the answer to the request that begins, None where it is of the other era."""
    about = {
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "counting", "version": VERSION},
    }
    if method == "initialize" and ERA == "legacy":
        return {"protocolVersion": params["protocolVersion"], **about}
    if method == "server/discover" and ERA == "modern":
        return {"supportedVersions": ["2026-07-28"], **about, "ttlMs": 0, "cacheScope": "private"}
    return None


def take(identity, method, params):
    if (result := open_session(method, params)) is not None:
        answer(identity, result)
    elif (f"{PREFIX}protocolVersion" in params.get("_meta", {})) != (ERA == "modern"):
        write({"id": identity, "error": {"code": -32601, "message": "not of this era"}})
    elif method == "tools/list":
        schema = {"type": "object", "properties": {"number": {}, "seconds": {}}}
        listed = {"tools": [{"name": "count", "inputSchema": schema}]}
        answer(identity, {**listed, **({"ttlMs": 0, "cacheScope": "private"} if ERA == "modern" else {})})
    elif method == "tools/call":
        threading.Thread(target=call, args=(identity, params["arguments"]), daemon=True).start()
    elif method == "ping":
        answer(identity, {})
    else:
        write({"id": identity, "error": {"code": -32601, "message": "no such method"}})


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        take(message["id"], message["method"], message.get("params", {}))
