"""MCPB-2026-1: a log message before the response to `initialize` held the event loop of the daemon for all clients."""

import sys
import time
from pathlib import Path

import pytest

from ..support.credential_client import Target, bearer
from ..support.daemon_process import daemon

SERVER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("advisory_server.py")), "early-log"]


@pytest.mark.parametrize("share", ["session", "server"])
def test_a_log_message_before_the_handshake_holds_nobody(tmp_path, share):
    with daemon(tmp_path, {"one": {"command": SERVER, "share": share}}) as running:
        target = Target(running.address)
        for _ in range(3):
            assert target.initialize("one", bearer(running.token)).status == 200
            began = time.monotonic()
            assert target.exchange("GET", "/healthz").status == 200
            # It answers within a millisecond; while the loop was held it never did.
            assert time.monotonic() - began < 5
