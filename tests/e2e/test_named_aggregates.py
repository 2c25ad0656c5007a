"""Named aggregates: their paths, the names of their tools, the scope of tokens, commands and reloads."""

import hashlib
import json
from types import SimpleNamespace

import pytest
import trio

from mcpbridged.bridge.commands.complete_names import names_after

from ..support import sdk
from ..support.aggregate import KINDS, Modern, member, names
from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import stateless_request
from ..support.daemon_process import daemon, write_config
from ..support.raw_http import connect
from ..support.sdk import answer_elicitation, answer_roots, answer_sampling, text_of
from ..support.sharing import TRANSPORTS, session
from ..support.stateless_requests import ASKABLE, tool
from ..support.unix_client import UnixClient

pytestmark = [pytest.mark.anyio, *sdk.SDK_WARNINGS]
SERVERS = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}, "three": {"command": EXAMPLE}}
DEV = {
    "servers": ["one", "two"],
    "tools": {"allow": ["one__*", "two__ask", "two__echo"], "deny": ["one__add"]},
    "rename": {"one__echo": "say", "two__ask": "one__think"},
    "describe": {"one__echo": "Say it again."},
}
TOKENS = {
    "all": {},
    "servers": {"servers": ["one"]},
    "dev": {"aggregates": ["dev"]},
    "narrow": {"aggregates": ["dev"], "tools": {"deny": ["ask"]}},
    "both": {"servers": ["two"], "aggregates": ["ops"]},
    "no-aggregate": {"servers": ["*"], "aggregates": []},
}
SECRETS = {name: f"mcpb_{name:x<40}" for name in TOKENS}


def tables(**more):
    return {
        "aggregates.dev": DEV,
        "aggregates.ops": {"servers": ["*"], "title": "Operations"},
        **{
            f"tokens.{name}": {"sha256": hashlib.sha256(SECRETS[name].encode()).hexdigest(), **keys}
            for name, keys in TOKENS.items()
        },
        **more,
    }


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("named"), SERVERS, **tables()) as found:
        yield found


def at(running, name):
    """Return the addresses of an aggregate, as the clients of the SDK use them."""
    base, socket = (
        running.url(name, kind).rpartition("/servers/")[0] + f"/aggregates/{name}" for kind in ("mcp", "ws")
    )
    return SimpleNamespace(
        mcp=f"{base}/mcp",
        sse=f"{base}/sse",
        ws=f"{socket}/ws",
        headers={"Authorization": f"Bearer {running.token}"},
    )


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("transport", sdk.TRANSPORTS)
async def test_an_official_client_uses_an_aggregate(running, mode, transport):
    if (mode, transport) == ("auto", "sse"):
        pytest.skip("that transport is of the handshake era")
    options = {
        "elicitation_callback": answer_elicitation,
        "sampling_callback": answer_sampling,
        "list_roots_callback": answer_roots,
    }
    async with sdk.connect(at(running, "dev"), transport, mode=mode, **options) as client:
        found = {one.name: one.description for one in (await client.list_tools()).tools}
        assert found["say"] == "Say it again."
        assert {"one__echo", "one__add", "two__ask", "two__add"}.isdisjoint(found)
        assert {"one__think", "two__echo", "one__roots"} <= found.keys()
        assert text_of(await client.call_tool("say", {"text": "hello"})) == "hello"
        # The tool with this name is that of the other server.
        assert text_of(await client.call_tool("one__think", {"question": "abc"})) == "accept: cba"
        assert text_of(await client.call_tool("one__roots")) == "file:///here\nfile:///there"
        assert (await client.get_prompt("two__greet", {"name": "Ada"})).messages
        assert (await client.read_resource("example://square/12")).contents[0].text == "144"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session_calls_renamed_tools(running, transport):
    async with session(running, transport, "/aggregates/dev") as client:
        assert client.initialize_result["serverInfo"]["name"] == "dev"
        assert await client.call("say", text="hello") == "hello"
        for name in ("one__echo", "one__add", "two__add", "three__echo"):
            refused = await client.request("tools/call", {"name": name})
            assert refused["error"] == {"code": -32602, "message": f"Unknown tool: {name}"}


async def test_a_mirrored_name_is_that_of_the_client(running):
    status, answer = await stateless_request(
        running, "/aggregates/dev/mcp", "tools/call", tool("say", text="a")
    )
    assert (status, answer["result"]["content"][0]["text"]) == (200, "a")
    for header in ("echo", "one__echo"):
        status, answer = await stateless_request(
            running, "/aggregates/dev/mcp", "tools/call", tool("say", text="a"), **{"Mcp-Name": header}
        )
        assert status == 400


async def test_the_paths_of_a_server_lead_to_it_as_well(running):
    _, answer = await stateless_request(running, "ops", "server/discover")
    assert answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["title"] == "Operations"
    tools = await Modern(running, "/servers/ops/mcp").tools()
    assert {name.partition("__")[0] for name in tools} == set(SERVERS)
    for path in ("/aggregates/one/mcp", "/aggregates/nobody/mcp", "/mcp"):
        assert (await stateless_request(running, path, "tools/list"))[0] == 404


# ---- the scope of tokens

# By token: the servers and aggregates that it may use.
ROUTES = {
    "all": {"one", "two", "three", "dev", "ops"},
    "servers": {"one"},
    "dev": {"dev"},
    "narrow": {"dev"},
    "both": {"two", "ops"},
    "no-aggregate": {"one", "two", "three"},
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_token_reaches_what_it_names(running, name):
    paths = {server: [f"/servers/{server}/mcp"] for server in SERVERS}
    paths |= {one: [f"/servers/{one}/mcp", f"/aggregates/{one}/mcp"] for one in ("dev", "ops")}
    reached = {
        server
        for server, some in paths.items()
        for path in some
        if (await stateless_request(running, path, "tools/list", token=SECRETS[name]))[0] == 200
    }
    assert reached == ROUTES[name]


# By token, aggregate and tool: whether it can be called.
CALLS = [
    ("dev", "dev", tool("say", text="a"), True),
    ("dev", "dev", tool("two__echo", text="a"), True),
    ("dev", "dev", tool("one__add", a=1, b=2), False),
    ("dev", "dev", tool("one__think", question="q"), True),
    ("narrow", "dev", tool("one__think", question="q"), False),
    ("narrow", "dev", tool("say", text="a"), True),
    ("both", "ops", tool("one__echo", text="a"), True),
    ("both", "ops", tool("three__add", a=1, b=2), True),
    ("all", "dev", tool("one__add", a=1, b=2), False),
]


@pytest.mark.parametrize(("name", "aggregate", "call", "is_allowed"), CALLS)
async def test_a_token_uses_the_tools_that_the_aggregate_and_the_token_allow(
    running, name, aggregate, call, is_allowed
):
    path = f"/aggregates/{aggregate}/mcp"
    for _ in range(2):
        _, answer = await stateless_request(running, path, "tools/call", call, SECRETS[name], ASKABLE)
        if is_allowed:
            assert "result" in answer, answer
        else:
            error = answer["error"]
            assert (error["code"], error["message"]) == (-32602, f"Unknown tool: {call['name']}")
        # Another principal at the same time.
        _, answer = await stateless_request(running, path, "tools/list", token=SECRETS["all"])
        assert "result" in answer


async def test_a_tool_that_the_token_denies_is_not_listed(running):
    _, answer = await stateless_request(running, "/aggregates/dev/mcp", "tools/list", token=SECRETS["narrow"])
    listed = {one["name"] for one in answer["result"]["tools"]}
    assert "say" in listed
    assert "one__think" not in listed


async def test_the_paths_of_members_are_for_the_process_of_the_aggregate(running):
    assert "say" in await Modern(running, "/aggregates/dev/mcp").tools()
    path = "/aggregates/dev/members/one/ws"
    assert (await stateless_request(running, path, "tools/list"))[0] == 404
    upgrade = [
        *(("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    for headers in ([], [("Mcp-Bridge-Principal", "local")], [("Mcp-Token-Name", "dev")]):
        answer = UnixClient(running.unix).exchange("GET", path, [*upgrade, *headers])
        assert (answer.status, answer.text) == (403, "this path is for the aggregate only")
    async with connect(running) as connection:
        await connection.send("GET", path, dict(upgrade))
        assert (await connection.answer()).status == 404


async def test_each_principal_has_a_process_of_its_own(running):
    for name in ("all", "dev"):
        _, answer = await stateless_request(
            running, "/aggregates/dev/mcp", "tools/call", tool("say", text=name), SECRETS[name]
        )
        assert answer["result"]["content"][0]["text"] == name
    [dev] = [one for one in running.status()["servers"] if one["name"] == "dev"]
    assert len(dev["pids"]) >= 2


# ---- commands


def test_commands_know_an_aggregate(running):
    assert "say" in running.do("tools", "dev").stdout
    assert running.do("call", "dev", "say", "text=hello").stdout == "hello\n"
    [state] = [
        one for one in json.loads(running.do("status", "--json").stdout)["servers"] if one["name"] == "dev"
    ]
    assert (state["state"], state["fault"]) == ("serving", "")
    assert "aggregates.dev: responded" in running.do("doctor", check=False).stdout
    config = ["--config", str(running.config)]
    assert {"dev", "ops", "one"} <= set(names_after(["restart", *config], running.variables))
    assert "say" in names_after(["call", *config, "dev"], running.variables)
    running.do("restart", "dev")
    assert running.do("call", "dev", "say", "text=again").stdout == "again\n"
    assert "started" in running.do("logs", "dev").stdout


@pytest.mark.parametrize("effective", [(), ("--effective",)])
def test_the_configuration_is_shown_as_it_can_be_read(running, tmp_path, effective):
    shown = running.do("config", "show", *effective).stdout
    assert "[aggregates.dev.rename]" in shown or "rename.one__echo" in shown or "rename = " in shown
    copy = tmp_path / "config.toml"
    copy.write_text(shown)
    copy.chmod(0o600)
    assert "no errors" in running.do("config", "check", "--config", str(copy)).stdout


def test_the_configuration_of_a_client_has_the_address_of_the_aggregate(tmp_path):
    config = tmp_path / "config.toml"
    with daemon(tmp_path, SERVERS, **tables()) as running:
        text = config.read_text().replace("127.0.0.1:0", "127.0.0.1:8808")
        config.write_text(text)
        printed = running.do("client-config", "cursor", "dev", "--http", "--token", "both").stdout
        assert json.loads(printed)["mcpServers"]["dev"]["url"] == "http://127.0.0.1:8808/aggregates/dev/mcp"
        assert '"connect", "dev"' in " ".join(running.do("client-config", "cursor", "dev").stdout.split())
        # The token may use the aggregate now.
        [both] = [
            one for one in json.loads(running.do("token", "list", "--json").stdout) if one["token"] == "both"
        ]
        assert (both["servers"], both["aggregates"]) == (["two"], ["ops", "dev"])
        running.do("token", "new", "third", "--aggregates", "dev")
        [third] = [
            one for one in json.loads(running.do("token", "list", "--json").stdout) if one["token"] == "third"
        ]
        assert (third["servers"], third["aggregates"]) == ([], ["dev"])
        assert (
            "no table [aggregates.one]"
            in running.do("token", "new", "x", "--aggregates", "one", check=False).stderr
        )


# ---- reloads


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_reload_changes_aggregates_and_sessions_go_on(tmp_path, transport):
    servers = {"one": member("one"), "two": member("two")}
    dev = {"servers": ["one"]}
    with daemon(tmp_path, servers, **{"aggregates.dev": dev}) as running:

        async def reload(**found):
            write_config(
                running.config, servers, **{f"aggregates.{name}": one for name, one in found.items()}
            )
            return await trio.to_thread.run_sync(running.reload)

        async with session(running, transport, "/aggregates/dev") as client:
            pid = json.loads(await client.call("one__client"))["pid"]
            changes = await reload(dev={**dev, "rename": {"one__echo": "say"}}, new={"servers": ["two"]})
            assert (changes["added"], changes["changed"]) == (["new"], ["dev"])
            await tools_are(client, lambda found: "say" in found)
            assert await client.call("say") == "one: echo"
            assert "error" in await client.request("tools/call", {"name": "one__echo"})
            assert await Modern(running, "/aggregates/new/mcp").text("two__echo") == "two: echo"
            await reload(dev={"servers": ["*"], "tools": {"deny": ["one__ask"]}})
            await tools_are(
                client, lambda found: {"one__echo", "two__ask"} <= found and "one__ask" not in found
            )
            assert (await stateless_request(running, "/aggregates/new/mcp", "tools/list"))[0] == 404
            # The process of the server is the same one.
            assert json.loads(await client.call("one__client"))["pid"] == pid
            await reload(dev={"servers": ["two"]})
            await tools_are(client, lambda found: {name.partition("__")[0] for name in found} == {"two"})


async def tools_are(client, wanted):
    """Wait for notifications until the list of tools is as wanted."""
    await client.until(lambda one: one.get("method") == "notifications/tools/list_changed")
    while not wanted(set(await names(client))):
        await client.until(lambda one: one.get("method") == "notifications/tools/list_changed")


async def test_a_stateless_client_is_notified_of_new_names(tmp_path):
    servers = {"one": member("one")}
    with daemon(tmp_path, servers, **{"aggregates.dev": {"servers": ["one"]}}) as running:
        client = Modern(running, "/aggregates/dev/mcp")
        async with client.listening(**KINDS) as following:
            await following()
            table = {"servers": ["one"], "describe": {"one__echo": "new"}}
            write_config(running.config, servers, **{"aggregates.dev": table})
            await trio.to_thread.run_sync(running.reload)
            while (await following())["method"] != "notifications/tools/list_changed":
                pass
            listed = (await client.result("tools/list"))["tools"]
            assert [one["description"] for one in listed if one["name"] == "one__echo"] == ["new"]


async def test_an_entry_that_names_no_tool_is_logged_once(tmp_path):
    servers = {"one": member("one")}
    table = {"servers": ["one"], "rename": {"one__nothing": "x", "one__echo": "one__ask"}}
    with daemon(tmp_path, servers, **{"aggregates.dev": table}) as running:
        client = Modern(running, "/aggregates/dev/mcp")
        for _ in range(3):
            assert "one__ask" in await client.tools()
        assert await client.text("one__ask") == "one: echo"
        log = running.do("logs", "dev").stdout
    assert log.count("tool_unknown name=one__nothing") == 1
    assert log.count("item_left_out method=tools/list name=one__ask") == 1


async def test_a_token_that_loses_an_aggregate_loses_its_session(tmp_path):
    sha256 = hashlib.sha256(SECRETS["dev"].encode()).hexdigest()
    servers = {"one": member("one")}
    aggregates = {"aggregates.dev": {"servers": ["one"]}, "aggregates.ops": {"servers": ["one"]}}
    scope = {"tokens.dev": {"sha256": sha256, "aggregates": ["dev"]}}
    with daemon(tmp_path, servers, **aggregates, **scope) as running:
        path = "/aggregates/dev/mcp"
        call = tool("one__echo")
        assert (await stateless_request(running, path, "tools/call", call, SECRETS["dev"]))[0] == 200
        write_config(
            running.config, servers, **aggregates, **{"tokens.dev": {"sha256": sha256, "aggregates": ["ops"]}}
        )
        await trio.to_thread.run_sync(running.reload)
        assert (await stateless_request(running, path, "tools/call", call, SECRETS["dev"]))[0] == 403
        path = "/aggregates/ops/mcp"
        assert (await stateless_request(running, path, "tools/call", call, SECRETS["dev"]))[0] == 200
