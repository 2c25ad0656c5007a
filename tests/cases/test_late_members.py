"""A member of an aggregate that hangs or fails does not delay the others, and is added later (H3)."""

import contextlib
import json

import pytest
import trio

from ..support.aggregate import (
    CHANGES,
    KINDS,
    Modern,
    aggregate,
    member,
    names,
    servers_of,
    text_of,
    wait_for_all_list_changes,
    wait_for_list_changes,
)
from ..support.sharing import TRANSPORTS, session

pytestmark = pytest.mark.anyio
# A generous limit (seconds). The limit of the aggregate for one member is thirty seconds.
SOON = 8
OFFERED = {"tools", "prompts", "resources", "logging", "completions"}


def everything(name):
    return json.loads(member(name)["command"][-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("late")


@pytest.fixture(scope="module")
def running(folder):
    """Yield an aggregate with members that hang for ever, until the file `open` exists, in lists only, or cannot be started."""
    servers = {
        "good": member("good", tools=["echo", "client"], instructions="good to know"),
        "hung": member("hung", gate=str(folder / "never"), tools=["echo"]),
        "late": member(**everything("late"), gate=str(folder / "open")),
        "slow": member(
            "slow", gate=str(folder / "open"), listings=True, tools=["echo"], prompts=["greet"], page=1
        ),
        "broken": {"command": ["false"], "era": "legacy"},
    }
    with aggregate(folder, servers, limits={"drain_seconds": 0.2}) as found:
        yield found


@contextlib.contextmanager
def opened(folder):
    (folder / "open").touch()
    try:
        yield
    finally:
        (folder / "open").unlink()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_h3_a_session_opens_at_once_and_late_members_come_with_a_notification(
    running, folder, transport
):
    began = trio.current_time()
    async with session(running, transport, "aggregate") as client:
        assert trio.current_time() - began < SOON
        assert set(client.initialize_result["capabilities"]) == OFFERED
        assert client.initialize_result["capabilities"]["resources"] == {
            "listChanged": True,
            "subscribe": True,
        }
        with trio.fail_after(SOON):
            assert servers_of(await names(client)) == {"good"}
            assert await names(client, "prompts/list") == []
            assert await names(client, "resources/list") == []
            assert await names(client, "resources/templates/list") == []
            assert await client.call("good__echo") == "good: echo"
        with opened(folder):
            await wait_for_list_changes(client)
            with trio.fail_after(20):
                while servers_of(await names(client)) != {"good", "late", "slow"}:
                    await client.until(lambda one: one.get("method") in CHANGES)
                while await names(client, "prompts/list") != ["late__greet", "slow__greet"]:
                    await client.until(lambda one: one.get("method") in CHANGES)
            assert await names(client, "resources/list") == ["note://late/1"]
            assert await client.call("late__echo") == "late: echo"
            subscribed = await client.request("resources/subscribe", {"uri": "note://late/1"})
            assert subscribed["result"] == {}


async def test_h3_a_client_without_sessions_is_answered_at_once(running):
    client = Modern(running)
    with trio.fail_after(SOON):
        offered = await client.result("server/discover")
        assert set(offered["capabilities"]) == OFFERED
        assert servers_of(await client.tools()) >= {"good"}
        async with client.listening(**KINDS) as following:
            assert (await following())["params"]["notifications"] == KINDS
            assert await client.text("good__echo") == "good: echo"
    log = (await trio.to_thread.run_sync(running.do, "logs", "aggregate")).stdout
    assert "member_left_out member=hung method=tools/list" in log
    assert "request_failed member=broken method=tools/list reason=" in log
    [one] = [one for one in running.status()["servers"] if one["name"] == "aggregate"]
    assert set(one["left_out"]) >= {"hung", "broken"}
    shown = (await trio.to_thread.run_sync(running.do, "status")).stdout
    assert "aggregate: left out hung: it has not answered yet" in shown
    assert "aggregate: left out broken: " in shown


async def test_h3_a_call_to_a_late_member_waits_for_that_member_only(running, folder):
    async with session(running, "ws", "aggregate") as client:
        waiting = await client.begin("tools/call", {"name": "late__echo"})
        with trio.fail_after(SOON):
            assert await client.call("good__echo") == "good: echo"
        with opened(folder):
            assert text_of(await client.answer(waiting)) == "late: echo"


async def test_h3_a_session_opens_even_if_all_members_hang(tmp_path):
    servers = {"hung": member(**everything("hung"), gate=str(tmp_path / "open"))}
    with aggregate(tmp_path, servers, limits={"drain_seconds": 0.2}) as running:
        began = trio.current_time()
        async with session(running, "ws", "aggregate") as client:
            assert await names(client) == []
            assert trio.current_time() - began < SOON
            (tmp_path / "open").touch()
            await wait_for_list_changes(client)
            assert "hung__echo" in await names(client)


async def test_h3_a_client_is_notified_of_a_member_that_exits_and_comes_back(tmp_path):
    servers = {"one": member("one", tools=["echo"]), "two": member("two")}
    with aggregate(tmp_path, servers, limits={"drain_seconds": 0.2}) as running:
        async with (
            session(running, "ws", "aggregate") as client,
            Modern(running).listening(**KINDS) as following,
        ):
            await following()
            assert servers_of(await names(client)) == {"one", "two"}
            exited = await client.request("tools/call", {"name": "two__exit"})
            assert "exited with code 3" in exited["error"]["message"]
            await wait_for_list_changes(client)
            assert await client.call("two__echo") == "two: echo"
            await trio.to_thread.run_sync(running.restart, "two")
            await wait_for_all_list_changes(following)
            assert servers_of(await names(client)) == {"one", "two"}
