"""Check the clientInfo that a legacy server gets from stateless clients, and the serverInfo of an aggregate (S5)."""

import json
from contextlib import AsyncExitStack
from importlib.metadata import version

import pytest

from ..support.aggregate import Modern, aggregate, member
from ..support.sharing import TRANSPORTS, session

pytestmark = pytest.mark.anyio
INFO = "io.modelcontextprotocol/clientInfo"
CURSOR = {"name": "cursor", "version": "1.2.3", "title": "Cursor", "icons": [{"src": "data:,"}]}
BRIDGE = {"name": "mcp-bridge", "version": version("mcpbridged")}
SUFFIX = f" (via mcp-bridge {BRIDGE['version']})"
# The name of a session in `tests.support.sharing`.
SESSION = {"name": "mcp", "version": "0.1.0"}
SHARES = ("server", "principal")
MEMBERS = ["own", "joint"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Yield a daemon with a server for each test of a shared process, because the first client gives the name."""
    servers = {
        "own": member("own", tools=["client"], instructions="how to use it"),
        "client": member("client", tools=["client"], share="client"),
        **{
            f"{share}{number}": member("it", tools=["client"], share=share)
            for share in SHARES
            for number in range(3)
        },
        "joint": member("joint", tools=["client"], share="server"),
    }
    folder = tmp_path_factory.mktemp("names")
    with aggregate(folder, servers, {"servers": MEMBERS}) as found:
        yield found


async def name_at(running, server, info):
    client = Modern(running, f"/servers/{server}/mcp", **{INFO: info} if info is not None else {})
    return json.loads(await client.text("client"))["client"]


@pytest.mark.parametrize("server", ["own", "client"])
async def test_s5_a_server_gets_the_clientinfo_of_its_only_client(running, server):
    assert await name_at(running, server, CURSOR) == CURSOR
    other = {"name": "zed", "version": "9"}
    assert await name_at(running, server, other) == other
    assert await name_at(running, server, CURSOR) == CURSOR


async def test_s5_a_client_without_a_name_is_the_bridge(running):
    assert await name_at(running, "own", None) == BRIDGE


@pytest.mark.parametrize("share", SHARES)
async def test_s5_a_shared_server_gets_the_name_of_the_first_client_with_the_bridge_appended(running, share):
    expected = {**CURSOR, "name": f"cursor{SUFFIX}"}
    assert await name_at(running, f"{share}0", CURSOR) == expected
    assert await name_at(running, f"{share}0", {"name": "zed", "version": "9"}) == expected


@pytest.mark.parametrize("share", SHARES)
async def test_s5_a_session_that_shares_after_a_stateless_client_finds_its_name(running, share):
    assert await name_at(running, f"{share}1", CURSOR) == {**CURSOR, "name": f"cursor{SUFFIX}"}
    async with session(running, "ws", f"{share}1") as client:
        assert json.loads(await client.call("client"))["client"]["name"] == f"cursor{SUFFIX}"
    async with session(running, "ws", f"{share}2") as client:
        assert json.loads(await client.call("client"))["client"]["name"] == f"mcp{SUFFIX}"
    assert (await name_at(running, f"{share}2", CURSOR))["name"] == f"mcp{SUFFIX}"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_s5_the_name_of_a_session_passes_the_aggregate(running, transport):
    async with session(running, transport, "aggregate") as client:
        assert json.loads(await client.call("own__client"))["client"] == SESSION


async def test_s5_the_name_of_a_stateless_client_passes_the_aggregate(running):
    client = Modern(running, **{INFO: CURSOR})
    assert json.loads(await client.text("own__client"))["client"] == CURSOR
    # The first client of the aggregate has given the name.
    found = json.loads(await client.text("joint__client"))["client"]
    assert found["name"] in (f"cursor{SUFFIX}", f"mcp{SUFFIX}")


# ---- the serverInfo of the aggregate


async def information(running):
    found = await Modern(running).result("server/discover")
    info = found["_meta"]["io.modelcontextprotocol/serverInfo"]
    async with AsyncExitStack() as stack:
        for transport in TRANSPORTS:
            client = await stack.enter_async_context(session(running, transport, "aggregate"))
            assert client.initialize_result["serverInfo"] == info
            assert client.initialize_result.get("instructions") == found.get("instructions")
    return info, found.get("instructions")


async def test_s5_an_aggregate_has_a_name_and_the_version_of_the_bridge(running):
    info, instructions = await information(running)
    assert info == {"name": "mcp-bridge aggregate", "version": BRIDGE["version"]}
    assert instructions == "own:\nhow to use it"


async def test_s5_the_operator_names_an_aggregate(running):
    mine = {"name": "team", "version": "7", "title": "Our tools", "instructions": "Ask git first.\nAlways."}
    async with running.configuration.reloaded_with(running.configuration.servers, servers=MEMBERS, **mine):
        info, instructions = await information(running)
        assert info == {"name": "team", "version": "7", "title": "Our tools"}
        assert instructions == mine["instructions"]
