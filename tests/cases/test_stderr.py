"""Show the stderr of a server without secrets in any form, and in errors only to the only principal that it has served."""

import base64
import hashlib
import json
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import trio

from ..support.bridge_process import PROGRAM
from ..support.daemon_clients import open_socket
from ..support.daemon_process import daemon
from ..support.raw_http import connect
from ..support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
SERVER = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "support/servers/stderr_writer.py")]
TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in ("alice", "bob")}
SECRET = 'Geheimnis-ü"\\ßx+/42'
KEY = (
    "-----BEGIN KEY-----\n" + "\n".join(c * 4 + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 2 for c in "abc") + "\n"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stderr")
    for name, value in (("secret", SECRET), ("key", KEY)):
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    base = {"command": SERVER}
    servers = {
        "own": base,
        "shared": {**base, "share": "server"},
        "shared-spare": {**base, "share": "server", "spare": 1},
        "principal": {**base, "share": "principal"},
        "secret": {**base, "secrets": {"K": f"{folder}/secret", "PEM": f"{folder}/key"}},
    }
    tokens = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest()}
        for name, token in TOKENS.items()
    }
    with daemon(folder, servers, aggregate={"servers": ["shared"]}, **tokens) as found:
        yield found


async def ask(running, server, who, name, **arguments):
    body = request("tools/call", tool(name, **arguments))
    path = "/mcp" if server == "aggregate" else f"/servers/{server}/mcp"
    token = TOKENS.get(who, running.token)
    async with connect(running) as connection:
        await connection.send(
            "POST", path, headers_of(body, Authorization=f"Bearer {token}"), json.dumps(body).encode()
        )
        answer = await connection.answer()
    return answer.json


def pieces(*texts):
    return [base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode() for text in texts]


# ---- the principal that may read it


@pytest.mark.parametrize("server", ["shared", "shared-spare"])
async def test_r8_what_was_written_for_another_principal_is_not_in_the_error(running, server):
    assert "result" in await ask(running, server, "alice", "write", pieces=pieces("the file of alice\n"))
    error = (await ask(running, server, "bob", "exit", last="the file of bob\n"))["error"]
    assert "alice" not in json.dumps(error)
    assert (error["data"]["reason"], error["data"]["code"], error["data"].get("stderr", [])) == (
        "exited",
        3,
        [],
    )
    # The next process has served only bob.
    error = (await ask(running, server, "bob", "exit", last="the file of bob\n"))["error"]
    assert error["data"]["stderr"][-1] == "the file of bob"
    # The user of the machine can read everything.
    log = running.do("logs", server).stdout
    assert "the file of alice" in log
    assert "the file of bob" in log


async def test_r8_nor_in_the_error_of_a_session_that_shares_the_process(running):
    async with AsyncExitStack() as stack:
        alice = await open_socket(running, "shared", stack, TOKENS["alice"])
        bob = await open_socket(running, "shared", stack, TOKENS["bob"])
        for socket, text in ((alice, "alice was here\n"), (bob, "bob was here\n")):
            call = tool("write", pieces=pieces(text))
            await socket._send({"id": 1, "method": "tools/call", "params": call})
            assert "result" in (await socket.answers(1))[1]
        await bob._send({"id": 2, "method": "tools/call", "params": tool("exit")})
        error = (await bob.answers(1))[2]["error"]
        assert "here" not in json.dumps(error)
        assert error["data"]["code"] == 3


@pytest.mark.parametrize("server", ["own", "principal"])
async def test_r8_a_process_of_one_principal_still_says_what_it_wrote(running, server):
    await ask(running, server, "alice", "write", pieces=pieces("of alice\n"))
    error = (await ask(running, server, "bob", "exit", last="of bob"))["error"]
    assert error["data"]["stderr"][-1] == "of bob"
    assert "alice" not in json.dumps(error)
    error = (await ask(running, server, "alice", "exit", last="last of alice"))["error"]
    assert error["data"]["stderr"][-2:] == ["of alice", "last of alice"]


# ---- errors.stderr

AT_START = [sys.executable, "-I", "-S", "-c", "import sys; sys.exit('what the start wrote')"]
SILENT = [*AT_START[:-1], "import sys, time; print('what the start wrote', file=sys.stderr); time.sleep(60)"]
NEVER = {"errors": {"stderr": "never"}}


async def test_with_never_no_error_has_output_and_the_user_finds_it(tmp_path):
    servers = {
        "own": {"command": SERVER},
        "broken": {"command": AT_START, "era": "legacy"},
        "silent": {"command": SILENT, "era": "legacy", "limits": {"start_seconds": 1}},
    }
    with daemon(tmp_path, servers, **NEVER) as running:
        for server, arguments in (("own", {"last": "the last line"}), ("broken", {}), ("silent", {})):
            # The second error may be that of the circuit breaker, which repeats how the last start has failed.
            for _ in range(3):
                error = (await ask(running, server, "owner", "exit", **arguments))["error"]
                shown = json.dumps(error)
                assert "the last line" not in shown
                assert "what the start wrote" not in shown
                assert not error.get("data", {}).get("stderr")
                assert not error.get("data", {}).get("stdout")
        assert "the last line" in running.do("logs", "own").stdout
        assert "what the start wrote" in running.do("logs", "broken").stdout
        assert "what the start wrote" in running.do("status").stdout


async def test_a_reload_changes_whether_errors_have_output_and_restarts_nothing(tmp_path):
    with daemon(tmp_path, {"own": {"command": SERVER}}, **NEVER) as running:
        text = running.config.read_text()
        for value, shown in (("owner", True), ("never", False)):
            running.config.write_text(text.replace('"never"', f'"{value}"'))
            assert "kept" in running.do("reload").stdout
            error = (await ask(running, "own", "owner", "exit", last="the last line"))["error"]
            assert ("the last line" in json.dumps(error)) is shown


# ---- without secrets

JSON = json.dumps(SECRET, ensure_ascii=False)[1:-1]
FORMS = {
    "plain": SECRET,
    "json of Node": json.dumps({"error": {"message": f"bad key {SECRET}"}}, ensure_ascii=False),
    "json of Python": json.dumps({"error": SECRET}),
    "json in json": json.dumps(json.dumps(SECRET, ensure_ascii=False), ensure_ascii=False),
    "percent": quote(SECRET, safe=""),
    "percent, lower case": "".join(f"%{octet:02x}" for octet in SECRET.encode()),
    "form": f"https://localhost/?key={quote_plus(SECRET)}&x=1",
    **{f"base64 {at}": base64.b64encode(b"u:"[:at] + SECRET.encode()).decode() for at in range(3)},
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    "a long line": "x" * 4090 + SECRET + "y" * 100,
}


def shown_by(running, server):
    """Return everything that a user or a client can read of its output."""
    texts = ["\n".join(running.lines), running.do("logs", server).stdout]
    texts += [
        running.do("status").stdout,
        running.do("status", "--json").stdout,
        running.do("doctor", check=False).stdout,
    ]
    return "\n".join(texts)


def wait_for(running, mark):
    end = time.monotonic() + 20
    while not any(mark in line for line in running.lines):
        assert time.monotonic() < end, running.lines[-20:]
        time.sleep(0.01)


def left_of(text, shown):
    """Return the parts of a text that are shown. In base64 the ends may hold bits of other text."""
    parts = {text[at : at + 7] for at in range(2, len(text) - 9)}
    return {part for part in parts if part in shown}


async def test_r16_a_secret_is_redacted_in_every_form_and_wherever_it_is_cut(running):
    written = []
    for text in FORMS.values():
        data = text.encode()
        # The cut is in the middle of a character or an escape.
        middle = data.find(b"%C3") + 1 or len(data) // 2
        written += [
            data,
            b"\n",
            data[:middle],
            data[middle:],
            b"\n",
            data[:middle],
            b"\r\n",
            data[middle:],
            b"\n",
        ]
    await ask(running, "secret", "alice", "write", pieces=pieces(*written), pause=0.001)
    error = (await ask(running, "secret", "alice", "exit", last=f"last words {FORMS['json of Node']}"))[
        "error"
    ]
    wait_for(running, "last words")
    shown = shown_by(running, "secret") + json.dumps(error, ensure_ascii=False)
    assert "last words" in error["data"]["stderr"][-1]
    assert not left_of(SECRET, shown)
    for name, text in FORMS.items():
        if "json" not in name and "long" not in name and "form" not in name:
            assert not left_of(text, shown), name
    assert not left_of(JSON, shown)
    assert sum("[secret]" in line for line in running.lines) >= 2 * len(FORMS)


async def test_r16_a_key_of_several_lines_is_redacted_line_by_line(running):
    lines = KEY.splitlines()[1:]
    written = pieces(KEY, json.dumps({"key": KEY}) + "\n", f"the second line is {lines[1]}\n", "all of it\n")
    await ask(running, "secret", "alice", "write", pieces=written)
    wait_for(running, "all of it")
    shown = shown_by(running, "secret")
    assert "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" not in shown
    assert "the second line is [secret]" in shown


async def test_r16_other_lines_are_shown_whole_and_soon(running):
    written = [b"one\ntwo ", b"halves\n", *(b"%d\n" % at for at in range(50)), b"g" * 5000 + b"\nunfinished"]
    await ask(running, "secret", "alice", "write", pieces=pieces(*written))
    wait_for(running, "g" * 200)
    shown = running.do("logs", "secret").stdout
    assert "two halves" in shown
    assert "unfinished" not in shown
    error = (await ask(running, "secret", "alice", "exit", last=" line"))["error"]
    assert error["data"]["stderr"][-1] == "unfinished line"


async def test_r16_messages_that_are_tapped_are_redacted_too(running):
    texts = "".join(f"{text} " for text in FORMS.values()) + "x" * 70_000
    tap = [PROGRAM, "tap", "secret", "--config", str(running.config)]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, tap, env=running.variables, stdout=subprocess.PIPE, check=False)
        process = await nursery.start(run)
        shown = b""
        # The tap shows messages from the moment on in which the daemon has accepted its connection.
        while b'"content"' not in shown:
            await ask(running, "secret", "alice", "write", pieces=[], text=texts)
            with trio.move_on_after(0.2):
                while b'"content"' not in shown:
                    data = await process.stdout.receive_some()
                    assert data, process.returncode
                    shown += data
        nursery.cancel_scope.cancel()
    shown = shown.decode(errors="replace")
    assert "[secret]" in shown
    assert not left_of(SECRET, shown)
    assert not left_of(FORMS["base64 1"], shown)
