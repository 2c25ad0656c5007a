"""Isolation of clients on one legacy process: every answer, progress, log line, update and list change at its own client only.

`ISOLATION_CALLS` is the number of calls of all sessions in all four tests; `make isolation` runs 10,000.
"""

import os
import sys
from pathlib import Path

import pytest

from ..support.daemon_process import Daemon, daemon, write_config
from ..support.disorderly import SERVER, isolation, parties
from ..support.planted import FAULTS

pytestmark = pytest.mark.anyio

CALLS = int(os.environ.get("ISOLATION_CALLS", "600"))
# How many sessions, how many stateless clients beside them, and the value of `share`.
GROUPS = ((4, 2, "server"), (8, 2, "principal"), (16, 3, "server"), (32, 4, "principal"))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    servers = {f"of{count}": {"command": [*SERVER, str(count)], "share": share} for count, _, share in GROUPS}
    servers["own"] = {"command": [*SERVER, "0"], "share": "client"}
    with daemon(tmp_path_factory.mktemp("isolation"), servers) as found:
        yield found


@pytest.mark.parametrize(("count", "beside", "share"), GROUPS)
async def test_every_message_of_a_shared_process_reaches_its_own_client_only(running, count, beside, share):
    everyone = parties(count, beside)
    mistakes, finished, processes = await isolation(running, f"of{count}", everyone, CALLS // len(GROUPS))
    assert not mistakes, mistakes[:5]
    assert finished >= CALLS // len(GROUPS)
    assert processes == 1


async def test_every_message_of_processes_of_a_client_reaches_its_own_client_only(running):
    everyone = parties(4, 2, shared=False)
    mistakes, _, processes = await isolation(running, "own", everyone, CALLS // len(GROUPS))
    assert not mistakes, mistakes[:5]
    assert processes > 1


PLANTED = str(Path(__file__).parents[1] / "support/planted.py")


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_found(tmp_path, fault):
    write_config(tmp_path / "config.toml", {"faulty": {"command": [*SERVER, "1"], "share": "server"}})
    with Daemon(tmp_path, within=[sys.executable, PLANTED, fault]) as running:
        mistakes, _, _ = await isolation(running, "faulty", parties(6, 0), 200, patience=0.5)
    assert any(FAULTS[fault] in mistake for mistake in mistakes), mistakes[:5]
