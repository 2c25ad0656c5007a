"""One session, event by event: its inputs and its effects."""

import itertools
import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mcpbridged.bridge.core import legacy_session as core
from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.call_metrics import CallMetrics
from mcpbridged.bridge.core.legacy_session import (
    EndStream,
    KillProcess,
    LegacySession,
    LogDebug,
    RequestFinished,
    StartProcess,
    ToChild,
    ToClient,
    ToUpstream,
)
from mcpbridged.validators.jsonrpc import Notification, Request, Response, decode
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import INVALID_REQUEST, SERVER_ERROR, Rejection

from ...support.definition_guards import guard_of
from ...support.walks import walks

LIMITS = Limits()
ASKABLE = b'{"roots":{},"sampling":{},"elicitation":{}}'
INITIALIZE = (
    b'{"protocolVersion":"2025-11-25","capabilities":%b,"clientInfo":{"name":"t","version":"1"}}' % ASKABLE
)


class SendQueue:
    """Stands for a client stream: only its identity matters."""

    def __init__(self, name="outlet"):
        self.name = name

    def __repr__(self):
        return self.name


def make(pipe=None, limits=LIMITS, *, version="2025-11-25", ready=True, initialize=INITIALIZE):
    """A session whose child has answered initialize."""
    counter = itertools.count(1)
    session = LegacySession(limits, lambda: f"k{next(counter)}", pipe)
    stream = None if pipe else session.call_stream(SendQueue("initialize"))
    session.on_client_message(Request(b"0", "initialize", initialize), stream)
    session.on_server_message(Response(b"1", b'{"protocolVersion":"%b"}' % version.encode(), b""))
    if ready:
        session.on_client_message(Notification("notifications/initialized", b""), None)
    return session


def ask(session, id_=b"7", method="tools/call", params=b'{"name":"t"}', queue=None):
    queue = queue or SendQueue()
    effects = session.on_client_message(Request(id_, method, params), session.call_stream(queue))
    return queue, effects


def said(effects):
    """Return the messages to the child, as parsed JSON."""
    return [json.loads(effect.line) for effect in effects if isinstance(effect, ToChild)]


def told(effects):
    """Return the messages to clients: (send queue, parsed JSON)."""
    return [(effect.queue, json.loads(effect.message)) for effect in effects if isinstance(effect, ToClient)]


def notes(effects):
    return [effect.event for effect in effects if isinstance(effect, LogDebug)]


# ---- opening


def test_initialize_is_forwarded_as_it_is_and_its_answer_names_the_revision():
    session = LegacySession(LIMITS, lambda: "k")
    queue = SendQueue()
    effects = session.on_client_message(Request(b'"a"', "initialize", INITIALIZE), session.call_stream(queue))
    assert said(effects) == [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": json.loads(INITIALIZE)}
    ]
    assert session.phase == core.OPENING
    [(where, answer)] = told(
        session.on_server_message(Response(b"1", b'{"protocolVersion":"2025-06-18"}', b""))
    )
    assert where is queue
    assert answer["id"] == "a"
    assert session.version == "2025-06-18"
    assert session.phase == core.OPEN


def test_a_server_that_names_no_revision_gets_the_first_http_one():
    session = LegacySession(LIMITS, lambda: "k")
    session.on_client_message(Request(b"1", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    session.on_server_message(Response(b"1", b"{}", b""))
    assert session.version == "2025-03-26"


def test_the_rules_for_a_client_are_those_of_the_revision_that_it_requests_and_then_of_the_negotiated_one():
    session = LegacySession(LIMITS, lambda: "k")
    ping = Request(b"9", "ping", b"")
    assert session.revision_of(ping) == "2025-11-25"
    first = Request(b"0", "initialize", INITIALIZE.replace(b"2025-11-25", b"2025-06-18"))
    assert session.revision_of(first) == "2025-06-18"
    session.on_client_message(first, session.call_stream(SendQueue()))
    assert session.revision_of(ping) == "2025-06-18"
    session.on_server_message(Response(b"1", b'{"protocolVersion":"2024-12-31"}', b""))
    assert session.revision_of(ping) == "2024-11-05"


def test_a_response_of_the_client_answers_the_method_of_the_server():
    session = make()
    ask(session)
    [effect] = session.on_server_message(Request(b'"q"', "roots/list", b""))
    answered = Response(b"%d" % json.loads(effect.message)["id"], b'{"roots":[]}', b"")
    assert session.method_answered(answered) == "roots/list"
    assert session.method_answered(Response(b"999", b"{}", b"")) == ""


def test_a_refused_initialize_may_be_tried_again():
    session = LegacySession(LIMITS, lambda: "k")
    session.on_client_message(Request(b"1", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    session.on_server_message(Response(b"1", b"", b'{"code":-32602,"message":"no"}'))
    assert session.version == ""
    session.on_client_message(Request(b"2", "initialize", INITIALIZE), session.call_stream(SendQueue()))


def test_nothing_but_ping_comes_before_initialize():
    session = LegacySession(LIMITS, lambda: "k")
    with pytest.raises(Rejection, match="begins with initialize"):
        ask(session)
    queue, effects = ask(session, b"1", "ping", b"")
    assert told(effects) == [(queue, {"jsonrpc": "2.0", "id": 1, "result": {}})]
    with pytest.raises(Rejection, match="protocolVersion"):
        ask(session, b"1", "initialize", b"{}")


def test_a_second_initialize_is_refused():
    with pytest.raises(Rejection, match="already initialized"):
        ask(make(), b"9", "initialize", INITIALIZE)


def test_notifications_before_the_session_is_open_are_dropped():
    session = LegacySession(LIMITS, lambda: "k")
    assert notes(session.on_client_message(Notification("notifications/x", b""), None))


# ---- requests and responses


def test_ids_come_back_with_their_type():
    session = make()
    one, first = ask(session, b"7")
    two, second = ask(session, b'"7"')
    three, third = ask(session, b"9007199254740993")
    wires = [said(effects)[0]["id"] for effects in (first, second, third)]
    assert wires == [2, 3, 4]
    for queue, wire, raw in ((three, b"4", "9007199254740993"), (one, b"2", "7"), (two, b"3", '"7"')):
        [effect] = session.on_server_message(Response(wire, b"{}", b""))
        assert effect == ToClient(
            queue, f'{{"jsonrpc":"2.0","id":{raw},"result":{{}}}}'.encode(), b"", last=True
        )
    assert session.in_flight == 0


@pytest.mark.parametrize(
    ("first", "second"), [(b"7", b"7"), (b'"a"', b'"\\u0061"'), ('"é"'.encode(), b'"\\u00e9"')]
)
def test_an_id_in_flight_cannot_be_used_again(first, second):
    session = make()
    ask(session, first)
    with pytest.raises(Rejection, match="in use") as caught:
        ask(session, second)
    assert caught.value.code == INVALID_REQUEST


def test_an_id_whose_escapes_mean_nothing_is_only_itself():
    session = make()
    ask(session, b'"\\ud800"')
    ask(session, b'"\\ud801"')
    assert session.in_flight == 2


def test_an_id_can_be_used_again_after_its_answer():
    session = make()
    ask(session)
    session.on_server_message(Response(b"2", b"{}", b""))
    ask(session)


def test_an_answer_to_nothing_is_dropped():
    session = make()
    ask(session)
    assert notes(session.on_server_message(Response(b"99", b"{}", b"")))
    assert notes(session.on_server_message(Response(b'"2"', b"{}", b"")))
    assert told(session.on_server_message(Response(b"2", b"{}", b"")))
    assert notes(session.on_server_message(Response(b"2", b"{}", b"")))


def test_calls_in_flight_are_limited():
    session = make(limits=Limits(in_flight=2))
    ask(session, b"1")
    ask(session, b"2")
    with pytest.raises(Rejection, match="limit of 2 calls") as caught:
        ask(session, b"3")
    assert (caught.value.status, caught.value.code) == (429, SERVER_ERROR)


def test_what_waits_for_another_process_has_a_limit_in_bytes():
    session = make(limits=Limits(stdin_bytes=1000))
    session.on_server_exit("gone", {})
    large = b'{"name":"%b"}' % (b"x" * 100)
    for number in range(6):
        ask(session, b"%d" % (number + 1), params=large)
    with pytest.raises(
        Rejection, match="bytes wait for the server to be started and the limit is 1000"
    ) as caught:
        for number in range(6, 9):
            ask(session, b"%d" % (number + 1), params=large)
    assert (caught.value.status, caught.value.code) == (429, SERVER_ERROR)


def test_a_request_needs_a_stream():
    with pytest.raises(Rejection, match="stream"):
        make().on_client_message(Request(b"1", "ping", b""), None)


def test_a_batch_ends_its_stream_with_its_last_answer():
    session = make()
    stream = session.call_stream(queue := SendQueue())
    session.on_client_message(Request(b"1", "ping", b""), stream)
    session.on_client_message(Request(b"2", "ping", b""), stream)
    [first] = session.on_server_message(Response(b"3", b"{}", b""))
    assert not first.last
    [second] = session.on_server_message(Response(b"2", b"{}", b""))
    assert second.last
    assert second.queue is queue


def test_other_notifications_of_the_client_pass():
    effects = make().on_client_message(Notification("notifications/roots/list_changed", b""), None)
    assert said(effects) == [{"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}]


# ---- cancellation


def test_a_cancellation_reaches_the_child_under_its_own_id_and_http_is_answered():
    session = make()
    queue, _ = ask(session, b'"x"')
    effects = session.on_client_message(
        Notification("notifications/cancelled", b'{"requestId":"x","reason":"enough"}'), None
    )
    assert said(effects) == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": 2, "reason": "enough"},
        }
    ]
    [(where, answer)] = told(effects)
    assert where is queue
    # MCP has no code for it. The Python SDK sends this one.
    assert answer["error"]["code"] == core.REQUEST_CANCELLED == -32800
    assert notes(session.on_server_message(Response(b"2", b"{}", b"")))  # the late answer is swallowed


def test_a_cancelled_call_whose_stream_has_begun_just_ends():
    session = make()
    stream = session.call_stream(queue := SendQueue())
    session.on_client_message(Request(b"1", "tools/call", b'{"_meta":{"progressToken":1}}'), stream)
    session.on_server_message(Notification("notifications/progress", b'{"progressToken":1,"progress":1}'))
    effects = session.on_client_message(Notification("notifications/cancelled", b'{"requestId":1}'), None)
    assert not told(effects)
    assert EndStream(queue) in effects


def test_one_of_two_calls_on_a_stream_is_cancelled():
    session = make()
    stream = session.call_stream(SendQueue())
    session.on_client_message(Request(b"1", "ping", b""), stream)
    session.on_client_message(Request(b"2", "ping", b""), stream)
    effects = session.on_client_message(Notification("notifications/cancelled", b'{"requestId":1}'), None)
    assert not any(isinstance(effect, ToClient) and effect.last for effect in effects)


@pytest.mark.parametrize("params", [b'{"requestId":99}', b"{}", b"", b'{"requestId":0}'])
def test_the_cancellation_of_what_is_not_in_flight_is_ignored(params):
    assert notes(make().on_client_message(Notification("notifications/cancelled", params), None))


def test_initialize_cannot_be_cancelled():
    session = LegacySession(LIMITS, lambda: "k")
    session.on_client_message(Request(b"1", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    assert notes(session.on_client_message(Notification("notifications/cancelled", b'{"requestId":1}'), None))
    assert session.in_flight == 1


# ---- progress and other notifications of the server


def test_progress_goes_to_the_call_that_it_belongs_to():
    session = make()
    one, _ = ask(session, b"1", params=b'{"name":"a","_meta":{"progressToken":"t"}}')
    two, _ = ask(session, b"2", params=b'{"name":"a","_meta":{"progressToken":5}}')
    # The last as some servers write it, and the official TypeScript client understands it.
    for token, queue in ((b'"t"', one), (b"5", two), (b'"5"', two)):
        effects = session.on_server_message(
            Notification("notifications/progress", b'{"progressToken":%b}' % token)
        )
        assert [where for where, _ in told(effects)] == [queue]
    assert notes(session.on_server_message(Notification("notifications/progress", b'{"progressToken":"6"}')))


def test_progress_after_the_answer_is_dropped():
    session = make()
    ask(session, b"1", params=b'{"name":"a","_meta":{"progressToken":1}}')
    session.on_server_message(Response(b"2", b"{}", b""))
    assert notes(session.on_server_message(Notification("notifications/progress", b'{"progressToken":1}')))


def test_progress_of_a_call_that_goes_on_as_a_task_belongs_to_the_session():
    session = make(limits=Limits(in_flight=2))
    home = SendQueue("home")
    session.on_listen(home)
    progress = Notification("notifications/progress", b'{"progressToken":1}')
    call = b'{"name":"a","task":{},"_meta":{"progressToken":%d}}'
    ask(session, b"1", params=call % 1)
    [(_, answer)] = told(session.on_server_message(Response(b"2", b'{"task":{"taskId":"T"}}', b"")))
    assert answer["result"] == {"task": {"taskId": "T"}}
    assert [where for where, _ in told(session.on_server_message(progress))] == [home]
    # A request that takes the token over has it for itself.
    queue, _ = ask(session, b"2", params=call % 1)
    assert [where for where, _ in told(session.on_server_message(progress))] == [queue]
    session.on_server_message(Response(b"3", b'{"content":[]}', b""))
    assert notes(session.on_server_message(progress))
    # Only so many are remembered, and of another child none.
    for id_, token in ((b"4", 1), (b"5", 2), (b"6", 3)):
        ask(session, b"9", params=call % token)
        session.on_server_message(Response(id_, b'{"task":{"taskId":"T"}}', b""))
    assert notes(session.on_server_message(progress))
    last = Notification("notifications/progress", b'{"progressToken":3}')
    assert told(session.on_server_message(last))
    session.on_server_exit("gone", {})
    assert notes(session.on_server_message(last))


def test_a_token_in_use_stays_with_its_first_call():
    session = make()
    one, _ = ask(session, b"1", params=b'{"name":"a","_meta":{"progressToken":1}}')
    ask(session, b"2", params=b'{"name":"a","_meta":{"progressToken":1}}')
    session.on_server_message(Response(b"3", b"{}", b""))
    [(where, _)] = told(
        session.on_server_message(Notification("notifications/progress", b'{"progressToken":1}'))
    )
    assert where is one


def test_log_messages_go_to_the_one_interactive_call():
    session = make()
    ask(session, b"1", "tools/list", b"")
    call, _ = ask(session, b"2")
    ask(session, b"3", "tools/list", b"")
    [(where, _)] = told(session.on_server_message(Notification("notifications/message", b'{"level":"info"}')))
    assert where is call


def test_log_messages_of_several_calls_go_to_the_newest():
    session = make()
    ask(session, b"1")
    newest, _ = ask(session, b"2")
    [(where, _)] = told(session.on_server_message(Notification("notifications/message", b"{}")))
    assert where is newest


def test_what_belongs_to_no_call_waits_for_a_listener_and_goes_to_exactly_one():
    session = make()
    changed = Notification("notifications/tools/list_changed", b"")
    assert session.on_server_message(changed) == ()
    first, second = SendQueue("first"), SendQueue("second")
    _, effects = session.on_listen(first)
    assert [where for where, _ in told(effects)] == [first]
    session.on_listen(second)
    assert [where for where, _ in told(session.on_server_message(changed))] == [second]


def test_what_waits_for_a_listener_is_bounded():
    session = make(limits=Limits(stream_messages=3))
    for number in range(10):
        session.on_server_message(Notification("notifications/x", b'{"n":%d}' % number))
    _, effects = session.on_listen(SendQueue())
    assert [message["params"]["n"] for _, message in told(effects)] == [7, 8, 9]


def test_what_waits_for_a_listener_is_bounded_in_bytes():
    session = make(limits=Limits(stream_bytes=100))
    for _ in range(3):
        session.on_server_message(Notification("notifications/x", b'{"n":"%b"}' % (b"x" * 80)))
    _, effects = session.on_listen(SendQueue())
    assert len(told(effects)) == 1


# ---- requests of the server


def test_a_request_of_the_server_goes_to_the_call_and_its_answer_back_under_the_servers_id():
    session = make()
    queue, _ = ask(session)
    [(where, question)] = told(
        session.on_server_message(Request(b'"srv-1"', "elicitation/create", b'{"message":"?"}'))
    )
    assert where is queue
    assert question == {"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {"message": "?"}}
    effects = session.on_client_message(Response(b"1", b'{"action":"accept"}', b""), None)
    assert said(effects) == [{"jsonrpc": "2.0", "id": "srv-1", "result": {"action": "accept"}}]
    assert notes(session.on_client_message(Response(b"1", b"{}", b""), None))


def test_a_server_request_is_not_enqueued_on_a_stream_that_cannot_be_resumed():
    session = make()
    on_exit = session.call_stream(queue := SendQueue("lost"))
    session.on_client_message(Request(b"1", "tools/call", b'{"name":"t"}'), on_exit)
    session.on_stream_closed(on_exit, queue)
    ask(session, b"2", "tools/list")
    other, _ = ask(session, b"3", "tools/list")
    [(where, _)] = told(session.on_server_message(Request(b"1", "roots/list", b"")))
    assert where is other


def test_a_ping_of_the_server_is_answered_here():
    assert said(make().on_server_message(Request(b"5", "ping", b""))) == [
        {"jsonrpc": "2.0", "id": 5, "result": {}}
    ]


@pytest.mark.parametrize("method", ["roots/list", "sampling/createMessage", "elicitation/create"])
@pytest.mark.parametrize("capabilities", [b"{}", b'{"tasks":{}}', b"7"])
def test_a_client_gets_no_request_that_it_has_not_declared(method, capabilities):
    text = INITIALIZE.replace(ASKABLE, capabilities)
    for version, asked in (("2025-03-26", True), ("2025-06-18", False), ("2025-11-25", False)):
        session = make(version=version, initialize=text)
        session.on_listen(SendQueue())
        effects = session.on_server_message(Request(b'"q"', method, b""))
        error = {"code": -32601, "message": f"the client does not support {method}"}
        assert said(effects) == ([] if asked else [{"jsonrpc": "2.0", "id": "q", "error": error}])
        assert len(told(effects)) == asked
    assert len(told(session.on_server_message(Request(b'"r"', "vendor/ask", b"")))) == 1


def test_a_request_of_the_server_waits_until_the_client_is_initialized():
    session = make(ready=False)
    assert session.on_server_message(Request(b"1", "roots/list", b"")) == ()
    assert session.on_server_message(Notification("notifications/message", b"{}")) == ()
    listener = SendQueue()
    _, effects = session.on_listen(listener)
    assert [message["method"] for _, message in told(effects)] == ["notifications/message"]
    effects = session.on_client_message(Notification("notifications/initialized", b""), None)
    assert said(effects)[0]["method"] == "notifications/initialized"
    assert [(where, message["method"]) for where, message in told(effects)] == [(listener, "roots/list")]
    assert said(session.on_client_message(Response(b"1", b"{}", b""), None))


def test_initialized_sent_twice_passes_twice():
    effects = make().on_client_message(Notification("notifications/initialized", b""), None)
    assert len(said(effects)) == 1


def test_a_server_request_without_a_stream_is_refused_after_a_while():
    session = make()
    session.on_tick(100.0)
    session.on_server_message(Request(b"1", "roots/list", b""))
    assert session.on_tick(159.0) == ()
    [answer] = said(session.on_tick(161.0))
    assert answer["id"] == 1
    assert "60 s" in answer["error"]["message"]


def test_a_request_that_is_pushed_out_of_the_queue_is_answered():
    session = make(limits=Limits(stream_messages=1))
    session.on_server_message(Request(b"1", "roots/list", b""))
    [answer] = said(session.on_server_message(Notification("notifications/x", b"")))
    assert answer["id"] == 1
    assert answer["error"]["code"] == -32603


def test_requests_of_the_server_are_limited():
    session = make(limits=Limits(in_flight=32))
    ask(session)
    for number in range(32):
        session.on_server_message(Request(b"%d" % number, "roots/list", b""))
    [answer] = said(session.on_server_message(Request(b"99", "roots/list", b"")))
    assert answer["error"]["code"] == SERVER_ERROR


def test_an_id_that_the_server_uses_twice_is_refused():
    session = make()
    ask(session)
    session.on_server_message(Request(b"1", "roots/list", b""))
    [answer] = said(session.on_server_message(Request(b"1", "roots/list", b"")))
    assert answer["error"]["code"] == INVALID_REQUEST


def test_the_server_cancels_its_own_request():
    session = make()
    queue, _ = ask(session)
    session.on_server_message(Request(b'"s"', "elicitation/create", b"{}"))
    cancel = Notification("notifications/cancelled", b'{"requestId":"s","reason":"late"}')
    [(where, message)] = told(session.on_server_message(cancel))
    assert where is queue
    assert message["params"] == {"requestId": 1, "reason": "late"}
    assert notes(session.on_server_message(cancel))


def test_the_server_cancels_a_request_that_the_client_never_saw():
    session = make()
    session.on_server_message(Request(b"1", "roots/list", b""))
    assert session.on_server_message(Notification("notifications/cancelled", b'{"requestId":1}')) == ()
    _, effects = session.on_listen(SendQueue())
    assert told(effects) == []


def test_an_answer_to_a_request_that_the_client_never_saw_is_dropped():
    session = make()
    session.on_server_message(Request(b"1", "roots/list", b""))
    guessed = session.on_client_message(Response(b"1", b"{}", b""), None)
    assert notes(guessed) == ["response_unmatched"]
    list(session.on_tick(1000.0))
    [refused] = said(session.on_tick(1061.0))
    assert refused["id"] == 1
    _, effects = session.on_listen(SendQueue())
    assert list(effects) == []


def test_a_request_behind_a_notification_is_given_up_as_well():
    session = make()
    session.on_server_message(Notification("notifications/tools/list_changed", b""))
    session.on_server_message(Request(b"1", "roots/list", b""))
    session.on_tick(1000.0)
    [refused] = said(session.on_tick(1061.0))
    assert (refused["id"], refused["error"]["message"]) == (1, "no client stream within 60 s")
    [(_, kept)] = told(session.on_listen(SendQueue())[1])
    assert kept["method"] == "notifications/tools/list_changed"


def test_what_is_taken_back_makes_room_for_what_waits():
    session = make(limits=Limits(stream_bytes=100))
    for number in range(3):
        session.on_server_message(Request(b"%d" % number, "roots/list", b'{"x":"%b"}' % (b"x" * 20)))
        session.on_server_message(Notification("notifications/cancelled", b'{"requestId":%d}' % number))
        session.on_server_message(Request(b"%d" % number, "roots/list", b'{"x":"%b"}' % (b"x" * 20)))
        session.on_server_exit("gone", {})
        session.phase = core.OPEN
    session.on_server_message(Notification("notifications/a", b""))
    session.on_server_message(Notification("notifications/b", b""))
    assert [one["method"] for _, one in told(session.on_listen(SendQueue())[1])] == [
        "notifications/a",
        "notifications/b",
    ]


@pytest.mark.parametrize("raw_id", [b'"\\u00e9"', b'"\\u0041"', b"7"])
def test_the_server_may_use_an_id_again_however_it_spells_it(raw_id):
    session = make("pipe")
    for wire_id in (b"1", b"2"):
        [(_, asked)] = told(session.on_server_message(Request(raw_id, "roots/list", b"")))
        assert asked["id"] == int(wire_id)
        assert len(said(session.on_client_message(Response(wire_id, b"{}", b""), None))) == 1
    cancelled = session.on_server_message(
        Notification("notifications/cancelled", b'{"requestId":%b}' % raw_id)
    )
    assert notes(cancelled) == ["cancellation_unmatched"]


# ---- one stream for everything


def test_on_a_pipe_everything_goes_down_the_pipe():
    pipe = SendQueue("pipe")
    session = make(pipe)
    assert session.has_stream
    session.on_client_message(Request(b"1", "tools/call", b'{"name":"t"}'), None)
    for effects in (
        session.on_server_message(Notification("notifications/message", b"{}")),
        session.on_server_message(Notification("notifications/tools/list_changed", b"")),
        session.on_server_message(Request(b"1", "roots/list", b"")),
        session.on_server_message(Response(b"2", b"{}", b"")),
    ):
        assert [where for where, _ in told(effects)] == [pipe]
        assert not any(effect.last or effect.event_id for effect in effects)


def test_a_cancelled_call_on_a_pipe_is_not_answered():
    session = make(SendQueue())
    session.on_client_message(Request(b"1", "tools/call", b'{"name":"t"}'), None)
    assert not told(
        session.on_client_message(Notification("notifications/cancelled", b'{"requestId":1}'), None)
    )


def test_a_pipe_has_no_events_to_resume_from():
    session = make(SendQueue())
    assert session.on_events_start(session.call_stream(SendQueue())) == b""


# ---- resuming


def progress(session, token, number):
    return session.on_server_message(
        Notification("notifications/progress", b'{"progressToken":%d,"progress":%d}' % (token, number))
    )


def test_an_interrupted_call_is_resumed_where_it_was():
    session = make()
    stream = session.call_stream(first := SendQueue("first"))
    session.on_client_message(Request(b"1", "tools/call", b'{"_meta":{"progressToken":1}}'), stream)
    assert session.on_events_start(stream) == b"k1_0"
    [event] = progress(session, 1, 1)
    assert event.event_id == b"k1_1"
    session.on_stream_closed(stream, first)
    assert progress(session, 1, 2) == ()
    assert session.on_server_message(Response(b"2", b"{}", b"")) == ()
    again, effects = session.on_resume("k1_1", second := SendQueue("second"))
    assert again is stream
    assert [effect.event_id for effect in effects if isinstance(effect, ToClient)] == [b"k1_2", b"k1_3"]
    assert effects[-1] == EndStream(second)
    assert session.on_events_start(stream) == b""  # no priming event: it would set the client back


def test_a_resumed_call_goes_on_live():
    session = make()
    stream = session.call_stream(first := SendQueue())
    session.on_client_message(Request(b"1", "tools/call", b'{"_meta":{"progressToken":1}}'), stream)
    session.on_events_start(stream)
    session.on_stream_closed(stream, first)
    _, effects = session.on_resume("k1_0", second := SendQueue())
    assert effects == ()
    [event] = progress(session, 1, 1)
    assert event.queue is second
    session.on_stream_closed(stream, first)  # the old connection ends late: nothing changes
    assert stream.queue is second


def test_a_stream_that_is_resumed_while_it_is_open_moves():
    session = make()
    stream, _ = session.on_listen(first := SendQueue())
    session.on_events_start(stream)
    _, effects = session.on_resume("k1_0", second := SendQueue())
    assert EndStream(first) in effects
    [event] = session.on_server_message(Notification("notifications/x", b""))
    assert event.queue is second


def test_a_listener_that_comes_back_gets_what_it_missed_once():
    session = make()
    stream, _ = session.on_listen(first := SendQueue())
    session.on_events_start(stream)
    session.on_server_message(Notification("notifications/a", b""))
    session.on_stream_closed(stream, first)
    assert not session.has_stream
    session.on_server_message(Notification("notifications/b", b""))
    _, effects = session.on_resume("k1_0", SendQueue())
    assert [message["method"] for _, message in told(effects)] == ["notifications/a", "notifications/b"]


@pytest.mark.parametrize(
    "event_id", ["", "k1", "k9_0", "k1_x", "../_1", "k1_0\n", "x" * 40 + "_1", "k1_" + "9" * 40]
)
def test_an_event_id_that_we_never_gave_is_refused(event_id):
    session = make()
    stream, _ = session.on_listen(SendQueue())
    session.on_events_start(stream)
    with pytest.raises(Rejection, match="Last-Event-ID") as caught:
        session.on_resume(event_id, SendQueue())
    assert caught.value.status == 400


def test_an_event_id_of_the_future_resumes_nothing():
    session = make()
    stream, _ = session.on_listen(SendQueue())
    session.on_events_start(stream)
    session.on_server_message(Notification("notifications/a", b""))
    _, effects = session.on_resume("k1_999", SendQueue())
    assert told(effects) == []


def test_listeners_are_limited():
    session = make(limits=Limits(streams_per_session=2))
    stream, _ = session.on_listen(left := SendQueue())
    session.on_events_start(stream)
    session.on_listen(SendQueue())
    with pytest.raises(Rejection) as caught:
        session.on_listen(SendQueue())
    assert caught.value.status == 409
    session.on_stream_closed(stream, left)
    session.on_listen(SendQueue())
    with pytest.raises(Rejection):
        session.on_resume("k1_0", SendQueue())


def test_older_revisions_get_no_priming_event():
    session = make(version="2025-06-18")
    assert session.on_events_start(session.call_stream(SendQueue())) == b""


def test_a_response_that_no_client_can_resume_is_dropped():
    session = make()
    stream = session.call_stream(queue := SendQueue())
    session.on_client_message(Request(b"1", "ping", b""), stream)
    session.on_stream_closed(stream, queue)
    assert session.on_server_message(Response(b"2", b"{}", b"")) == ()


def ask_for_json(
    session, id_=b"7", method="tools/call", params=b'{"name":"t","_meta":{"progressToken":"p"}}'
):
    """Send a request on a POST whose client accepts no event stream."""
    queue = SendQueue("json")
    session.on_client_message(Request(id_, method, params), session.call_stream(queue, answers_only=True))
    return queue


PROGRESS = Notification("notifications/progress", b'{"progressToken":"p","progress":1}')
LOGGED = Notification("notifications/message", b'{"level":"info","data":"x"}')


def test_a_call_that_takes_json_only_gets_its_answer_and_nothing_else():
    session = make()
    queue = ask_for_json(session)
    assert notes(session.on_server_message(PROGRESS)) == ["progress_without_stream"]
    assert told(session.on_server_message(LOGGED)) == []
    [answer] = session.on_server_message(Response(b"2", b"{}", b""))
    assert (answer.queue, answer.event_id, answer.last) == (queue, b"", True)
    _, effects = session.on_listen(home := SendQueue("home"))
    assert [(one, text["method"]) for one, text in told(effects)] == [(home, "notifications/message")]


def test_what_a_call_that_takes_json_only_causes_goes_to_the_listener():
    session = make()
    session.on_listen(home := SendQueue("home"))
    ask_for_json(session)
    for message in (PROGRESS, LOGGED, Request(b"1", "roots/list", b"")):
        [(queue, _)] = told(session.on_server_message(message))
        assert queue is home


def test_a_question_of_a_call_that_takes_json_only_is_refused_at_once():
    session = make()
    ask_for_json(session)
    [refusal] = said(session.on_server_message(Request(b"1", "roots/list", b"")))
    assert refusal["error"]["code"] == -32603
    assert "text/event-stream" in refusal["error"]["message"]


def test_a_server_request_waits_for_a_client_that_had_a_get_stream():
    session = make()
    stream, _ = session.on_listen(home := SendQueue("home"))
    session.on_stream_closed(stream, home)
    ask_for_json(session)
    assert session.on_server_message(Request(b"1", "roots/list", b"")) == ()


def test_a_server_request_waits_if_no_call_may_have_caused_it():
    session = make()
    ask_for_json(session, method="tools/list", params=b"")
    assert session.on_server_message(Request(b"1", "roots/list", b"")) == ()


def test_a_call_with_a_stream_gets_the_request_beside_a_call_that_accepts_json_only():
    session = make()
    ask_for_json(session, b"1")
    ask(session, b"2", "tools/list", b"")
    asking, _ = ask(session, b"3")
    ask(session, b"4", "tools/list", b"")
    assert told(session.on_server_message(Request(b"1", "roots/list", b"")))[0][0] is asking
    assert told(session.on_server_message(Request(b"2", "roots/list", b""), b"3"))[0][0] is not None


def test_a_batch_that_takes_json_only_ends_with_its_last_answer():
    session = make(version="2025-03-26")
    stream = session.call_stream(queue := SendQueue("json"), answers_only=True)
    for id_ in (b"7", b"8"):
        session.on_client_message(Request(id_, "tools/call", b'{"name":"t"}'), stream)
    assert session.on_events_start(stream) == b""
    effects = [
        effect
        for wire_id in (b"2", b"3")
        for effect in session.on_server_message(Response(wire_id, b"{}", b""))
    ]
    assert [(one.queue, one.event_id, one.last) for one in effects] == [
        (queue, b"", False),
        (queue, b"", True),
    ]


def test_nothing_is_kept_for_a_client_that_left_before_its_stream_had_begun():
    session = make()
    queue, _ = ask(session, params=b'{"name":"t","_meta":{"progressToken":"p"}}')
    stream = session._pending.by_wire_id[b"2"].stream
    assert session.on_events_start(stream)
    session.on_stream_closed(stream, queue, begun=False)
    assert notes(session.on_server_message(PROGRESS))
    assert tuple(session.on_server_message(Response(b"2", b"{}", b""))) == ()
    assert (session._streams._stored, session._streams._size) == ({}, 0)


def test_a_message_waits_for_a_listener_if_the_client_of_a_batch_has_left_during_it():
    session = make(version="2025-03-26")
    stream = session.call_stream(queue := SendQueue())
    session.on_client_message(Request(b"1", "tools/call", b'{"name":"t"}'), stream)
    session.on_stream_closed(stream, queue)
    session.on_client_message(Request(b"2", "tools/call", b'{"name":"t"}'), stream)
    assert session.on_server_message(Notification("notifications/message", b'{"data":"x"}')) == ()
    _, effects = session.on_listen(listener := SendQueue())
    assert [(where, message["params"]) for where, message in told(effects)] == [(listener, {"data": "x"})]


def test_a_revision_without_priming_events_has_nothing_to_drop():
    session = make(version="2025-06-18")
    queue, _ = ask(session)
    stream = session._pending.by_wire_id[b"2"].stream
    session.on_events_start(stream)
    session.on_stream_closed(stream, queue, begun=False)
    assert tuple(session.on_server_message(Response(b"2", b"{}", b""))) == ()
    assert session._streams._stored == {}


def test_what_was_kept_before_a_stream_could_begin_is_dropped_with_it():
    session = make()
    queue, _ = ask(session, params=b'{"name":"t","_meta":{"progressToken":"p"}}')
    stream = session._pending.by_wire_id[b"2"].stream
    assert told(session.on_server_message(PROGRESS))
    session.on_stream_closed(stream, queue, begun=False)
    assert (session._streams._stored, session._streams._size) == ({}, 0)


def test_a_stream_that_could_not_be_resumed_is_still_kept():
    session = make()
    queue, _ = ask(session)
    stream = session._pending.by_wire_id[b"2"].stream
    event_id = session.on_events_start(stream)
    session.on_stream_closed(stream, queue)
    again = SendQueue("again")
    session.on_resume(event_id.decode(), again)
    session.on_stream_closed(stream, again, begun=False)
    session.on_server_message(Response(b"2", b"{}", b""))
    _, effects = session.on_resume(event_id.decode(), third := SendQueue("third"))
    assert [queue for queue, _ in told(effects)] == [third]


def test_kept_events_are_bounded_in_bytes_finished_streams_first():
    session = make(limits=Limits(replay_bytes=300))
    done = session.call_stream(gone := SendQueue())
    session.on_client_message(Request(b"1", "tools/call", b'{"_meta":{"progressToken":1}}'), done)
    progress(session, 1, 1)
    session.on_server_message(Response(b"2", b"{}", b""))
    session.on_stream_closed(done, gone)
    live = session.call_stream(SendQueue())
    session.on_client_message(Request(b"1", "tools/call", b'{"_meta":{"progressToken":1}}'), live)
    for number in range(10):
        progress(session, 1, number)
    with pytest.raises(Rejection):
        session.on_resume("k1_0", SendQueue())
    _, effects = session.on_resume("k2_0", SendQueue())
    assert 0 < len(told(effects)) < 10


def test_one_event_larger_than_everything_that_may_be_kept_is_not_kept():
    session = make(limits=Limits(replay_bytes=10))
    session.on_listen(SendQueue())
    session.on_server_message(Notification("notifications/a", b'{"a":"aaaaaaaaaaaaaaa"}'))
    _, effects = session.on_resume("k1_0", SendQueue())
    assert told(effects) == []


def call_and_leave(session, count):
    for number in range(count):
        stream = session.call_stream(queue := SendQueue())
        session.on_client_message(Request(b"%d" % number, "tools/call", b'{"name":"t"}'), stream)
        session.on_events_start(stream)
        session.on_server_message(Response(b"%d" % (number + 2), b"{}", b""))
        session.on_stream_closed(stream, queue)


def test_kept_streams_are_bounded_in_number():
    session = make()
    call_and_leave(session, 80)
    with pytest.raises(Rejection):
        session.on_resume("k1_0", SendQueue())
    session.on_resume("k80_0", SendQueue())


def test_a_listener_that_was_interrupted_is_kept_longer_than_the_streams_of_calls():
    session = make()
    stream, _ = session.on_listen(queue := SendQueue())
    assert session.on_events_start(stream) == b"k1_0"
    session.on_stream_closed(stream, queue)
    call_and_leave(session, 80)
    session.on_server_message(Notification("notifications/x", b""))
    _, effects = session.on_resume("k1_0", SendQueue())
    assert [message["method"] for _, message in told(effects)] == ["notifications/x"]


def test_listeners_that_never_come_back_are_bounded_in_number():
    session = make()
    for _ in range(80):
        stream, _ = session.on_listen(queue := SendQueue())
        session.on_events_start(stream)
        session.on_stream_closed(stream, queue)
    with pytest.raises(Rejection):
        session.on_resume("k1_0", SendQueue())
    session.on_resume("k80_0", SendQueue())


def test_streams_that_are_all_alive_and_empty_are_all_kept():
    session = make(limits=Limits(replay_bytes=100))
    streams = [session.call_stream(SendQueue()) for _ in range(70)]
    for number, stream in enumerate(streams):
        token = b'{"_meta":{"progressToken":%d}}' % number
        session.on_client_message(Request(b"%d" % number, "tools/call", token), stream)
        session.on_events_start(stream)
    progress(session, 5, 1)
    progress(session, 5, 2)  # the first streams have nothing to give up, so the oldest event of this one goes
    _, effects = session.on_resume("k6_0", SendQueue())
    assert [effect.event_id for effect in effects if isinstance(effect, ToClient)] == [b"k6_2"]


def test_of_a_subscription_only_the_uri_is_remembered():
    """The queue takes no more than the limit of one stream, and the code that ends it finds it again."""
    session = make()
    ask(
        session,
        b"1",
        "resources/subscribe",
        b'{"uri":"a:b","_meta":{"progressToken":1},"x":"%b"}' % (b"x" * 9999),
    )
    ask(session, b"2", "resources/subscribe", b'{"x":1,"uri":"c:\\u0064"}')
    ask(session, b"3", "resources/subscribe", b"{}")
    ask(session, b"4", "resources/unsubscribe", b'{"uri":"c:d","_meta":{"progressToken":2}}')
    session.on_server_exit("gone", {})
    ask(session)
    (opening,) = said(session.on_server_start())
    effects = session.on_server_message(Response(b"%d" % opening["id"], b"{}", b""))
    assert [message["params"] for message in said(effects) if "subscribe" in message["method"]] == [
        {"uri": "a:b"}
    ]


def test_subscriptions_that_are_repeated_are_limited():
    session = make(limits=Limits(stream_messages=1))
    ask(session, b"1", "resources/subscribe", b'{"uri":"a:b"}')
    ask(session, b"2", "resources/subscribe", b'{"uri":"c:d"}')
    session.on_server_exit("gone", LOST)
    ask(session)
    [line] = said(session.on_server_start())
    effects = session.on_server_message(Response(b"%d" % line["id"], b"{}", b""))
    assert [message["params"]["uri"] for message in said(effects) if "subscribe" in message["method"]] == [
        "a:b"
    ]


# ---- the death of the child


LOST = {"reason": "exited", "code": None, "signal": 9}


def test_everything_in_flight_fails_with_the_cause():
    session = make()
    one, _ = ask(session, b"1")
    two, _ = ask(session, b'"b"')
    errors = told(session.on_server_exit("the server was killed by signal 9 (SIGKILL)", LOST))
    assert [(where, message["id"]) for where, message in errors] == [(one, 1), (two, "b")]
    for _, message in errors:
        assert message["error"] == {
            "code": SERVER_ERROR,
            "message": "the server was killed by signal 9 (SIGKILL)",
            "data": LOST,
        }
    assert session.in_flight == 0


def test_the_next_call_starts_another_child_that_gets_the_state_of_the_first():
    session = make()
    ask(session, b"1", "logging/setLevel", b'{"level":"debug"}')
    ask(session, b"2", "resources/subscribe", b'{"uri":"a:b"}')
    ask(session, b"3", "resources/subscribe", b'{"uri":"c:d"}')
    ask(session, b"4", "resources/unsubscribe", b'{"uri":"a:b"}')
    session.on_server_exit("gone", LOST)
    assert session.phase == core.LOST
    queue, effects = ask(session, b"5")
    assert list(effects) == [StartProcess()]
    _, effects = ask(session, b"6")
    assert list(effects) == []
    [line] = said(session.on_server_start())
    assert (line["method"], line["params"]) == ("initialize", json.loads(INITIALIZE))
    effects = session.on_server_message(
        Response(b"%d" % line["id"], b'{"protocolVersion":"2025-11-25"}', b"")
    )
    assert [message["method"] for message in said(effects)] == [
        "notifications/initialized",
        "logging/setLevel",
        "resources/subscribe",
        "tools/call",
        "tools/call",
    ]
    assert said(effects)[2]["params"] == {"uri": "c:d"}
    assert session.phase == core.OPEN
    wire = said(effects)[3]["id"]
    [(where, answer)] = told(session.on_server_message(Response(b"%d" % wire, b"{}", b"")))
    assert where is queue
    assert answer["id"] == 5


def test_a_client_of_another_child_is_notified_that_it_may_have_missed_changes():
    offered = b'{"tools":{"listChanged":true},"prompts":{"listChanged":false},"resources":{"subscribe":true}}'
    opened = b'{"protocolVersion":"2025-11-25","capabilities":%b}' % offered
    session = LegacySession(LIMITS, lambda: "k")
    home = SendQueue("home")
    session.on_client_message(Request(b"0", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    assert told(session.on_server_message(Response(b"1", opened, b"")))
    session.on_client_message(Notification("notifications/initialized", b""), None)
    session.on_listen(home)
    ask(session, b"1", "resources/subscribe", b'{"uri":"a:b"}')
    session.on_server_exit("gone", LOST)
    ask(session, b"2")
    [line] = said(session.on_server_start())
    effects = session.on_server_message(Response(b"%d" % line["id"], opened, b""))
    assert told(effects) == [
        (home, {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
        (home, {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "a:b"}}),
    ]


def test_a_message_that_was_never_sent_is_not_repeated():
    session = make(ready=False)
    session.on_server_exit("gone", LOST)
    ask(session)
    [line] = said(session.on_server_start())
    effects = session.on_server_message(Response(b"%d" % line["id"], b"{}", b""))
    assert [message["method"] for message in said(effects)] == ["tools/call"]


def test_a_call_that_waits_for_another_child_can_be_cancelled():
    session = make()
    session.on_server_exit("gone", LOST)
    ask(session, b"1")
    ask(session, b"2")
    effects = session.on_client_message(Notification("notifications/cancelled", b'{"requestId":1}'), None)
    assert said(effects) == []
    [line] = said(session.on_server_start())
    effects = session.on_server_message(Response(b"%d" % line["id"], b"{}", b""))
    assert len([message for message in said(effects) if message["method"] == "tools/call"]) == 1


def test_a_child_that_refuses_to_initialize_again_fails_what_waits():
    session = make()
    session.on_server_exit("gone", LOST)
    queue, _ = ask(session)
    [line] = said(session.on_server_start())
    [(where, answer)] = told(
        session.on_server_message(Response(b"%d" % line["id"], b"", b'{"code":1,"message":"no"}'))
    )
    assert where is queue
    assert "refused to initialize" in answer["error"]["message"]
    assert session.phase == core.LOST


def test_a_child_that_cannot_be_started_again_fails_what_waits():
    session = make()
    session.on_server_exit("gone", LOST)
    ask(session)
    assert told(session.on_server_exit("cannot start", {"reason": "not started"}))
    _, effects = ask(session)
    assert list(effects) == [StartProcess()]


def test_a_death_while_initializing_is_the_end():
    session = LegacySession(LIMITS, lambda: "k")
    queue = SendQueue()
    session.on_client_message(Request(b"1", "initialize", INITIALIZE), session.call_stream(queue))
    assert [where for where, _ in told(session.on_server_exit("exited", LOST))] == [queue]
    assert session.phase == core.ENDED
    assert session.on_server_exit("exited", LOST) == ()


def test_the_exit_of_a_process_without_requests_changes_nothing():
    session = LegacySession(LIMITS, lambda: "k")
    assert session.on_server_exit("exited", LOST) == ()


def test_answers_for_a_dead_child_are_dropped():
    session = make()
    ask(session)
    session.on_server_message(Request(b"1", "roots/list", b""))
    session.on_server_exit("gone", LOST)
    assert notes(session.on_client_message(Response(b"1", b"{}", b""), None))
    session = make()
    ask(session)
    session.on_server_message(Request(b"1", "roots/list", b""))
    session.phase = core.REVIVING
    assert notes(session.on_client_message(Response(b"1", b"{}", b""), None))


def test_questions_of_a_dead_child_are_not_shown_any_more():
    session = make()
    session.on_server_message(Request(b"1", "roots/list", b""))
    session.on_server_message(Notification("notifications/x", b""))
    session.on_server_exit("gone", LOST)
    _, effects = session.on_listen(SendQueue())
    assert [message["method"] for _, message in told(effects)] == ["notifications/x"]


def test_an_initialize_that_is_not_answered_in_time_is_given_up():
    session = LegacySession(Limits(start_seconds=60), lambda: "k")
    session.on_client_message(Request(b"1", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    assert list(session.on_tick(10.0)) == []
    assert list(session.on_tick(69.0)) == []
    [effect] = session.on_tick(71.0)
    assert isinstance(effect, KillProcess)
    assert "60 s" in effect.text


def test_h1_for_how_long_initialize_has_no_answer():
    session = LegacySession(Limits(start_seconds=60), lambda: "k")
    assert session.unanswered_seconds(5.0) == 0.0
    session.on_client_message(Request(b"1", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    assert session.unanswered_seconds(9.0) == 0.0
    list(session.on_tick(10.0))
    assert session.unanswered_seconds(14.5) == 4.5
    list(session.close("bye"))
    assert session.unanswered_seconds(20.0) == 0.0
    opened = make()
    list(opened.on_tick(10.0))
    assert opened.unanswered_seconds(20.0) == 0.0


# ---- the end


def test_the_end_fails_what_is_in_flight_and_ends_every_stream():
    session = make()
    listener = SendQueue("listener")
    session.on_listen(listener)
    caller, _ = ask(session)
    effects = list(session.close("bye"))
    assert [(where, message["error"]["message"]) for where, message in told(effects)] == [(caller, "bye")]
    assert EndStream(listener) in effects
    assert session.close("again") == ()
    assert session.on_server_message(Response(b"2", b"{}", b"")) == (LogDebug("response_not_awaited"),)
    with pytest.raises(Rejection) as caught:
        ask(session)
    assert caught.value.status == 404


def test_a_stream_of_refused_requests_only_ends():
    session = make()
    stream = session.call_stream(queue := SendQueue())
    assert session.end_if_done(stream) == (EndStream(queue),)


def test_the_end_of_a_pipe():
    pipe = SendQueue()
    assert EndStream(pipe) in list(make(pipe).close("bye"))


def test_a_stream_that_left_is_not_ended_again():
    session = make()
    stream, _ = session.on_listen(queue := SendQueue())
    session.on_stream_closed(stream, queue)
    session.on_stream_closed(stream, queue)
    assert list(session.close("bye")) == []


def test_a_listener_appears_after_a_call_has_taken_what_waited():
    session = make(ready=False)
    ask(session, b"1")
    session.on_server_message(Request(b"1", "roots/list", b""))
    effects = session.on_client_message(Notification("notifications/initialized", b""), None)
    assert [message["method"] for _, message in told(effects)] == ["roots/list"]


# ---- I7: whatever happens, in whatever order


class Life(RuleBasedStateMachine):
    """Invariants I1 and I7: each request ends exactly once, on its own stream, and nothing goes anywhere else."""

    def __init__(self):
        super().__init__()
        self.session = make()
        self.numbers = itertools.count(1)
        self.open = {}  # client id -> send queue
        self.ended = set()
        self.wires = {}  # wire id -> client id
        self.dead = False

    def absorb(self, effects):
        for effect in effects:
            if isinstance(effect, ToChild):
                assert not self.dead
                message = decode(effect.line, LIMITS)
                if isinstance(message, Request):
                    assert message.id not in self.wires
                    marker = json.loads(message.params or b"{}").get("name")
                    self.wires[message.id] = marker
            elif isinstance(effect, ToClient):
                message = json.loads(effect.message)
                if "method" not in message:
                    id_ = message["id"]
                    assert id_ not in self.ended
                    assert self.open.pop(id_) is effect.queue
                    self.ended.add(id_)
                    if "result" in message:
                        assert message["result"]["echo"] == id_

    @rule()
    def ask(self):
        id_ = f"c{next(self.numbers)}"
        queue = SendQueue(id_)
        self.open[id_] = queue
        params = json.dumps({"name": id_, "_meta": {"progressToken": id_}}).encode()
        self.absorb(
            self.session.on_client_message(
                Request(json.dumps(id_).encode(), "tools/call", params), self.session.call_stream(queue)
            )
        )

    @precondition(lambda self: self.wires and not self.dead)
    @rule(data=st.data())
    def answer(self, data):
        wire = data.draw(st.sampled_from(sorted(self.wires)))
        marker = self.wires.pop(wire)
        self.absorb(
            self.session.on_server_message(Response(wire, json.dumps({"echo": marker}).encode(), b""))
        )

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def cancel(self, data):
        id_ = data.draw(st.sampled_from(sorted(self.open)))
        self.absorb(
            self.session.on_client_message(
                Notification("notifications/cancelled", json.dumps({"requestId": id_}).encode()), None
            )
        )
        self.open.pop(id_, None)  # a stream that has begun ends without an answer
        self.ended.add(id_)

    @precondition(lambda self: not self.dead)
    @rule(data=st.data())
    def chatter(self, data):
        token = data.draw(st.sampled_from(["c1", "c2", "c3", "nobody"]))
        effects = list(
            self.session.on_server_message(
                Notification("notifications/progress", json.dumps({"progressToken": token}).encode())
            )
        )
        for effect in effects:
            if isinstance(effect, ToClient):
                assert effect.queue is self.open[token]

    @precondition(lambda self: not self.dead)
    @rule()
    def die(self):
        self.dead = True
        self.wires.clear()
        self.absorb(self.session.on_server_exit("gone", LOST))
        assert not self.open

    @precondition(lambda self: self.dead and self.session.phase == core.REVIVING)
    @rule()
    def revive(self):
        self.dead = False
        [line] = said(self.session.on_server_start())
        self.absorb(self.session.on_server_message(Response(b"%d" % line["id"], b"{}", b"")))

    @invariant()
    def nothing_is_forgotten(self):
        assert self.session.in_flight == len(self.open)


Life.TestCase.settings = settings(max_examples=walks(40, 50), stateful_step_count=50)
TestLife = Life.TestCase


def test_the_first_tick_times_no_request_out():
    session = make()
    session.on_server_message(Request(b"1", "roots/list", b""))
    assert session.on_tick(1000.0) == ()
    assert session.on_tick(1059.0) == ()
    assert len(said(session.on_tick(1061.0))) == 1


# ---- calls that take too long


def late(seconds, *, pipe=None):
    session = make(pipe, limits=Limits(call_idle_seconds=10))
    list(session.on_tick(100))
    queue, _ = ask(session, b"7", params=b'{"name":"t","_meta":{"progressToken":"p"}}')
    return session, queue, list(session.on_tick(100 + seconds))


def test_a_call_that_makes_no_progress_is_given_up_with_the_limit_in_its_answer():
    session, queue, effects = late(11)
    [order] = said(effects)
    assert order["method"] == "notifications/cancelled"
    text = "the call has made no progress for 10 s, the limit"
    assert order["params"] == {"requestId": 2, "reason": text}
    error = {"code": -32001, "message": text, "data": {"reason": "timeout"}}
    assert told(effects) == [(queue, {"jsonrpc": "2.0", "id": 7, "error": error})]
    assert session.in_flight == 0
    assert notes(session.on_server_message(Response(b"2", b"{}", b""))) == ["response_not_awaited"]


def test_progress_gives_a_call_more_time():
    session, _, effects = late(9)
    assert effects == []
    list(
        session.on_server_message(
            Notification("notifications/progress", b'{"progressToken":"p","progress":1}')
        )
    )
    assert list(session.on_tick(118)) == []
    assert said(session.on_tick(120)) != []


def test_a_call_is_not_idle_during_a_request_to_its_client():
    session, _, _ = late(9)
    [(_, asked)] = told(session.on_server_message(Request(b'"q"', "elicitation/create", b"")))
    for now in (130, 200, 300):
        assert list(session.on_tick(now)) == []
    session.on_client_message(Response(b"%d" % asked["id"], b"{}", b""), None)
    assert list(session.on_tick(309)) == []
    assert said(session.on_tick(311)) != []


def test_a_client_that_gets_a_request_before_the_first_tick_has_its_time():
    session = make(limits=Limits(call_idle_seconds=10))
    ask(session)
    session.on_server_message(Request(b'"q"', "elicitation/create", b""))
    for now in (10_000, 10_011, 10_100):
        assert list(session.on_tick(now)) == []


def test_a_client_that_never_answers_is_no_excuse_for_ever():
    session, _, _ = late(9)
    list(session.on_server_message(Request(b'"q"', "elicitation/create", b"")))
    assert list(session.on_tick(700)) == []
    assert said(session.on_tick(711)) != []


def test_a_call_that_no_child_has_seen_is_given_up_without_a_word_to_it():
    session = make(limits=Limits(call_seconds=10))
    list(session.on_tick(100))
    session.on_server_exit("gone", {})
    queue, effects = ask(session)
    assert [type(effect) for effect in effects] == [StartProcess]
    effects = list(session.on_tick(111))
    assert said(effects) == []
    assert [where for where, _ in told(effects)] == [queue]
    restarted = said(session.on_server_start())
    assert [order["method"] for order in restarted] == ["initialize"]


# ---- tools that are not for clients


def test_a_tool_that_is_not_chosen_is_neither_listed_nor_called():
    counter = itertools.count(1)
    session = LegacySession(LIMITS, lambda: f"k{next(counter)}", None, AccessPolicy(("a*",)))
    session.on_client_message(Request(b"0", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    session.on_server_message(Response(b"1", b'{"protocolVersion":"2025-11-25"}', b""))
    with pytest.raises(Rejection, match="Unknown tool: b"):
        ask(session, b"7", params=b'{"name":"b"}')
    assert session.in_flight == 0
    _, effects = ask(session, b"8", params=b'{"name":"a"}')
    assert len(said(effects)) == 1
    ask(session, b"9", "tools/list", b"{}")
    [(_, listed)] = told(
        session.on_server_message(Response(b"3", b'{"tools":[{"name":"a"},{"name":"b"}]}', b""))
    )
    assert listed["result"] == {"tools": [{"name": "a"}]}
    ask(session, b"10", "tools/list", b"{}")
    [(_, failed)] = told(session.on_server_message(Response(b"4", b"", b'{"code":-1,"message":"no"}')))
    assert failed["error"]["message"] == "no"


def test_a_definition_that_is_not_approved_is_neither_listed_nor_used():
    counter = itertools.count(1)
    policy = AccessPolicy().guarded_by(guard_of(tool="b", prompt="p"))
    session = LegacySession(LIMITS, lambda: f"k{next(counter)}", None, policy)
    session.on_client_message(Request(b"0", "initialize", INITIALIZE), session.call_stream(SendQueue()))
    session.on_server_message(Response(b"1", b'{"protocolVersion":"2025-11-25"}', b""))
    with pytest.raises(Rejection, match="Unknown tool: b"):
        ask(session, b"7", params=b'{"name":"b"}')
    with pytest.raises(Rejection, match="Unknown prompt: p"):
        ask(session, b"7", "prompts/get", b'{"name":"p"}')
    assert len(said(ask(session, b"8", params=b'{"name":"a"}')[1])) == 1
    ask(session, b"9", "tools/list", b"{}")
    [(_, listed)] = told(
        session.on_server_message(Response(b"3", b'{"tools":[{"name":"a"},{"name":"b"}]}', b""))
    )
    assert listed["result"] == {"tools": [{"name": "a"}]}


def test_a_denied_feature_passes_in_no_direction():
    counter = itertools.count(1)
    session = LegacySession(
        LIMITS,
        lambda: f"k{next(counter)}",
        SendQueue("pipe"),
        AccessPolicy(without=("prompts", "sampling", "roots")),
    )
    opening = b'{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"elicitation":{}}}'
    [opened] = session.on_client_message(Request(b"0", "initialize", opening), None)
    left = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}}
    assert json.loads(opened.line)["params"] == left
    offered = b'{"protocolVersion":"2025-11-25","capabilities":{"prompts":{},"tools":{}}}'
    [(_, told_of)] = told(session.on_server_message(Response(b"1", offered, b"")))
    assert told_of["result"]["capabilities"] == {"tools": {}}
    session.on_client_message(Notification("notifications/initialized", b""), None)

    with pytest.raises(Rejection, match="prompts is disabled") as caught:
        session.on_client_message(Request(b"7", "prompts/list", b""), None)
    assert (caught.value.code, session.in_flight) == (-32601, 0)
    for effects in (
        session.on_client_message(Notification("notifications/roots/list_changed", b""), None),
        session.on_server_message(Notification("notifications/prompts/list_changed", b"")),
    ):
        assert list(effects) == [LogDebug("notification_denied")]
    [refused] = session.on_server_message(Request(b'"q"', "sampling/createMessage", b"{}"))
    assert json.loads(refused.line) == {
        "jsonrpc": "2.0",
        "id": "q",
        "error": {"code": -32601, "message": "sampling is disabled for this server"},
    }
    assert len(told(session.on_server_message(Request(b'"r"', "elicitation/create", b"{}")))) == 1
    assert len(told(session.on_server_message(Notification("notifications/tools/list_changed", b"")))) == 1

    # A child that replaces a lost child receives no more than the first child.
    session.on_server_exit("gone", {})
    ask(session, b"8", "tools/list", b"{}")
    [again] = session.on_server_start()
    assert json.loads(again.line)["params"] == left


def test_the_end_of_each_request_is_notified_once_where_that_is_wanted():
    def ends(effects):
        return [(one.id, one.outcome) for one in effects if isinstance(one, RequestFinished)]

    session = LegacySession(Limits(call_seconds=10), lambda: "k", SendQueue("pipe"))
    assert ends(session.on_client_message(Request(b'"p"', "ping", b""), None, 7.0)) == [(b'"p"', "ok")]
    session.on_client_message(Request(b"0", "initialize", INITIALIZE), None, 7.0)
    assert ends(session.on_server_message(Response(b"1", INITIALIZE, b""))) == [(b"0", "ok")]
    list(session.on_tick(100))
    for number in (7, 8, 9):
        session.on_client_message(Request(b"%d" % number, "tools/list", b""), None, 7.0)
    assert ends(session.on_server_message(Response(b"2", b"", b'{"code":-5,"message":"no"}'))) == [
        (b"7", "error -5")
    ]
    taken_back = Notification("notifications/cancelled", b'{"requestId":8}')
    assert ends(session.on_client_message(taken_back, None)) == [(b"8", "cancelled")]
    assert ends(session.on_server_message(Response(b"3", b"{}", b""))) == []
    assert ends(session.on_tick(200)) == [(b"9", "error -32001")]
    for since in (7.0, None):
        session.on_client_message(Request(b"10", "tools/list", b""), None, since)
        assert ends(session.on_server_exit("gone", {})) == [(b"10", "error -32000")][: since is not None]
    session.on_server_start()
    session.on_server_message(Response(b"6", INITIALIZE, b""))
    session.on_client_message(Request(b"11", "tools/call", b'{"name":"t"}'), None, 7.0)
    effects = session.on_server_message(Response(b"7", b'{"isError":true}', b""))
    assert effects[1:] == (RequestFinished(b"11", "tools/call", "t", 7.0, "tool error"),)


def test_a_request_that_is_only_counted_ends_without_an_effect():
    session = make("pipe")
    session._recorder.counts = counts = CallMetrics(lambda: 7.25)
    session.on_client_message(Request(b"10", "tools/call", b'{"name":"t"}'), None, 7.0)
    effects = session.on_server_message(Response(b"2", b'{"isError":true}', b""))
    assert [type(effect) for effect in effects] == [ToClient]
    [series] = counts
    assert (series.tool, series.count, series.seconds, series.errors) == ("t", 1, 0.25, {"tool_error": 1})


# ---- a process that several sessions share


def test_a_session_that_shares_its_process_hands_on_messages_under_ids_of_a_common_counter():
    ids = itertools.count(40)
    one, other = (LegacySession(LIMITS, lambda: "k", SendQueue("pipe"), ids=ids) for _ in range(2))
    [opening] = one.on_client_message(Request(b"0", "initialize", INITIALIZE), None)
    assert opening == ToUpstream(Request(b"40", "initialize", INITIALIZE))
    one.on_server_message(Response(b"40", INITIALIZE, b""))
    other.on_client_message(Request(b"0", "initialize", INITIALIZE), None)
    params = b'{"name":"t","_meta":{"progressToken":"p"}}'
    [call] = one.on_client_message(Request(b"0", "tools/call", params), None)
    assert call == ToUpstream(Request(b"42", "tools/call", params), b'"p"')
    ready = Notification("notifications/initialized", b"")
    assert list(one.on_client_message(ready, None)) == [ToUpstream(ready)]
    assert list(one.on_server_message(Request(b"5", "ping", b""))) == [ToUpstream(Response(b"5", b"{}", b""))]
    one.on_server_message(Request(b"9", "elicitation/create", b"{}"), b"42")
    answer = Response(b"1", b'{"action":"accept"}', b"")
    assert one.on_client_message(answer, None) == (ToUpstream(Response(b"9", answer.result, b"")),)
    [taken_back] = one.on_client_message(Notification("notifications/cancelled", b'{"requestId":0}'), None)
    assert taken_back == ToUpstream(Notification("notifications/cancelled", b'{"requestId":42}'))


def test_a_session_goes_on_when_the_process_that_it_shares_is_lost():
    session = LegacySession(LIMITS, lambda: "k", SendQueue("pipe"), ids=itertools.count(1))
    session.on_client_message(Request(b"0", "initialize", INITIALIZE), None)
    session.on_server_message(Response(b"1", INITIALIZE, b""))
    for number in (7, 8):
        session.on_client_message(Request(b"%d" % number, "tools/call", b'{"name":"t"}'), None)
    [(_, failed)] = told(session.on_calls_lost((b"2", b"99"), "gone", {"reason": "exited"}))
    assert (failed["id"], failed["error"]["data"]) == (7, {"reason": "exited"})
    assert (session.in_flight, session.phase) == (1, "open")


def test_an_initialize_that_every_server_should_accept_is_ordinary():
    assert make().is_ordinary
    assert not LegacySession(LIMITS, lambda: "x").is_ordinary


def test_r04_an_initialize_of_too_many_values_is_refused_and_the_next_one_is_sent():
    session = LegacySession(LIMITS, lambda: "k")
    params = b'{"protocolVersion":"2025-11-25","capabilities":{"experimental":{"a":[%b1]}}}' % (
        b"1," * 40_000
    )
    with pytest.raises(Rejection, match="initialize has more than 65536 bytes"):
        ask(session, b"1", "initialize", params)
    assert ask(session, b"1", "initialize", INITIALIZE)


def test_the_client_and_the_number_of_its_messages_are_stated():
    session = make()
    assert session.client_info == b'{"name":"t","version":"1"}'
    assert session.received == 2
    ask(session)
    assert session.received == 3
    assert LegacySession(LIMITS, lambda: "k").client_info == b""
