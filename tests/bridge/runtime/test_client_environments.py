"""The environment of a client, from the headers of its requests."""

import os
import threading

import pytest
import trio

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.core.client_environment import NOTHING
from mcpbridged.bridge.runtime import client_environments
from mcpbridged.bridge.runtime.client_environments import ClientEnvironments
from mcpbridged.transports.options import Directory, Launch
from mcpbridged.validators.rejection import Rejection

pytestmark = pytest.mark.anyio


class Log:
    def __init__(self):
        self.events = []

    def warning(self, event, **fields):
        self.events.append((event, fields))

    debug = info = error = warning


@pytest.fixture
def log():
    return Log()


def environments(log, *allowed, **more):
    return ClientEnvironments(ServerConfig("x", Launch(("y",), {}), cwd_allowed=allowed, **more), log)


async def refusal(found, headers):
    with pytest.raises(Rejection) as refused:
        await found.find("local", headers)
    return refused.value


async def test_without_keys_of_clients_no_header_counts(log):
    found = environments(log)
    assert not found.differ
    assert await found.find("local", {"mcp-cwd": "not even a path"}) == NOTHING


async def test_variables_and_directory_are_read_together(log, tmp_path):
    found = environments(log, str(tmp_path), from_headers={"KEY": "x-key"})
    assert found.differ
    one = await found.find("local", {"mcp-cwd": str(tmp_path), "x-key": "1"})
    assert one.variables == (("KEY", "1"),)
    assert one.directory.path == os.path.realpath(tmp_path)
    assert one == await found.find("bob", {"mcp-cwd": f"{tmp_path}/.", "x-key": "1"})
    assert one != await found.find("local", {"mcp-cwd": str(tmp_path)})
    assert (await refusal(found, {"x-key": "\t", "mcp-cwd": str(tmp_path)})).status == 400


async def test_a_request_without_a_directory_is_refused_with_the_way_to_name_one(log, tmp_path):
    refused = await refusal(environments(log, str(tmp_path)), {})
    assert refused.status == 400
    assert "mcp-bridge connect x" in refused.text
    assert log.events == []


async def test_a_directory_that_is_not_allowed_is_refused_and_logged(log, tmp_path):
    (tmp_path / "src").mkdir()
    refused = await refusal(environments(log, f"{tmp_path}/src"), {"mcp-cwd": f"{tmp_path}/%0A%FF"})
    assert refused.status == 403
    assert refused.text.endswith("of its client: it does not exist")
    [(event, fields)] = log.events
    assert event == "client_directory_refused"
    assert fields["principal"] == "local"
    assert fields["directory"] == f"{tmp_path}/\n\\xff"
    refused.text.encode()


async def test_a_directory_is_opened_again_after_a_while_and_not_for_each_request(log, monkeypatch):
    opened = []

    def find(path, _allowed):
        opened.append(path)
        return Directory(path.decode(), 1, len(opened))

    monkeypatch.setattr(client_environments, "find_directory", find)
    found = environments(log, "/")
    first = await found.find("local", {"mcp-cwd": "/a"})
    # Without waiting, so that the requests of a connection stay in order.
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await found.find("local", {"mcp-cwd": "/a"}) == first
    monkeypatch.setattr(client_environments, "_VALID_SECONDS", 0)
    for number in range(300):
        await found.find("local", {"mcp-cwd": f"/{number}"})
    assert await found.find("local", {"mcp-cwd": "/0"}) != await found.find("local", {"mcp-cwd": "/0"})
    assert len(found._found) <= 256


async def test_a_file_system_that_does_not_respond_holds_no_other_task(log, monkeypatch):
    go, turns = threading.Event(), 0

    async def count():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    monkeypatch.setattr(client_environments, "_OPEN_SECONDS", 0.2)
    monkeypatch.setattr(client_environments, "find_directory", lambda _path, _allowed: go.wait(30))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            refused = await refusal(environments(log, "/"), {"mcp-cwd": "/a"})
            nursery.cancel_scope.cancel()
    finally:
        go.set()
    assert refused.status == 403
    assert "could not be opened within 0.2 s" in refused.text
    assert turns > 5
