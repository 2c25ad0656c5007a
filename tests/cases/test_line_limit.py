"""A response of a server that is longer than `limits.line` fails its own call, and the next one is answered."""

import sys
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.daemon_clients import open_socket, stateless_request
from ..support.daemon_process import daemon

pytestmark = pytest.mark.anyio
LIMIT = 100_000
# A server whose resources have the size (bytes) that their URI names.
SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    params = message.get("params", {})
    if message["method"] == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"resources": {}},
                  "serverInfo": {"name": "sized", "version": "1"}}
    elif message["method"] == "resources/read":
        result = {"contents": [{"uri": params["uri"], "text": "x" * int(params["uri"])}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = {"command": [sys.executable, "-c", SERVER], "era": "legacy", "limits": {"line": LIMIT}}
    with daemon(tmp_path_factory.mktemp("lines"), {"sized": server}) as running:
        yield running


@pytest.mark.parametrize("era", ["session", "stateless"])
@pytest.mark.parametrize("size", [LIMIT, 100 * 2**20], ids=["a little more than the limit", "100 MiB"])
async def test_a_resource_over_the_limit_fails_its_call_and_the_next_is_answered(running, era, size):
    async with AsyncExitStack() as stack:
        opened = await open_socket(running, "sized", stack) if era == "session" else None

        async def read(number, length):
            params = {"uri": str(length)}
            if opened is None:
                return (await stateless_request(running, "sized", "resources/read", params))[1]
            await opened._send({"id": number, "method": "resources/read", "params": params})
            return (await opened.answers(1))[number]

        before = running.status()["memory"]
        for number, length in enumerate((size, 10, size, LIMIT - 1000), start=1):
            with trio.fail_after(30):
                answer = await read(number, length)
            if length < LIMIT:
                assert answer["result"]["contents"][0]["text"] == "x" * length
            else:
                assert answer["error"]["code"] == (-32000 if opened else -32603)
                assert f"more than {LIMIT} bytes" in answer["error"]["message"]
        assert running.status()["memory"] - before < 50 * 2**20
