"""`mcp-bridge connect` answers each call and exits with a reason if its peer is unusual or hostile."""

import json
import time

import pytest

from ..support.bridge_process import EXAMPLE
from ..support.connect_peer import INITIALIZE, INITIALIZED, REQUEST, run_connect_to
from ..support.connect_process import exchange, run_connect, start_connect
from ..support.daemon_process import child, daemon
from ..support.stateless_requests import request, tool
from ..support.wire import BINARY, PING

ANSWER = {"jsonrpc": "2.0", "id": 1, "result": {"tools": []}}


def http(status, body="", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def sending(data):
    def talk(peer):
        peer.head()
        peer.send(data)

    return talk


def answering(*data):
    """Return a peer that opens a session, and sends all of these texts when it has received a request."""

    def talk(peer):
        peer.open_session()
        peer.request()
        for one in data:
            peer.send_frame(one)
        peer.frame()

    return talk


def of_client(raw_id, **members):
    return {"jsonrpc": "2.0", "id": raw_id, **members}


def answers_of(done):
    """Return the responses by id, without that to `initialize`."""
    found = {one["id"]: one for one in map(json.loads, done.lines)}
    assert "result" in found.pop(0)
    return found


REFUSED = [
    (sending(http("302 Found", Location="http://127.0.0.1:1/")), 69, "redirect"),
    (sending(http("200 OK", "<html><body>Welcome</body></html>")), 69, "200"),
    (sending(http("502 Bad Gateway", "<html>")), 69, "502"),
    (sending(http("403 Forbidden", "not [json")), 69, "403"),
    (sending(http("404 Not Found", '{"error":[]}')), 69, "404"),
    (sending(b"220 smtp.example.com ESMTP\r\n"), 69, "cannot be reached"),
    (sending(b"HTTP/1.1 1e9 x\r\n\r\n"), 69, "cannot be reached"),
    (sending(bytes(range(256)) * 100), 69, "cannot be reached"),
    (sending(b"HTTP/1.1 101 x\r\n" + b"X: " + b"y" * 100_000), 69, "cannot be reached"),
    (sending(b""), 69, "cannot be reached"),
    (sending(b"HTTP/1.1 101 Switching"), 69, "cannot be reached"),
    (sending(b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n"), 69, "cannot be reached"),
    (lambda peer: peer.accept(accept="wrong"), 69, "cannot be reached"),
    (lambda peer: peer.accept(protocol="graphql-ws"), 69, "cannot be reached"),
    (
        lambda peer: peer.accept(extra="Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        69,
        "cannot be reached",
    ),
]


@pytest.mark.parametrize(("talk", "code", "reason"), REFUSED)
def test_r19_a_peer_that_opens_no_websocket_is_named_with_the_reason(talk, code, reason):
    done = run_connect_to(talk, INITIALIZE, words=("--wait", "1"))
    assert done.returncode == code
    (answer,) = map(json.loads, done.lines)
    assert (answer["id"], reason in answer["error"]["message"]) == (0, True)
    assert done.errors.startswith("mcp-bridge: ")
    assert reason in done.errors.splitlines()[-1]


def test_r19_an_https_url_of_a_peer_without_tls_is_named():
    def talk(peer):
        peer.sock.recv(65536)
        peer.send(http("400 Bad Request", "<html>"))

    done = run_connect_to(talk, INITIALIZE, scheme="https", words=("--wait", "1"))
    assert done.returncode == 69
    assert "TLS" in done.errors


BROKEN = [
    # A masked frame of a server.
    b"\x81\x85abcdhello",
    # A reserved bit is set.
    b"\xc1\x00",
    # An undefined opcode.
    b"\x83\x00",
    # A continuation without a first frame.
    b"\x80\x00",
    b"\x01\x00\x81\x00",
    b"\x89\x7e\x00\x80" + bytes(128),
    b"\x09\x00",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x88\x0a\x03\xf0" + b"too late",
    b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
]


@pytest.mark.parametrize("data", BROKEN)
def test_r19_r15_each_call_is_answered_when_the_peer_breaks_the_connection(data):
    received = []

    def talk(peer):
        peer.open_session()
        received.append([peer.request()["method"], peer.request()["method"]])
        peer.send(data)

    other = {**REQUEST, "id": "x\u00e9"}
    done = run_connect_to(talk, INITIALIZE, INITIALIZED, REQUEST, other)
    answers = answers_of(done)
    assert list(answers) == [1, "x\u00e9"]
    assert all("may have been carried out" in one["error"]["message"] for one in answers.values())
    # No request is sent twice.
    assert received == [["tools/list", "tools/list"]]


NOISE = ["hello", "", "{", "null", '{"level":30,"msg":"x"}', "<html>\n<body>", "1" * 5000]


def test_r19_texts_that_are_not_json_rpc_are_noise_as_from_a_child():
    def talk(peer):
        peer.open_session()
        raw_id = peer.request()["id"]
        for text in (*NOISE, json.dumps(of_client(raw_id, result={"tools": []})), *NOISE):
            peer.send_frame(text)
        peer.frame()

    done = run_connect_to(talk, INITIALIZE, INITIALIZED, REQUEST)
    assert done.returncode == 0
    assert answers_of(done) == {1: ANSWER}


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_r19_json_rpc_passes_on_one_line_however_it_is_written(indent):
    result = {"tools": [], "text": "é\u2028"}

    def talk(peer):
        peer.open_session()
        raw_id = peer.request()["id"]
        peer.send_frame(json.dumps(of_client(raw_id, result=result), indent=indent))
        peer.frame()

    done = run_connect_to(talk, INITIALIZE, INITIALIZED, REQUEST)
    assert (done.returncode, done.errors) == (0, "")
    assert answers_of(done) == {1: {**ANSWER, "result": result}}


def test_r19_frames_of_every_kind_carry_messages():
    def talk(peer):
        peer.open_session()
        text = [json.dumps(of_client(peer.request()["id"], result={"n": n})).encode() for n in range(4)]
        peer.send_frame(text[0], BINARY)
        peer.send_frame(text[1][:10], fin=False)
        peer.send_frame(b"", 0, fin=False)
        peer.send_frame(b"are you there", PING)
        peer.send_frame(text[1][10:], 0)
        assert peer.frame() == (10, b"are you there")
        whole = b"".join(bytes([0x81, len(one)]) + one for one in text[2:])
        for at in range(len(whole)):
            peer.send(whole[at : at + 1])
        peer.frame()

    requests = [{**REQUEST, "id": f"r{number}"} for number in range(4)]
    done = run_connect_to(talk, INITIALIZE, INITIALIZED, *requests)
    assert (done.returncode, done.errors) == (0, "")
    assert {key: one["result"]["n"] for key, one in answers_of(done).items()} == {
        f"r{n}": n for n in range(4)
    }


# ---- messages over the limit

BIG = "x" * 3000


def configured(tmp_path, **limits):
    path = tmp_path / "config.toml"
    path.write_text("[limits]\n" + "".join(f"{name} = {value}\n" for name, value in limits.items()))
    path.chmod(0o600)
    return ("--config", str(path))


def test_r15_a_message_over_the_limit_fails_alone(tmp_path):
    def talk(peer):
        peer.open_session()
        peer.send_frame(json.dumps(of_client(peer.request()["id"], result={"tools": []})))
        peer.frame()

    large = {
        "jsonrpc": "2.0",
        "id": "large",
        "method": "tools/call",
        "params": {"name": "t", "arguments": {"text": BIG}},
    }
    done = run_connect_to(
        talk, INITIALIZE, INITIALIZED, large, REQUEST, words=configured(tmp_path, body=2048)
    )
    answers = answers_of(done)
    assert "2048" in answers["large"]["error"]["message"]
    assert answers[1] == ANSWER
    assert done.returncode == 0


def test_r19_a_response_over_the_limit_fails_alone(tmp_path):
    def talk(peer):
        peer.open_session()
        first, second = peer.request()["id"], peer.request()["id"]
        peer.send_frame(json.dumps(of_client(first, result={"text": BIG})))
        peer.send_frame(json.dumps(of_client(second, result={"tools": []})))
        peer.frame()

    other = {**REQUEST, "id": "large"}
    done = run_connect_to(
        talk, INITIALIZE, INITIALIZED, other, REQUEST, words=configured(tmp_path, line=2048)
    )
    answers = answers_of(done)
    assert "2048" in answers["large"]["error"]["message"]
    assert answers[1] == ANSWER


def test_r15_the_limits_of_the_configuration_reach_connect(tmp_path):
    servers = {"one": {"command": EXAMPLE, "limits": {"body": 9_000_000}}, "two": {"command": EXAMPLE}}
    with daemon(tmp_path, servers, limits={"body": 100_000}) as running:
        call = request("tools/call", tool("echo", text="x" * 6_000_000))
        done = run_connect(running, "one", [call])
        assert len(json.loads(done.stdout)["result"]["content"][0]["text"]) == 6_000_000
        done = run_connect(running, "two", [call, request("tools/list", id=2)])
        answers = {one["id"]: one for one in map(json.loads, done.stdout.splitlines())}
        assert "100000 bytes, the limit (limits.body)" in answers[1]["error"]["message"]
        assert "result" in answers[2]


# ---- calls in flight


def test_r15_when_the_daemon_is_killed_each_call_is_answered(tmp_path):
    with (
        daemon(tmp_path, {"one": {"command": EXAMPLE}}) as running,
        start_connect(running, "one", "--wait", "0") as process,
    ):
        exchange(process, request("tools/list"))
        process.stdin.write(
            json.dumps(request("tools/call", tool("slow", seconds=60), id=2)).encode() + b"\n"
        )
        process.stdin.write(json.dumps(request("tools/list", id=3)).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 3
        running.kill()
        answer = json.loads(process.stdout.readline())
        assert answer["id"] == 2
        assert "one closed the connection" in answer["error"]["message"]
        assert process.wait(10) == 69
        assert b"one closed the connection" in process.stderr.read()


# ---- what the daemon refuses


def test_r3_the_reason_of_the_daemon_is_repeated(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}, limits={"connections_per_principal": 1}) as running:
        with start_connect(running, "one") as process:
            exchange(process, request("tools/list"))
            done = run_connect(running, "one", [request("tools/list")], "--wait", "0")
        assert done.returncode == 69
        (line,) = done.stderr.splitlines()
        assert line.startswith("mcp-bridge: the limit of 1 connection of one principal is reached")


def test_r3_a_server_that_cannot_be_started_is_an_error_of_the_call(tmp_path):
    with daemon(tmp_path, {"one": {"command": child("missing.py")}}) as running:
        done = run_connect(running, "one", [request("tools/list")])
        assert json.loads(done.stdout)["id"] == 1
        assert "error" in json.loads(done.stdout)


def dripping(peer):
    peer.head()
    for octet in b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"y" * 100:
        peer.send(bytes([octet]))
        time.sleep(0.1)


def holding(peer):
    peer.sock.settimeout(30)
    while peer.sock.recv(65536):
        continue


@pytest.mark.parametrize(
    ("scheme", "talk"),
    [("http", dripping), ("http", holding), ("https", holding)],
    ids=["drips", "silent", "TLS"],
)
def test_r19_connect_exits_with_the_reason_if_its_peer_is_too_slow(scheme, talk):
    done = run_connect_to(talk, INITIALIZE, scheme=scheme, words=("--wait", "1"))
    assert done.returncode == 69
    (answer,) = map(json.loads, done.lines)
    assert "cannot be reached" in answer["error"]["message"]
    assert "cannot be reached" in done.errors
