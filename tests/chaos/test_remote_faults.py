"""Calls to a remote server through a proxy that breaks exchanges. Each call ends in its answer or one error, and is executed at most once.

REMOTE_CALLS is the number of calls of each test (the default keeps CI short), CHAOS_SEED the seed of the random numbers.
REMOTE_SUBJECT is what makes the calls: "connect" (the default), "sdk" (the client of the official Python SDK alone) or
"mcp-remote" (a peer, if tests/remote/install.sh has installed it).
"""

import os
import random
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from ..support.bridge_process import PROGRAM, REPOSITORY
from ..support.daemon_process import Daemon, write_config
from ..support.fault_proxy import Fault, FaultProxy
from ..support.journaled_calls import StdioClient, judge

pytestmark = pytest.mark.anyio
CALLS = int(os.environ.get("REMOTE_CALLS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", str(time.time_ns())))
SUBJECT = os.environ.get("REMOTE_SUBJECT", "connect")
SERVERS = REPOSITORY / "tests/support/servers"
MCP_REMOTE = REPOSITORY / ".deps/remote/node/node_modules/mcp-remote/dist/proxy.js"
AT_ONCE = 8
# The era of the client, and the options of the server.
VARIANTS = {
    "handshake, event streams": ("legacy", ()),
    "handshake, JSON": ("legacy", ("json",)),
    "handshake, resumable streams": ("legacy", ("resumable",)),
    "2026-07-28, event streams": ("modern", ()),
    "2026-07-28, JSON": ("modern", ("json",)),
}
HOWS = ("reset", "close", "half-close", "end")


def command(url, era, subject=SUBJECT, planted=()):
    if subject == "sdk":
        mode = "auto" if era == "modern" else "legacy"
        return [sys.executable, str(SERVERS / "sdk_over_stdio.py"), mode, url, *planted]
    if subject == "mcp-remote":
        protocol = "auto" if era == "modern" else "legacy"
        words = ["--transport", "http-only", "--allow-http", "--protocol", protocol]
        return ["node", str(MCP_REMOTE), url, *words]
    return [str(PROGRAM), "connect", url]


@attrs.define
class FaultChooser:
    """Chooses the fault of each request."""

    dice: random.Random
    # Share of the requests that get a fault.
    share: float = 0
    # The faults to choose from; None are all.
    kinds: tuple[str, ...] | None = None

    def fault(self, request):
        if self.dice.random() >= self.share:
            return Fault()
        kind = self.dice.choice(self.kinds or self._kinds(request.rpc_method))
        return Fault(
            kind,
            how=self.dice.choice(HOWS[: 4 if kind in ("cut body", "cut events") else 3]),
            share=self.dice.random(),
            events=self.dice.choice([1, 2]),
            status=self.dice.choice([502, 503] if kind == "refuse" else [500, 502, 503, 504]),
            seconds=self.dice.uniform(0.001, 0.1),
        )

    @staticmethod
    def _kinds(method):
        kinds = (
            "cut before",
            "refuse",
            "cut after",
            "cut head",
            "cut body",
            "cut events",
            "replace",
            "cut idle",
        )
        delays = ("delay request", "delay answer")
        return (*kinds, *delays, "forget") if method == "tools/call" else (*kinds, *delays)


@asynccontextmanager
async def counting_server(journal, options):
    """Run the server. Yield its port."""
    process = await trio.lowlevel.open_process(
        [sys.executable, str(SERVERS / "counting_http.py"), str(journal), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(60):
            port = int(await process.stdout.receive_some())
        yield port
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()


@asynccontextmanager
async def world(tmp_path, variant, faults, subject=SUBJECT, planted=()):
    """Run a server, the proxy, and a client that has opened its session. Yield the client and the proxy."""
    era, options = VARIANTS[variant]
    (tmp_path / "journal").touch()
    async with counting_server(tmp_path / "journal", options) as port, trio.open_nursery() as nursery:
        proxy = FaultProxy(port, faults.fault)
        await nursery.start(proxy.run)
        client = StdioClient(era, faults.dice)
        places = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
        environment = {**os.environ, **places, "MCP_REMOTE_CONFIG_DIR": str(tmp_path)}
        url = f"http://127.0.0.1:{proxy.port}/mcp"
        line = command(url, era, subject, planted)
        if subject == "daemon":
            write_config(tmp_path / "config.toml", {"remote": {"url": url}})
            daemon = Daemon(tmp_path)
            await trio.to_thread.run_sync(daemon.__enter__)
            environment = daemon.variables
            line = [str(PROGRAM), "connect", "remote", "--config", str(daemon.config)]
        with (tmp_path / "stderr").open("wb") as log:
            await nursery.start(client.run, line, environment, log)
            with trio.fail_after(60):
                opened = await client.open_session()
            assert "result" in opened, opened
            yield client, proxy
            if subject == "daemon":
                await trio.to_thread.run_sync(daemon.__exit__, None, None, None)
            nursery.cancel_scope.cancel()


async def calls_in(tmp_path, variant, faults, share, calls=CALLS, **options):
    """Make calls with faults, then some without. Return the verdict."""
    async with world(tmp_path, variant, faults, **options) as (client, proxy):
        faults.share = share
        for first in range(0, calls, 100):
            await client.make_calls(first, min(100, calls - first), AT_ONCE)
            if share and faults.kinds is None:
                proxy.refuse_connections(faults.dice.uniform(0.05, 0.3))
        faults.share = 0
        # A session that was lost is replaced, and the last calls find a good one.
        await client.make_calls(calls, AT_ONCE, AT_ONCE)
        await client.make_calls(calls + AT_ONCE, 10, AT_ONCE)
        assert not client.ended, (tmp_path / "stderr").read_text()[-2000:]
        verdict = judge(client, tmp_path / "journal")
        last = [client.calls[key] for key in list(client.calls)[-10:]]
        if not all("result" in call.answers[0] for call in last if call.answers):
            verdict.findings["no recovery"] = str([call.answers for call in last])[:600]
    print(f"\n{variant}, seed {SEED}: {dict(proxy.faults)}\n{verdict}")
    return verdict


# ---- the check itself


async def test_without_faults_every_call_has_its_result(tmp_path):
    faults = FaultChooser(random.Random(SEED))
    verdict = await calls_in(tmp_path, "handshake, event streams", faults, 0, 40, subject="sdk")
    assert not verdict.findings
    assert set(verdict.outcomes) == {"result"}


PLANTED = {
    "repeat": "executed twice",
    "lose": "no answer",
    "double": "answered twice",
    "swap": "a wrong answer",
    "half": "a strange line",
    "silent": "an error without a reason",
}


@pytest.mark.parametrize("planted", PLANTED)
async def test_the_check_finds_a_planted_fault(planted, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.journaled_calls._PATIENCE", 2)
    faults = FaultChooser(random.Random(SEED))
    options = {"subject": "sdk", "planted": (planted,)}
    verdict = await calls_in(tmp_path, "handshake, JSON", faults, 0, 40, **options)
    assert PLANTED[planted] in verdict.findings, verdict
    assert set(verdict.findings) <= {PLANTED[planted], "no recovery"}, verdict


# ---- the client module


@pytest.mark.parametrize("variant", VARIANTS)
async def test_each_call_ends_once_whatever_breaks(variant, tmp_path):
    verdict = await calls_in(tmp_path, variant, FaultChooser(random.Random(SEED)), 0.15)
    assert not verdict.findings, verdict
    assert verdict.outcomes["result"] > CALLS / 2


@pytest.mark.parametrize("variant", ["handshake, resumable streams", "2026-07-28, event streams"])
async def test_each_call_through_a_daemon_ends_once_whatever_breaks(variant, tmp_path):
    verdict = await calls_in(tmp_path, variant, FaultChooser(random.Random(SEED)), 0.15, subject="daemon")
    assert not verdict.findings, verdict
    assert verdict.outcomes["result"] > CALLS / 2
