"""Messages of a client before the response to `initialize`, as a pipe allows them, are held and sent in their order."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.bridge_process import PROGRAM
from ..support.daemon_process import daemon
from ..support.raw_http import INITIALIZE
from ..support.sharing import TRANSPORTS, over_process

pytestmark = pytest.mark.anyio

SERVER = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "support/servers/early.py")]
PIPES = ("sse", "ws", "connect")
SERVERS = {
    "slow": {"command": [*SERVER, "slow"]},
    "principal": {"command": [*SERVER, "slow"], "share": "principal"},
    "server": {"command": [*SERVER, "slow"], "share": "server"},
    "modern": {"command": [*SERVER, "slow", "modern"]},
    "refuse": {"command": [*SERVER, "refuse"], "era": "legacy"},
    "unsure": {"command": [*SERVER, "refuse"]},
    "exit": {"command": [*SERVER, "exit"], "era": "legacy"},
    "invalid": {"command": [*SERVER, "invalid"], "era": "legacy"},
    "small": {"command": [*SERVER, "slow"], "era": "legacy", "limits": {"stdin_bytes": 2000}},
    "few": {"command": [*SERVER, "slow"], "era": "legacy", "limits": {"in_flight": 3}},
}


def message(method, number=None, **params):
    found = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}
    return found if number is None else {**found, "id": number}


def call(number, name, **arguments):
    return message("tools/call", number, name=name, arguments=arguments)


def opening(version="2025-11-25"):
    return message("initialize", 0, **{**INITIALIZE, "protocolVersion": version})


READY = message("notifications/initialized")
CHANGED = message("notifications/roots/list_changed")
LINES = [
    opening(),
    call(1, "a"),
    READY,
    call(2, "b"),
    call("c", "c"),
    message("notifications/cancelled", requestId="c"),
    CHANGED,
    {"jsonrpc": "2.0", "id": 77, "result": {}},
    message("tools/list", "list"),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    tables = {"aggregate": {"servers": ["slow", "modern"]}}
    with daemon(tmp_path_factory.mktemp("early"), SERVERS, **tables) as found:
        yield found


async def answers(client, wanted):
    """Return the responses to requests with these ids, and all ids in the order of the responses."""
    found = {}
    while not wanted <= found.keys():
        received = await client.receive()
        if "method" not in received:
            assert received["id"] not in found, received
            found[received["id"]] = received
    return found, list(found)


def report_in(answer):
    return json.loads(answer["result"]["content"][0]["text"])


def text_of(lines):
    return "".join(f"{json.dumps(line)}\n" for line in lines)


@pytest.mark.parametrize("name", ["slow", "principal", "server", "modern"])
@pytest.mark.parametrize("transport", PIPES)
async def test_t04_early_messages_are_sent_in_order_after_the_answer_to_initialize(running, transport, name):
    async with TRANSPORTS[transport](running, f"/servers/{name}") as client:
        for line in [*LINES, message("ping", "ping")]:
            await client.send(line)
        found, order = await answers(client, {0, 1, 2, "list", "ping"})
    # The process of these servers may be open already.
    if name not in ("principal", "server"):
        assert order[:2] == ["ping", 0]
        assert "c" not in found
    assert len(found["list"]["result"]["tools"]) == 3
    last = report_in(found[2])
    assert last["early"] is False
    order = [one for one in last["seen"] if not one.startswith("server/")]
    if name == "slow":
        assert order == ["initialize", "a", "notifications/initialized", "b"]
    else:
        assert [one for one in order if one in ("a", "b")][-2:] == ["a", "b"]


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_t04_early_calls_of_the_aggregate_are_answered(running, transport):
    async with TRANSPORTS[transport](running, "") as client:
        for line in [opening(), call(1, "slow__a"), call(2, "modern__b"), message("tools/list", 3)]:
            await client.send(line)
        found, _ = await answers(client, {0, 1, 2, 3})
    assert [("result" in found[number]) for number in range(4)] == [True] * 4, found


async def test_t04_a_bare_pipe_answers_the_same(running):
    lines = [line for line in LINES if line.get("params", {}).get("name") != "c" and line is not LINES[5]]
    async with over_process([*SERVER, "slow"]) as direct, TRANSPORTS["connect"](running, "/slow") as client:
        for line in lines:
            await direct.send(line)
            await client.send(line)
        wanted, _ = await answers(direct, {0, 1, 2, "list"})
        found, _ = await answers(client, {0, 1, 2, "list"})
    assert report_in(found[2])["seen"] == report_in(wanted[2])["seen"]
    assert found.keys() == wanted.keys()


@pytest.mark.parametrize("name", ["slow", "server", "modern"])
def test_t04_three_lines_of_printf_are_answered(running, name):
    lines = [opening(), READY, call(1, "a")]
    done = subprocess.run(
        [PROGRAM, "connect", name, "--config", str(running.config)],
        input=text_of(lines),
        env=running.variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ["result" in json.loads(line) for line in done.stdout.splitlines()] == [True, True]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refuse", "the server refused to initialize: not today"),
        ("unsure", "the server refused to initialize: not today"),
        ("exit", "the server exited with code 3"),
        ("invalid", ""),
    ],
)
# The WebSocket library of the test leaves its socket to the collector where the bridge closes first.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("transport", PIPES)
async def test_t04_after_a_refused_initialize_all_messages_behind_it_are_answered(
    running, transport, name, reason
):
    async with TRANSPORTS[transport](running, f"/servers/{name}") as client:
        for line in LINES:
            await client.send(line)
        found, _ = await answers(client, {0, 1, 2, "list"})
    assert all("error" in one for one in found.values())
    assert all(reason in found[number]["error"]["message"] for number in (1, 2, "list"))


@pytest.mark.parametrize("transport", PIPES)
async def test_t04_after_a_refused_initialize_another_may_follow(running, transport):
    async with TRANSPORTS[transport](running, "/servers/refuse") as client:
        for _ in range(2):
            for line in (opening(), call(1, "a")):
                await client.send(line)
            found, _ = await answers(client, {0, 1})
            assert all("not today" in one["error"]["message"] for one in found.values())


@pytest.mark.parametrize("transport", PIPES)
async def test_t04_held_messages_have_a_limit_that_is_named(running, transport):
    async with TRANSPORTS[transport](running, "/servers/small") as client:
        for line in (opening(), call(1, "a", text="x" * 1500), call(2, "b", text="x" * 1500), call(3, "c")):
            await client.send(line)
        found, _ = await answers(client, {0, 1, 2, 3})
    assert ["result" in found[number] for number in range(4)] == [True, True, False, True]
    assert "wait for the server to answer initialize and the limit is 2000 (stdin_bytes)" in str(found[2])


async def test_t04_the_number_of_requests_that_are_held_has_the_limit_of_calls_in_flight(running):
    async with TRANSPORTS["ws"](running, "/servers/few") as client:
        for line in (opening(), *(call(number, "a") for number in (1, 2, 3))):
            await client.send(line)
        found, _ = await answers(client, {0, 1, 2, 3})
    assert ["result" in found[number] for number in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_t04_an_early_batch_is_held_like_its_messages(running, transport):
    async with TRANSPORTS[transport](running, "/servers/slow") as client:
        for line in (opening("2025-03-26"), [call(1, "a"), READY, call(2, "b")]):
            await client.send(line)
        found, _ = await answers(client, {0, 1, 2})
    assert report_in(found[2])["seen"] == ["initialize", "a", "notifications/initialized", "b"]


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_t04_without_initialize_a_request_is_still_refused(running, transport):
    async with TRANSPORTS[transport](running, "/servers/slow") as client:
        await client.send(call(1, "a"))
        found, _ = await answers(client, {1})
    assert "initialize" in found[1]["error"]["message"]
