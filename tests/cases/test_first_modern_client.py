"""The first modern client of a legacy server waits for one start, because its process is started beside the era probe."""

import os
import sys
from functools import partial

import pytest
import trio

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.runtime import era_probe
from mcpbridged.bridge.runtime.connector import ProcessConnector
from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.validators.limits import Limits

from ..support.daemon_process import daemon
from ..support.first_requests import failing_command, first_responses, modern, status_of

pytestmark = pytest.mark.anyio
REACTIONS = ("refuse", "silent", "exit", "modern")
# Keys of a server, for which there must be one process at a time.
ALONE = {
    "server": {"share": "server"},
    "principal": {"share": "principal"},
    "limit": {"limits": {"processes_per_principal": 1}},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    servers, wanted = {}, []

    def add(name, command, **keys):
        (folder / name).mkdir()
        servers[name] = {"command": command(folder / name), **keys}
        wanted.append((name, "modern"))

    for how in REACTIONS:
        add(f"beside-{how}", lambda place, how=how: failing_command("meet", place, 8, how))
        add(f"lock-{how}", lambda place, how=how: failing_command("lock", place / "lock", how))
        add(f"late-{how}", lambda place, how=how: failing_command("late", place / "lock", how))
        add(f"wait-{how}", lambda place, how=how: failing_command("wait", place / "lock", how))
        for kind, keys in ALONE.items():
            add(
                f"alone-{kind}-{how}",
                lambda place, how=how: failing_command("meet", place, 0.5, how),
                **keys,
            )
    # A package runner by its name only.
    npx = folder / "npx"
    npx.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    npx.chmod(0o700)
    add("runner", lambda place: [str(npx), *failing_command("meet", place, 0.5, "refuse")[1:]])
    add("banner", lambda _: failing_command("banner", 2.5, "refuse"), limits={"ping_seconds": 0.5})
    with daemon(folder, servers) as found:
        found.place = folder
        found.answers = first_responses(found, wanted)
        found.shown = {one["name"]: one for one in found.status()["servers"]}
        yield found


def served(running, server):
    answer = running.answers[server]
    assert "result" in answer, answer
    found = running.shown[server]
    assert (found["state"], found["fault"], found["restarts"]) == ("serving", "", 0)
    assert found["era"] == ("modern" if server.endswith("modern") else "legacy")
    return found


@pytest.mark.parametrize("how", REACTIONS)
def test_h5_the_process_of_the_first_client_is_started_beside_the_era_probe(running, how):
    found = served(running, f"beside-{how}")
    assert (running.place / f"beside-{how}" / "met").exists()
    assert len(found["pids"]) == 1


@pytest.mark.parametrize("how", REACTIONS)
@pytest.mark.parametrize("kind", ["lock", "wait", "late"])
def test_h5_a_server_that_can_run_only_once_at_a_time_is_served(running, kind, how):
    served(running, f"{kind}-{how}")


@pytest.mark.parametrize("how", REACTIONS)
@pytest.mark.parametrize("kind", ALONE)
def test_h5_with_a_limit_of_one_process_the_probe_ends_before_the_process_starts(running, kind, how):
    served(running, f"alone-{kind}-{how}")
    assert not (running.place / f"alone-{kind}-{how}" / "met").exists()


def test_h5_two_processes_do_not_fetch_one_package(running):
    served(running, "runner")
    assert not (running.place / "runner" / "met").exists()


def test_h5_a_banner_before_the_response_starts_no_timeout(running):
    served(running, "banner")


async def test_h5_a_second_client_of_a_known_server_starts_one_process(running):
    before = (await status_of(running, "beside-refuse"))["starts"]
    assert "result" in await modern(running, "beside-refuse")
    assert (await status_of(running, "beside-refuse"))["starts"] <= before + 1


async def test_h5_text_before_the_response_to_the_era_probe_is_no_response(monkeypatch):
    monkeypatch.setattr(era_probe, "AFTER_FIRST_LINE", 0.2, raising=False)
    spawner, poller = Spawner.start(), Poller()
    launch = Launch(tuple(failing_command("banner", 1.5, "modern")), {"PATH": os.environ["PATH"]})
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poller.run)
                connect = partial(ProcessConnector(spawner, poller).connect, ServerConfig("one", launch))
                assert await era_probe.speaks_modern(connect, Limits())
                nursery.cancel_scope.cancel()
    finally:
        spawner.close()
        poller.close()
