"""`mcp-bridge connect NAME`: official clients that start a command, in front of a server of the daemon."""

import json
import subprocess

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from .bridge_process import EXAMPLE, PROGRAM
from .daemon_process import daemon
from .test_modern_http import request, tool

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("connect"), {"one": {"command": EXAMPLE}}) as found:
        yield found


def started(running, name, lines, timeout=30):
    return subprocess.run(
        [PROGRAM, "connect", name, "--config", str(running.config)],
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        env=running.variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_official_client_over_stdio(running, mode):
    server = StdioServerParameters(
        command=str(PROGRAM), args=["connect", "one", "--config", str(running.config)], env=running.variables
    )
    async with Client(stdio_client(server), mode=mode) as client:
        assert "echo" in {found.name for found in (await client.list_tools()).tools}
        result = await client.call_tool("echo", {"text": "through \u00fc"})
        assert result.content[0].text == "through \u00fc"


def test_answers_still_come_after_the_end_of_the_questions(running):
    asked = [request("tools/call", tool("slow", seconds=0.5, steps=1), id=number) for number in range(3)]
    done = started(running, "one", asked)
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers if "id" in answer) == [0, 1, 2]
    assert all("result" in answer for answer in answers if "id" in answer)


def test_a_server_that_there_is_not_is_named(running):
    done = started(running, "nobody", [])
    assert (done.returncode, done.stderr) == (1, "mcp-bridge: there is no server 'nobody'\n")


def test_what_is_refused_is_answered(running):
    done = started(running, "one", [{"jsonrpc": "2.0", "id": 5, "method": "tools/list"}])
    answer = json.loads(done.stdout)
    assert (answer["id"], "error" in answer) == (5, True)


def test_the_end_of_the_daemon_is_the_end(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as found:
        process = subprocess.Popen(
            [PROGRAM, "connect", "one", "--config", str(found.config)],
            env=found.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            process.stdin.write(json.dumps(request("tools/list")).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == 1
            found.stop()
            assert process.wait(10) == 0
    assert started(found, "one", []).returncode == 69
