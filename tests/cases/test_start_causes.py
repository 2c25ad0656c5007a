"""The error of a failed start names its cause as the kernel, a terminal or the client shows it, over each transport."""

import sys

import pytest
import trio

from mcpbridged.bridge.core.start_errors import Output, StartFault

from ..support.daemon_process import daemon
from ..support.first_requests import failing_command, first_responses, ready, status_of
from ..support.handshake import initialize_params
from ..support.sharing import TIMEOUT, TRANSPORTS

pytestmark = [
    pytest.mark.anyio,
    # trio-websocket leaves its socket to the garbage collector if the server closes first.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
# By name: an existing program that the kernel does not execute, and a part of the reason.
PROGRAMS = {
    "interpreter": (b"#!/no/such/interpreter -u\n", "its #! line names '/no/such/interpreter', which does not exist"),
    "crlf": (b"#! /bin/sh\r\necho x\r\n", "its lines end with CR LF"),
    "nameless": (b"#!\n", "its #! line names no interpreter"),
    "no-right": (b"#!/etc/passwd\n", "its #! line names '/etc/passwd', which is not executable"),
    "shebang": (b"print('x')\n", "it has no #! line"),
    "empty": (b"", "it has no #! line"),
    "machine": (b"\x7fELF" + bytes(100), "built for another machine"),
}  # fmt: skip
ECHO = [sys.executable, "-c", "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"]
WRONG_ID = [sys.executable, "-c", """
import sys
for line in sys.stdin: print('{"jsonrpc":"2.0","id":99,"result":{"canary":1}}', flush=True)
"""]  # fmt: skip
LOGS = [sys.executable, "-c", """
print('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"no database"}}', flush=True)
raise SystemExit(4)
"""]  # fmt: skip
LATE = [sys.executable, "-c", "import time\ntime.sleep(1)\nraise SystemExit('the canary is dead')"]
REFUSES_LATE = [sys.executable, "-c", """
import json, sys, time
for line in sys.stdin:
    time.sleep(1)
    error = {"code": -32603, "message": "the database is locked"}
    print(json.dumps({"jsonrpc": "2.0", "id": json.loads(line)["id"], "error": error}), flush=True)
"""]  # fmt: skip
SENT = {
    "echo": (ECHO, '"method":"initialize"'),
    "wrong-id": (WRONG_ID, '"canary":1'),
    "logs": (LOGS, "no database"),
}
# The time from the start of a process on after which a client that disconnects has waited in vain (seconds): more than
# the two seconds of `start_monitor`.
LONG_ENOUGH = 3.4
LEFT = {f"left-{way}": way for way in TRANSPORTS}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("causes")
    servers = {}
    for name, (content, _) in PROGRAMS.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
        servers[name] = {"command": [str(folder / name)]}
    for name, (command, _) in SENT.items():
        servers[name] = {"command": command, "era": "legacy", "limits": {"start_seconds": 1}}
    # The process exits before its time limit, and the era probe runs at the limit.
    servers["late"] = {"command": LATE, "share": "principal", "limits": {"start_seconds": 1.5}}
    servers["refuses-late"] = {**servers["late"], "command": REFUSES_LATE}
    servers |= {name: {"command": failing_command("hang")} for name in LEFT}
    servers["left-shared"] = {
        "command": failing_command("hang"),
        "share": "server",
        "limits": {"start_seconds": 3},
    }
    servers["quick"] = {"command": failing_command("hang")}
    with daemon(folder, servers) as found:
        found.answers = {}

        async def initialize(name, way):
            async with TRANSPORTS[way](found, f"/servers/{name}") as client:
                await client.request("initialize", initialize_params(name="first"))

        async def leave(name, way):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(initialize, name, way)
                if name == "quick":
                    await trio.sleep(0.3)
                else:
                    with trio.fail_after(TIMEOUT):
                        while not (await status_of(found, name))["pids"]:
                            await trio.sleep(0.05)
                    await trio.sleep(LONG_ENOUGH)
                nursery.cancel_scope.cancel()

        async def every():
            async with trio.open_nursery() as nursery:
                for name, way in {**LEFT, "left-shared": "http", "quick": "ws"}.items():
                    nursery.start_soon(leave, name, way)

        trio.run(every)
        found.answers |= first_responses(
            found, [(name, "http") for name in (*PROGRAMS, *SENT, "late", "refuses-late")]
        )
        yield found


@pytest.mark.parametrize("name", PROGRAMS)
async def test_h1_the_reason_of_a_program_that_is_not_executed_is_shown(running, name):
    _, reason = PROGRAMS[name]
    message = running.answers[name]["error"]["message"]
    assert message.startswith("cannot start")
    assert reason in message
    found = await status_of(running, name)
    assert found["state"] == "failed"
    assert reason in found["fault"]


@pytest.mark.parametrize("name", SENT)
async def test_h2_messages_that_are_not_the_response_are_shown(running, name):
    _, word = SENT[name]
    error = running.answers[name]["error"]
    assert word in error["message"]
    assert any(word in line for line in error["data"]["stdout"])
    assert word in (await status_of(running, name))["fault"]


def test_h1_an_exit_is_the_reason_although_the_time_was_over_meanwhile(running):
    message = running.answers["late"]["error"]["message"]
    assert "exited with code 1" in message
    assert "the canary is dead" in message


async def test_h1_a_refusal_shows_no_era_although_the_time_was_over_meanwhile(running):
    while not any("era_probed" in line and "refuses-late" in line for line in running.lines):
        await trio.sleep(0.05)
    found = await status_of(running, "refuses-late")
    assert (found["state"], found["era"]) == ("failed", "not known yet")
    assert "the database is locked" in found["fault"]


@pytest.mark.parametrize("name", LEFT)
async def test_h1_a_server_whose_client_has_left_without_an_answer_is_failed(running, name):
    found = await status_of(running, name)
    assert found["state"] == "failed"
    assert "had not answered initialize after" in found["fault"]
    assert (found["calls"], found["errors"], found["era"]) == (1, 1, "not known yet")
    assert await ready(running, name) == (503, b"not ready")


async def test_h1_a_shared_server_whose_client_has_left_without_an_answer_is_failed(running):
    found = await status_of(running, "left-shared")
    assert found["state"] == "failed"
    assert "did not answer initialize within 3 s" in found["fault"]
    assert await ready(running, "left-shared") == (503, b"not ready")


async def test_h1_a_client_that_disconnects_at_once_fails_no_server(running):
    assert (await status_of(running, "quick"))["fault"] == ""
    assert await ready(running, "quick") == (200, b"ready")


def test_h6_doctor_finds_scripts_that_cannot_be_executed_and_shows_each_line_once(tmp_path):
    dead = [
        sys.executable,
        "-c",
        "import sys; print('first', file=sys.stderr); sys.exit('the canary is dead')",
    ]
    servers = {"dead": {"command": dead, "era": "legacy"}}
    for name in ("interpreter", "crlf", "shebang"):
        (tmp_path / name).write_bytes(PROGRAMS[name][0])
        (tmp_path / name).chmod(0o755)
        servers[name] = {"command": [str(tmp_path / name)]}
    with daemon(tmp_path, servers) as found:
        printed = found.do("doctor", check=False).stdout
    for name in ("interpreter", "crlf", "shebang"):
        assert f"servers.{name}: {tmp_path / name} cannot be executed: " in printed
        assert f"ok      servers.{name}" not in printed
        assert PROGRAMS[name][1] in printed
    [line] = [one for one in printed.splitlines() if "servers.dead: no response" in one]
    assert (line.count("the canary is dead"), line.count("; first"), line.count("\\n")) == (1, 1, 0)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("the input device is not a TTY", "-i, without -t"),
        ("sudo: a terminal is required to read the password; either use the -S option", "terminal"),
        ("OSError: [Errno 6] No such device or address: '/dev/tty'", "terminal"),
        ("Press any key to continue...", "terminal"),
        ("Overwrite? [y/N]", "terminal"),
        ("Content-Length: 41", "Language Server Protocol"),
        ('  "serverInfo": {', "several lines"),
        ("npm error 404 Not Found - GET https://registry.npmjs.org/@x%2fy - Not found", "registry"),
        ("  × No solution found when resolving tool dependencies:", "registry"),
        ("ERROR: No matching distribution found for nothing==9", "registry"),
        ("Error: getaddrinfo ENOTFOUND db.internal", "cannot reach"),
        ("Error: connect ECONNREFUSED http://127.0.0.1:5432", "cannot reach"),
        ("docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "cannot reach"),
        ("ModuleNotFoundError: No module named 'x'", "missing"),
        ("PermissionError: [Errno 13] Permission denied: '/srv/x'", "may not use"),
        ("EACCES: permission denied, open '/srv/x'", "may not use"),
    ],
)
def test_h2_hints_for_terminals_networks_and_forms(line, word):
    assert word in StartFault("exited with code 1", Output((), (line,)), ended=True).hint


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        (r"\x1b[31m✖ Error:\x1b[0m \x1b[1mmissing GITHUB_TOKEN\x1b[22m", "✖ Error: missing GITHUB_TOKEN"),
        (r"\rloading 1 %\rloading 2 %\rstopped", "stopped"),
        (r"\x1b[2K\x1b[1Gdone\r", "done"),
    ],
)
def test_h2_a_line_is_shown_as_a_terminal_displays_it(line, printed):
    assert (
        f"it printed {printed!r}" in StartFault("exited with code 1", Output((), (line, r"\x1b[0m"))).summary
    )


def test_h2_a_signal_gives_no_hint_about_the_command():
    fault = StartFault("was killed by signal 9 (SIGKILL) before it answered initialize", ended=True)
    assert fault.summary == fault.reason
