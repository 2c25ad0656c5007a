"""A small stdio MCP server that returns the method and params of each request, and writes a journal: `child.py JOURNAL`.

Each line of stdin is appended to the journal, byte for byte, before the response is written. `test/hold` is
answered by `test/release`; `test/notify` sends notifications; `test/raw` writes the bytes of `hex` as they are; `test/flood`
writes them `times` times and does not read meanwhile; `test/exit` ends the process. A call of the tool `raw` is `test/raw`.
"""

import json
import os
import sys

journal = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
held = []


def write(message):
    os.write(1, json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def answer(id_, result):
    write({"jsonrpc": "2.0", "id": id_, "result": result})


for line in sys.stdin.buffer:
    os.write(journal, line)
    if not line.endswith(b"\n"):
        # The end of the input has cut a line: this process has to end before all input was read.
        break
    request = json.loads(line)
    id_, method, params = request.get("id"), request.get("method"), request.get("params") or {}
    if params.get("name") == "raw":
        # For clients of the modern era, which can send calls of tools only.
        method, params = "test/raw", params["arguments"]
    if method == "test/notify":
        for n in range(params["count"]):
            write(
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
            # The bridge has closed the pipe.
            sys.exit()
        answer(id_, {})
    elif method == "test/exit":
        sys.exit(params["code"])
    elif method == "test/hold":
        held.append(id_)
    elif method == "initialize":
        about = {"name": "child", "version": "1"}
        version = params["protocolVersion"] if params["protocolVersion"] < "2026" else "2025-11-25"
        answer(id_, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
    elif id_ is not None and method is not None:
        while method == "test/release" and held:
            answer(held.pop(0), {"released": True})
        answer(id_, {} if method == "ping" else {"method": method, "params": params})
