"""Pass extensions and experimental capabilities in every pair of eras, over every transport, shared and through the aggregate.

T18: each end sees the declarations of the other end, and everything that both declare works in both directions.
"""

import json
import sys
from pathlib import Path

import pytest
import trio

from ..support.daemon_process import daemon
from ..support.extensions import DECLARED, PREFIX, UI, VENDOR, client_of, notify, wait_for_notification
from ..support.servers.extended import OFFERED, PAGE
from ..support.sharing import TIMEOUT

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(__file__).parents[1] / "support/servers/extended.py")
COMMAND = [sys.executable, "-I", "-S", PROGRAM]
LEGACY_CLIENTS = ("http", "sse", "ws", "connect")
MODERN_CLIENTS = ("modern http", "modern ws")
CLIENTS = (*LEGACY_CLIENTS, *MODERN_CLIENTS)
ERAS = ("legacy", "modern")
OTHER = "com.example/other"
SHARES = ("session", "client", "principal", "server")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    # Calls of the last two seconds count at a shared process, so that each kind has its own server.
    kinds = ("", "http ", "modern http ", "tasks ")
    servers = {
        f"{kind}{era}-{share}".replace(" ", "-"): {"command": [*COMMAND, era], "share": share}
        for kind in kinds
        for era in ERAS
        for share in SHARES
    }
    servers |= {f"plain-{era}": {"command": [*COMMAND, era, "plain"]} for era in ERAS}
    # The members of the aggregate share all extensions but one each.
    servers |= {"alpha": {"command": [*COMMAND, "legacy"]}, "beta": {"command": [*COMMAND, "modern", OTHER]}}
    tables = {"aggregate": {"servers": ["alpha", "beta"]}}
    with daemon(tmp_path_factory.mktemp("extensions"), servers, **tables) as found:
        yield found


async def declared_to(client):
    """Return the capabilities of the client that the server has received."""
    return json.loads(await client.call("declared"))["capabilities"]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["http", "modern http"])
async def test_t18_each_end_sees_what_the_other_declares(running, kind, era, share):
    async with client_of(running, kind, f"{era}-{share}") as client:
        assert {name: client.server_capabilities[name] for name in ("extensions", "experimental")} == {
            name: OFFERED[name] for name in ("extensions", "experimental")
        }
        found = await declared_to(client)
        assert {name: found[name] for name in DECLARED} == DECLARED


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", CLIENTS)
async def test_t18_methods_of_an_extension_pass_in_both_directions(running, kind, era):
    async with client_of(running, kind, f"{era}-client") as client:
        await methods_pass(client)


@pytest.mark.parametrize("share", ["session", "principal", "server"])
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["http", "modern http"])
async def test_t18_methods_of_an_extension_pass_also_to_a_shared_process(running, kind, era, share):
    async with client_of(running, kind, f"{kind} {era}-{share}".replace(" ", "-")) as client:
        await methods_pass(client)


async def methods_pass(client):
    params = {
        "nextCursor": 1,
        "cursor": "c",
        "requestState": "s",
        "inputResponses": {"k": None},
        "_meta": {"a/b": 1},
    }
    answer = await client.request("com.example/echo", params)
    result = answer["result"]
    meta = result["params"].pop("_meta")
    assert meta["a/b"] == 1
    assert result["params"] == {key: value for key, value in params.items() if key != "_meta"}
    assert result["nextCursor"] is None
    assert result["ttlMs"] == 7
    echoed = await wait_for_notification(client, "notifications/com.example/echoed")
    assert {key: value for key, value in echoed["params"].items() if key != "_meta"} == result["params"]
    failed = await client.request("com.example/fail")
    assert failed["error"] == {"code": -32050, "message": "as asked", "data": {"why": [1]}}
    await notify(client, "notifications/com.example/mark", {"n": id(client)})
    # Over HTTP a request on another connection may arrive earlier.
    with trio.fail_after(TIMEOUT):
        while {"n": id(client)} not in (await client.request("com.example/marks"))["result"]["marks"]:
            pass
    unknown = await client.request("com.example/unknown")
    assert unknown["error"]["code"] == -32601


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["http", "modern http"])
async def test_t18_a_notification_outside_of_the_core_comes_in_the_course_of_a_call(running, kind, era):
    async with client_of(running, kind, f"{era}-client") as client:
        await client.request("tools/call", {"name": "later", "arguments": {}})
        assert (await wait_for_notification(client, "notifications/com.example/happened"))["params"]["n"] == 1


@pytest.mark.parametrize(("kind", "era"), [("http", "modern"), ("modern http", "legacy")])
async def test_t18_across_eras_a_client_need_not_declare_the_extensions_of_its_server(running, kind, era):
    async with client_of(running, kind, f"{era}-client", {}) as client:
        await methods_pass(client)


@pytest.mark.parametrize(("kind", "era"), [("http", "modern"), ("modern http", "legacy")])
async def test_t18_across_eras_a_method_is_unknown_where_the_server_declares_no_extension(running, kind, era):
    async with client_of(running, kind, f"plain-{era}") as client:
        assert (await client.request("com.example/echo", {"a": 1}))["error"]["code"] == -32601
        assert not {"extensions", "experimental"} & {*client.server_capabilities}


@pytest.mark.parametrize("kind", MODERN_CLIENTS)
async def test_t18_a_request_of_a_legacy_server_outside_of_the_core_is_refused_with_the_reason(running, kind):
    async with client_of(running, kind, "legacy-client") as client:
        error = json.loads(await client.call("vendor"))
        assert error["code"] == -32601
        assert "com.example/ask" in error["message"]


async def test_t18_a_request_of_a_legacy_server_outside_of_the_core_reaches_a_legacy_client(running):
    async with client_of(running, "http", "legacy-client") as client:
        number = await client.begin("tools/call", {"name": "vendor", "arguments": {}})
        server_request = await client.server_request()
        assert (server_request["method"], server_request["params"]) == ("com.example/ask", {"a": 1})
        await client.reply(server_request, {"b": 2})
        answer = await client.answer(number)
        assert json.loads(answer["result"]["content"][0]["text"]) == {"b": 2}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", CLIENTS)
async def test_t18_mcp_apps_has_its_tool_and_its_page(running, kind, era):
    async with client_of(running, kind, f"{era}-client") as client:
        assert (await declared_to(client))["extensions"][UI] == DECLARED["extensions"][UI]
        tools = (await client.request("tools/list"))["result"]["tools"]
        meta = next(tool["_meta"] for tool in tools if tool["name"] == "widget")
        assert meta == {
            "ui": {"resourceUri": PAGE["uri"], "visibility": ["model", "app"]},
            "ui/resourceUri": PAGE["uri"],
        }
        read = await client.request("resources/read", {"uri": PAGE["uri"]})
        assert read["result"]["contents"] == [PAGE]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["http", "modern http"])
async def test_t18_skills_are_resources_and_an_extension(running, kind, era):
    async with client_of(running, kind, f"{era}-client", {"extensions": {f"{PREFIX}skills": {}}}) as client:
        assert client.server_capabilities["extensions"][f"{PREFIX}skills"] == {"listChanged": False}
        read = await client.request("resources/read", {"uri": "skill://git/SKILL.md"})
        assert read["result"]["contents"] == [{"uri": "skill://git/SKILL.md", "text": "a skill"}]


@pytest.mark.parametrize("kind", ["http", "modern http"])
async def test_t18_the_tasks_extension_is_not_declared_to_a_legacy_server_nor_for_a_legacy_client(
    running, kind
):
    declared = {"extensions": {f"{PREFIX}tasks": {}, VENDOR: {}}}
    era = "modern" if kind == "http" else "legacy"
    async with client_of(running, kind, f"tasks-{era}-client", declared) as client:
        assert (await declared_to(client))["extensions"] == {VENDOR: {}}


@pytest.mark.parametrize("share", ["principal", "server"])
async def test_t18_a_shared_process_gets_the_capabilities_that_all_clients_declared_before_its_start(
    running, share
):
    async with client_of(
        running, "modern http", f"tasks-legacy-{share}", {"extensions": {VENDOR: {}}}
    ) as one:
        found = await declared_to(one)
        assert VENDOR in found["extensions"]
        assert "roots" in found


# ---- the aggregate


AGGREGATED = [("http", VENDOR), ("ws", OTHER), ("modern http", VENDOR), ("modern http", OTHER)]


@pytest.mark.parametrize(("kind", "own"), AGGREGATED)
async def test_t18_the_aggregate_offers_the_extensions_of_its_members_and_passes_their_methods(
    running, kind, own
):
    declared = {"extensions": {own: {"version": "1"}}}
    async with client_of(running, kind, None, declared) as client:
        assert client.server_capabilities["extensions"] == {
            **OFFERED["extensions"],
            OTHER: OFFERED["extensions"][VENDOR],
        }
        assert client.server_capabilities["experimental"] == OFFERED["experimental"]
        found = json.loads(await client.call(f"{'alpha' if own == VENDOR else 'beta'}__declared"))
        assert found["capabilities"]["extensions"][own] == {"version": "1"}
        await methods_pass(client)


@pytest.mark.parametrize("kind", ["http", "modern http"])
async def test_t18_the_aggregate_passes_a_method_to_the_member_that_its_params_name(running, kind):
    async with client_of(running, kind, None, DECLARED) as client:
        for member in ("alpha", "beta"):
            answer = await client.request("com.example/echo", {"name": f"{member}__widget", "x": 1})
            assert {**answer["result"]["params"], "_meta": None} == {"name": "widget", "x": 1, "_meta": None}
        ref = {"type": "ref/prompt", "name": "beta__p"}
        answer = await client.request("com.example/echo", {"ref": ref})
        assert answer["result"]["params"]["ref"] == {"type": "ref/prompt", "name": "p"}
        answer = await client.request("com.example/echo", {"uri": PAGE["uri"]})
        assert answer["result"]["params"]["uri"] == PAGE["uri"]
        for params in (
            {},
            {"name": "widget"},
            {"name": "gamma__x"},
        ):
            # Both members have declared the extensions of the client.
            assert (await client.request("com.example/echo", params))["error"]["code"] == -32601


@pytest.mark.parametrize("kind", ["http", "modern ws"])
async def test_t18_the_aggregate_has_the_tools_and_pages_of_mcp_apps(running, kind):
    async with client_of(running, kind, None, DECLARED) as client:
        tools = {tool["name"]: tool for tool in (await client.request("tools/list"))["result"]["tools"]}
        for member in ("alpha", "beta"):
            assert tools[f"{member}__widget"]["_meta"]["ui"]["resourceUri"] == PAGE["uri"]
            assert tools[f"{member}__widget"]["_meta"]["ui/resourceUri"] == PAGE["uri"]
        read = await client.request("resources/read", {"uri": PAGE["uri"]})
        assert read["result"]["contents"] == [PAGE]


@pytest.mark.parametrize("kind", ["http", "modern ws"])
async def test_t18_internal_notifications_of_the_bridge_are_accepted_from_no_peer(running, kind):
    async with client_of(running, kind, None, DECLARED) as client:
        before = (await client.request("tools/list"))["result"]["tools"]
        for method in ("members", "left_out", "input_over"):
            await notify(client, f"notifications/mcp-bridge/{method}", {"members": {}, "left_out": {}})
        await notify(client, "notifications/com.example/mark", {"name": "alpha__x", "n": id(client)})
        with trio.fail_after(TIMEOUT):
            while id(client) not in [
                one["n"]
                for one in (await client.request("com.example/marks", {"name": "alpha__x"}))["result"][
                    "marks"
                ]
            ]:
                pass
        assert (await client.request("tools/list"))["result"]["tools"] == before
