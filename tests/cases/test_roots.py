"""A server requests roots outside of calls, as on a bare pipe (T19)."""

import json
import sys
from pathlib import Path

import pytest
import trio

from ..support.daemon_process import daemon
from ..support.extensions import client_of
from ..support.sharing import TRANSPORTS, over_process

pytestmark = pytest.mark.anyio
COMMAND = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "support/servers/roots_requesting.py")]
ROOTS = {"roots": [{"uri": "file:///home/me/work", "name": "work"}]}
DECLARED = {"roots": {"listChanged": True}}
MODERN = ("modern http", "modern ws")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    servers = {name: {"command": COMMAND} for name in ("own", "one")}
    servers["client"] = {"command": COMMAND, "share": "client"}
    with daemon(tmp_path_factory.mktemp("roots"), servers, aggregate={"servers": ["one"]}) as found:
        yield found


async def called(client, tool):
    """Call a tool and answer requests for roots. Return its result, and how many requests for roots came meanwhile."""
    params, times = {"name": tool, "arguments": {}}, 0
    while (result := (await client.request("tools/call", params))["result"]).get(
        "resultType"
    ) == "input_required":
        times += 1
        requested = result["inputRequests"]
        assert [one["method"] for one in requested.values()] == ["roots/list"]
        params = {
            **params,
            "inputResponses": dict.fromkeys(requested, ROOTS),
            "requestState": result["requestState"],
        }
    return json.loads(result["content"][0]["text"]), times


async def until_known(client, prefix, answers):
    """Call until the server has so many responses, and return them. A call may arrive before the last response."""
    with trio.fail_after(20):
        while len(found := (await called(client, f"{prefix}roots"))[0]) < answers:
            await trio.sleep(0.02)
    return found


@pytest.mark.parametrize("server", ["own", "client", ""])
@pytest.mark.parametrize("kind", MODERN)
async def test_t19_roots_are_requested_with_the_first_call_and_the_answer_is_stored(running, kind, server):
    prefix = "" if server else "one__"
    async with client_of(running, kind, server, DECLARED) as client:
        _, times = await called(client, f"{prefix}roots")
        assert times <= 1
        assert await until_known(client, prefix, 1) == [ROOTS]
        # A further request outside of a call gets the last response of the client.
        _, times = await called(client, f"{prefix}again")
        assert times == 0
        assert await until_known(client, prefix, 2) == [ROOTS, ROOTS]


@pytest.mark.parametrize("kind", MODERN)
async def test_t19_a_client_without_roots_gets_no_request_for_them(running, kind):
    async with client_of(running, kind, "own", {}) as client:
        _, times = await called(client, "roots")
        assert times == 0
        [answer] = await until_known(client, "", 1)
        assert answer["error"]["code"] == -32601


async def answered(client, prefix):
    requested = await client.server_request()
    assert requested["method"] == "roots/list"
    await client.reply(requested, ROOTS)
    return await until_known(client, prefix, 1)


@pytest.mark.parametrize("server", ["own", "client", ""])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_t19_roots_are_requested_from_a_session_at_once(running, transport, server):
    async with client_of(running, transport, server, DECLARED) as client:
        if server:
            assert await answered(client, "") == [ROOTS]
            return
        # The aggregate opens its member with the first call, which may be answered before the member has requested the roots.
        with trio.fail_after(20):
            roots = []
            while not roots:
                number = await client.begin("tools/call", {"name": "one__roots", "arguments": {}})
                while (message := await client.receive()).get("id") != number or "method" in message:
                    if message.get("method") == "roots/list":
                        await client.reply(message, ROOTS)
                roots = json.loads(message["result"]["content"][0]["text"])
        assert roots == [ROOTS]


async def test_t19_on_a_bare_pipe(running):
    async with over_process(COMMAND) as client:
        await client.initialize(DECLARED)
        assert await answered(client, "") == [ROOTS]
