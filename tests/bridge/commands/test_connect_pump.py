"""`mcp-bridge connect NAME` as a process, in front of a peer that plays the daemon."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import venv

import pytest

from ...support.bridge_process import PROGRAM
from ...support.pipe_peer import CARRIERS, UPGRADED, LineReader, Peer, connect, peer

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
OPENED = {
    "jsonrpc": "2.0",
    "id": 0,
    "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}}},
}
CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
MEBIBYTE = 1 << 20


def request(number, **params):
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def result(number, **members):
    return {"jsonrpc": "2.0", "id": number, "result": members}


@pytest.fixture
def daemon(tmp_path):
    with peer(tmp_path) as found:
        yield found


def open_session(daemon, client):
    connection = daemon.accept()
    client.send(INITIALIZE)
    assert connection.message() == INITIALIZE
    connection.send(OPENED)
    assert client.receive() == OPENED
    client.send(INITIALIZED)
    assert connection.message() == INITIALIZED
    return connection


# ---- both directions, over every kind of stdin and stdout


@pytest.mark.parametrize("carrier", CARRIERS)
def test_lines_pass_in_both_directions(daemon, carrier):
    with connect(daemon, carrier=carrier) as client:
        connection = open_session(daemon, client)
        for number in range(1, 50):
            client.send(request(number))
            assert connection.message() == request(number)
            connection.send(result(number))
            assert client.receive() == result(number)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_large_lines_pass_in_both_directions(daemon, carrier):
    text = "x" * (3000 if carrier == "tty" else 5 * MEBIBYTE)
    with connect(daemon, carrier=carrier) as client:
        connection = open_session(daemon, client)
        sending = threading.Thread(target=client.send, args=(request(1, text=text),))
        sending.start()
        assert connection.message() == request(1, text=text)
        sending.join()
        sending = threading.Thread(target=connection.send, args=(result(1, text=text),))
        sending.start()
        assert client.receive() == result(1, text=text)
        sending.join()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_lost_connection_is_made_again_and_the_session_opened_again(daemon, carrier):
    with connect(daemon, carrier=carrier) as client:
        connection = open_session(daemon, client)
        client.send(request(1))
        connection.line()
        connection.close()
        failed = client.receive()
        assert (failed["id"], failed["error"]["code"]) == (1, -32603)
        assert "one closed the connection" in failed["error"]["message"]
        client.send(request(2))
        connection = daemon.accept()
        assert connection.message() == INITIALIZE
        assert connection.reader.is_silent()
        connection.send(OPENED)
        assert [connection.message() for _ in range(2)] == [INITIALIZED, request(2)]
        assert client.receive() == CHANGED
        connection.send(result(2))
        assert client.receive() == result(2)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_flags_of_the_streams_stay_as_they_are(daemon, carrier):
    """O_NONBLOCK would be seen by every process that shares the open file description, such as a shell."""
    with connect(daemon, carrier=carrier) as client:
        open_session(daemon, client)
        for name in (0, 1):
            with open(f"/proc/{client.process.pid}/fdinfo/{name}") as info:
                flags = int(next(line for line in info if line.startswith("flags")).split()[1], 8)
            assert not flags & os.O_NONBLOCK


@pytest.mark.parametrize("carrier", ["pipe", "socket"])
def test_a_client_that_does_not_read_stops_the_daemon_and_not_its_own_requests(daemon, carrier):
    with connect(daemon, carrier=carrier) as client:
        connection = open_session(daemon, client)
        connection.sock.setblocking(False)
        line = json.dumps(result(9, text="x" * 1000)).encode() + b"\n"
        sent = 0
        # Until nothing more is taken for a while: the peer is held back.
        while select.select([], [connection.sock], [], 0.5)[1]:
            sent += connection.sock.send(line[sent % len(line) :])
            assert sent < 8 * MEBIBYTE
        connection.sock.setblocking(True)
        for number in range(1, 400):
            client.send(request(number, text="y" * 1000))
            assert connection.message()["id"] == number
        threading.Thread(
            target=connection.sock.sendall, args=(line[sent % len(line) :] + b"#end 0\n",)
        ).start()
        for _ in range(-(-sent // len(line))):
            assert client.line() == line


def test_stdin_of_a_file_and_stdout_to_a_file(daemon, tmp_path):
    lines = b"".join(json.dumps(request(number)).encode() + b"\n" for number in range(1, 200))
    (tmp_path / "in").write_bytes(lines)
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        stdout.write(b"before\n")
        stdout.flush()
        process = subprocess.Popen(
            [PROGRAM, "connect", "one"], env=daemon.variables, stdin=stdin, stdout=stdout
        )
        connection = daemon.accept()
        assert connection.reader.rest() == lines
        connection.send(*(result(number) for number in range(1, 200)))
        connection.close()
        assert process.wait(20) == 0
    written = (tmp_path / "out").read_bytes().splitlines()
    assert written[0] == b"before"
    assert [json.loads(line)["id"] for line in written[1:]] == list(range(1, 200))


def test_stdin_and_stdout_of_dev_null(daemon):
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        [PROGRAM, "connect", "one"], env=daemon.variables, stdin=null, stdout=null, stderr=null
    )
    connection = daemon.accept()
    assert connection.line() == b""
    connection.send({"jsonrpc": "2.0", "method": "notifications/x"})
    connection.close()
    assert process.wait(20) == 0


def test_closed_standard_streams_are_replaced(daemon):
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", PROGRAM, "connect", "one"], env=daemon.variables
    )
    connection = daemon.accept()
    assert connection.line() == b""
    connection.send({"jsonrpc": "2.0", "method": "notifications/x"})
    connection.close()
    assert process.wait(20) == 0


def test_a_pipe_of_another_user_is_written_in_parts(daemon):
    """Without /proc the pipe cannot be opened once more."""
    script = 'mount -t tmpfs none /proc 2>/dev/null || exit 99; exec "$@"'
    words = ["unshare", "-m", "sh", "-c", script, "sh", PROGRAM, "connect", "one"]
    with subprocess.Popen(
        words, env=daemon.variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            daemon._listener.settimeout(2)
            connection = daemon.accept()
        except TimeoutError:
            process.kill()
            pytest.skip("namespaces are not allowed here")
        text = "x" * 300_000
        threading.Thread(target=connection.send, args=(result(1, text=text),)).start()
        assert json.loads(process.stdout.readline()) == result(1, text=text)
        process.stdin.close()
        connection.line()
        connection.close()


# ---- lines that are cut


def test_a_half_line_of_a_lost_daemon_is_dropped(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.send(request(1), request(2))
        connection.line()
        connection.line()
        big = json.dumps(result(2, text="x" * MEBIBYTE)).encode()
        sending = threading.Thread(
            target=connection.sock.sendall, args=(json.dumps(result(1)).encode() + b"\n" + big[:-10],)
        )
        sending.start()
        sending.join()
        connection.close()
        assert client.receive() == result(1)
        failed = client.receive()
        assert (failed["id"], "error" in failed) == (2, True)


def test_responses_that_arrived_before_the_loss_count(daemon):
    """The reset of a connection with unread data comes after the data that was received (unix(7))."""
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.send(*(request(number) for number in range(1, 100)))
        time.sleep(0.1)
        connection.send(*(result(number) for number in range(1, 50)))
        connection.close()
        found = [client.receive() for _ in range(99)]
        assert [one["id"] for one in found] == list(range(1, 100))
        assert ["result" in one for one in found] == [True] * 49 + [False] * 50


def test_a_request_that_was_sent_in_part_is_sent_again_as_a_whole(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        text = "x" * (2 * MEBIBYTE)
        sending = threading.Thread(target=client.send, args=(request(1, text=text), request(2)))
        sending.start()
        assert connection.sock.recv(1000).startswith(b'{"jsonrpc"')
        connection.close()
        connection = daemon.accept()
        assert connection.message() == INITIALIZE
        connection.send(OPENED)
        assert connection.message() == INITIALIZED
        assert connection.message() == request(1, text=text)
        assert connection.message() == request(2)
        assert client.receive() == CHANGED
        sending.join()


def test_the_last_line_of_the_input_needs_no_end(daemon):
    with connect(daemon) as client:
        client.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        client.close_input()
        connection = daemon.accept()
        assert connection.reader.rest() == b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
        connection.send(result(1))
        connection.close()
        assert client.receive() == result(1)
        assert client.wait() == 0


def test_lines_that_are_not_json_rpc_pass(daemon):
    with connect(daemon) as client:
        connection = daemon.accept()
        for line in (b"hello\n", b"\xff\xfe\n", b"[]\n", b"{}\r\n", b"[" * 100_000 + b"\n"):
            client.send(line)
            assert connection.line() == line


# ---- before the daemon


def test_without_a_daemon_input_is_held_and_sent_when_it_starts(tmp_path):
    later = Peer(tmp_path)
    with connect(later) as client:
        client.send(INITIALIZE, INITIALIZED, request(1))
        line = client.wait_for_stderr("cannot connect to the daemon at")
        assert "start it with `mcp-bridge serve`; retrying for at most 30 s" in line
        later.listen()
        connection = later.accept()
        assert [connection.message() for _ in range(3)] == [INITIALIZE, INITIALIZED, request(1)]
        later.close()


def test_held_input_is_bounded(tmp_path):
    later = Peer(tmp_path)
    with connect(later) as client:
        client.wait_for_stderr("retrying")
        os.set_blocking(client.write_end, False)
        line = json.dumps({"jsonrpc": "2.0", "method": "n", "params": {"t": "x" * 60_000}}).encode() + b"\n"
        sent = 0
        while select.select([], [client.write_end], [], 1)[1]:
            sent += os.write(client.write_end, line[sent % len(line) :])
        assert 16 * MEBIBYTE < sent < 18 * MEBIBYTE
        os.set_blocking(client.write_end, True)
        later.listen()
        connection = later.accept()
        for _ in range(sent // len(line)):
            assert connection.line() == line
        later.close()


def test_a_line_that_is_too_large_to_be_held_is_passed_on_in_pieces(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        text = "x" * (40 * MEBIBYTE)
        sending = threading.Thread(target=client.send, args=(request(1, text=text), request(2)))
        sending.start()
        assert connection.message() == request(1, text=text)
        assert connection.message() == request(2)
        sending.join()
        with open(f"/proc/{client.process.pid}/status") as status:
            peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1])
        assert peak < 64 * 1024
        connection.close()
        assert {client.receive()["id"] for _ in range(2)} == {1, 2}


@pytest.mark.parametrize("last", [b'"},"jsonrpc":"2.0","id":1}', b'"}}'])
def test_a_line_that_was_passed_on_in_part_fails_when_its_connection_is_lost(daemon, last):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        begin = b'{"method":"a"' if b"id" in last else b'{"jsonrpc":"2.0","id":1,"method":"a"'
        first = begin + b',"params":{"x":"'
        sending = threading.Thread(target=client.send, args=(first + b"x" * (20 * MEBIBYTE),))
        sending.start()
        for _ in range(100):
            connection.sock.recv(100_000)
        connection.close()
        sending.join()
        connection = daemon.accept()
        assert connection.message() == INITIALIZE
        connection.send(OPENED)
        assert connection.message() == INITIALIZED
        assert client.receive() == CHANGED
        client.send(last + b"\n", request(2))
        failed = client.receive()
        assert (failed["id"], "was not executed" in failed["error"]["message"]) == (1, True)
        assert connection.message() == request(2)


def test_a_daemon_that_accepts_and_does_not_respond_is_awaited(daemon):
    with connect(daemon) as client:
        connection = daemon.connection()
        line = client.wait_for_stderr("accepted the connection and has not responded")
        assert line.endswith("waiting for at most 28 s\n")
        connection.upgrade()
        client.send(request(1))
        assert connection.message() == request(1)


def test_the_upgrade_may_arrive_in_pieces_and_with_the_first_lines(daemon):
    with connect(daemon) as client:
        connection = daemon.connection()
        connection.read_head()
        for octet in UPGRADED:
            connection.sock.sendall(bytes([octet]))
        connection.send(result(1))
        assert client.receive() == result(1)
    with connect(daemon) as client:
        daemon.accept(result(1), result(2))
        assert [client.receive(), client.receive()] == [result(1), result(2)]


# ---- refusals


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "there is no server 'one'"),
        (
            b'HTTP/1.1 503 Busy\r\nContent-Length: 36\r\n\r\n{"error":{"message":"full: 4 of 4"}}',
            "full: 4 of 4",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n\x1b[2J", "HTTP/1.1 403 Forbidden: \\x1b[2J"),
        (b"\x00garbage", "did not respond as a daemon of mcp-bridge: \\x00garbage"),
    ],
)
def test_a_refusal_ends_the_program_with_its_reason(daemon, data, reason):
    with connect(daemon) as client:
        client.send(request(1))
        connection = daemon.connection()
        connection.respond(data)
        connection.close()
        failed = client.receive()
        assert failed["id"] == 1
        assert client.wait() == 69
        (line,) = client.stderr.splitlines()
        assert line.startswith("mcp-bridge: ")
        assert reason in line


STOPPING = b'HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 32\r\n\r\n{"error":{"message":"stopping"}}'


def test_at_the_start_a_daemon_that_is_being_replaced_is_awaited(daemon):
    with connect(daemon) as client:
        client.send(INITIALIZE)
        for _ in range(2):
            connection = daemon.connection()
            connection.respond(STOPPING)
            connection.close()
        connection = daemon.accept()
        assert connection.message() == INITIALIZE
        connection.send(OPENED)
        assert client.receive() == OPENED
        client.close_input()
        assert connection.reader.rest() == b""
        connection.close()
        assert client.wait() == 0
        assert client.stderr == "mcp-bridge: stopping; retrying for at most 30 s\n"


def test_on_a_reconnection_a_busy_daemon_is_awaited(daemon):
    with connect(daemon) as client:
        open_session(daemon, client).close()
        connection = daemon.connection()
        connection.respond(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        connection.close()
        assert daemon.accept().message() == INITIALIZE


def test_on_a_reconnection_a_server_that_is_gone_ends_the_program(daemon):
    with connect(daemon) as client:
        open_session(daemon, client).close()
        client.send(request(1))
        daemon.connection().respond(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        assert client.receive()["error"]["message"] == "there is no server 'one'"
        assert client.wait() == 69


# ---- drain and end


def test_a_daemon_that_drains_gets_no_more_lines_and_its_responses_count(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.send(request(1))
        connection.line()
        connection.send(b"#drain\n")
        assert connection.line() == b""
        client.send(request(2))
        connection.send(result(1))
        assert client.receive() == result(1)
        assert connection.reader.is_silent() or connection.line() == b""
        connection.close()
        connection = daemon.accept()
        assert connection.message() == INITIALIZE
        connection.send(OPENED)
        assert [connection.message() for _ in range(2)] == [INITIALIZED, request(2)]


def test_a_line_that_is_being_sent_when_the_daemon_drains_is_completed(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        text = "x" * (2 * MEBIBYTE)
        sending = threading.Thread(target=client.send, args=(request(1, text=text), request(2)))
        sending.start()
        first = connection.sock.recv(100)
        connection.send(b"#drain\n")
        rest = connection.reader.rest()
        sending.join()
        assert json.loads((first + rest).splitlines()[0]) == request(1, text=text)
        # The rest is held for the next connection.
        assert len((first + rest).splitlines()) <= 2


@pytest.mark.parametrize(
    ("line", "code", "text"), [(b"#end 0\n", 0, ""), (b"#end 78 no such thing\n", 78, "no such thing")]
)
def test_a_daemon_may_end_the_program(daemon, line, code, text):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.send(request(1))
        connection.line()
        connection.send(result(5), line)
        assert client.receive() == result(5)
        assert client.receive()["id"] == 1
        assert client.wait() == code
        assert text in client.stderr


def test_other_control_lines_are_ignored(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        connection.send(b"#\n", b"#awake\n", b"#wake\n", b"#asleep\n", b"#new thing\n", result(1))
        assert client.receive() == result(1)
        client.send(request(2))
        assert connection.message() == request(2)


# ---- the end


def test_after_the_end_of_the_input_responses_still_arrive(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.send(request(1))
        client.close_input()
        assert connection.message() == request(1)
        assert connection.line() == b""
        time.sleep(0.2)
        connection.send(result(1))
        connection.close()
        assert client.receive() == result(1)
        assert client.wait() == 0
        assert client.stderr == ""


def test_without_a_connection_the_program_ends_with_its_input(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        daemon.stop()
        connection.close()
        client.wait_for_stderr("reconnecting")
        assert client.end() == 0


def test_a_connection_that_is_lost_after_the_end_of_the_input_fails_what_was_in_flight(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.send(request(1))
        client.close_input()
        connection.reader.rest()
        connection.close()
        assert client.receive()["id"] == 1
        assert client.wait() == 69


def test_without_input_and_without_a_daemon_the_program_ends_at_once(tmp_path):
    with connect(Peer(tmp_path)) as client:
        assert client.end() == 69
        assert "cannot connect to the daemon at" in client.stderr


def test_a_client_that_closes_its_stdout_ends_the_program_quietly(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        os.close(client.read_end)
        client.read_end = None
        connection.send(result(1))
        assert client.wait() == 0
        assert client.stderr == ""


def test_a_full_device_ends_the_program_with_the_reason(daemon):
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [PROGRAM, "connect", "one"],
            env=daemon.variables,
            stdin=subprocess.PIPE,
            stdout=full,
            stderr=subprocess.PIPE,
        )
        connection = daemon.accept()
        connection.send(result(1))
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (1, b"mcp-bridge: stdout: No space left on device\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_at_once(daemon, number):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.process.send_signal(number)
        assert client.wait() == -number
        assert connection.line() == b""


def test_a_stderr_that_is_not_read_does_not_block(daemon):
    with connect(daemon) as client:
        fcntl.fcntl(client.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        connection = open_session(daemon, client)
        for _ in range(120):
            connection.close()
            connection = daemon.accept()
            assert connection.message() == INITIALIZE
            connection.send(OPENED)
            assert connection.message() == INITIALIZED


def test_stderr_that_is_closed_does_not_end_the_program(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.process.stderr.close()
        for _ in range(2):
            connection.close()
            connection = daemon.accept()
            assert connection.message() == INITIALIZE
            connection.send(OPENED)
            assert connection.message() == INITIALIZED


def test_a_program_that_is_killed_ends_its_connection(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        client.process.kill()
        assert connection.line() == b""


# ---- naps

SOON = {"MCP_BRIDGE_NAP": "0.01,0,0"}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_idle_program_leaves_memory_and_comes_back_with_its_state(daemon, carrier):
    with connect(daemon, carrier=carrier, variables=SOON) as client:
        connection = open_session(daemon, client)
        pid = client.process.pid
        for number in range(1, 4):
            descriptor = connection.let_sleep(client)
            assert client.command_line[0] in (b"mcp-bridge: one, idle", b"sh")
            # The client sends, and the daemon sees that and wakes the program.
            client.send(request(number))
            assert select.select([descriptor], [], [], 20)[0]
            os.close(descriptor)
            connection.send(b"#wake\n")
            assert connection.message() == request(number)
            connection.send(result(number))
            assert client.receive() == result(number)
        # The handshake is still known, and the process is still the same.
        os.close(connection.let_sleep(client))
        connection.close()
        connection = daemon.accept()
        assert connection.message() == INITIALIZE
        connection.send(OPENED)
        assert connection.message() == INITIALIZED
        assert client.receive() == CHANGED
        assert client.process.pid == pid


def test_what_follows_the_wake_up_is_delivered(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        for number in range(1, 10):
            os.close(connection.let_sleep(client))
            text = "x" * 100_000
            sending = threading.Thread(
                target=connection.send, args=(b"#wake\n", result(number, text=text), result(-number))
            )
            sending.start()
            assert [client.receive(), client.receive()] == [result(number, text=text), result(-number)]
            sending.join()


def test_a_program_whose_client_reads_late_sleeps_later(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        text = "x" * 200_000
        sending = threading.Thread(target=connection.send, args=(result(1, text=text),))
        sending.start()
        # The program cannot sleep, because its output is not written.
        time.sleep(0.2)
        assert not client.is_asleep
        assert client.receive() == result(1, text=text)
        sending.join()
        os.close(connection.let_sleep(client))


def test_requests_in_flight_during_a_nap_fail_when_the_daemon_is_killed(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        client.send(request("\u00fc"), {**request("s"), "method": "subscriptions/listen"})
        connection.line()
        connection.line()
        connection.send({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
        client.receive()
        os.close(connection.let_sleep(client))
        connection.close()
        assert {client.receive()["id"] for _ in range(2)} == {"\u00fc", "s"}
        assert client.receive()["params"]["requestId"] == "q"
        client.send(result("q"), request(9))
        connection = daemon.accept()
        connection.message()
        connection.send(OPENED)
        connection.line()
        assert connection.message() == request(9)


def test_a_program_with_something_to_do_does_not_sleep(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        descriptor, word = connection.lent()
        os.close(descriptor)
        # These lines were on their way when the program asked.
        connection.send(result(1), b"#asleep %b\n" % word, result(2))
        assert [client.receive(), client.receive()] == [result(1), result(2)]
        assert not client.is_asleep


def test_an_answer_to_an_earlier_request_for_a_nap_is_ignored(daemon):
    """The line of the program that has ended the earlier nap may still be on its way: nothing would wake the program."""
    with connect(daemon, variables={"MCP_BRIDGE_NAP": "0.3,0,0"}) as client:
        connection = open_session(daemon, client)
        descriptor, word = connection.lent()
        os.close(descriptor)
        client.send(request(3))
        assert connection.message() == request(3)
        os.close(connection.lent()[0])
        connection.send(b"#asleep %b\n" % word, b"#asleep\n")
        connection.send(result(3))
        assert client.receive() == result(3)
        assert not client.is_asleep


def test_a_program_whose_stdin_cannot_be_watched_asks_once(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        os.close(connection.lent()[0])
        connection.send(b"#awake\n")
        assert connection.reader.is_silent()
        client.send(request(1))
        assert connection.message() == request(1)
        assert connection.reader.is_silent()


def test_a_program_with_an_unusual_stdin_does_not_sleep(daemon):
    """The poll of a file of FUSE would block the daemon. An eventfd is of none of the usual types either."""
    stdin = os.eventfd(0)
    process = subprocess.Popen([PROGRAM, "connect", "one"], env={**daemon.variables, **SOON}, stdin=stdin)
    try:
        assert daemon.accept().reader.is_silent(1)
    finally:
        process.kill()
        process.wait()
        os.close(stdin)


def test_a_program_in_a_handshake_does_not_sleep(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = daemon.accept()
        os.close(connection.lent()[0])
        client.send(INITIALIZE)
        assert connection.message() == INITIALIZE
        assert connection.reader.is_silent()
        connection.send(OPENED)
        client.receive()
        os.close(connection.let_sleep(client))
        connection.close()
        connection = daemon.accept()
        assert connection.message() == INITIALIZE
        assert connection.reader.is_silent()


def test_a_program_with_a_part_of_a_line_does_not_sleep(daemon):
    with connect(daemon, variables={"MCP_BRIDGE_NAP": "0.05,0,0"}) as client:
        connection = open_session(daemon, client)
        client.send(b'{"jsonrpc":"2.0",')
        time.sleep(0.2)
        assert not client.is_asleep
        client.send(b'"id":1,"method":"x"}\n')
        assert connection.message()["id"] == 1


def test_an_idle_program_ends_with_its_input(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        descriptor = connection.let_sleep(client)
        client.close_input()
        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)
        connection.send(b"#wake\n")
        assert connection.line() == b""
        connection.close()
        assert client.wait() == 0


def test_an_idle_program_drains(daemon):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        os.close(connection.let_sleep(client))
        connection.send(b"#wake\n", b"#drain\n")
        assert connection.line() == b""
        connection.close()
        assert daemon.accept().message() == INITIALIZE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_an_idle_program_at_once(daemon, number):
    with connect(daemon, variables=SOON) as client:
        connection = open_session(daemon, client)
        os.close(connection.let_sleep(client))
        client.process.send_signal(number)
        assert client.wait() == -number
        assert connection.line() == b""


def test_options_are_kept_during_a_nap(daemon):
    with connect(daemon, "--wait", "0", variables=SOON) as client:
        connection = open_session(daemon, client)
        os.close(connection.let_sleep(client))
        daemon.stop()
        connection.close()
        assert client.wait() == 69
        assert client.stderr == "mcp-bridge: one closed the connection\n"


def test_an_interpreter_that_was_removed_during_a_nap_is_named(daemon, tmp_path):
    folder = tmp_path / "venv"
    venv.create(folder, symlinks=True)
    path = json.dumps([path for path in sys.path if path])
    code = (
        f"import sys; sys.path = {path}; sys.argv = ['mcp-bridge', 'connect', 'one']\n"
        "from mcpbridged.bridge.commands.start import main; main()"
    )
    words = [folder / "bin/python", "-c", code]
    with connect(daemon, variables=SOON, program=words) as client:
        connection = open_session(daemon, client)
        os.close(connection.let_sleep(client))
        shutil.rmtree(folder)
        connection.send(b"#wake\n")
        assert client.wait() == 127
        assert "not found" in client.stderr or "No such file" in client.stderr


def test_by_default_a_program_stays_for_ten_seconds(daemon):
    with connect(daemon) as client:
        connection = open_session(daemon, client)
        begun = time.monotonic()
        descriptor, _ = connection.lent()
        assert 9.9 < time.monotonic() - begun < 13
        os.close(descriptor)


def test_a_nap_can_be_forbidden(daemon):
    with connect(daemon, variables={"MCP_BRIDGE_NAP": "0"}) as client:
        connection = open_session(daemon, client)
        assert connection.reader.is_silent(0.5)


def test_the_program_does_not_wake_up_without_cause(daemon):
    with connect(daemon) as client:
        open_session(daemon, client)

        def switches():
            with open(f"/proc/{client.process.pid}/status") as status:
                return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)

        time.sleep(0.3)
        before = switches()
        time.sleep(0.7)
        assert switches() == before


def test_lines_are_read_by_a_reader_of_the_test():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"a\nb")
        reader = LineReader(ours.fileno())
        assert reader.line() == b"a\n"
        theirs.shutdown(socket.SHUT_WR)
        assert (reader.line(), reader.line()) == (b"b", b"")
