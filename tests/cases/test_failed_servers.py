"""A server that cannot be used has the state `failed` with the cause, until a start succeeds."""

import pytest
import trio

from ..support.daemon_process import daemon
from ..support.first_requests import (
    CLIENT_KINDS,
    failing_command,
    first_responses,
    initialize,
    modern,
    ready,
    status_of,
    wait_for_status,
)

pytestmark = [
    pytest.mark.anyio,
    # trio-websocket leaves its socket to the garbage collector if the server closes first.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
# By kind: the command, and what the fault must contain.
KINDS = {
    "missing": (["/no/such/program"], "no program '/no/such/program'"),
    "exit1": (failing_command("exit", 1), "exited with code 1 before it answered initialize"),
    "exit0": (failing_command("exit", 0), "exited with code 0 before it answered initialize"),
    "hang": (failing_command("hang"), "did not answer initialize within 3 s"),
    "refuse": (failing_command("refuse"), "refused to initialize: the database is locked"),
}
SHARED = {"share": "server"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failed")
    limits = {"limits": {"start_seconds": 3}}
    servers = {
        f"{kind}-{way}": {"command": command, **limits}
        for kind, (command, _) in KINDS.items()
        for way in CLIENT_KINDS
    }
    servers |= {
        f"{kind}-shared": {"command": command, **limits, **SHARED} for kind, (command, _) in KINDS.items()
    }
    dead = {"command": failing_command("exit", 3)}
    servers |= {"idle": {"command": failing_command("good")}, "crash": {"command": failing_command("crash")}}
    servers |= {"brought": {"command": failing_command("brought"), "env_from_header": {"KEY": "x-key"}}}
    servers |= {"mended": {"command": failing_command("once", folder / "there")}}
    servers |= {"slow-spare": {"command": failing_command("exit", 4), "start": "eager"}}
    servers |= {f"dead-{way}": dead for way in CLIENT_KINDS}
    # The program exists, and the system cannot execute it.
    (folder / "program").write_bytes(b"\x7fELF")
    (folder / "program").chmod(0o700)
    servers |= {f"unusable-{way}": {"command": [str(folder / "program")]} for way in ("http", "modern")}
    with daemon(folder, servers) as found:
        found.place = folder
        wanted = [
            (f"{kind}-{way}", way)
            for kind in KINDS
            for way in CLIENT_KINDS
            if (kind, way) != ("missing", "sse")
        ]
        wanted += [(f"{kind}-shared", "http") for kind in KINDS]
        found.answers = first_responses(found, wanted)
        found.shown = {one["name"]: one for one in found.status()["servers"]}
        yield found


@pytest.mark.parametrize("way", [*CLIENT_KINDS, "shared"])
@pytest.mark.parametrize("kind", KINDS)
async def test_h1_a_failed_start_is_shown_with_its_cause(running, kind, way):
    if (kind, way) == ("missing", "sse"):
        pytest.skip("the stream itself is answered with the error")
    server = f"{kind}-{way}"
    assert "error" in running.answers[server]
    found = running.shown[server]
    assert found["state"] == "failed"
    assert KINDS[kind][1] in found["fault"]
    assert (found["calls"], found["errors"]) == (1, 1)
    assert found["era"] == "not known yet"
    assert await ready(running, server) == (503, b"not ready")
    assert (await ready(running, server, with_token=False))[0] == 401


def test_h1_the_status_in_words_names_the_cause(running):
    text = running.do("status").stdout
    for kind, (_, cause) in KINDS.items():
        assert any(line.startswith(f"{kind}-http: ") and cause in line for line in text.splitlines())


async def test_h1_ready_names_no_server(running):
    assert await ready(running, with_token=False) == (503, b"not ready")


async def test_h1_a_server_that_was_never_started_is_idle_and_ready(running):
    found = await status_of(running, "idle")
    assert (found["state"], found["fault"]) == ("idle", "")
    assert await ready(running, "idle") == (200, b"ready")


async def test_h1_a_server_that_is_started_ahead_and_exits_is_not_ready(running):
    with trio.fail_after(20):
        while (await status_of(running, "slow-spare"))["state"] not in ("failed", "failing"):
            await trio.sleep(0.05)
    assert "exited with code 4" in (await status_of(running, "slow-spare"))["fault"]


@pytest.mark.parametrize("way", ["http", "ws", "modern"])
async def test_h1_seventeen_failed_starts_keep_their_cause(running, way):
    for _ in range(17):
        error = (await initialize(running, f"dead-{way}", way))["error"]
    found = await status_of(running, f"dead-{way}")
    assert "the next start is in" in error["message"]
    assert "exited with code 3" in error["message"]
    assert "the setting FOO is not set" in error["message"]
    assert found["state"] == "failing"
    assert "exited with code 3" in found["fault"]
    assert found["errors"] == found["calls"] == 17
    assert found["era"] == "not known yet"
    assert await ready(running, f"dead-{way}") == (503, b"not ready")


@pytest.mark.parametrize("way", ["http", "modern"])
async def test_h1_a_program_that_cannot_be_executed_is_a_failed_start(running, way):
    error = (await initialize(running, f"unusable-{way}", way))["error"]
    assert "cannot start" in error["message"]
    found = await status_of(running, f"unusable-{way}")
    assert found["state"] == "failed"
    assert "cannot start" in found["fault"]
    assert (found["calls"], found["errors"], found["era"]) == (1, 1, "not known yet")
    assert not any("internal_error" in line for line in running.lines)


async def test_h1_the_next_successful_start_clears_the_failure(running):
    assert "there is no database yet" in (await initialize(running, "mended", "http"))["error"]["message"]
    assert (await status_of(running, "mended"))["state"] == "failed"
    (running.place / "there").touch()
    assert "result" in await initialize(running, "mended", "modern")
    found = await status_of(running, "mended")
    assert (found["state"], found["fault"], found["era"]) == ("serving", "", "legacy")
    assert await ready(running, "mended") == (200, b"ready")


async def test_h1_a_header_value_that_ends_the_server_does_not_fail_the_server_for_others(running):
    error = (await modern(running, "brought", **{"x-key": "bad"}))["error"]
    assert "the API key is invalid" in error["message"]
    await wait_for_status(running, "brought", state="idle", fault="")
    assert await ready(running, "brought") == (200, b"ready")
    assert "result" in await modern(running, "brought", **{"x-key": "good"})


async def test_h1_a_crash_in_a_call_is_no_failed_start(running):
    error = (await modern(running, "crash"))["error"]
    assert error["data"]["code"] == 7
    await wait_for_status(running, "crash", state="idle", last_exit="exited with code 7")
    for _ in range(6):
        error = (await modern(running, "crash"))["error"]
    assert "the last time it exited with code 7" in error["message"]
    await wait_for_status(running, "crash", state="failing", fault="the last process exited with code 7")
