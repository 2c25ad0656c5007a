"""Lines in both directions at /servers/NAME/pipe, with a real daemon and real servers."""

import array
import contextlib
import hashlib
import itertools
import json
import os
import pty
import socket
import threading
import time

import pytest

from ..support.bridge_process import EXAMPLE, Bridge
from ..support.connect_process import exchange, start_connect
from ..support.daemon_process import Daemon, daemon, write_config
from ..support.handshake import INITIALIZED, initialize_request
from ..support.pipe_client import PipeClient, pipe, pipe_over_tcp, unix_connection, upgrade
from ..support.stateless_requests import request, tool
from ..support.tls import tls_client_context, tls_options
from ..support.waiting import wait_until, wait_until_empty
from ..support.wire import connect

EXAMPLES = {"one": {"command": EXAMPLE}, "other": {"command": EXAMPLE}}
PING = {"jsonrpc": "2.0", "id": 9, "method": "ping"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("pipe"), EXAMPLES) as found:
        yield found


@pytest.fixture
def own(tmp_path):
    with daemon(tmp_path, EXAMPLES) as found:
        yield found


def result(message):
    return message["result"]["content"][0]["text"]


# ---- the upgrade


def test_the_unix_socket_needs_no_token_and_loopback_does(running):
    with pipe(running, "one") as client:
        client.call(1, "echo", text="a")
        assert result(client.answer(1)) == "a"
    with pipe_over_tcp(running, "one") as client:
        client.call(1, "echo", text="b")
        assert result(client.answer(1)) == "b"
    host = "{}:{}".format(*running.address)
    for fields, status in (
        ((), 401),
        (("Authorization: Bearer wrong",), 401),
        ((f"Authorization: Bearer {running.token}", "Origin: https://example.com"), 403),
    ):
        with connect(running.address) as connection:
            connection.send(upgrade("/servers/one/pipe", *fields, host=host))
            assert connection.head().status == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /servers/one/pipe HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        (b"GET /servers/one/pipe HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: mcp-pipe\r\n\r\n", 400),
        (b"POST /servers/one/pipe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
        (upgrade("/servers/none/pipe"), 404),
        (upgrade("/servers/one/pipe", "Content-Length: 1") + b"x", 400),
        (upgrade("/servers/one/pipe", host="example.com"), 421),
        (upgrade("/servers/one/pipe/"), 101),
    ],
)
def test_another_request_is_refused(running, head, status):
    with unix_connection(running.unix) as connection:
        connection.send(head)
        assert connection.head().status == status


def test_tls_is_refused(tmp_path, authority):
    with Bridge(tmp_path / "run", EXAMPLE, *tls_options(authority, tmp_path)) as bridge:
        context = tls_client_context(authority, "http/1.1")
        host, port = bridge.address
        with (
            socket.create_connection((host, port)) as plain,
            context.wrap_socket(plain, server_hostname=host) as sock,
        ):
            sock.sendall(upgrade("/pipe", f"Authorization: Bearer {bridge.token}", host=f"{host}:{port}"))
            assert sock.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("options", "path"), [((), "/pipe"), (("--pipe-path", "/lines"), "/lines")])
def test_the_wrapper_serves_lines_too(tmp_path, options, path):
    with Bridge(tmp_path / "run", EXAMPLE, "--unix", str(tmp_path / "s"), *options):
        with unix_connection(tmp_path / "s") as connection:
            connection.send(upgrade(path))
            assert connection.head().status == 101
            client = PipeClient(connection)
            assert client.initialize()["result"]["serverInfo"]["name"] == "example"


# ---- the semantics of stdio


def test_lines_sent_with_the_head_are_received(running):
    with unix_connection(running.unix) as connection:
        connection.send(upgrade("/servers/one/pipe") + json.dumps(PING).encode() + b"\n")
        assert connection.head().status == 101
        assert PipeClient(connection).answer(9)["result"] == {}


def test_both_eras_share_a_connection(running):
    with pipe(running, "one") as client:
        client.send(request("tools/call", tool("echo", text="modern"), id="m"))
        assert result(client.answer("m")) == "modern"
        client.call(1, "echo", text="legacy")
        assert result(client.answer(1)) == "legacy"


def test_requests_in_flight_are_answered_after_the_end_of_the_input(running):
    with pipe(running, "one") as client:
        client.call(1, "slow", seconds=0.5, steps=1)
        client.send(request("tools/call", tool("slow", seconds=0.5, steps=1), id=2))
        client.send(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=3))
        client.end_input()
        found = [json.loads(line) for line in client.lines_to_the_end()]
    assert sorted(one["id"] for one in found if "result" in one) == [1, 2]
    assert not [one for one in found if "error" in one]


@pytest.mark.parametrize("half_closed", [False, True])
@pytest.mark.parametrize("opened", [pipe, pipe_over_tcp])
def test_the_end_of_a_client_ends_its_server_process(own, opened, half_closed):
    with opened(own, "one") as client:
        client.call(1, "slow", seconds=60, steps=1)
        wait_until(own.children)
        if half_closed:
            client.end_input()
            assert client.connection.is_silent(0.2)
            assert own.children()
    assert wait_until_empty(own.children) == []


def test_input_that_ends_before_the_upgrade_is_answered(running):
    with unix_connection(running.unix) as connection:
        connection.send(upgrade("/servers/one/pipe") + json.dumps(PING).encode())
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.head().status == 101
        assert json.loads(connection.to_the_end()) == {"jsonrpc": "2.0", "id": 9, "result": {}}


def test_a_client_that_does_not_read_is_kept_and_others_are_served(tmp_path):
    limits = {"write_stall_seconds": 0.5, "pause_bytes": 100_000}
    with daemon(tmp_path, EXAMPLES, limits=limits) as running, pipe(running, "one") as slow:
        for number in range(1, 9):
            slow.call(number, "big", size=1_000_000)
        with pipe(running, "one") as other:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                other.call(1, "echo", text="a")
                assert result(other.answer(1)) == "a"
        found = {slow.message()["id"] for _ in range(8)}
        assert found == {*range(1, 9)}


def test_a_client_that_is_slow_to_read_gets_everything_after_the_end_of_its_input(tmp_path):
    with (
        daemon(tmp_path, EXAMPLES, limits={"write_stall_seconds": 0.5}) as running,
        pipe(running, "one") as client,
    ):
        for number in range(1, 5):
            client.call(number, "big", size=1_000_000)
        client.end_input()
        # Longer than a stalled HTTP client is kept.
        time.sleep(2)
        assert {json.loads(line)["id"] for line in client.lines_to_the_end()} == {1, 2, 3, 4}


def test_a_client_that_does_not_read_is_closed_after_the_end_of_its_session(tmp_path):
    with (
        daemon(tmp_path, EXAMPLES, limits={"write_stall_seconds": 0.5, "drain_seconds": 0.5}) as running,
        pipe(running, "one") as client,
    ):
        client.call(1, "big", size=4_000_000)
        wait_until(lambda: running.status()["servers"][0]["calls"] == 2)
        limits = {"write_stall_seconds": 0.5, "drain_seconds": 0.5}
        write_config(running.config, {"other": EXAMPLES["other"]}, limits=limits)
        assert running.status()["connections"] == 1
        running.reload()
        wait_until(lambda: running.status()["connections"] == 0)
        assert b"#end" not in client.connection.to_the_end()


# ---- restarts and reloads


def test_a_stop_fails_no_request_of_a_client_that_drains(own):
    """Also what the client has sent before it has read the line is served."""
    with pipe(own, "one") as client:
        client.call(1, "slow", seconds=1, steps=1)
        stopping = threading.Thread(target=own.stop)
        stopping.start()
        assert client.line() == b"#drain"
        client.call(2, "echo", text="late")
        client.end_input()
        found = [json.loads(line) for line in client.lines_to_the_end()]
        stopping.join()
    assert sorted(one["id"] for one in found if "result" in one) == [1, 2]
    assert not [one for one in found if "error" in one]


def test_a_client_that_ignores_the_drain_delays_a_stop_by_seconds_only(own):
    with pipe(own, "one") as client:
        began = time.monotonic()
        assert own.stop() == 0
        assert time.monotonic() - began < 8
        assert client.lines_to_the_end() == [b"#drain"]


def test_a_stop_waits_until_a_client_that_has_ended_its_input_was_sent_everything(own):
    with pipe(own, "one") as client:
        for number in range(1, 5):
            client.call(number, "big", size=1_000_000)
        client.end_input()
        wait_until(
            lambda: own.status()["servers"][0]["calls"] == 5 and not own.status()["servers"][0]["in_flight"]
        )
        stopping = threading.Thread(target=own.stop)
        stopping.start()
        # Longer than connections may last after the end of the sessions.
        time.sleep(2)
        assert {json.loads(line)["id"] for line in client.lines_to_the_end()} == {1, 2, 3, 4}
        stopping.join()


def test_no_call_through_connect_fails_while_the_daemon_stops_and_reloads(tmp_path):
    """Calls are sent all the time, so that some are on their way or in flight at each end."""
    outcomes: dict[int, list[str]] = {}
    over, places = threading.Event(), threading.Semaphore(32)
    write_config(tmp_path / "config.toml", EXAMPLES)
    with contextlib.ExitStack() as stack:
        running = Daemon(tmp_path)
        running.__enter__()
        process = stack.enter_context(start_connect(running, "one"))
        stack.callback(process.kill)
        opened = exchange(process, initialize_request())
        assert opened["id"] == 0

        def call():
            for number in itertools.count(1):
                if over.is_set():
                    break
                name = "slow" if number % 3 else "echo"
                arguments = {"seconds": 0.05, "steps": 1} if number % 3 else {"text": "x"}
                line = {"jsonrpc": "2.0", "id": number, "method": "tools/call"}
                line["params"] = {"name": name, "arguments": arguments}
                # Far fewer than may be in flight, however long the daemon is away.
                places.acquire()
                outcomes.setdefault(number, [])
                process.stdin.write(json.dumps(line).encode() + b"\n")
                process.stdin.flush()
                time.sleep(0.01)
            process.stdin.close()

        def read():
            for line in process.stdout:
                found = json.loads(line)
                if "method" not in found:
                    outcomes.setdefault(found["id"], []).append("result" if "result" in found else line)
                    places.release()

        process.stdin.write(json.dumps(INITIALIZED).encode() + b"\n")
        threads = [threading.Thread(target=work) for work in (call, read)]
        for thread in threads:
            thread.start()
        for number in (1, 2):
            seen = len(outcomes)
            wait_until(lambda seen=seen: len(outcomes) > seen + 15)
            write_config(tmp_path / "config.toml", {**EXAMPLES, "one": {"command": EXAMPLE, "spare": number}})
            running.reload()
            seen = len(outcomes)
            wait_until(lambda seen=seen: len(outcomes) > seen + 15)
            running.stop()
            running.__exit__(None, None, None)
            running = Daemon(tmp_path)
            running.__enter__()
        over.set()
        for thread in threads:
            thread.join(30)
        assert process.wait(30) == 0
        running.__exit__(None, None, None)
    assert len(outcomes) > 60
    assert {number: found for number, found in outcomes.items() if found != ["result"]} == {}


def test_a_changed_server_moves_its_clients(own):
    with pipe(own, "one") as client, pipe(own, "other") as kept:
        client.call(1, "slow", seconds=1, steps=1)
        write_config(own.config, {**EXAMPLES, "one": {"command": EXAMPLE, "spare": 1}})
        assert own.reload()["changed"] == ["one"]
        assert client.line() == b"#drain"
        with pipe(own, "one") as again:
            client.call(2, "echo", text="late")
            client.end_input()
            found = [json.loads(line) for line in client.lines_to_the_end()]
            assert sorted(one["id"] for one in found if "result" in one) == [1, 2]
            again.call(1, "echo", text="new")
            assert result(again.answer(1)) == "new"
        kept.call(1, "echo", text="kept")
        assert result(kept.answer(1)) == "kept"


def test_clients_of_a_removed_server_get_their_answers_and_exit(own):
    with pipe(own, "one") as client, pipe(own, "one", initialized=False) as idle:
        client.call(1, "slow", seconds=1, steps=1)
        write_config(own.config, {"other": EXAMPLES["other"]})
        assert own.reload()["removed"] == ["one"]
        *before, last = client.lines_to_the_end()
        assert last == b"#end 69 the session has ended: the server was removed from the configuration"
        assert [json.loads(line)["id"] for line in before if b'"result"' in line] == [1]
        assert idle.lines_to_the_end() == [b"#end 69 the server was removed from the configuration"]


def test_the_client_of_a_removed_token_exits(tmp_path):
    token = "mcpb_0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
    tables = {"tokens.a": {"sha256": hashlib.sha256(token.encode()).hexdigest()}}
    with daemon(tmp_path, EXAMPLES, **tables) as running, pipe_over_tcp(running, "one", token) as client:
        client.call(1, "slow", seconds=60, steps=1)
        wait_until(running.children)
        write_config(running.config, EXAMPLES)
        running.reload()
        *before, last = client.lines_to_the_end()
        assert last.startswith(b"#end 69 the session has ended: its token is no longer accepted")
        assert [json.loads(line)["error"]["message"] for line in before if b'"id":1,' in line]
        assert wait_until_empty(running.children) == []


def test_a_restart_of_the_server_keeps_the_connection(own):
    with pipe(own, "one") as client:
        [before] = own.children()
        own.restart("one")
        wait_until(lambda: own.children() != [before])
        client.call(1, "echo", text="again")
        assert result(client.answer(1)) == "again"


def test_ids_of_the_daemon_differ_between_boots(tmp_path):
    ids = []
    for number in range(2):
        with (
            daemon(tmp_path / str(number), EXAMPLES) as running,
            pipe(running, "one", initialized=False) as client,
        ):
            client.initialize(capabilities={"sampling": {}})
            client.call(1, "think", prompt="x")
            ids.append(client.message()["id"])
    assert len(set(ids)) == 2


def test_the_death_of_the_daemon_ends_the_connection(own):
    with pipe(own, "one") as client:
        own.kill()
        assert client.lines_to_the_end() == []


# ---- the nap of an idle client


def sleep(client, *descriptors):
    """Lend descriptors to the daemon."""
    rights = array.array("i", descriptors)
    client.sock.sendmsg(
        [b"#sleep\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
    )


def open_files(running):
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def test_a_sleeping_client_is_woken_by_its_stdin_and_by_messages(running):
    reading, writing = os.pipe()
    with pipe(running, "one") as client:
        before = open_files(running)
        for _ in range(3):
            sleep(client, reading)
            assert client.line() == b"#asleep"
            assert open_files(running) == before + 1
            os.write(writing, b"x")
            assert client.line() == b"#wake"
            assert open_files(running) == before
            assert os.read(reading, 10) == b"x"
        client.call(1, "slow", seconds=0.5, steps=1)
        sleep(client, reading)
        assert client.line() == b"#asleep"
        assert client.line() == b"#wake"
        assert client.answer(1)
        sleep(client, reading)
        assert client.line() == b"#asleep"
        os.close(writing)
        assert client.line() == b"#wake"
    os.close(reading)


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal", "file", "null", "none", "many"])
def test_a_client_sleeps_with_a_stdin_that_can_be_watched(running, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        if kind in ("pipe", "many"):
            found = list(os.pipe()) * (5 if kind == "many" else 1)
        elif kind == "socket":
            found = [one.detach() for one in socket.socketpair()]
        elif kind == "terminal":
            found = list(pty.openpty())[::-1]
        elif kind == "none":
            found = []
        else:
            found = [os.open("/dev/null" if kind == "null" else tmp_path, os.O_RDONLY)]
        for descriptor in {*found}:
            stack.callback(os.close, descriptor)
        client = stack.enter_context(pipe(running, "one"))
        before = open_files(running)
        sleep(client, *(found if kind == "many" else found[:1]))
        refused = kind in ("file", "null", "none")
        assert client.line() == (b"#awake" if refused else b"#asleep")
        assert open_files(running) == before + (not refused)
        client.call(1, "echo", text="a")
        assert result(client.answer(1)) == "a"
        assert open_files(running) == before


def test_a_sleeping_client_is_moved_and_leaves_nothing_behind(own):
    reading, writing = os.pipe()
    with pipe(own, "one") as client, pipe(own, "one") as other:
        before = open_files(own)
        for one in (client, other):
            sleep(one, reading)
            assert one.line() == b"#asleep"
        other.sock.close()
        wait_until(lambda: open_files(own) < before)
        stopping = threading.Thread(target=own.stop)
        stopping.start()
        assert [client.line(), client.line()] == [b"#wake", b"#drain"]
        client.end_input()
        assert client.lines_to_the_end() == []
        stopping.join()
    os.close(reading)
    os.close(writing)
