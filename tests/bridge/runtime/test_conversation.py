"""A session between the streams of its client and a process of its own, without a process and without a server."""

import gc
import json
import weakref

import pytest

from mcpbridged.bridge.core.access_policy import EVERYTHING
from mcpbridged.bridge.core.client_environment import NOTHING
from mcpbridged.bridge.core.era_trial import OVER, EraTrial
from mcpbridged.bridge.core.event_store import Stream
from mcpbridged.bridge.core.request_rates import RequestRates
from mcpbridged.bridge.eras.modern_adapter import ModernAdapter
from mcpbridged.bridge.runtime.conversation import LocalConversation
from mcpbridged.transports.send_queue import CLOSED, OPEN, SendQueue
from mcpbridged.transports.server_io import ChildBusy, ChildGone, ignore
from mcpbridged.validators.jsonrpc import Notification, Request
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection
from tests.support.owned_process import OPENED, Child, Log, sent

pytestmark = pytest.mark.anyio
LIMITS = Limits()
INITIALIZE = Request(
    b"1",
    "initialize",
    b'{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}',
)
DISCOVERED = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}


class Hooks:
    """What the session requests of its server (conversation.SessionHooks)."""

    def __init__(self, table=None):
        self.orders = []
        self.timers = []
        self.guard = RequestRates(table).guard("server")

    def start_process(self, conversation):
        self.orders.append("start")

    def on_end(self, conversation, *, unanswered):
        self.orders.append("end")

    def call_later(self, conversation, seconds, call):
        self.timers.append(call)

    def on_handshake(self, conversation, *, opened):
        self.orders.append(f"opened {opened}")

    def on_start_timeout(self, owner, text):
        self.orders.append("timeout")
        return text, {"reason": "late"}

    def on_era_mismatch(self, text):
        self.orders.append("mismatch")


class Session:
    """A session with a process, and one queue for each request."""

    def __init__(self, *, make=None, trial=None, log=None, refusal=None):
        self.hooks = Hooks()
        self.log = log or Log()
        self.it = LocalConversation(
            "p",
            LIMITS,
            pipe=None,
            hooks=self.hooks,
            server_log=self.log,
            policy=EVERYTHING,
            client_environment=NOTHING,
        )
        self.it.expect(make, trial or EraTrial(OVER))
        self.child = Child(refusal)
        self.it.on_start(self.child)

    def request(self, message):
        queue = SendQueue(LIMITS)
        self.it.receive(message, queue)
        return queue

    def line(self, **message):
        self.it.on_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def answer(self, **message):
        """Answer the request that the process has received last."""
        self.line(id=self.child.lines[-1]["id"], **message)

    def open(self):
        queue = self.request(INITIALIZE)
        self.answer(result=OPENED)
        return sent(queue)


def modern():
    return ModernAdapter(LIMITS, lambda: "u")


CALL = Request(b"2", "tools/call", b'{"name":"t"}')


async def test_a_request_reaches_the_process_and_its_response_the_stream(anyio_backend):
    session = Session()
    assert session.open()["result"] == OPENED
    queue = session.request(CALL)
    assert session.child.lines[-1]["method"] == "tools/call"
    session.answer(result={"content": []})
    assert sent(queue) == {"jsonrpc": "2.0", "id": 2, "result": {"content": []}}
    assert (session.log.calls, session.log.errors) == (2, 0)


async def test_a_modern_server_is_reached_through_a_translator(anyio_backend):
    session = Session(make=modern)
    queue = session.request(INITIALIZE)
    assert session.child.lines[-1]["method"] == "server/discover"
    session.answer(result=DISCOVERED)
    assert sent(queue)["result"]["protocolVersion"] == "2025-11-25"
    queue = session.request(CALL)
    # A retry without input waits for a moment.
    session.answer(result={"resultType": "input_required", "requestState": "s"})
    assert queue.state == OPEN
    session.hooks.timers.pop()()
    assert session.child.lines[-1]["params"]["requestState"] == "s"
    session.answer(result={"resultType": "complete", "content": []})
    assert sent(queue)["result"]["content"] == []


async def test_a_timer_of_a_former_process_sends_nothing(anyio_backend):
    session = Session(make=modern)
    session.request(INITIALIZE)
    session.answer(result=DISCOVERED)
    queue = session.request(CALL)
    session.answer(result={"resultType": "input_required", "requestState": "s"})
    session.it.on_exit("gone", {"reason": "exited"})
    assert sent(queue)["error"]["message"] == "gone"
    received = len(session.child.lines)
    session.hooks.timers.pop()()
    assert len(session.child.lines) == received


async def test_a_refused_initialize_waits_until_the_era_is_known(anyio_backend):
    session = Session(trial=EraTrial())
    queue = session.request(INITIALIZE)
    session.answer(error={"code": -32601, "message": "no"})
    assert session.hooks.orders == ["opened False"]
    assert session.it.era_unresolved
    session.it.on_exit("gone", {"reason": "exited"})
    assert queue.state == OPEN
    session.it.resolve_era(modern)
    assert session.child.state == "stopped"
    second = Child()
    session.it.on_start(second)
    assert [line["method"] for line in second.lines] == ["server/discover"]
    session.child = second
    session.answer(result=DISCOVERED)
    assert "result" in sent(queue)


async def test_initialize_reaches_the_process_of_the_modern_era_whenever_it_was_sent(anyio_backend):
    for sent_before in ("the exit", "the era is known", "the start", "nothing"):
        session = Session(trial=EraTrial())
        for event in ("the exit", "the era is known", "the start", "nothing"):
            if event == sent_before:
                queue = session.request(INITIALIZE)
            if event == "the exit":
                session.it.on_exit("gone", {"reason": "exited"})
            elif event == "the era is known":
                session.it.resolve_era(modern)
            elif event == "the start":
                session.child = Child()
                session.it.on_start(session.child)
        assert [line["method"] for line in session.child.lines] == ["server/discover"], sent_before
        session.answer(result=DISCOVERED)
        assert "result" in sent(queue)


async def test_the_failures_of_a_legacy_server_are_handled_when_its_era_is_known(anyio_backend):
    session = Session(trial=EraTrial())
    queue = session.request(INITIALIZE)
    session.answer(error={"code": -32601, "message": "no"})
    session.it.on_exit("gone", {"reason": "exited"})
    session.it.resolve_era(None)
    assert sent(queue)["error"]["message"] == "no"
    assert session.it.ended


async def test_an_accepted_initialize_shows_the_era(anyio_backend):
    session = Session(trial=EraTrial())
    session.open()
    assert session.hooks.orders == ["opened True"]
    assert not session.it.era_unresolved


@pytest.mark.parametrize("trial", [EraTrial(OVER), EraTrial()])
async def test_a_process_that_does_not_answer_initialize_in_time_is_killed(anyio_backend, trial):
    session = Session(trial=trial)
    queue = session.request(INITIALIZE)
    for now in (1.0, 1000.0, 1001.0):
        session.it.on_tick(now)
    if trial.phase != OVER:
        assert session.child.state == "running"
        session.it.resolve_era(None)
    assert session.child.state == "killed"
    [(correlation_id, _, _, _)] = session.log.failures
    assert sent(queue)["error"]["data"] == {"reason": "late", "correlationId": correlation_id}


async def test_what_a_full_stdin_does_not_accept_fails_at_once(anyio_backend):
    session = Session()
    session.open()
    session.child.refusal = ChildBusy("its stdin is full")
    assert sent(session.request(CALL))["error"]["message"] == "its stdin is full"
    session.it.receive(Notification("notifications/roots/list_changed", b""), None)
    assert session.log.events[-1][0] == "message_dropped"
    # An exit is reported by an event of its own.
    session.child.refusal = ChildGone()
    assert session.request(CALL).state == OPEN


async def test_the_same_is_true_behind_a_translator(anyio_backend):
    session = Session(make=modern)
    session.request(INITIALIZE)
    session.answer(result=DISCOVERED)
    session.child.refusal = ChildBusy("its stdin is full")
    assert sent(session.request(CALL))["error"]["message"] == "its stdin is full"


async def test_a_discarded_process_is_replaced_by_the_next_request(anyio_backend):
    session = Session()
    session.open()
    session.it.discard("restarted")
    assert session.child.state == "stopped"
    session.request(CALL)
    assert session.hooks.orders == ["start"]
    again = Child()
    session.it.on_start(again)
    assert [line["method"] for line in again.lines] == ["initialize"]


async def test_each_request_is_logged_once(anyio_backend):
    log = Log()
    log.records_ends = True
    session = Session(log=log)
    session.open()
    session.request(CALL)
    with pytest.raises(Rejection):
        session.request(CALL)
    session.answer(result={})
    session.it.draining = "over"
    with pytest.raises(Rejection):
        session.request(CALL)
    session.it.refuse(CALL, Rejection(400, -32600, "no"), SendQueue(LIMITS))
    assert log.done_calls == [
        ("initialize", "ok"),
        ("tools/call", "error -32600"),
        ("tools/call", "ok"),
        ("tools/call", "error -32000"),
        ("tools/call", "error -32600"),
    ]


async def test_a_session_that_was_not_opened_leaves_the_only_stream_open(anyio_backend):
    for opened in (False, True):
        pipe = SendQueue(LIMITS)
        session = LocalConversation(
            "p",
            LIMITS,
            pipe=pipe,
            hooks=Hooks(),
            server_log=Log(),
            policy=EVERYTHING,
            client_environment=NOTHING,
        )
        session.refuse(CALL, Rejection(400, -32600, "no"), None)
        assert len(pipe) == 1
        (session.end if opened else session.not_opened)("no process")
        assert pipe.state == (CLOSED if opened else OPEN)
        assert pipe.close_reason == "the session has ended: no process"


@pytest.mark.parametrize("make", [None, modern])
async def test_a_closed_session_is_freed_without_the_garbage_collector(anyio_backend, make):
    session = Session(make=make)
    session.request(INITIALIZE)
    session.answer(result=DISCOVERED if make else OPENED)
    gc.collect()
    gc.disable()
    try:
        session.request(CALL)
        found = weakref.ref(session.it)
        session.it.end("the test is over")
        assert session.child.state == "stopped"
        assert session.it.on_line is ignore
        del session
        assert found() is None
    finally:
        gc.enable()


async def test_a_finished_call_is_freed_without_the_garbage_collector(anyio_backend):
    session = Session()
    session.open()
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(found, SendQueue | Stream) for found in gc.get_objects())
        queue = session.request(CALL)
        session.answer(result={})
        assert sent(queue)["id"] == 2
        # The endpoint closes the stream with the connection.
        session.it.close_queue(queue)
        del queue
        assert sum(isinstance(found, SendQueue | Stream) for found in gc.get_objects()) == before
    finally:
        gc.enable()


async def test_a_message_on_a_response_stream_reaches_that_call_and_not_the_newest(anyio_backend):
    session = Session()
    session.open()
    session.it.receive(Notification("notifications/initialized", b""), None)
    first = session.request(CALL)
    session.child.related = b"%d" % session.child.lines[-1]["id"]
    newest = session.request(Request(b"3", "tools/call", b'{"name":"t"}'))
    session.line(method="notifications/message", params={"level": "info", "data": "x"})
    session.line(id="r", method="vendor/ask", params={})
    assert (len(first), len(newest)) == (2, 0)
    methods = [json.loads((await first.dequeue())[1])["method"] for _ in range(2)]
    assert methods == ["notifications/message", "vendor/ask"]
    session.child.related = b""
    session.line(method="notifications/message", params={"level": "info", "data": "y"})
    assert json.loads((await newest.dequeue())[1])["params"]["data"] == "y"
