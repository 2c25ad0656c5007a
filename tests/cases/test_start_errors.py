"""The error of a failed start names the cause and shows the output of the server, to one principal only."""

import hashlib
import json

import pytest

from mcpbridged.bridge.core.start_errors import Output, StartFault

from ..support.bridge_process import Bridge
from ..support.daemon_process import daemon
from ..support.first_requests import CLIENT_KINDS, failing_command, first_responses, modern, ready
from ..support.raw_http import BOTH, INITIALIZE, connect

pytestmark = [
    pytest.mark.anyio,
    # trio-websocket leaves its socket to the garbage collector if the server closes first.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in ("alice", "bob")}
SECRET = "s3cr3t-value-of-the-key"
# By kind: the stream and the line that is shown, and a word of the hint.
KINDS = {
    "http": ("stdout", "Server listening on http://localhost:3000", "HTTP mode"),
    "http-stderr": ("stderr", "Uvicorn running on http://127.0.0.1:8000", "HTTP mode"),
    "usage": ("stdout", "Usage: server", "usage"),
    "usage-0": ("stderr", "usage: server", "usage"),
    "key": ("stdout", "Enter your API key:", "credential"),
    "key-stderr": ("stderr", "API_KEY:", "credential"),
    "npx": ("stdout", "Ok to proceed? (y)", "add -y"),
}


# Each kind over HTTP and in a shared process, and two kinds over every transport.
CASES = [
    (kind, way)
    for kind in KINDS
    for way in (*CLIENT_KINDS, "shared")
    if way in ("http", "shared") or kind in ("http", "usage")
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    limits = {"limits": {"start_seconds": 3}}
    servers = {
        f"{kind}-{way}": {
            "command": failing_command(kind),
            **limits,
            **({"share": "principal"} if way == "shared" else {}),
        }
        for kind, way in CASES
    }
    servers["secret"] = {
        "command": failing_command("secret"),
        "secrets": {"KEY": f"{folder}/secret"},
        **limits,
    }
    servers["hang"] = {"command": failing_command("hang"), **limits}
    servers["exit"] = {"command": failing_command("exit", 5), "era": "legacy"}
    servers["flood"] = {"command": failing_command("flood"), **limits}
    tokens = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest()}
        for name, token in TOKENS.items()
    }
    with daemon(folder, servers, **tokens) as found:
        wanted = [(f"{kind}-{way}", "http" if way == "shared" else way) for kind, way in CASES]
        found.answers = first_responses(
            found, [*wanted, *((name, "http") for name in ("secret", "hang", "flood"))]
        )
        found.shown = {one["name"]: one for one in found.status()["servers"]}
        yield found


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_h2_a_failed_start_shows_the_output_and_a_hint(running, kind, way):
    stream, line, word = KINDS[kind]
    error = running.answers[f"{kind}-{way}"]["error"]
    assert any(line in one for one in error["data"][stream])
    assert word in error["data"]["hint"]
    assert error["data"]["hint"] in error["message"]
    ended = "usage" in kind
    assert ("exited with code" if ended else "did not answer initialize within 3 s") in error["message"]
    found = running.shown[f"{kind}-{way}"]
    assert found["state"] == "failed"
    assert word in found["fault"]


def test_h2_secrets_are_redacted_in_the_shown_output(running):
    error = running.answers["secret"]["error"]
    assert "Server listening on http://localhost:3000/?key=[secret]" in error["message"]
    assert SECRET not in json.dumps(error)
    assert SECRET not in json.dumps(running.shown["secret"])
    assert not any(SECRET in line for line in running.lines)


def test_h2_the_error_for_a_server_without_output_states_that(running):
    error = running.answers["hang"]["error"]
    assert error["message"] == "the server did not answer initialize within 3 s; it has printed nothing"
    assert (error["data"]["stdout"], error["data"]["stderr"]) == ([], [])


def test_h2_the_shown_output_is_bounded(running):
    error = running.answers["flood"]["error"]
    assert len(error["data"]["stdout"]) == 5
    assert len(json.dumps(error)) < 10_000


async def test_h1_output_for_one_principal_is_not_shown_to_another(running):
    while (
        "the next start is in"
        not in (error := (await modern(running, "exit", token=TOKENS["alice"])))["error"]["message"]
    ):
        pass
    assert "FOO" in error["error"]["message"]
    error = (await modern(running, "exit", token=TOKENS["bob"]))["error"]
    assert "the last time it exited with code 5" in error["message"]
    assert "FOO" not in json.dumps(error)


async def test_h2_the_wrapper_shows_the_output_too(tmp_path):
    with Bridge(tmp_path, failing_command("usage"), "--share", "server") as running:
        error = (await wrapped(running))["error"]
        assert "Usage: server" in error["message"]
        assert await ready(running) == (503, b"not ready")


async def wrapped(running):
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
    async with connect(running) as connection:
        headers = {"Accept": BOTH, "Content-Type": "application/json"}
        await connection.send("POST", "/mcp", headers, json.dumps(body).encode())
        return (await connection.answer()).json


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("Server listening on port 8080", "HTTP mode"),
        ("MCP SSE server ready at http://0.0.0.0:9000/sse", "HTTP mode"),
        ("Running on http://127.0.0.1:5000", "HTTP mode"),
        ("Error: listen EADDRINUSE: address already in use :::3000", "port"),
        ("OSError: [Errno 98] Address already in use", "port"),
        ("error: unrecognized arguments: --stdo", "usage"),
        ("error: the following arguments are required: directory", "usage"),
        ("usage: x [--api-key KEY]", "usage"),
        ("Error: GITHUB_TOKEN environment variable is required", "credential"),
        ("BRAVE_API_KEY must be set", "credential"),
        ("KeyError: OPENAI_API_KEY is not set", "credential"),
        ("Please provide an access token", "credential"),
        ("Password: ", "credential"),
        ("Need to install the following packages:", "add -y"),
        ("Error: Cannot find module '/srv/index.js'", "missing"),
        ("/usr/bin/python: No module named mcp_server", "missing"),
        ("something else", ""),
    ],
)
def test_h2_hints(line, word):
    for output in (Output((line,)), Output((), ("noise", line, "more noise"))):
        fault = StartFault("exited with code 1", output)
        assert word in fault.hint
        assert bool(fault.hint) == bool(word)
        if word:
            assert line[:20] in fault.summary
