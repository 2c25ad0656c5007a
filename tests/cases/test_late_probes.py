"""A server that answers the probe of its era late is served, and is spoken to in its own era as soon as it has answered."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from ..support.daemon_clients import stateless_request
from ..support.daemon_process import Daemon, write_config
from ..support.first_requests import modern
from ..support.handshake import initialize_params
from ..support.scripted_servers import Pair, client
from ..support.sharing import TRANSPORTS
from ..support.stateless_requests import tool
from ..support.waiting import wait_until, wait_until_async

pytestmark = pytest.mark.anyio
SCRIPT = Path(__file__).parent.parent / "support/servers/late.py"
SHARES = ("principal", "server")


def late(**options):
    """Return the command of servers/late.py."""
    return [sys.executable, "-I", "-S", str(SCRIPT), json.dumps(options)]


def text_of(response):
    return response["result"]["content"][0]["text"]


@contextlib.contextmanager
def late_url(**options):
    with subprocess.Popen(late(url=True, **options), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def servers(folder, url):
    found = {f"own {time}": late(discover=time) for time in (1, 3, 10, 13)}
    found |= {
        "own quick": late(discover=0.1),
        "own both": late(discover=4, initialize=1),
        "own start": late(start=5, discover=2),
        "own noise": late(discover=3, noise=True),
        "own stopped": late(stop=str(folder / "stopped")),
        "own legacy": late(eras="legacy"),
        "own modern": late(eras="modern", discover=3),
    }
    # Their clients use these transports.
    found |= {f"carried {transport}": late(discover=3) for transport in "WP"}
    # For a client of the handshake revisions.
    found |= {f"refused {way}": late(eras="modern", discover=3) for way in TRANSPORTS}
    found |= {f"shared {share}": late(discover=3) for share in SHARES}
    found |= {name: late(discover=3) for name in ("aggregated", "alone")}
    found["legacy shared"] = late(eras="legacy")
    # A further argument, because facts are stored by command.
    tables = {name.replace(" ", "-"): {"command": [*command, name]} for name, command in found.items()}
    for share in SHARES:
        tables[f"shared-{share}"]["share"] = share
    tables["legacy-shared"]["share"] = "server"
    tables["alone"]["limits"] = {"processes_per_principal": 1}
    tables["remote"] = {"url": url}
    return tables


class Runs:
    """What the clients of two daemons, one after the other, received of each server, and what was stored of the eras."""

    def __init__(self, folder):
        self.folder = folder
        # By server for each daemon: the first response, and the era in which the last call was made.
        self.first = ({}, {})
        self.last = ({}, {})
        self.shown = [{}, {}]
        self.stored = []

    @property
    def facts(self):
        file = self.folder / "run/state/mcp-bridge/eras.json"
        return json.loads(file.read_text())["facts"].values() if file.exists() else []


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("late")
    found = Runs(folder)
    with late_url(discover=3) as url:
        tables = servers(folder, url)
        write_config(folder / "config.toml", tables, aggregate={"servers": ["aggregated"]})
        for number in range(2):
            with Daemon(folder) as running:
                trio.run(use_all, found, number, running, tables)
                wait_until(lambda: len(found.facts) >= len(tables))
                found.shown[number] = {one["name"]: one for one in running.status()["servers"]}
                found.stored.append(list(found.facts))
    return found


async def use_all(found, number, running, tables):
    async def use(name, call):
        answer = await call()
        found.first[number][name] = answer
        if "legacy" in name:
            return

        async def is_modern():
            found.last[number][name] = text_of(await call())
            return found.last[number][name] == "modern"

        with contextlib.suppress(trio.TooSlowError):
            await wait_until_async(is_modern, 40)

    async def carried(name, transport):
        with client(running, Pair("modern", transport, name)) as one:
            ids = iter(range(1, 1000))

            async def call():
                id_ = b"%d" % next(ids)
                return await trio.to_thread.run_sync(one.exchange_json, one.tool(id_, "x"), id_)

            await use(name, call)

    async def refused(name, way):
        async with TRANSPORTS[way](running, f"/servers/{name}") as one:
            found.first[number][name] = await one.request("initialize", initialize_params(name="late"))

    async def resume():
        file = found.folder / "stopped"
        await wait_until_async(trio.Path(file).exists)
        await trio.sleep(3)
        while True:
            await trio.sleep(0.2)
            for pid in file.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGCONT)

    async with trio.open_nursery() as resuming:
        resuming.start_soon(resume)
        async with trio.open_nursery() as nursery:
            for name in tables:
                kind, _, way = name.partition("-")
                if kind == "aggregated":
                    continue
                if kind == "carried":
                    nursery.start_soon(carried, name, way)
                elif kind == "refused":
                    nursery.start_soon(refused, name, way)
                else:
                    nursery.start_soon(use, name, lambda name=name: modern(running, name))
            nursery.start_soon(use, "aggregate", lambda: aggregated(running))
        resuming.cancel_scope.cancel()


async def aggregated(running):
    _, response = await stateless_request(running, "/mcp", "tools/call", tool("aggregated__x"))
    return response


# "aggregated" is used through the aggregate.
NAMES = [*(name for name in servers(Path(), "") if name != "aggregated"), "aggregate"]
MODERN = [name for name in NAMES if "legacy" not in name and "refused" not in name]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_a_late_answer_causes_no_error(runs, name, number):
    assert "result" in runs.first[number][name], runs.first[number][name]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", MODERN)
def test_a_server_that_answers_late_is_spoken_to_in_its_era(runs, name, number):
    assert runs.last[number][name] == "modern"


@pytest.mark.parametrize("name", ["own-quick", "alone", "shared-principal", "shared-server"])
def test_the_first_request_waits_where_no_other_process_may_run_beside_the_probe(runs, name):
    assert text_of(runs.first[0][name]) == "modern"


@pytest.mark.parametrize("name", ["own-legacy", "legacy-shared"])
def test_a_legacy_server_that_does_not_answer_is_served(runs, name):
    assert text_of(runs.first[0][name]) == "legacy"
    assert runs.shown[0][name]["era"] == "legacy"


def test_silence_is_never_stored_as_a_fact(runs):
    for facts in runs.stored:
        assert len(facts) >= len(NAMES) - 1
        assert [fact for fact in facts if fact["modern"] is False] == []
