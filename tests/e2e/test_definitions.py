"""Definitions that a server changes after they were seen: reported or blocked until they are approved."""

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio_websocket

from ..support.daemon_clients import open_socket
from ..support.daemon_process import CHILDREN, Daemon, daemon, write_config
from ..support.sdk import SDK_WARNINGS, client_of
from ..support.stateless_requests import request

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
READ = {
    "name": "read",
    "description": "Read a note.",
    "inputSchema": SCHEMA,
    "annotations": {"readOnlyHint": True},
}
OTHER = {"name": "other", "description": "Another.", "inputSchema": {"type": "object"}}
WHOLE = {
    "tools": [READ, OTHER],
    "prompts": [{"name": "sum", "description": "Sum up."}],
    "resourceTemplates": [{"uriTemplate": "note:{id}", "name": "note"}],
}
MORE = {**SCHEMA, "properties": {**SCHEMA["properties"], "extra": {"type": "string"}}}
# What the server changes, and a line of the differences.
CHANGES = {
    "description": (
        {"description": "Read a page."},
        'description: changed from "Read a note." to "Read a page."',
    ),
    "schema": ({"inputSchema": MORE}, 'inputSchema.properties.extra: property added: {"type": "string"}'),
    "required": (
        {"inputSchema": {**SCHEMA, "required": []}},
        'inputSchema.required: "id" is not required any more',
    ),
    "annotation": (
        {"annotations": {"readOnlyHint": False}},
        "annotations.readOnlyHint: changed from true to false",
    ),
    "hidden": ({"description": "Read a note.\u200b"}, "description: has hidden characters now: U+200B"),
}
MODES = {"legacy": "legacy", "modern": "2026-07-28"}
ERAS = tuple(MODES)
TRANSPORTS = ("http", "sse", "ws")


def offer(folder, content, name="one"):
    (folder / f"{name}.json").write_text(json.dumps(content))


def server(folder, content, name="one", **keys):
    offer(folder, content, name)
    command = [sys.executable, str(CHILDREN / "definitions.py"), str(folder / f"{name}.json")]
    return {"command": command, **keys}


def changed(**members):
    return {**WHOLE, "tools": [{**READ, **members}, OTHER]}


async def tools_of(client):
    return [tool.name for tool in (await client.list_tools()).tools]


async def call_fails(client, name="read"):
    try:
        found = await client.call_tool(name, {"id": "1"})
    except Exception as fault:  # noqa: BLE001 - of any version of the SDK
        return f"Unknown tool: {name}" in str(fault)
    return bool(found.is_error)


def events(running, event):
    return [line for line in running.logs("one") if event in line]


@asynccontextmanager
async def seen(running, transport="http", era="legacy"):
    """Connect, and list everything once."""
    async with client_of(running, "one", transport, MODES[era]) as client:
        assert await tools_of(client) == ["read", "other"]
        await client.list_prompts()
        await client.list_resource_templates()
        yield client


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mode", ["warn", "block"])
async def test_a_change_is_reported_and_with_block_kept_from_clients(tmp_path, mode, change):
    members, line = CHANGES[change]
    with daemon(tmp_path, {"one": server(tmp_path, WHOLE, definitions=mode)}) as running:
        async with seen(running) as client:
            offer(tmp_path, changed(**members))
            for _ in range(2):
                assert await tools_of(client) == (["other"] if mode == "block" else ["read", "other"])
            assert await call_fails(client) == (mode == "block")
            assert not await call_fails(client, "other")
            assert len(events(running, "definition_changed")) == 1
            assert running.status()["servers"][0]["pending_definitions"] == 1
            assert "one: 1 definition not approved" in running.do("status").stdout
            assert (
                "1 definition changed or new since the approval" in running.do("doctor", check=False).stdout
            )
            shown = running.do("approve", "--definitions", "one", check=False)
            assert shown.returncode == 1
            assert shown.stdout.splitlines()[0] == "one: changed tool read"
            assert f"  {line}" in shown.stdout.splitlines()
            assert running.do("approve", "--definitions", "--yes", "one").stdout.endswith(
                "1 definition approved\n"
            )
            assert await tools_of(client) == ["read", "other"]
            assert not await call_fails(client)
            assert (
                running.do("approve", "--definitions", "one").stdout == "one: all definitions are approved\n"
            )


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("client_era", ERAS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_change_is_blocked_for_each_era_and_transport(tmp_path, transport, client_era, era):
    if client_era == "modern" and transport == "sse":
        pytest.skip("the transport belongs to the handshake revisions")
    keys = {"definitions": "block"}
    with daemon(tmp_path, {"one": server(tmp_path, {**WHOLE, "era": era}, **keys)}) as running:
        async with seen(running, transport, client_era) as client:
            offer(tmp_path, {**changed(description="x"), "era": era})
            assert await tools_of(client) == ["other"]
            assert await call_fails(client)
            assert not await call_fails(client, "other")


@pytest.mark.parametrize("share", ["client", "principal", "server"])
async def test_a_change_is_blocked_on_a_shared_process(tmp_path, share):
    content = {**WHOLE, "era": "legacy"}
    with daemon(tmp_path, {"one": server(tmp_path, content, definitions="block", share=share)}) as running:
        async with seen(running) as client, seen(running) as second:
            offer(tmp_path, {**changed(description="x"), "era": "legacy"})
            assert await tools_of(client) == ["other"]
            assert await call_fails(second)
            assert await tools_of(second) == ["other"]


async def test_new_definitions_of_each_kind_are_blocked(tmp_path):
    with daemon(
        tmp_path,
        {"one": server(tmp_path, WHOLE)},
    ) as running:
        running.config.write_text(
            running.config.read_text().replace("[listen]", 'definitions = "block"\n[listen]')
        )
        running.do("reload")
        async with seen(running) as client:
            offer(
                tmp_path,
                {
                    "tools": [READ, OTHER, {**OTHER, "name": "third"}],
                    "prompts": [*WHOLE["prompts"], {"name": "new"}],
                    "resourceTemplates": [
                        *WHOLE["resourceTemplates"],
                        {"uriTemplate": "new:{id}", "name": "n"},
                    ],
                },
            )
            assert await tools_of(client) == ["read", "other"]
            assert await call_fails(client, "third")
            assert [one.name for one in (await client.list_prompts()).prompts] == ["sum"]
            with pytest.raises(Exception, match="Unknown prompt: new"):
                await client.get_prompt("new")
            templates = (await client.list_resource_templates()).resource_templates
            assert [one.name for one in templates] == ["note"]
            found = json.loads(running.do("approve", "--definitions", "--json", "one", check=False).stdout)
            assert [(one["kind"], one["name"], one["is_new"]) for one in found[0]["changes"]] == [
                ("tool", "third", True),
                ("prompt", "new", True),
                ("resource template", "new:{id}", True),
            ]
            assert found[0]["approved"] is False


async def test_the_record_outlives_the_daemon_and_belongs_to_the_command(tmp_path):
    write_config(tmp_path / "config.toml", {"one": server(tmp_path, WHOLE, definitions="block")})
    with Daemon(tmp_path) as running:
        async with seen(running):
            pass
    (file,) = tmp_path.rglob("definitions/one.json")
    assert file.stat().st_mode & 0o777 == 0o600
    offer(tmp_path, changed(description="x"))
    with Daemon(tmp_path) as running:
        async with client_of(running, "one", "http", "legacy") as client:
            assert await tools_of(client) == ["other"]
        # Another command of the user begins a new record.
        keys = server(tmp_path, changed(description="x"), definitions="block")
        write_config(running.config, {"one": {**keys, "command": [*keys["command"], "--again"]}})
        running.do("reload")
        async with client_of(running, "one", "http", "legacy") as client:
            assert await tools_of(client) == ["read", "other"]


async def test_off_records_nothing(tmp_path):
    with daemon(tmp_path, {"one": server(tmp_path, WHOLE, definitions="off")}) as running:
        async with seen(running) as client:
            offer(tmp_path, changed(description="x"))
            assert await tools_of(client) == ["read", "other"]
        assert running.status()["servers"][0]["pending_definitions"] == 0
        assert running.do("approve", "--definitions", "one").stdout == "one: all definitions are approved\n"
    assert not list(tmp_path.rglob("definitions/one.json"))


async def test_a_change_of_a_member_is_blocked_in_the_aggregate(tmp_path):
    servers = {"one": server(tmp_path, WHOLE, definitions="block")}
    with daemon(tmp_path, servers, aggregate={"servers": ["one"]}) as running:
        async with seen(running):
            pass
        offer(tmp_path, changed(description="x"))
        listed = json.loads(running.do("tools", "aggregate", "--json").stdout)
        assert [one["name"] for one in listed] == ["one__other"]


@pytest.mark.parametrize("client_era", ERAS)
async def test_clients_of_a_legacy_server_are_notified_of_an_approval(tmp_path, client_era):
    content = {**WHOLE, "era": "legacy"}
    with daemon(tmp_path, {"one": server(tmp_path, content, definitions="block")}) as running:
        async with seen(running), AsyncExitStack() as stack:
            stack.enter_context(trio.fail_after(20))
            if client_era == "legacy":
                socket = await open_socket(running, "one", stack)
                connection = socket._connection
            else:
                connection = await stack.enter_async_context(
                    trio_websocket.open_websocket_url(
                        running.url("one", "ws"),
                        subprotocols=["mcp"],
                        extra_headers=[*running.headers.items()],
                    )
                )
                listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
                await connection.send_message(json.dumps(listen))
                assert "acknowledged" in await connection.get_message()
            offer(tmp_path, {**changed(description="x"), "era": "legacy"})
            listed = json.loads(running.do("tools", "one", "--json").stdout)
            assert [one["name"] for one in listed] == ["other"]
            running.do("approve", "--definitions", "--yes", "one")
            message = json.loads(await connection.get_message())
            assert message["method"] == "notifications/tools/list_changed"


async def test_a_change_of_a_remote_server_is_blocked(tmp_path):
    far, near = tmp_path / "far", tmp_path / "near"
    far.mkdir()
    with daemon(far, {"one": server(far, WHOLE, definitions="off")}) as remote:
        secret = near / "token"
        near.mkdir(mode=0o700)
        secret.write_text(remote.headers["Authorization"])
        secret.chmod(0o600)
        table = {
            "url": remote.url("one"),
            "definitions": "block",
            "secret_headers": {"Authorization": str(secret)},
        }
        with daemon(near, {"one": table}) as running:
            async with seen(running) as client:
                offer(far, changed(description="x"))
                assert await tools_of(client) == ["other"]
                assert await call_fails(client)
                running.do("approve", "--definitions", "--yes", "one")
                assert await tools_of(client) == ["read", "other"]


@pytest.mark.parametrize("first", ERAS)
@pytest.mark.parametrize("era", ERAS)
async def test_clients_of_both_eras_get_the_same_definitions(tmp_path, era, first):
    header = {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "not valid"}}}
    tool = {
        **READ,
        "inputSchema": header if era == "legacy" else SCHEMA,
        "execution": {"taskSupport": "optional"},
        "outputSchema": {"type": "array", "items": {"type": "string"}}
        if era == "modern"
        else {"type": "object"},
    }
    content = {**WHOLE, "era": era, "tools": [tool, OTHER]}
    with daemon(tmp_path, {"one": server(tmp_path, content, definitions="block")}) as running:
        for client_era in (first, *(one for one in ERAS if one != first), first):
            async with client_of(running, "one", "http", MODES[client_era]) as client:
                assert await tools_of(client) == ["read", "other"]
        assert running.status()["servers"][0]["pending_definitions"] == 0
