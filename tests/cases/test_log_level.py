"""Send log messages of a modern server to clients that have never set a level.

T20: such a server logs in the course of a request that names the lowest level, and a legacy client need not set a level.
"""

import json
import sys
from pathlib import Path

import pytest

from ..support.daemon_process import daemon
from ..support.servers.extended import LEVELS
from ..support.sharing import session

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(__file__).parents[1] / "support/servers/extended.py")
SHARES = ("session", "client", "principal", "server")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    names = [f"{era}-{share}" for era in ("modern", "legacy") for share in SHARES]
    servers = {
        name: {"command": [sys.executable, "-I", "-S", PROGRAM, era], "share": share}
        for name in names
        for era, _, share in [name.partition("-")]
    }
    servers["silent"] = {**servers["modern-client"], "features": {"deny": ["logging"]}}
    with daemon(
        tmp_path_factory.mktemp("levels"), servers, aggregate={"servers": ["modern-client", "legacy-client"]}
    ) as found:
        yield found


async def lines_of(client, tool="log"):
    """Return the levels of the log messages of a call, which come before its response."""
    before = len(client.received)
    await client.call(tool)
    messages = [one for one in client.received[before:] if one.get("method") == "notifications/message"]
    return [one["params"]["level"] for one in messages]


async def check_levels(client, tool="log"):
    assert await lines_of(client, tool) == ["info", "notice", "warning"]
    await client.request("logging/setLevel", {"level": "debug"})
    assert await lines_of(client, tool) == [*LEVELS[:4]]
    await client.request("logging/setLevel", {"level": "warning"})
    assert await lines_of(client, tool) == ["warning"]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("transport", ["http", "sse", "ws", "connect"])
async def test_t20_log_lines_come_from_info_on_until_the_client_sets_a_level(running, transport, share):
    async with session(running, transport, f"modern-{share}") as client:
        await check_levels(client)


@pytest.mark.parametrize("transport", ["http", "ws"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_t20_log_lines_come_through_the_aggregate(running, transport, era):
    async with session(running, transport, None) as client:
        await check_levels(client, f"{era}-client__log")


async def test_t20_no_log_lines_come_where_logging_is_switched_off(running):
    async with session(running, "http", "silent") as client:
        assert await lines_of(client) == []
        assert json.loads(await client.call("declared"))["level"] is None
