"""Messages to a service manager that is a socket of the test."""

import os
import socket

import pytest

from mcpbridged.bridge.daemon.sd_notify import Notifier


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def lines(sock):
    return sock.recv(4096).decode().split("\n")


def test_each_state_is_one_message(manager):
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready("serving")
    assert lines(manager) == ["READY=1", "STATUS=serving"]
    notifier.reloading()
    state, at = lines(manager)
    assert (state, at.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    assert at.partition("=")[2].isdecimal()
    notifier.stopping()
    assert lines(manager)[0] == "STOPPING=1"
    notifier.status("x")
    assert lines(manager) == ["STATUS=x"]
    notifier.alive()
    assert lines(manager) == ["WATCHDOG=1"]


def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0mcp-bridge-test-{os.getpid()}")
        sock.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@mcp-bridge-test-{os.getpid()}"}).alive()
        assert lines(sock) == ["WATCHDOG=1"]


def test_a_manager_that_is_gone_is_no_error(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "missing")}).alive()
    Notifier({}).alive()


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "x"}, 0),
    ],
)
def test_the_watchdog_is_that_of_this_process(variables, seconds):
    assert Notifier(variables).watchdog_seconds == seconds
