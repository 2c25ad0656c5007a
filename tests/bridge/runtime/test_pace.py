"""When a process is read, and how long its time limits stand still."""

import pytest
import trio
import trio.testing

from mcpbridged.bridge.core.attribution import Client
from mcpbridged.bridge.core.requests import ClientRequest
from mcpbridged.bridge.runtime.pace import SessionProcess, StatelessProcess
from mcpbridged.transports.send_queue import Backlog, SendQueue
from mcpbridged.validators.jsonrpc import Request
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.stateless_request import read_envelope

pytestmark = pytest.mark.anyio
LIMITS = Limits(pause_bytes=1024)
META = (
    b'{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientCapabilities":{}}}'
)


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Child:
    """A process that records how it is read."""

    def __init__(self):
        self.paused = False
        self.stopped = False
        self.killed = False

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def stop(self):
        self.stopped = True

    def kill(self):
        self.killed = True


class Requests:
    def __init__(self, *queues):
        self.queues = set(queues)


def request(queue, key="p\nname\n", *, known=True):
    message = Request(b"1", "tools/list", META)
    envelope = read_envelope(message.method, message.params, LIMITS)
    return ClientRequest("p", message, envelope, None, queue, pipe=False, client=Client(key, known))


def session_process():
    backlog = Backlog(LIMITS)
    process = SessionProcess(backlog)
    process.child = Child()
    return process, backlog, process.child


def stateless_process(*names):
    """Return a process with a queue for each client of these names, bound to the backlog of its client."""
    queues = [SendQueue(LIMITS) for _ in names]
    process = StatelessProcess(LIMITS, Requests(*queues))
    process.child = Child()
    for queue, name in zip(queues, names, strict=True):
        process.bind(request(queue, f"p\n{name}\n"))
    return process, queues, process.child


async def test_a_session_pauses_its_process_while_its_client_is_behind(anyio_backend):
    process, backlog, child = session_process()
    backlog.add(2000)
    assert child.paused
    before = process.time(trio.current_time())
    await trio.sleep(10)
    assert process.time(trio.current_time()) == before
    backlog.remove(2000)
    assert not child.paused
    await trio.sleep(1)
    assert process.time(trio.current_time()) == before + 1


async def test_a_process_that_is_to_be_stopped_is_read_however_much_is_unsent(anyio_backend):
    process, backlog, child = session_process()
    backlog.add(2000)
    process.read_on()
    assert not child.paused
    backlog.remove(2000)
    backlog.add(2000)
    assert not child.paused


async def test_the_time_limits_count_again_after_the_exit_of_a_paused_process(anyio_backend):
    process, backlog, _child = session_process()
    backlog.add(2000)
    before = process.time(trio.current_time())
    process.on_exit()
    await trio.sleep(5)
    assert process.time(trio.current_time()) == before + 5


async def test_a_closed_session_stops_its_process_and_watches_its_client_no_more(anyio_backend):
    process, backlog, child = session_process()
    process.close()
    assert child.stopped
    backlog.add(2000)
    assert not child.paused


@pytest.mark.parametrize("kill", [False, True])
async def test_a_discarded_process_is_stopped_or_killed_and_is_not_the_current_one(anyio_backend, kill):
    process, backlog, child = session_process()
    process.discard(kill=kill)
    assert (child.stopped, child.killed) == (not kill, kill)
    assert process.child is None
    # Without a process there is no process to pause or to stop.
    process.discard()
    process.stop()
    backlog.add(2000)
    assert not child.paused


async def test_a_process_with_a_single_client_that_is_behind_is_paused(anyio_backend):
    process, (queue, other), child = stateless_process("a", "a")
    assert queue.backlog is other.backlog
    queue.backlog.add(2000)
    assert not child.paused
    process.on_full(queue.backlog)
    assert child.paused
    process.on_full(queue.backlog)
    queue.backlog.remove(2000)
    assert not child.paused
    assert not process.behind


async def test_a_process_is_read_for_a_second_client(anyio_backend):
    process, (queue, _other), child = stateless_process("a", "b")
    queue.backlog.add(2000)
    process.on_full(queue.backlog)
    assert not child.paused
    process._requests.queues = {queue}
    process.update()
    assert child.paused
    # A queue that is no send queue is another client.
    process._requests.queues = {queue, object()}
    process.update()
    assert not child.paused


async def test_a_cancellation_of_a_client_that_is_behind_lets_the_process_be_read(anyio_backend):
    process, (queue,), child = stateless_process("a")
    queue.backlog.add(2000)
    process.on_full(queue.backlog)
    process.extend(object())
    process.extend(SendQueue(LIMITS))
    assert child.paused
    process.extend(queue)
    assert not child.paused


async def test_streams_of_clients_that_may_be_several_programs_are_counted_by_themselves(anyio_backend):
    process, _queues, _child = stateless_process()
    for key, known in (("p\nname\n", False), ("", True), ("p", True)):
        queue = SendQueue(LIMITS)
        process.bind(request(queue, key, known=known))
        assert queue.backlog is None
    process.bind(request(object()))
    bound = SendQueue(LIMITS)
    bound.bind(Backlog(LIMITS))
    before = bound.backlog
    process.bind(request(bound))
    assert bound.backlog is before


async def test_only_backlogs_with_unsent_bytes_are_kept(anyio_backend):
    process, (queue, idle), _child = stateless_process("a", "b")
    queue.backlog.add(10)
    process.drop_idle()
    again = [SendQueue(LIMITS), SendQueue(LIMITS)]
    for one, name in zip(again, ("a", "b"), strict=True):
        process.bind(request(one, f"p\n{name}\n"))
    assert again[0].backlog is queue.backlog
    assert again[1].backlog is not idle.backlog


async def test_a_closed_process_of_several_clients_watches_none_of_them(anyio_backend):
    process, (queue,), child = stateless_process("a")
    queue.backlog.add(2000)
    process.on_full(queue.backlog)
    process.close()
    assert child.stopped
    assert not child.paused
    assert not process.behind
    assert not queue.backlog._watchers
