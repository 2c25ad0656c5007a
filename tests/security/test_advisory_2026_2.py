"""MCPB-2026-2: connections without a credential took all places, so that no client with a credential was served."""

import contextlib
import socket

from ..support.bridge_process import EXAMPLE
from ..support.credential_client import Target, bearer
from ..support.daemon_process import daemon

# The daemon has 256 places for connections without a credential.
CONNECTIONS = 300


def test_a_client_with_a_token_is_served_beside_silent_connections(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as running, contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(running.address, timeout=20))
        for _ in range(3):
            assert Target(running.address).initialize("one", bearer(running.token)).status == 200
