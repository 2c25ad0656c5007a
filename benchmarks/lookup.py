"""Measure how long it takes to find the process at the other end of a connection: `python benchmarks/lookup.py`."""

import os
import socket
import sys
import time
from collections.abc import Callable

from mcpbridged.transports import client_process

_ROUNDS = 200


def _measure(what: str, call: Callable[[], object]) -> None:
    call()
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        call()
    sys.stdout.write(f"{what}: {(time.perf_counter() - began) / _ROUNDS * 1e6:.0f} us\n")


def main() -> None:
    """Print the time of each way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        inode, pid = os.fstat(client.fileno()).st_ino, os.getpid()
        pids = list(client_process._own_pids())  # noqa: SLF001 - what is measured
        sys.stdout.write(f"{len(pids)} processes of this user\n")
        _measure("uid and inode of the other end (TCP)", lambda: client_process._inode_of_far_end(server))  # noqa: SLF001 - likewise
        _measure("its process, found before", lambda: _closed(client_process._find_owner(inode, [pid])))  # noqa: SLF001 - likewise
        _measure("its process, among all", lambda: _closed(client_process._find_owner(inode, [])))  # noqa: SLF001 - likewise
        left, right = socket.socketpair(socket.AF_UNIX)
        _measure("the process of a Unix socket", lambda: client_process._of_unix_socket(left))  # noqa: SLF001 - likewise
        for sock in (client, server, left, right):
            sock.close()


def _closed(found: tuple[int, int] | None) -> None:
    if found is not None:
        os.close(found[1])


if __name__ == "__main__":
    main()
