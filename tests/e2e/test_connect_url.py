"""`mcp-bridge connect URL`: use a remote server as a stdio server: a bridge at a TCP port, and one of the official SDK."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading

import pytest
import trio
from mcp import Client, StdioServerParameters, stdio_client, types

from ..support.bridge_process import EXAMPLE, PROGRAM, REPOSITORY, Bridge
from ..support.remote_process import remote_process
from ..support.sdk import SDK_WARNINGS
from ..support.stateless_requests import request
from ..support.tls import tls_options

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("plain")) as bridge:
        yield bridge


def list_tools(*words, environment=None):
    return run(*words, text=json.dumps(request("tools/list")) + "\n", environment=environment)


def run(*words, text, environment=None):
    return subprocess.run(
        [PROGRAM, "connect", *words],
        input=text,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def token_file(folder, token):
    path = folder / "token-for-it"
    path.write_text(token)
    path.chmod(0o600)
    return str(path)


def names(done):
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    return {tool["name"] for tool in json.loads(line)["result"]["tools"]}


CLIENTS = ("legacy", "2026-07-28")


@pytest.mark.parametrize(
    "words",
    [("mcp",), ("ws",), ("sse", "--transport", "sse"), ("sse",), ("mcp", "--transport", "http")],
    ids=" ".join,
)
def test_a_bridge_at_a_port_serves_connect_with_its_token(plain, words, tmp_path):
    at, *more = words
    done = list_tools(getattr(plain, at), "--token-file", token_file(tmp_path, plain.token), *more)
    assert "echo" in names(done)


def test_a_url_of_http_that_ends_in_ws_is_a_websocket(plain, tmp_path):
    url = plain.ws.replace("ws://", "http://")
    assert "echo" in names(list_tools(url, "--token-file", token_file(tmp_path, plain.token)))


@pytest.fixture(scope="module")
def remote():
    """Run the server of the official SDK, and yield its URL."""
    words = [sys.executable, str(REPOSITORY / "tests/support/servers/http_sdk.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("mode", CLIENTS)
async def test_an_official_client_of_each_era_uses_an_official_server_of_the_first_revision(mode):
    async with remote_process("sse=1", path="/sse") as url:
        server = StdioServerParameters(command=str(PROGRAM), args=["connect", url])
        with trio.fail_after(30):
            async with Client(stdio_client(server), mode=mode) as client:
                assert (await client.call_tool("echo", {"text": "é x"})).content[0].text == "é x"


@pytest.mark.parametrize("mode", CLIENTS)
async def test_an_official_client_of_each_era_uses_an_official_server_over_http(remote, mode):
    words = ["connect", remote, "--header", "X-Team: red"]
    server = StdioServerParameters(command=str(PROGRAM), args=words, env={"HOME": os.environ["HOME"]})
    with trio.fail_after(30):
        async with Client(stdio_client(server), mode=mode) as client:
            assert {"echo", "ask"} <= {one.name for one in (await client.list_tools()).tools}
            result = await client.call_tool("echo", {"text": "é x"})
            assert result.content[0].text == "é x"
            heads = json.loads((await client.call_tool("seen", {})).content[0].text)
    assert heads[-1]["x-team"] == "red"
    assert "authorization" not in heads[-1]


async def test_a_server_requests_input_of_a_client_on_stdio(remote):
    async def answer(_context, params):
        return types.ElicitResult(action="accept", content={"value": f"of {params.message}"})

    server = StdioServerParameters(command=str(PROGRAM), args=["connect", remote])
    with trio.fail_after(30):
        async with Client(stdio_client(server), mode="legacy", elicitation_callback=answer) as client:
            result = await client.call_tool("ask", {"text": "me"})
            assert result.content[0].text == "me: of me"


def test_headers_with_secrets_come_from_a_file(remote, tmp_path):
    path = tmp_path / "headers"
    path.write_text("# of the team\nX-Api-Key: s3cret-key\n\nAuthorization: Basic s3cret-word\n")
    path.chmod(0o600)
    call = {"name": "seen", "arguments": {}}
    done = run(remote, "--header-file", str(path), text=json.dumps(request("tools/call", call)) + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    heads = json.loads(json.loads(done.stdout)["result"]["content"][0]["text"])
    assert (heads[-1]["x-api-key"], heads[-1]["authorization"]) == ("s3cret-key", "Basic s3cret-word")


def test_the_responses_of_the_last_requests_are_awaited_after_the_end_of_input(remote):
    calls = [request("tools/call", {"name": "pause", "arguments": {"seconds": 1}}, id=n) for n in range(3)]
    done = run(remote, text="".join(json.dumps(one) + "\n" for one in calls))
    assert (done.returncode, done.stderr) == (0, "")
    answers = {one["id"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert all("result" in answers[number] for number in range(3))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_each_call_is_answered(remote, number, code):
    words = [PROGRAM, "connect", remote]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        call = request("tools/call", {"name": "pause", "arguments": {"seconds": 60}}, id=1)
        process.stdin.write(f"{json.dumps(call)}\n{json.dumps(request('tools/list', id=2))}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 2
        process.send_signal(number)
        answer = json.loads(process.stdout.readline())
        assert (answer["id"], number.name in answer["error"]["message"]) == (1, True)
        assert process.wait(10) == code


def test_over_tls_only_a_trusted_certificate_is_accepted(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with Bridge(tmp_path / "run", EXAMPLE, *tls_options(authority, tmp_path)) as bridge:
        words = (bridge.mcp, "--token-file", token_file(tmp_path, bridge.token), "--wait", "1")
        trusted = str(tmp_path / "authority.pem")
        assert "echo" in names(list_tools(*words, "--ca-file", trusted))
        assert "echo" in names(list_tools(*words, environment={"SSL_CERT_FILE": trusted}))
        done = list_tools(*words)
    assert done.returncode == 69
    assert "certificate" in done.stderr
    assert "error" in json.loads(done.stdout)


@pytest.mark.parametrize("words", [(), (secrets.token_urlsafe(32),)], ids=["none", "wrong"])
def test_without_the_token_the_error_names_it(plain, words, tmp_path):
    options = ("--token-file", token_file(tmp_path, *words)) if words else ()
    done = list_tools(plain.mcp, *options)
    assert done.returncode == 1
    reason = (
        "token" if words else f"login required: run `mcp-bridge login {plain.mcp}`, or pass --token-file FILE"
    )
    assert reason in done.stderr
    assert "error" in json.loads(done.stdout)


def test_a_missing_server_is_named(plain, tmp_path):
    url = plain.mcp.replace("/mcp", "/servers/nobody/mcp")
    done = list_tools(url, "--token-file", token_file(tmp_path, plain.token))
    assert (done.returncode, done.stderr) == (
        1,
        f"mcp-bridge: {url}: the server refused to initialize: Not found\n",
    )


def test_a_peer_that_does_not_speak_http_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        threading.Thread(target=answer, daemon=True).start()
        done = list_tools(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", "--wait", "1")
        listener.shutdown(socket.SHUT_RDWR)
    assert done.returncode == 69
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["http://example.com/mcp", "--token-file", "FILE"], 64, "is not encrypted, and is not this machine"),
        (["ftp://localhost/mcp"], 64, "the URL must begin with http:// or https://"),
        (["http://user@localhost/mcp"], 64, "has a user name or password"),
        (["http://localhost:0/mcp"], 64, "the port of the URL must be between"),
        (["http://localhost:99999/mcp"], 64, "invalid host or port"),
        (["ws://localhost/", "--transport", "sse"], 64, '"sse" needs an http:// or https:// URL'),
        (["http://localhost/mcp", "--header", "X-Api-Key: s3cret"], 64, "looks like a credential"),
        (["http://localhost/mcp", "--header", "s3cret"], 64, "--header: a header must be NAME: VALUE"),
        (["http://localhost/mcp", "--header", "Host: x"], 64, "the header Host is refused"),
        (["http://localhost/mcp", "--header", "X: 1", "--header", "x: 2"], 64, "x is given twice"),
        (["http://localhost/mcp", "--key", "x"], 64, "client_key needs client_cert"),
        (["http://localhost/mcp", "--proxy", "ftp://x"], 64, "ftp:// proxies are not supported"),
        (["http://localhost/mcp", "--ca-file", "/nothere"], 78, "/nothere"),
        (["git", "--token-file", "FILE"], 64, "--token-file needs a URL"),
        (["git", "--proxy", "http://localhost:1"], 64, "--proxy needs a URL"),
        (
            ["http://localhost/mcp", "--token-file", "/dev/null"],
            78,
            "the token file /dev/null is not a regular file",
        ),
    ],
)
def test_unusable_urls_and_options_are_refused(words, code, reason, tmp_path):
    words = [token_file(tmp_path, secrets.token_urlsafe(32)) if word == "FILE" else word for word in words]
    done = list_tools(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert reason in done.stderr
    assert "s3cret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_url_that_nothing_listens_at_is_named():
    done = list_tools("http://127.0.0.1:1/mcp", "--wait", "0")
    assert done.returncode == 69
    assert (
        "the server cannot be reached: cannot connect to http://127.0.0.1:1: Connection refused"
        in done.stderr
    )
    assert json.loads(done.stdout)["error"]["data"]["reason"] == "exited"
