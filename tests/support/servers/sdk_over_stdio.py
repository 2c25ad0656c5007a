"""`sdk_over_stdio.py ERA URL [FAULT]`: a stdio server whose calls the official Python SDK 2.x makes at an HTTP server.

It is the peer of `mcp-bridge connect URL` in tests of faults: ERA is "legacy" or "auto". FAULT is planted in every tenth call, for the check of
the tests: "repeat" makes the call twice, "lose" sends no answer, "double" sends the answer twice, "swap" sends the
answer of the call before, "half" sends half of the line and then the line, "silent" sends an error without a reason.
"""

import json
import sys

import anyio
from mcp import Client, MCPError

ERA, URL, *FAULT = sys.argv[1:]
PLANTED = FAULT[0] if FAULT else ""
count = 0
last = {}


async def write(out, *lines):
    async with writing:
        for line in lines:
            await out.write(line)
        await out.flush()


async def call(client, out, message):
    global count, last  # noqa: PLW0603 - counts the calls of this process
    count += 1
    planted = PLANTED if count % 10 == 0 else ""
    params = message["params"]
    try:
        if planted == "repeat":
            await client.call_tool(params["name"], params["arguments"])
        result = await client.call_tool(params["name"], params["arguments"])
        body = {"result": result.model_dump(by_alias=True, exclude_none=True, mode="json")}
    except MCPError as error:
        body = {"error": {"code": error.code, "message": f"{error}; it may have been carried out"}}
    except Exception as error:  # noqa: BLE001 - whatever ends the call
        body = {"error": {"code": -32603, "message": f"{error!r}; it may have been carried out"}}
    shown = {"swap": last or body, "silent": {"error": {"code": -32603, "message": ""}}}.get(planted, body)
    last = body
    line = json.dumps({"jsonrpc": "2.0", "id": message["id"], **shown}) + "\n"
    lines = {"lose": [], "double": [line, line], "half": [line[: len(line) // 2] + "\n", line]}
    await write(out, *lines.get(planted, [line]))


async def main():
    global writing  # noqa: PLW0603 - belongs to the event loop
    writing = anyio.Lock()
    out = anyio.wrap_file(sys.stdout)
    async with Client(URL, mode=ERA, read_timeout_seconds=20) as client, anyio.create_task_group() as group:
        about = {"protocolVersion": client.protocol_version, "serverInfo": {"name": "peer", "version": "1"}}
        async for line in anyio.wrap_file(sys.stdin):
            message = json.loads(line)
            if message["method"] == "tools/call":
                group.start_soon(call, client, out, message)
            elif "id" in message:
                result = {**about, "capabilities": {"tools": {}}}
                await write(out, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
        group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, backend="trio")
