"""Stateless clients and a process of their own, without a process and without a server."""

import gc
import json
import weakref

import pytest

from mcpbridged.bridge.core.attribution import Client
from mcpbridged.bridge.core.multiplexer import Multiplexer
from mcpbridged.bridge.core.request_state import StateSigner
from mcpbridged.bridge.core.requests import ClientRequest
from mcpbridged.bridge.eras.legacy_adapter import LegacyAdapter
from mcpbridged.bridge.eras.rules_legacy_to_modern import Profile
from mcpbridged.bridge.runtime.multiplexed_process import MultiplexedProcess
from mcpbridged.transports.send_queue import CLOSED, DISCONNECTED, OPEN, SendQueue
from mcpbridged.transports.server_io import ChildBusy, ignore
from mcpbridged.validators.jsonrpc import Notification, Request
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.stateless_request import read_envelope
from tests.support.owned_process import OPENED, Child, Log, sent

pytestmark = pytest.mark.anyio
LIMITS = Limits(pause_bytes=1024)
PARAMS = (
    b'{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientCapabilities":{}}}'
)


class Hooks:
    """What the process requests of its server (multiplexed_process.MultiplexerHooks)."""

    def __init__(self):
        self.orders = []

    def start_again(self, upstream):
        self.orders.append("start")

    def on_era_mismatch(self, upstream, reason):
        self.orders.append(f"mismatch: {reason}")


class Upstream:
    """Stateless clients with a process that was started by their first request."""

    def __init__(self, *, legacy):
        self.hooks = Hooks()
        self.log = Log()
        self.it = MultiplexedProcess(
            "p",
            LIMITS,
            Multiplexer(LIMITS, StateSigner(b"k")),
            self.log,
            self.hooks,
            translator=(lambda: LegacyAdapter(LIMITS, Profile(), lambda: "name")) if legacy else None,
            later=lambda _owner, _seconds, _call: None,
        )
        self.child = Child()
        self.number = 0

    def request(self, method="tools/call", client="p\nname\n", since=None):
        self.number += 1
        request = Request(b"%d" % self.number, method, PARAMS)
        queue = SendQueue(LIMITS)
        envelope = read_envelope(method, PARAMS, LIMITS)
        self.it.request(
            ClientRequest("p", request, envelope, None, queue, pipe=False, client=Client(client), since=since)
        )
        return queue

    def start(self):
        self.it.on_start(self.child)

    def line(self, **message):
        self.it.on_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def answer(self, **message):
        """Answer the request that the process has received last."""
        self.line(id=self.child.lines[-1]["id"], **message)


def opened(*, legacy):
    """Return clients whose process has received one call, and the queue of the call."""
    upstream = Upstream(legacy=legacy)
    queue = upstream.request()
    upstream.start()
    if legacy:
        upstream.answer(result={**OPENED, "capabilities": {"tools": {}}})
    assert upstream.child.lines[-1]["method"] == "tools/call"
    return upstream, queue


@pytest.mark.parametrize("legacy", [False, True])
async def test_the_first_request_starts_the_process_and_gets_its_response(anyio_backend, legacy):
    upstream, queue = opened(legacy=legacy)
    assert upstream.hooks.orders == ["start"]
    assert upstream.it.busy
    upstream.answer(result={"content": []})
    assert sent(queue)["result"]["content"] == []
    assert not upstream.it.busy
    assert upstream.it.speaks_modern is not legacy


@pytest.mark.parametrize("legacy", [False, True])
async def test_an_exit_fails_what_is_in_flight_and_the_next_request_starts_a_process(anyio_backend, legacy):
    upstream, queue = opened(legacy=legacy)
    upstream.it.on_exit("gone", {"reason": "exited"})
    [(correlation_id, reason, principal, _)] = upstream.log.failures
    assert (reason, principal) == ("gone", "p")
    assert sent(queue)["error"]["data"] == {"reason": "exited", "correlationId": correlation_id}
    assert upstream.log.errors == 1
    upstream.request()
    assert upstream.hooks.orders == ["start", "start"]


async def test_a_client_that_leaves_cancels_its_call(anyio_backend):
    for legacy in (False, True):
        upstream, queue = opened(legacy=legacy)
        upstream.it.on_disconnect(queue)
        assert upstream.child.lines[-1]["method"] == "notifications/cancelled"
        upstream, queue = opened(legacy=legacy)
        upstream.it.cancel(queue, b"1")
        assert upstream.child.lines[-1]["method"] == "notifications/cancelled"


async def test_what_a_full_stdin_does_not_accept_fails_at_once(anyio_backend):
    upstream, _ = opened(legacy=False)
    upstream.child.refusal = ChildBusy("its stdin is full")
    assert sent(upstream.request())["error"]["message"] == "its stdin is full"
    upstream.it.notify(Notification("x/y", b"{}"), Client(""))
    assert upstream.log.events[-1][0] == "message_dropped"


async def test_a_process_that_refuses_initialize_is_reported_before_a_request_fails(anyio_backend):
    upstream = Upstream(legacy=True)
    queue = upstream.request()
    upstream.start()
    upstream.answer(error={"code": -32601, "message": "no"})
    assert upstream.hooks.orders[1:] == ["mismatch: the server refused to initialize: no"]
    # The request is still there, for a process of the other era.
    assert queue.state == OPEN
    assert upstream.log.errors == 0
    upstream.it.withdraw()
    moving = upstream.it.next_moving()
    assert moving.queue is queue
    other = Upstream(legacy=False)
    other.it.request(moving)
    upstream.it.move(moving, other.it)
    assert upstream.it.next_moving() is None
    assert upstream.it.busy
    other.start()
    upstream.it.cancel(queue, moving.request.id)
    assert other.child.lines[-1]["method"] == "notifications/cancelled"
    assert not upstream.it.busy


async def test_a_request_that_is_not_moved_is_refused(anyio_backend):
    upstream = Upstream(legacy=True)
    queue = upstream.request(since=0.0)
    upstream.it.withdraw()
    upstream.it.refuse(upstream.it.next_moving(), Rejection(503, -32000, "no"))
    assert sent(queue)["error"]["message"] == "no"
    assert upstream.log.done_calls == [("tools/call", "error -32000")]


async def test_a_client_that_does_not_read_pauses_its_process(anyio_backend):
    upstream, queue = opened(legacy=False)
    upstream.answer(result={"content": ["x" * 2000]})
    assert upstream.child.state == "paused"
    # The process is read for the request of another client.
    upstream.request(client="p\nother\n")
    assert upstream.child.state == "running"
    queue.on_disconnect()
    assert queue.state == DISCONNECTED
    assert upstream.child.state == "running"


async def test_a_client_that_does_not_read_pauses_no_process_that_is_stopped(anyio_backend):
    upstream, queue = opened(legacy=False)
    upstream.it.withdraw()
    upstream.it.end("the server speaks another era")
    # The refusal alone is more than the client may have unsent.
    upstream.it.refuse(upstream.it.next_moving(), Rejection(503, -32000, "x" * 2000))
    assert queue.backlog.full
    assert upstream.child.stopped
    assert upstream.child.state != "paused"
    gc.collect()
    gc.disable()
    try:
        found = weakref.ref(upstream.child)
        del upstream
        assert found() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("legacy", [False, True])
async def test_closed_clients_are_freed_without_the_garbage_collector(anyio_backend, legacy):
    upstream, queue = opened(legacy=legacy)
    gc.collect()
    gc.disable()
    try:
        found = weakref.ref(upstream.it)
        upstream.it.end("the test is over")
        assert queue.state == CLOSED
        assert upstream.child.stopped
        assert upstream.it.on_line is ignore
        del upstream
        assert found() is None
    finally:
        gc.enable()


async def test_a_message_on_a_response_stream_reaches_that_call_and_not_the_newest(anyio_backend):
    upstream, first = opened(legacy=False)
    upstream.child.related = b"%d" % upstream.child.lines[-1]["id"]
    newest = upstream.request(client="p\nother\n")
    upstream.line(method="notifications/message", params={"level": "info", "data": "x"})
    assert (len(first), len(newest)) == (1, 0)
    assert json.loads((await first.dequeue())[1])["params"]["data"] == "x"
