"""Attribute the requests of a legacy server to client processes with equal `clientInfo` and the same token.

A1: no server request reaches another client. A2, A3: calls that cause server requests run concurrently.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.daemon_process import daemon

HERE = Path(__file__).parents[1] / "support"
SERVER = [sys.executable, "-I", "-S", str(HERE / "servers/concurrent_elicitation.py")]
CALLS = int(os.environ.get("ATTRIBUTION_CALLS", "25"))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    servers = {"one": {"command": SERVER}, "two": {"command": SERVER, "share": "principal"}}
    with daemon(tmp_path_factory.mktemp("attribution"), servers, aggregate={"servers": ["one"]}) as found:
        yield found


def start(running, transport, server, name, seed, tool="work"):
    url = running.url(server, "ws" if transport == "ws" else "mcp")
    words = [transport, url, running.token, name, str(CALLS), str(seed), tool]
    return subprocess.Popen(
        [sys.executable, str(HERE / "concurrent_client.py"), *words], stdout=subprocess.PIPE
    )


def counts_of(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(output)


@pytest.mark.parametrize("transports", [("http", "http"), ("ws", "ws"), ("http", "ws")])
def test_a1_a2_a3_no_server_request_reaches_another_process_and_none_is_refused(running, transports):
    clients = [
        start(running, transport, "one", f"client{number}", number)
        for number, transport in enumerate(transports)
    ]
    for counts in map(counts_of, clients):
        assert (counts["wrong"], counts["mixed"], counts["refused"]) == (0, 0, 0), counts
        assert counts["finished"] + counts["cancelled"] + counts["abandoned"] == CALLS


@pytest.mark.parametrize("transports", [("http", "http"), ("ws", "ws"), ("http", "ws")])
def test_a1_on_a_shared_process_an_ambiguous_server_request_is_refused(running, transports):
    clients = [
        start(running, transport, "two", f"client{number}", number)
        for number, transport in enumerate(transports)
    ]
    found = [counts_of(client) for client in clients]
    assert [(counts["wrong"], counts["mixed"]) for counts in found] == [(0, 0), (0, 0)], found
