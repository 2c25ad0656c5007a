"""Which starts are refused, and what the refusal contains."""

import pytest
import trio

from mcpbridged.bridge.core.client_environment import ClientEnvironment
from mcpbridged.bridge.runtime.circuit_breakers import CircuitBreakers
from mcpbridged.bridge.runtime.pinning import PinMismatch
from mcpbridged.bridge.runtime.start_checks import CodeInDirectory, NotResolved
from mcpbridged.transports.options import Directory, SpawnFailed
from mcpbridged.validators.rejection import Rejection

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("autojump_clock")]
HEADER = ClientEnvironment((("KEY", "x"),))


class ServerLog:
    """The log of a server and its history. `failures` has the last failure by principal."""

    def __init__(self):
        self.history = self
        self.failures = {}
        self.not_started_because = []
        self.faults = []

    def last_failure(self, principal):
        return self.failures.get(principal, "")

    def on_not_started(self, reason):
        self.not_started_because.append(reason)

    def on_start_failed(self, fault):
        self.faults.append(fault.reason)


def fail(breaker, times=5):
    for _ in range(times):
        breaker.on_failure(trio.current_time())


def refusal(breakers, principal="alice", environment=HEADER):
    with pytest.raises(Rejection) as caught:
        breakers.check(principal, environment)
    return caught.value


async def test_a_bad_header_value_of_one_client_does_not_block_the_others():
    breakers = CircuitBreakers(ServerLog())
    fail(breakers.find("alice", HEADER))
    assert refusal(breakers).status == 503
    breakers.check("alice")
    breakers.check("bob", HEADER)
    assert not breakers.tripped
    assert breakers.open_count == 1


async def test_starts_without_variables_share_a_breaker():
    breakers = CircuitBreakers(ServerLog())
    fail(breakers.find("alice"))
    assert breakers.tripped
    with pytest.raises(Rejection):
        breakers.check("bob")
    breakers.check("bob", HEADER)


async def test_a_refusal_has_the_time_of_the_next_start_in_whole_seconds():
    breakers = CircuitBreakers(ServerLog())
    fail(breakers.find("alice", HEADER))
    await trio.sleep(9.5)
    rejection = refusal(breakers)
    assert rejection.headers == ((b"Retry-After", b"51"),)
    assert rejection.data == {"reason": "restarts", "retry_after": 51}


async def test_the_last_failure_is_shown_to_its_principal_only():
    log = ServerLog()
    log.failures["alice"] = "exited with code 3"
    breakers = CircuitBreakers(log)
    for principal in ("alice", "bob"):
        fail(breakers.find(principal, HEADER))
    assert refusal(breakers).text.endswith("; the last time it exited with code 3")
    assert "code 3" not in refusal(breakers, "bob").text


async def test_a_breaker_that_counts_no_exit_is_removed():
    breakers = CircuitBreakers(ServerLog())
    breaker = breakers.find("alice", HEADER)
    fail(breaker, 1)
    breakers.on_tick(59.9)
    assert breakers.find("alice", HEADER) is breaker
    breakers.on_tick(60)
    assert breakers.find("alice", HEADER) is not breaker


async def test_a_reset_drops_every_exit():
    breakers = CircuitBreakers(ServerLog())
    fail(breakers.find("alice"))
    fail(breakers.find("alice", HEADER))
    breakers.reset()
    breakers.check("alice")
    breakers.check("alice", HEADER)


async def test_a_program_that_was_executed_in_vain_counts():
    log = ServerLog()
    breakers = CircuitBreakers(log)
    for _ in range(5):
        breakers.not_started(SpawnFailed("no such file"), breakers.find("alice"))
    assert breakers.tripped
    assert log.faults == ["was not started: no such file"] * 5


@pytest.mark.parametrize("kind", [PinMismatch, NotResolved])
async def test_a_program_that_was_not_executed_does_not_count(kind):
    log = ServerLog()
    breakers = CircuitBreakers(log)
    breaker = breakers.find("alice")
    for _ in range(5):
        breakers.not_started(kind("changed"), breaker)
    assert breaker.is_closed(0)
    assert (log.not_started_because, log.faults) == (["changed"] * 5, [])


async def test_the_refusal_of_a_remote_server_names_its_last_failure():
    log = ServerLog()
    log.failures["alice"] = "cannot be reached: x"
    breakers = CircuitBreakers(log, remote=True)
    fail(breakers.find("alice", HEADER))
    assert refusal(breakers).text == (
        "the server could not be used 5 times within 60 s; the next attempt is in 60 s; the server cannot be reached: x"
    )


async def test_a_project_with_which_a_server_exits_does_not_block_the_others():
    breakers = CircuitBreakers(ServerLog())
    one, two = (ClientEnvironment(directory=Directory(path, 1, 2)) for path in ("/one", "/two"))
    fail(breakers.find("alice", one))
    assert refusal(breakers, environment=one).status == 503
    for principal, environment in (
        ("alice", two),
        ("bob", one),
        ("alice", HEADER),
        ("alice", ClientEnvironment()),
    ):
        breakers.check(principal, environment)
    assert not breakers.tripped


async def test_the_breakers_of_directories_are_bounded():
    breakers = CircuitBreakers(ServerLog())
    for number in range(2000):
        fail(breakers.find("alice", ClientEnvironment(directory=Directory(f"/{number}", 1, number))))
    assert len(breakers._of_principals) == 1024
    breakers.check("alice", ClientEnvironment(directory=Directory("/0", 1, 0)))
    assert (
        refusal(breakers, environment=ClientEnvironment(directory=Directory("/1999", 1, 1999))).status == 503
    )


async def test_a_file_in_the_directory_of_a_client_counts_as_no_failure_of_the_server():
    log = ServerLog()
    breakers = CircuitBreakers(log)
    breakers.not_started(CodeInDirectory("a file"), breakers.find("alice"))
    assert (log.not_started_because, log.faults) == (["a file"], [])
    assert breakers.find("alice").is_closed(trio.current_time())
