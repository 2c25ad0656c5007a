"""Requests to a daemon that is a socket of the test."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from mcpbridged.bridge.commands.control_client import (
    ErrorResponse,
    Unreachable,
    call_server,
    follow,
    request,
    result_of,
)

ERROR = {"error": {"message": "no such server", "data": {"stderr": ["line 1", "line 2"]}}}


def whole(sock):
    """Return a request with its body."""
    data = b""
    while not data.endswith((b"\r\n\r\n", b"}")):
        data += sock.recv(65536)
    return data if b"Content-Length" not in data or data.endswith(b"}") else data + sock.recv(65536)


@pytest.fixture
def daemon(tmp_path):
    """Return a function that answers one request with these bytes; it returns the path of the socket."""
    threads, requests = [], []
    path = tmp_path / "socket"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    sock.settimeout(5)

    def answers(status, body, kind="application/json"):
        def serve():
            ours, _ = sock.accept()
            with ours:
                ours.settimeout(5)
                requests.append(whole(ours))
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                ours.sendall(
                    b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nConnection: close\r\n\r\n%b"
                    % (status, kind.encode(), text)
                )

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    answers.requests = requests
    yield answers
    for thread in threads:
        thread.join()
    sock.close()


def test_a_response_is_returned(daemon):
    assert request(daemon(200, {"a": 1}), "GET", "/x") == {"a": 1}


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, ERROR, "no such server\n  line 1\n  line 2"),
        (500, {}, "the daemon returned HTTP 500"),
        (200, b"<html>", "the daemon returned HTTP 200: b'<html>'"),
    ],
)
def test_an_error_has_the_text_of_the_peer(daemon, status, body, text):
    with pytest.raises(ErrorResponse) as caught:
        request(daemon(status, body), "GET", "/x")
    assert str(caught.value) == text


def test_a_daemon_that_does_not_run_is_unreachable(tmp_path):
    with pytest.raises(Unreachable, match="start it with `mcp-bridge serve`"):
        request(tmp_path / "missing", "GET", "/x")


LISTENER = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(); time.sleep(60)"


@pytest.mark.parametrize("stopped", [False, True])
def test_a_daemon_that_does_not_respond_is_named_with_its_state(tmp_path, stopped):
    path = tmp_path / "socket"
    words = [sys.executable, "-I", "-u", "-c", LISTENER, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            if stopped:
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            with pytest.raises(Unreachable) as caught:
                request(path, "GET", "/control/status", 0.2)
        finally:
            process.kill()
    state = f"process {process.pid} is stopped: `kill -CONT {process.pid}` continues it"
    expected = state if stopped else "it may be busy"
    assert str(caught.value) == f"the daemon has not responded within 0.2 s; {expected} ({path})"


def test_events_are_yielded_until_the_end(daemon):
    events = b": comment\n\ndata: 1\n\ndata: \n\ndata: [2]\n\n"
    assert list(follow(daemon(200, events, "text/event-stream"), "/x")) == [1, [2]]


def test_a_refused_stream_is_an_error(daemon):
    with pytest.raises(ErrorResponse, match="no such server"):
        list(follow(daemon(404, ERROR), "/x"))


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_call_is_a_stateless_request(daemon, kind):
    answer = b'{"result":{"ok":true}}'
    path = daemon(200, b"data: " + answer + b"\n\n" if "event" in kind else answer, kind)
    assert result_of(call_server(path, "s", "tools/call", {"name": "é"})) == {"ok": True}
    head, _, body = daemon.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /servers/s/mcp HTTP/1.1\r\n")
    assert b"Mcp-Method: tools/call" in head
    assert head.isascii()
    assert json.loads(body)["params"]["_meta"]["progressToken"] == 1


def test_a_call_without_a_response_in_time_is_an_error(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.listen()
        with pytest.raises(ErrorResponse, match=r"no response within 0\.05 s"):
            result_of(call_server(tmp_path / "socket", "s", "x", {}, patience=0.05))


def test_the_last_message_is_the_result():
    assert result_of(iter([{"method": "x"}, {"result": {"a": 1}}])) == {"a": 1}
    for messages in ([], [{"result": 7}]):
        with pytest.raises(ErrorResponse, match="missing or has no result"):
            result_of(iter(messages))
    with pytest.raises(ErrorResponse, match="no such server"):
        result_of(iter([ERROR]))
