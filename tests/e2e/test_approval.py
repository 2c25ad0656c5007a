"""Pins: a server that differs from its pin is not started, and other servers are not affected."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from ..support.bridge_process import _MARK, EXAMPLE
from ..support.daemon_clients import stateless_request
from ..support.daemon_process import Daemon, daemon, write_config
from ..support.raw_http import BOTH, INITIALIZE, connect, message
from ..support.sdk import SDK_WARNINGS, client_of
from ..support.stateless_requests import headers_of, request, tool

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]


@pytest.fixture
def script(tmp_path):
    """Return a server that records each of its starts in a file."""
    path = tmp_path / "server.py"
    marks = f"open({str(tmp_path / 'marks')!r}, 'a').write('x')\n"
    text = Path(EXAMPLE[1]).read_text()
    future = "from __future__ import annotations\n"
    path.write_text(text.replace(future, future + marks) if future in text else marks + text)
    return path


def starts(script):
    marks = script.with_name("marks")
    return len(marks.read_text()) if marks.exists() else 0


def servers(script, *words, **keys):
    return {
        "one": {"command": [EXAMPLE[0], str(script), *words], **keys},
        "two": {"command": EXAMPLE},
    }


async def first_request(running, name, era):
    """Return the status and the JSON of the response to the first request of a client."""
    if era == "modern":
        return await stateless_request(running, name, "tools/call", tool("echo", text=name))
    headers = {"Accept": BOTH, "Content-Type": "application/json"}
    async with connect(running) as connection:
        path, body = f"/servers/{name}/mcp", message("initialize", INITIALIZE, id=0)
        answer = await connection.request("POST", path, headers, body)
    return answer.status, answer.json


async def assert_refused(running, era):
    status, answer = await first_request(running, "one", era)
    assert status == 503, answer
    assert answer["error"]["code"] == -32000
    assert answer["error"]["message"].startswith("not approved: ")
    assert answer["error"]["message"].endswith("mcp-bridge approve one")
    return True


def state(running, name="one"):
    return next(one["state"] for one in running.status()["servers"] if one["name"] == name)


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_server_with_a_changed_argument_is_not_started_and_others_are(tmp_path, script, era):
    with daemon(tmp_path, servers(script)) as running:
        done = running.do("approve", "one")
        assert f"{script} (" in done.stdout
        running.do("reload")
        assert (await first_request(running, "one", era))[0] == 200
        was = starts(script)
        async with client_of(running, "two", "http", "legacy") as other:
            lines = running.config.read_text().replace(f'"{script}"', f'"{script}", "--more"')
            running.config.write_text(lines)
            running.do("reload")
            # More refusals than would open the circuit breaker if they counted.
            for _ in range(7):
                assert await assert_refused(running, era)
            assert state(running) == "unapproved"
            assert (await other.call_tool("echo", {"text": "on"})).content[0].text == "on"
        assert (await first_request(running, "two", era))[0] == 200
        assert starts(script) == was
        finding = running.do("doctor", check=False).stdout
        assert "servers.one: not approved: what the server one starts" in finding
        running.do("approve", "one")
        running.do("reload")
        assert (await first_request(running, "one", era))[0] == 200
        assert state(running) == "serving"


@pytest.mark.parametrize("keys", [{}, {"spare": 1}, {"start": "eager"}, {"share": "principal"}])
async def test_a_program_that_was_modified_is_not_started(tmp_path, script, keys):
    write_config(tmp_path / "config.toml", servers(script, **keys))
    with Daemon(tmp_path) as running:
        running.do("approve", "one")
    was = starts(script)
    script.write_text(script.read_text() + "\n# one line more\n")
    with Daemon(tmp_path) as running:
        assert await assert_refused(running, "modern")
        status, answer = await first_request(running, "one", "legacy")
        assert "not approved" in json.dumps(answer), (status, answer)
        assert starts(script) == was
        assert state(running) == "unapproved"
        async with connect(running) as connection:
            answer = await connection.request("GET", "/readyz?server=one")
        assert answer.status == 503
        assert "pin_mismatch" in running.do("logs", "one").stdout


async def test_a_running_process_continues_and_its_successor_is_refused(tmp_path, script):
    write_config(tmp_path / "config.toml", servers(script, era="legacy"))
    with Daemon(tmp_path) as running:
        running.do("approve", "one")
        running.do("reload")
        async with client_of(running, "one", "http", "legacy") as client:
            script.write_text(script.read_text() + "\n# one line more\n")
            assert (await client.call_tool("echo", {"text": "on"})).content[0].text == "on"
            for pid in running.children(str(script)):
                os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 20
            while state(running) != "unapproved":
                assert time.monotonic() < deadline
                with pytest.raises(Exception, match=r"not approved|was killed"):
                    await client.call_tool("echo", {"text": "again"})
        assert starts(script) == 1


async def test_with_required_pins_no_server_is_started_without_a_pin(tmp_path, script):
    write_config(tmp_path / "config.toml", servers(script), aggregate={"servers": ["one", "two"]})
    text = tmp_path.joinpath("config.toml").read_text()
    tmp_path.joinpath("config.toml").write_text("approval = true\n" + text)
    with Daemon(tmp_path) as running:
        assert await assert_refused(running, "legacy")
        assert await assert_refused(running, "modern")
        assert starts(script) == 0
        done = running.do("approve", "one", "two")
        assert f"variables   {_MARK}" in done.stdout
        running.do("reload")
        for name in ("one", "two"):
            assert (await first_request(running, name, "modern"))[0] == 200
        body = request("tools/call", tool("one__echo", text="through"))
        async with connect(running) as connection:
            answer = await connection.request("POST", "/mcp", headers_of(body), json.dumps(body).encode())
        assert answer.status == 200, answer.body
        shown = running.do("config", "show").stdout
        assert shown.count('pin = "sha256:') == 2


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("approve",), 64, "NAME"),
        (("approve", "nobody"), 78, "there is no server 'nobody'; there are one, two\n"),
        (("approve", "one", "nobody"), 78, "there is no server 'nobody'"),
        (("approve", "one", "off"), 78, "servers.off is disabled (enabled = false)"),
    ],
)
def test_a_pin_that_is_refused_does_not_change_the_file(tmp_path, script, words, code, reason):
    off = {"off": {"command": ["true"], "enabled": False}}
    write_config(tmp_path / "config.toml", servers(script) | off)
    with Daemon(tmp_path) as running:
        before = running.config.read_text()
        done = running.do(*words, check=False)
        assert (done.returncode, done.stderr.startswith("mcp-bridge: ")) == (code, True)
        assert reason in done.stderr
        assert running.config.read_text() == before


def test_a_missing_program_cannot_be_pinned(tmp_path, script):
    write_config(tmp_path / "config.toml", servers(script) | {"none": {"command": ["no-such-program"]}})
    with Daemon(tmp_path) as running:
        done = running.do("approve", "none", check=False)
        assert done.returncode == 1
        assert "there is no program 'no-such-program'" in done.stderr
        assert "pin" not in running.config.read_text()


def test_a_program_that_is_named_without_its_path_is_pinned_with_a_warning(tmp_path, script):
    name = Path(shutil.which("python3")).name
    write_config(tmp_path / "config.toml", {"one": {"command": [name, str(script)]}})
    with Daemon(tmp_path) as running:
        assert "use an absolute path" in running.do("approve", "one").stderr
