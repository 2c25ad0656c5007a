"""The template that a URI matches decides which member of an aggregate gets the request for a resource (H4)."""

import json

import pytest

from ..support.aggregate import Modern, aggregate, member, text_of, wait_for_list_changes
from ..support.sharing import TRANSPORTS, session

pytestmark = pytest.mark.anyio
SERVERS = {
    # This member has every requested resource, and lists none.
    "greedy": member("greedy", tools=["echo"], templates=["greedy://{x}"], prefixes=[""]),
    "files": member("files", templates=["file:///{+path}", "https://{host}/{id}{?q}"], prefixes=[""]),
    "notes": member("notes", templates=["note://{name}", "Note://{owner}/{name}"], prefixes=[""]),
    "docs": member(
        "docs", tools=["subscribed"], templates=["file:///docs/{name}.md"], prefixes=["file:///docs/here"]
    ),
    "exact": member("exact", resources=["note://exact", "file:///docs/exact.md"], prefixes=[""]),
    # This member has the template of another member, and other resources.
    "root": member("root", templates=["root:///{+path}"], prefixes=["root:///a/"]),
    "roots": member("roots", templates=["root:///{+path}"], prefixes=["root:///"]),
}
READ = [
    ("note://today", "notes"),
    ("note://My%20Vault", "notes"),
    ("Note://me/today", "notes"),
    ("note://a/b", "greedy"),
    ("file:///a/b.txt", "files"),
    ("https://example.org/7", "files"),
    ("https://example.org/7?q=a/b", "files"),
    ("file:///docs/here.md", "docs"),
    ("note://exact", "exact"),
    ("file:///docs/exact.md", "exact"),
    ("greedy://x", "greedy"),
    ("other://x", "greedy"),
    ("root:///a/1", "root"),
    ("root:///b/1", "roots"),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with aggregate(tmp_path_factory.mktemp("templates"), SERVERS) as found:
        yield found


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_h4_the_template_decides_where_a_resource_is_read(running, transport):
    async with session(running, transport, "aggregate") as client:
        found = {}
        for uri, _ in READ:
            answer = await client.request("resources/read", {"uri": uri})
            found[uri] = answer["result"]["contents"][0]["text"]
        assert found == dict(READ)


async def test_h4_a_client_without_sessions_reads_the_same_before_it_lists_anything(running):
    client = Modern(running)
    for uri, name in READ:
        result = await client.result("resources/read", {"uri": uri})
        assert result["contents"][0]["text"] == name, uri


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("note://{name}", "notes"),
        ("note://today", "notes"),
        ("file:///docs/{name}.md", "docs"),
        ("root:///{+path}", "root"),
        ("note://exact", "exact"),
        ("other://{x}", "greedy"),
    ],
)
async def test_h4_the_template_decides_which_member_completes_its_arguments(running, uri, name):
    params = {"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": "name", "value": "a"}}
    async with session(running, "ws", "aggregate") as client:
        answer = await client.request("completion/complete", params)
        assert answer["result"]["completion"]["values"] == [name]
    found = await Modern(running).result("completion/complete", params)
    assert found["completion"]["values"] == [name]


async def test_h4_a_resource_that_no_server_of_a_matching_template_has_is_not_found(running):
    async with session(running, "ws", "aggregate") as client:
        answer = await client.request("resources/read", {"uri": "file:///docs/missing.md"})
        # The more general template of another server is tried next.
        assert answer["result"]["contents"][0]["text"] == "files"
        async with running.configuration.reloaded_with({**SERVERS, "files": member("files", tools=["echo"])}):
            await wait_for_list_changes(client)
            answer = await client.request("resources/read", {"uri": "file:///docs/missing.md"})
            assert "missing" in answer["error"]["message"]


async def test_h4_the_template_decides_where_a_resource_is_subscribed(running):
    async with session(running, "http", "aggregate") as client:
        uri = "file:///docs/here.md"
        assert (await client.request("resources/subscribe", {"uri": uri}))["result"] == {}
        assert json.loads(await client.call("docs__subscribed")) == [uri]


async def test_h4_a_template_that_comes_with_a_reload_decides_from_then_on(running):
    async with session(running, "ws", "aggregate") as client:
        read = {"uri": "new://1"}
        assert (await client.request("resources/read", read))["result"]["contents"][0]["text"] == "greedy"
        added = {**SERVERS, "new": member("new", templates=["new://{x}"], prefixes=["new://"])}
        async with running.configuration.reloaded_with(added):
            await wait_for_list_changes(client)
            assert (await client.request("resources/read", read))["result"]["contents"][0]["text"] == "new"
        await wait_for_list_changes(client)
        assert (await client.request("resources/read", read))["result"]["contents"][0]["text"] == "greedy"
        assert text_of(await client.request("tools/call", {"name": "greedy__echo"})) == "greedy: echo"
