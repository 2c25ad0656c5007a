"""No process of a server survives its keeper, the fork server or the daemon, whichever of them the server stops or kills."""

import os
import signal

import pytest

from ..support.processes import SERVERS, Host, is_alive
from ..support.waiting import wait_until_empty

STOP, KILL = signal.SIGSTOP, signal.SIGKILL


def send_signals(host, signals):
    for victim, number in signals:
        os.kill(getattr(host, victim), number)


def of_server(host):
    return [pid for pid in host.left() if pid not in (host.fork_server, host.keeper)]


@pytest.mark.parametrize("kind", ["unbound", "bomb"])
@pytest.mark.parametrize(
    "signals",
    [
        [("keeper", KILL)],
        [("keeper", signal.SIGHUP)],
        [("fork_server", KILL), ("keeper", KILL)],
        [("keeper", STOP), ("keeper", KILL)],
    ],
    ids=["keeper", "keeper hung up", "both", "stopped keeper"],
)
def test_r13_processes_of_a_killed_keeper_are_killed_while_the_daemon_runs(kind, signals):
    with Host(kind) as host:
        send_signals(host, signals)
        assert wait_until_empty(lambda: of_server(host)) == []
        assert "pid" in host.command("start")


@pytest.mark.parametrize("kind", ["daemonised", "bomb"])
@pytest.mark.parametrize(
    "signals",
    [
        [("keeper", STOP)],
        [("fork_server", STOP)],
        [("fork_server", STOP), ("keeper", STOP)],
        [("fork_server", STOP), ("keeper", KILL)],
        [("fork_server", KILL), ("keeper", STOP)],
    ],
    ids=["keeper", "fork server", "both", "keeper killed", "fork server killed"],
)
def test_r13_no_process_survives_a_killed_daemon(kind, signals):
    with Host(kind) as host:
        send_signals(host, signals)
        host.process.kill()
        assert wait_until_empty(host.left) == []


@pytest.mark.parametrize("kind", sorted(SERVERS))
def test_r13_no_process_of_any_kind_of_server_survives_a_killed_daemon(kind):
    with Host(kind) as host:
        host.process.kill()
        assert wait_until_empty(host.left) == []


@pytest.mark.parametrize(
    "signals",
    [
        [("keeper", STOP)],
        [("fork_server", STOP), ("keeper", STOP)],
        [("fork_server", STOP), ("keeper", KILL)],
        [("fork_server", KILL), ("keeper", STOP)],
    ],
    ids=["keeper", "both", "keeper killed", "fork server killed"],
)
def test_r13_a_server_is_ended_although_its_keeper_or_the_fork_server_is_stopped(signals):
    with Host("daemonised") as host:
        send_signals(host, signals)
        host.command("stop")
        assert wait_until_empty(lambda: of_server(host)) == []


@pytest.mark.parametrize("number", [STOP, KILL], ids=["stopped", "killed"])
def test_r13_other_servers_can_be_started_without_the_fork_server(number):
    with Host("daemonised") as host:
        os.kill(host.fork_server, number)
        if number == KILL:
            assert not wait_until_empty(lambda: is_alive(host.fork_server))
        assert is_alive(host.command("start")["pid"])
        assert is_alive(host.server)


def test_r13_a_fork_server_that_is_stopped_for_good_is_replaced():
    # A tracer can hold the fork server. For the daemon that is the same as a fork server that is stopped again at once.
    with Host("daemonised") as host:
        stopping = os.fork()
        if stopping == 0:
            # When the fork server is replaced, this process must not go on with the test and take its answer.
            try:
                while True:
                    os.kill(host.fork_server, STOP)
            finally:
                os._exit(0)
        try:
            answer = host.command("start")
        finally:
            os.kill(stopping, KILL)
            os.waitpid(stopping, 0)
        assert is_alive(answer["pid"]), answer


def test_r13_a_keeper_that_is_stopped_again_and_again_is_killed():
    with Host("daemonised") as host:
        try:
            for _ in range(100_000):
                os.kill(host.keeper, STOP)
        except ProcessLookupError:
            pass
        assert wait_until_empty(lambda: of_server(host)) == []
