"""`connect` handles a daemon that is restarted, reloaded, started later or stopped, and unreadable input."""

import json
import socket
import time

import pytest
import trio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from ..support.bridge_process import PROGRAM
from ..support.daemon_process import write_config
from ..support.handshake import INITIALIZED
from ..support.reconnecting import CLIENT_WITH_ROOTS, SERVER, Installation, call, connected, message
from ..support.sdk import SDK_WARNINGS
from ..support.stateless_requests import request, tool


@pytest.fixture
def home(tmp_path):
    return Installation(tmp_path)


# ---- C1


def test_c01_after_a_kill_of_the_daemon_the_session_is_opened_again(home):
    with connected(home) as client:
        with home.daemon() as first:
            client.open()
            client.send(message("logging/setLevel", 1, level="error"))
            client.send(
                message("resources/subscribe", 2, uri="x://one"),
                message("resources/subscribe", 3, uri="x://two"),
            )
            client.send(message("resources/unsubscribe", 4, uri="x://one"))
            client.answer(4)
            client.send(call("slow", "slow", seconds=60))
            home.wait_for_call()
            first.kill()
            failed = client.answer("slow")["error"]
            assert "one closed the connection" in failed["message"]
            assert "may have been executed" in failed["message"]
        client.send(call(6, "quick"), message("notifications/roots/list_changed"), call(7, "quick"))
        with home.daemon():
            seen = []
            assert "result" in client.answer(6, seen)
            assert "result" in client.answer(7, seen)
            assert client.end() == 0
    methods = sorted(one["method"] for one in seen)
    assert methods == [
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/tools/list_changed",
    ]
    assert [line.split()[0] for line in home.calls()] == ["slow", "quick", "quick"]
    before, after = home.processes()
    assert before[:3] == ["initialize", "notifications/initialized", "logging/setLevel error"]
    assert after == [
        "initialize",
        "notifications/initialized",
        "logging/setLevel error",
        "resources/subscribe x://two",
        "notifications/roots/list_changed",
    ]
    assert "reconnecting" in client.stderr
    assert "Traceback" not in client.stderr


def test_c01_a_reload_that_changes_the_server_answers_calls_in_flight_and_goes_on(home):
    with home.daemon() as running, connected(home) as client:
        client.open()
        client.send(call(1, "slow", seconds=0.5))
        home.wait_for_call()
        home.configure("changed")
        running.reload()
        first = json.loads(client.answer(1)["result"]["content"][0]["text"])
        client.wait_for_stderr("reconnecting")
        seen = []
        client.send(call(2, "quick"))
        second = json.loads(client.answer(2, seen)["result"]["content"][0]["text"])
        assert first["pid"] != second["pid"]
        assert "notifications/tools/list_changed" in [one["method"] for one in seen]
        assert client.end() == 0
    assert [line.split()[0] for line in home.calls()] == ["slow", "quick"]


def test_c01_a_server_request_of_the_lost_server_is_cancelled_and_its_late_answer_dropped(home):
    with connected(home) as client:
        with home.daemon() as first:
            client.open()
            client.send(call(1, "ask"))
            server_request = client.receive()
            assert server_request["method"] == "roots/list"
            first.kill()
            seen = []
            assert "error" in client.answer(1, seen)
            cancelled = seen[0] if seen else client.receive()
            assert cancelled["method"] == "notifications/cancelled"
            assert cancelled["params"]["requestId"] == server_request["id"]
        client.send({"jsonrpc": "2.0", "id": server_request["id"], "result": {"roots": []}})
        with home.daemon():
            client.send(call(2, "ask"))
            second_request = client.receive()
            while second_request.get("method") != "roots/list":
                second_request = client.receive()
            assert second_request["id"] != server_request["id"]
            client.send(
                {"jsonrpc": "2.0", "id": server_request["id"], "result": {"roots": []}}, call(3, "quick")
            )
            client.answer(3)
            assert not any("answer" in one for one in home.processes())
            client.send(
                {"jsonrpc": "2.0", "id": second_request["id"], "result": {"roots": []}}, call(4, "quick")
            )
            client.answer(4)
            assert sum(one.count("answer") for one in home.processes()) == 1


def test_c01_an_initialize_in_flight_is_sent_again_and_answered_once(home):
    with connected(home) as client:
        client.send(message("initialize", "first", **CLIENT_WITH_ROOTS), INITIALIZED, call(1, "quick"))
        with home.daemon():
            assert "result" in client.answer("first")
            assert "result" in client.answer(1)
            assert client.end() == 0


def test_c01_a_modern_client_connects_again_and_its_subscription_ends_with_the_reason(home):
    with connected(home, name="other") as client:
        with home.daemon() as first:
            client.send(
                request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="sub")
            )
            client.send(request("tools/call", tool("echo", text="a"), id=1))
            assert "result" in client.answer(1)
            first.kill()
            ended = client.answer("sub")["error"]
            assert "other closed the connection" in ended["message"]
        with home.daemon():
            client.send(request("tools/call", tool("echo", text="b"), id=2))
            assert client.answer(2)["result"]["content"][0]["text"] == "b"
            assert client.end() == 0


def test_c01_a_modern_client_is_not_left_with_a_server_that_a_reload_has_replaced(home):
    with home.daemon() as running, connected(home) as client:
        client.send(request("tools/call", tool("quick"), id=1))
        assert "result" in client.answer(1)
        home.configure("changed")
        running.reload()
        client.wait_for_stderr("reconnecting")
        client.send(request("tools/call", tool("quick"), id=2))
        assert "result" in client.answer(2)
        assert client.end() == 0


def test_c01_connect_exits_with_the_reason_if_its_server_is_removed(home):
    with home.daemon() as running, connected(home) as client:
        client.open()
        home.configure(name="")
        running.reload()
        assert client.wait() == 69
    assert client.stderr.splitlines()[-1] == (
        "mcp-bridge: the session has ended: the server was removed from the configuration"
    )


def test_c01_c02_connect_exits_with_the_reason_if_the_daemon_does_not_come_back(home):
    with connected(home, "--wait", "1") as client:
        with home.daemon() as running:
            client.open()
            running.stop()
            client.wait_for_stderr("reconnecting")
            client.send(call(1, "quick"))
            failed = client.answer(1)["error"]["message"]
            assert failed.startswith("cannot connect to the daemon at ")
            assert client.wait() == 69
    assert client.stderr.splitlines()[-1].startswith("mcp-bridge: cannot connect to the daemon at ")
    assert home.calls() == []


def test_c01_connect_ends_with_its_input_also_without_a_daemon(home):
    with connected(home) as client:
        with home.daemon() as running:
            client.open()
            running.stop()
            client.wait_for_stderr("reconnecting")
            assert client.end() == 0


def test_c01_calls_fail_only_while_the_server_refuses_to_be_opened_again(home):
    with home.daemon() as running, connected(home) as client:
        client.open()
        write_config(home.folder / "config.toml", {"one": {"command": ["/bin/false"]}})
        running.reload()
        client.wait_for_stderr("reconnecting")
        client.send(call(1, "quick"))
        assert "error" in client.answer(1)
        home.configure()
        running.reload()
        for number in range(2, 100):
            client.send(call(number, "quick"))
            if "result" in client.answer(number):
                break
            time.sleep(0.05)
        else:
            raise AssertionError(client.stderr)
        assert client.end() == 0


# ---- C2


def test_c02_connect_waits_for_a_daemon_that_starts_later_and_reports_that(home):
    with connected(home) as client:
        client.send(message("initialize", 0, **CLIENT_WITH_ROOTS), INITIALIZED, call(1, "quick"))
        client.process.stdin.close()
        client.wait_for_stderr("retrying")
        with home.daemon():
            assert "result" in client.answer(0)
            assert "result" in client.answer(1)
            assert client.wait() == 0
    (line,) = client.stderr.splitlines()
    assert line.startswith("mcp-bridge: cannot connect to the daemon at ")
    assert "start it with `mcp-bridge serve`; retrying for at most 30 s" in line


def test_c02_a_socket_of_a_service_manager_is_waited_for(home):
    path = home.folder / "activated.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o600)
        servers = {"one": {"command": [*SERVER, str(home.journal)]}}
        write_config(home.folder / "config.toml", servers, listen={"unix": str(path), "http": False})
        with connected(home) as client:
            client.send(message("initialize", 0, **CLIENT_WITH_ROOTS), INITIALIZED, call(1, "quick"))
            client.wait_for_stderr("accepted the connection and has not responded")
            with home.daemon(listeners=[listener]):
                assert "result" in client.answer(1)
                assert client.end() == 0


@pytest.mark.parametrize("words", [(), ("--wait", "0")])
def test_c02_connect_without_input_does_not_wait(home, words):
    with connected(home, *words) as client:
        assert client.end() == 69
    assert "cannot connect to the daemon at" in client.stderr


# ---- T6

UNREADABLE = [
    (b'{"jsonrpc":"2.0","id":"nan","method":"x","params":{"a":NaN}}', "nan"),
    (b'{"jsonrpc":"2.0","id":"cut","method":"x","params":{"a":', "cut"),
    (b'{"jsonrpc":"2.0","id":"utf","method":"x","params":{"a":"\xff"}}', "utf"),
    (b'{"jsonrpc":"2.0","id":"params","method":"x","params":5}', "params"),
    (b'{"jsonrpc":"2.0","id":"twice","method":"x","id":"twice"}', "twice"),
    (b'{"jsonrpc":"2.0","id":null,"method":"x"}', None),
    (b'{"jsonrpc":"2.0","id":true,"method":"x"}', None),
    (b"hello", None),
    (b"\xff\xfe", None),
    (b"{}", None),
    (b"[]", None),
    (b"null", None),
    (b'{"jsonrpc":"2.0","id":"good","result":NaN}', None),
    (b'{"jsonrpc":"2.0","method":"notifications/x","params":NaN}', None),
    (b'[{"jsonrpc":"2.0","id":"batch","method":"ping"}]', "batch"),
]


def test_t06_an_unreadable_message_is_answered_and_fails_alone(home):
    with home.daemon(), connected(home) as client:
        client.open()
        for number, (line, wanted) in enumerate(UNREADABLE):
            client.send(line + b"\n", call(number + 100, "quick"))
            refused, answered = client.receive(), client.receive()
            if "error" not in refused:
                refused, answered = answered, refused
            assert (refused["id"], "error" in refused) == (wanted, True), line
            assert (answered["id"], "result" in answered) == (number + 100, True), line
        assert client.end() == 0
        assert client.lines.empty()


def test_t06_connect_ends_with_its_input_also_after_unreadable_messages(home):
    with home.daemon(), connected(home) as client:
        client.send(message("initialize", 0, **CLIENT_WITH_ROOTS), *(line + b"\n" for line, _ in UNREADABLE))
        assert client.end() == 0
        found = [client.lines.get_nowait() for _ in range(client.lines.qsize())]
    assert len(found) == 1 + len(UNREADABLE)


# ---- official clients


@pytest.mark.anyio
@SDK_WARNINGS[0]
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_c01_the_python_sdk_survives_restarts_and_reloads(home, mode):
    """Each call ends with its result or with an error and its reason. No call is carried out twice."""
    running = home.daemon()
    running.__enter__()
    words = ["connect", "one", "--config", str(running.config)]
    server = StdioServerParameters(command=str(PROGRAM), args=words, env=running.variables)
    outcomes = {}

    async def use(client, number):
        try:
            result = await client.call_tool("quick", {"number": number})
            outcomes[number] = json.loads(result.content[0].text)["number"]
        except MCPError as fault:
            outcomes[number] = str(fault)

    try:
        with trio.fail_after(60):
            async with Client(stdio_client(server), mode=mode) as client:
                for number in range(0, 40, 10):
                    async with trio.open_nursery() as nursery:
                        for more in range(5):
                            nursery.start_soon(use, client, number + more)
                        await trio.sleep(0.01)
                        if number in (10, 30):
                            await trio.to_thread.run_sync(running.kill if number == 10 else running.stop)
                            await trio.to_thread.run_sync(running.wait_until_alone, 5)
                            running = home.daemon()
                            await trio.to_thread.run_sync(running.__enter__)
                        elif number == 20:
                            home.configure("changed")
                            await trio.to_thread.run_sync(running.reload)
                await use(client, 40)
    finally:
        running.__exit__(None, None, None)
    assert len(outcomes) == 21
    wrong = {number: one for number, one in outcomes.items() if one != number}
    assert all(isinstance(one, str) and one for one in wrong.values()), wrong
    assert outcomes[40] == 40, outcomes
    assert len(set(home.calls())) == len(home.calls())
