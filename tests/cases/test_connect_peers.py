"""`mcp-bridge connect` answers each call and exits with a reason if its peer is unusual or hostile."""

import json
import subprocess
from contextlib import ExitStack

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.connect_peer import REQUEST, peer, run_connect_to
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


def opened(*data, close=True):
    """Return a peer that accepts, reads one message, and then sends all of these bytes."""

    def talk(peer):
        peer.accept()
        peer.message()
        for one in data:
            peer.send_frame(one)
        if close:
            peer.close()
            peer.frame()

    return talk


def dripping(peer):
    peer.head()
    peer.sock.settimeout(0.5)
    for octet in b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"y" * 100:
        peer.send(bytes([octet]))
        try:
            if not peer.sock.recv(1):
                return
        except TimeoutError:
            continue


def holding(peer):
    peer.sock.settimeout(30)
    while peer.sock.recv(65536):
        continue


@pytest.fixture(scope="module", autouse=True)
def waiting():
    """Start `connect` at peers that are slow or silent. Its time limits end while other tests run."""
    talks = {"dripping": ("http", dripping), "silent": ("http", holding), "silent, TLS": ("https", holding)}
    with ExitStack() as stack:
        found = {}
        for name, (scheme, talk) in talks.items():
            url = stack.enter_context(peer(talk, scheme=scheme))
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            found[name] = url, stack.enter_context(subprocess.Popen([PROGRAM, "connect", url], **pipes))
        yield found


REFUSED = [
    (
        sending(http("302 Found", Location="http://127.0.0.1/")),
        1,
        "returned HTTP 302; it is not a WebSocket endpoint of mcp-bridge",
    ),
    (
        sending(http("200 OK", "<html><body>Welcome</body></html>")),
        1,
        "returned HTTP 200; it is not a WebSocket endpoint of mcp-bridge",
    ),
    (
        sending(http("502 Bad Gateway", "<html>")),
        69,
        "returned HTTP 502; it is not a WebSocket endpoint of mcp-bridge",
    ),
    (
        sending(b"HTTP/1.1 403 Forbidden\r\n\r\nnot [json"),
        1,
        "returned HTTP 403; it is not a WebSocket endpoint of mcp-bridge",
    ),
    (
        sending(http("403 Forbidden", '{"error":{"message":"this Origin\\nis not allowed"}}')),
        1,
        "this Origin is not allowed",
    ),
    (
        sending(http("503 Busy", '{"error":{"message":"the limit of 4 connections is reached"}}')),
        69,
        "the limit of 4 connections",
    ),
    (sending(http("400 Bad", '{"error":[]}')), 1, "returned HTTP 400"),
    (sending(http("400 Bad", "[" * 60_000)), 1, "returned HTTP 400"),
    (sending(b"220 smtp.example.com ESMTP\r\n"), 1, "is not a WebSocket server"),
    (sending(b"HTTP/1.1 1e9 x\r\n\r\n"), 1, "is not a WebSocket server"),
    (sending(bytes(range(256)) * 100), 1, "is not a WebSocket server"),
    (sending(b"\x15\x03\x03\x00\x02\x02\x46"), 69, "requires TLS; use an https:// or wss:// URL"),
    (
        sending(b"HTTP/1.1 101 x\r\n" + b"X: " + b"y" * 100_000),
        69,
        "sent a response head of more than 65536 bytes",
    ),
    (sending(b""), 69, "closed the connection before it responded"),
    (sending(b"HTTP/1.1 101 Switching"), 69, "closed the connection before it responded"),
    (sending(b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n"), 69, "sent an invalid WebSocket handshake response"),
    (lambda peer: peer.accept(accept="wrong"), 69, "sent an invalid WebSocket handshake response"),
    (
        lambda peer: peer.accept(protocol="graphql-ws"),
        69,
        "selected the subprotocol 'graphql-ws' instead of 'mcp'",
    ),
    (
        lambda peer: peer.accept(extra="Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        69,
        "selected a WebSocket extension that was not offered",
    ),
]


@pytest.mark.parametrize(("talk", "code", "reason"), REFUSED)
def test_r19_a_peer_that_opens_no_websocket_is_named_with_the_reason(talk, code, reason):
    done = run_connect_to(talk, REQUEST)
    assert (done.returncode, done.stdout) == (code, b"")
    (line,) = done.errors.splitlines()
    assert line.startswith("mcp-bridge: ")
    assert reason in line


def test_r19_an_https_url_of_a_peer_without_tls_is_named():
    def talk(peer):
        peer.sock.recv(65536)
        peer.send(http("400 Bad Request", "<html>"))

    done = run_connect_to(talk, REQUEST, scheme="https")
    assert done.returncode == 69
    assert done.errors == (f"mcp-bridge: {done.url} does not use TLS; use an http:// or ws:// URL\n")


BROKEN = [
    # A masked frame of a server.
    (b"\x81\x85abcdhello", "sent an invalid WebSocket frame"),
    # A reserved bit is set.
    (b"\xc1\x00", "sent an invalid WebSocket frame"),
    # An undefined opcode.
    (b"\x83\x00", "sent an invalid WebSocket frame"),
    # A continuation without a first frame.
    (b"\x80\x00", "sent an invalid WebSocket frame"),
    (b"\x01\x00\x81\x00", "sent an invalid WebSocket frame"),
    (b"\x89\x7e\x00\x80" + bytes(128), "sent an invalid WebSocket frame"),
    (b"\x09\x00", "sent an invalid WebSocket frame"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "sent an invalid WebSocket frame"),
    (b"\x88\x0a\x03\xf0" + b"too late", "closed the connection with code 1008: too late"),
    (b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "closed the connection"),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN)
def test_r19_r15_each_call_is_answered_when_the_peer_breaks_the_connection(data, reason):
    def talk(peer):
        peer.accept()
        peer.message()
        peer.message()
        peer.send(data)

    other = {**REQUEST, "id": "x\u00e9"}
    done = run_connect_to(talk, REQUEST, other)
    assert done.returncode == 69
    assert reason in done.errors
    assert len(done.errors.splitlines()) == 1
    answers = [json.loads(line) for line in done.lines]
    assert [one["id"] for one in answers] == [1, "x\u00e9"]
    assert all(reason in one["error"]["message"] for one in answers)


NOISE = [
    "hello",
    "",
    "{",
    "[]",
    "null",
    '{"level":30,"msg":"x"}',
    '{"id":1,"msg":"row"}',
    '{"jsonrpc":"1.0","id":2,"method":"x"}',
    "<html>\n<body>",
    "1" * 5000,
]


def test_r19_texts_that_are_not_json_rpc_are_noise_as_from_a_child():
    done = run_connect_to(opened(*NOISE, json.dumps(ANSWER), *NOISE), REQUEST)
    assert done.returncode == 0
    assert [json.loads(line) for line in done.lines] == [ANSWER]
    assert len(done.errors.splitlines()) == 6
    assert "dropped a message that is not JSON-RPC: hello" in done.errors
    assert "\\x0a" not in done.stdout.decode()


PASSED = [
    (json.dumps(ANSWER, indent=2), ANSWER),
    (json.dumps(ANSWER, indent="\t").replace("\n", "\r\n"), ANSWER),
    (
        '{"jsonrpc":"2.0","id":1,"result":{"text":"cut \\ud83d"}}',
        {**ANSWER, "result": {"text": "cut \ud83d"}},
    ),
    (b'{"jsonrpc":"2.0","id":1,"result":{"text":"\xff"}}', {**ANSWER, "result": {"text": "\ufffd"}}),
    ('{"id":1,"result":{}}', {"id": 1, "result": {}}),
    ('{"jsonrpc":"2.0","id":1}', {"jsonrpc": "2.0", "id": 1}),
    (
        '{"jsonrpc": "2.0", "result": 1, "error": null, "id": 1}',
        {"jsonrpc": "2.0", "result": 1, "error": None, "id": 1},
    ),
    ('[{"jsonrpc":"2.0","id":1,"result":{}}]', [{"jsonrpc": "2.0", "id": 1, "result": {}}]),
]


def test_r19_json_rpc_passes_on_one_line_however_it_is_written():
    last = {**ANSWER, "id": "last"}
    done = run_connect_to(
        opened(*(text for text, _ in PASSED), json.dumps(last)), REQUEST, {**REQUEST, "id": "last"}
    )
    assert (done.returncode, done.errors) == (0, "")
    assert [json.loads(line) for line in done.lines] == [*(read for _, read in PASSED), last]


def test_r19_frames_of_every_kind_carry_messages():
    answers = [{**ANSWER, "id": number} for number in range(4)]
    text = [json.dumps(one).encode() for one in answers]

    def talk(peer):
        peer.accept(protocol="")
        for _ in range(4):
            peer.message()
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

    done = run_connect_to(talk, *({**REQUEST, "id": number} for number in range(4)))
    assert (done.returncode, done.errors) == (0, "")
    assert [json.loads(line) for line in done.lines] == answers


# ---- messages over the limit

BIG = "x" * 3000


def configured(tmp_path, **limits):
    path = tmp_path / "config.toml"
    path.write_text("[limits]\n" + "".join(f"{name} = {value}\n" for name, value in limits.items()))
    path.chmod(0o600)
    return ("--config", str(path))


def shapes(**members):
    """Return a message as Python and as Node write it."""
    first = {"jsonrpc": "2.0", **members}
    last = {
        **{name: members[name] for name in members if name != "id"},
        "jsonrpc": "2.0",
        "id": members["id"],
    }
    return [
        json.dumps(first),
        json.dumps(first, separators=(",", ":")),
        json.dumps(last, separators=(",", ":")),
    ]


def test_r15_a_message_over_the_limit_fails_alone(tmp_path):
    ids = [7, "seven", 's\u00e9 "7"', -1]
    params = {"name": "t", "arguments": {"id": 99, "text": BIG, "last": {"id": 98}}}
    lines = [line for one in ids for line in shapes(id=one, method="tools/call", params=params)]
    seen = []

    def talk(peer):
        peer.accept()
        seen.extend(peer.message() for _ in range(5))
        peer.send_frame(json.dumps({**ANSWER, "id": 0}))
        peer.frame()

    answer_of_client = json.dumps({"jsonrpc": "2.0", "id": 5, "result": {"content": BIG}})
    of_node = json.dumps({"result": {"content": BIG}, "jsonrpc": "2.0", "id": 6}, separators=(",", ":"))
    notification = json.dumps({"jsonrpc": "2.0", "method": "notifications/x", "params": {"text": BIG}})
    batch = json.dumps([{**REQUEST, "id": 50, "params": {"text": BIG}}])
    text = [json.dumps({**REQUEST, "id": 0}), *lines, answer_of_client, of_node, notification, batch]
    text += ['{"jsonrpc":"2.0","method":"notifications/y"}', '{"jsonrpc":"2.0","method":"notifications/z"}']
    done = run_connect_to(talk, text="\n".join(text).encode(), words=configured(tmp_path, body=2048))
    answers = [json.loads(line) for line in done.lines]
    assert [one["id"] for one in answers] == [*(one for one in ids for _ in range(3)), 0]
    assert all("the limit is 2048 (limits.body)" in one["error"]["message"] for one in answers[:-1])
    # The server gets an error, because the responses to its requests were too large.
    assert [one.get("id", one.get("method")) for one in seen] == [
        0,
        5,
        6,
        "notifications/y",
        "notifications/z",
    ]
    assert all("limits.body" in one["error"]["message"] for one in seen[1:3])
    assert done.returncode == 0


def test_r19_a_response_over_the_limit_fails_alone(tmp_path):
    large = [
        {"jsonrpc": "2.0", "id": 1, "result": {"text": BIG}},
        {"result": {"text": BIG}, "jsonrpc": "2.0", "id": 2},
    ]
    server_request = {"jsonrpc": "2.0", "id": 70, "method": "sampling/createMessage", "params": {"text": BIG}}
    seen = []

    def talk(peer):
        peer.accept()
        for _ in range(3):
            peer.message()
        for one in (*large, server_request, {**ANSWER, "id": 3}):
            peer.send_frame(json.dumps(one))
        seen.append(peer.message())
        peer.frame()

    requests = [{**REQUEST, "id": number} for number in (1, 2, 3)]
    done = run_connect_to(talk, *requests, words=configured(tmp_path, line=2048))
    answers = [json.loads(line) for line in done.lines]
    assert [one["id"] for one in answers] == [1, 2, 3]
    assert ["error" in one for one in answers] == [True, True, False]
    assert "the limit is 2048 (limits.line)" in answers[0]["error"]["message"]
    assert (seen[0]["id"], "error" in seen[0]) == (70, True)
    assert done.returncode == 0


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
            done = run_connect(running, "one", [request("tools/list")])
        assert done.returncode == 69
        (line,) = done.stderr.splitlines()
        assert line.startswith("mcp-bridge: the limit of 1 connections of one principal is reached")


def test_r3_a_server_that_cannot_be_started_is_an_error_of_the_call(tmp_path):
    with daemon(tmp_path, {"one": {"command": child("missing.py")}}) as running:
        done = run_connect(running, "one", [request("tools/list")])
        assert json.loads(done.stdout)["id"] == 1
        assert "error" in json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dripping", "{} did not respond to the handshake within 10 s"),
        ("silent", "{} did not respond to the handshake within 10 s"),
        ("silent, TLS", "cannot connect to {}: no response within 10 s"),
    ],
)
def test_r19_connect_exits_with_the_reason_if_its_peer_is_too_slow(waiting, name, reason):
    url, process = waiting[name]
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr.decode()) == (69, f"mcp-bridge: {reason.format(url)}\n")
