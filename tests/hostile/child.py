"""A stdio MCP server of thirty lines: it answers every request with what it was asked, and keeps a journal.

Each line that it is given is appended to the journal, byte for byte, before it is answered. `test/hold` is answered
by `test/release`; `test/notify` emits notifications; `test/raw` writes the bytes of `hex` as they are; `test/flood` writes
them `times` times and reads nothing meanwhile; `test/exit` ends it. A call of the tool `raw` is `test/raw`.
"""

import json
import os
import sys

journal = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
held = []


def say(message):
    os.write(1, json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def answer(id_, result):
    say({"jsonrpc": "2.0", "id": id_, "result": result})


for line in sys.stdin.buffer:
    os.write(journal, line)
    if not line.endswith(b"\n"):
        break  # it was to leave before it had read everything
    asked = json.loads(line)
    id_, method, params = asked.get("id"), asked.get("method"), asked.get("params") or {}
    if params.get("name") == "raw":
        method, params = (
            "test/raw",
            params["arguments"],
        )  # for clients of the stateless era, who have no other methods
    if method == "test/notify":
        for n in range(params["count"]):
            say(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/test",
                    "params": {"n": n, **params.get("more", {})},
                }
            )
    if method == "test/raw":
        os.write(1, bytes.fromhex(params["hex"]).replace(b"$ID", str(id_).encode()))
    elif method == "test/flood":
        try:
            for _ in range(params["times"]):
                data = memoryview(bytes.fromhex(params["hex"]))
                while data:
                    data = data[os.write(1, data) :]
        except OSError:
            sys.exit()  # nobody listens any more
        answer(id_, {})
    elif method == "test/exit":
        sys.exit(params["code"])
    elif method == "test/hold":
        held.append(id_)
    elif method == "initialize":
        about = {"name": "child", "version": "1"}
        asked_for = params["protocolVersion"]
        version = asked_for if asked_for < "2026" else "2025-11-25"
        answer(id_, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
    elif id_ is not None and method is not None:
        while method == "test/release" and held:
            answer(held.pop(0), {"released": True})
        answer(id_, {} if method == "ping" else {"method": method, "params": params})
