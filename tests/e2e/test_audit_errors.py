"""Errors of the bridge within a connection have the id of their event; errors of servers keep their bytes."""

import json
import os
import signal
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.daemon_clients import example, open_socket, stateless_request
from ..support.daemon_process import Daemon, write_config
from ..support.stateless_requests import tool

pytestmark = pytest.mark.anyio
SLOW = tool("slow", seconds=30, steps=2)


@pytest.fixture
def daemon(tmp_path):
    servers = {
        "one": example(tools={"deny": ["echo"]}, features={"deny": ["prompts"]}),
        "quick": example(limits={"call_seconds": 1}),
    }
    write_config(tmp_path / "config.toml", servers, audit={"file": "audit.jsonl"})
    with Daemon(tmp_path) as running:
        yield running


def events(running):
    return [json.loads(line) for line in (running.folder / "audit.jsonl").read_text().splitlines()]


async def event_with(running, correlation_id):
    """Return the only event with this id."""
    with trio.fail_after(20):
        while not (found := [one for one in events(running) if one.get("correlation_id") == correlation_id]):
            await trio.sleep(0.02)
        (event,) = found
        # The log is read by a thread.
        while not any(correlation_id in line for line in running.lines):
            await trio.sleep(0.02)
    assert sum(correlation_id in line for line in running.lines) == 1
    return event


async def ask(running, opened, server, method, params):
    """Return the error of a request in a session, or of a stateless one."""
    if opened is None:
        return (await stateless_request(running, server, method, params))[1]["error"]
    await opened._send({"id": 1, "method": method, "params": params})
    return (await opened.answers(1))[1]["error"]


async def client(running, kind, server, stack):
    return await open_socket(running, server, stack) if kind == "session" else None


@pytest.mark.parametrize("kind", ["session", "stateless"])
@pytest.mark.parametrize(
    ("method", "params", "reason", "name"),
    [
        ("tools/call", tool("echo", text="the-argument"), "tool_denied", "echo"),
        ("prompts/get", {"name": "greet"}, "feature_denied", "greet"),
    ],
)
async def test_a_denial_of_the_policy_is_an_event(daemon, kind, method, params, reason, name):
    async with AsyncExitStack() as stack:
        opened = await client(daemon, kind, "one", stack)
        error = await ask(daemon, opened, "one", method, params)
        event = await event_with(daemon, error["data"]["correlationId"])
    assert (event["event"], event["reason"], event["method"]) == ("policy_denied", reason, method)
    assert (event["name"], event["server"], event["principal"]) == (name, "one", "owner")
    assert len(event.get("session", "")) == (8 if kind == "session" else 0)
    assert "the-argument" not in (daemon.folder / "audit.jsonl").read_text()
    assert not [one for one in events(daemon) if one["event"] == "refused"]


@pytest.mark.parametrize("kind", ["session", "stateless"])
async def test_a_call_that_takes_too_long_is_an_event(daemon, kind):
    async with AsyncExitStack() as stack:
        opened = await client(daemon, kind, "quick", stack)
        error = await ask(daemon, opened, "quick", "tools/call", SLOW)
        event = await event_with(daemon, error["data"]["correlationId"])
    assert error["data"]["reason"] == "timeout"
    assert (event["event"], event["server"], event["principal"]) == ("request_failed", "quick", "owner")


@pytest.mark.parametrize("kind", ["session", "stateless"])
async def test_the_calls_of_a_process_have_the_id_of_its_exit(daemon, kind):
    async with AsyncExitStack() as stack:
        opened = await client(daemon, kind, "one", stack)
        async with trio.open_nursery() as nursery:

            async def kill():
                with trio.fail_after(20):
                    while (
                        not (pids := daemon.status()["servers"][0]["pids"])
                        or not daemon.status()["servers"][0]["in_flight"]
                    ):
                        await trio.sleep(0.05)
                os.kill(pids[0], signal.SIGKILL)

            nursery.start_soon(kill)
            error = await ask(daemon, opened, "one", "tools/call", SLOW)
        event = await event_with(daemon, error["data"]["correlationId"])
    assert (event["event"], event["server"]) == ("process_exited", "one")
    assert "signal 9" in event["how"]


async def test_unreadable_messages_of_a_websocket_are_events(daemon):
    async with AsyncExitStack() as stack:
        opened = await open_socket(daemon, "one", stack)
        await opened._connection.send_message('{"jsonrpc":"1.0","id":7,"method":"CANARY"}')
        error = (await opened.answers(1))[7]["error"]
        event = await event_with(daemon, error["data"]["correlationId"])
    assert (event["event"], event["reason"], event["status"]) == ("refused", "bad_request", 400)
    assert (event["server"], event["principal"], event["count"]) == ("one", "owner", 1)
    assert "CANARY" not in (daemon.folder / "audit.jsonl").read_text()


@pytest.mark.parametrize("kind", ["session", "stateless"])
async def test_an_error_of_the_server_has_no_id(daemon, kind):
    async with AsyncExitStack() as stack:
        opened = await client(daemon, kind, "one", stack)
        error = await ask(daemon, opened, "one", "tools/call", tool("nothing"))
    assert error == {"code": -32602, "message": "there is no tool nothing"}
