"""What is sent to the daemon and to the client on one connection after another."""

import json

import pytest

from mcpbridged.bridge.commands.pump.client_input import ClientInput
from mcpbridged.bridge.commands.pump.conversation import (
    AWAY,
    DRAINING,
    OPEN,
    REPLAYING,
    RESTING,
    Conversation,
)
from mcpbridged.bridge.commands.pump.lines import Line, line_of

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
MODERN = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


def opened(revision="2025-11-25", **capabilities):
    return {"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": revision, "capabilities": capabilities}}


def request(number, method="tools/call", **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def result(number):
    return {"jsonrpc": "2.0", "id": number, "result": {}}


def error(number, code=-32000, reason="", text="no"):
    data = {"data": {"reason": reason}} if reason else {}
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text, **data}}


def as_line(message):
    return line_of(
        message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
    )


class Talk:
    """A conversation whose lines are taken by a kernel with room for all of them."""

    def __init__(self):
        self.state = Conversation("own-")

    def client(self, *messages):
        for message in messages:
            self.state.on_client_line(as_line(message))
        return self.sent()

    def sent(self, count=1 << 30):
        """Return the lines that are sent now, of which the kernel takes so many bytes."""
        phase, outgoing = self.state.phase, self.state.outgoing
        pieces = outgoing.pieces(ahead=phase in (OPEN, REPLAYING), waiting=phase == OPEN)
        data = b"".join(pieces)[:count]
        self.state.on_sent(outgoing.advance(len(data)))
        return [json.loads(line) for line in data.splitlines()] if count == 1 << 30 else data

    def server(self, message):
        """Return whether a line of the server is for the client."""
        return self.state.on_server_line(as_line(message))

    def replies(self):
        found = [json.loads(line) for line in self.state.replies]
        self.state.replies.clear()
        return found

    def connect(self):
        self.state.on_connect()
        return self.sent()

    def lose(self):
        self.state.on_disconnect("one closed the connection")
        return self.replies()


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture
def session(talk):
    """A session of a handshake revision."""
    talk.connect()
    talk.client(INITIALIZE)
    assert talk.server(opened(tools={"listChanged": True}, prompts={}, logging={}))
    talk.client(INITIALIZED)
    return talk


def ids(messages):
    return [message["id"] for message in messages]


# ---- requests in flight


def test_each_request_in_flight_fails_once_with_the_reason(session):
    session.client(request(1), request("1"), {**request(2), "id": 2.0}, request(3))
    assert session.server(result(3))
    failed = session.lose()
    assert ids(failed) == [1, "1", 2.0]
    assert failed[0]["error"] == {
        "code": -32603,
        "message": "one closed the connection; the request was sent before and may have been executed",
        "data": {"reason": "connection lost"},
    }
    assert session.lose() == []


def test_requests_of_a_batch_are_in_flight_one_by_one(talk):
    talk.connect()
    talk.client([request(1), request(2), INITIALIZED, result(9)])
    assert talk.server([result(1)])
    assert ids(talk.lose()) == [2]


def test_a_response_under_another_spelling_ends_the_request(talk):
    talk.connect()
    talk.client({**request(1), "id": 1.0}, b'{"jsonrpc":"2.0","id":"\\u0061","method":"x"}')
    talk.server(result(1))
    talk.server(result("a"))
    assert talk.lose() == []


def test_a_request_of_which_the_kernel_has_not_taken_the_last_byte_is_sent_again(talk):
    talk.connect()
    talk.state.on_client_line(as_line(request(1)))
    talk.state.on_client_line(as_line(request(2)))
    talk.sent(as_line(request(1)).size + 5)
    assert ids(talk.lose()) == [1]
    assert ids(talk.connect()) == [2]


def test_a_request_that_is_cancelled_is_not_in_flight_any_more(session):
    session.client(request(1), request(2))
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert session.client(cancelled) == [cancelled]
    assert ids(session.lose()) == [2]


def test_a_cancelled_request_that_was_not_sent_is_dropped_with_its_cancellation(talk):
    talk.client(request(1), request(2))
    talk.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    assert ids(talk.connect()) == [2]


def test_an_id_that_is_used_twice_is_answered_twice(talk):
    talk.connect()
    talk.client(request(1), request(1))
    assert ids(talk.lose()) == [1, 1]


def test_a_subscription_is_not_due_and_fails_with_its_connection(talk):
    talk.connect()
    talk.client(request("s", "subscriptions/listen", **MODERN))
    assert not talk.state.requests.are_due
    talk.client(request(1, "tools/call", **MODERN))
    assert talk.state.requests.are_due
    assert ids(talk.lose()) == ["s", 1]


def test_a_modern_client_has_nothing_to_repeat(talk):
    talk.connect()
    talk.client(request(1, "tools/call", **MODERN))
    talk.server(result(1))
    assert talk.lose() == []
    assert talk.connect() == []
    assert talk.state.phase == OPEN


# ---- the handshake


def test_the_session_is_opened_again_before_anything_else_is_sent(session):
    session.lose()
    session.client(request(1))
    assert session.connect() == [INITIALIZE]
    assert session.client(request(2)) == []
    assert not session.server(opened(tools={"listChanged": True}, prompts={}, logging={}))
    assert session.sent() == [INITIALIZED, request(1), request(2)]
    assert session.replies() == [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
    assert session.state.notices == []


def test_level_and_subscriptions_are_repeated_with_ids_of_our_own(session):
    session.client(request(1, "logging/setLevel", level="error"))
    for number, uri in enumerate(["x://1", "x://2"], 2):
        session.client(request(number, "resources/subscribe", uri=uri))
    session.client(request(4, "resources/unsubscribe", uri="x://1"))
    for number in range(1, 5):
        session.server(result(number))
    session.lose()
    session.connect()
    session.server(opened())
    _, level, subscription = session.sent()
    assert (level["method"], level["params"]) == ("logging/setLevel", {"level": "error"})
    assert (subscription["method"], subscription["params"]) == ("resources/subscribe", {"uri": "x://2"})
    assert not session.server(result(level["id"]))
    assert not session.server(error(subscription["id"]))
    assert session.replies() == [
        {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "x://2"}}
    ]
    assert session.lose() == []


def test_at_most_64_subscriptions_are_repeated(session):
    for number in range(100):
        session.client(request(number + 1, "resources/subscribe", uri=f"x://{number}"))
    session.lose()
    session.connect()
    session.server(opened())
    assert len(session.sent() + session.sent()) == 1 + 64


def test_a_handshake_in_flight_is_sent_again_and_answered_once(talk):
    talk.connect()
    talk.client(INITIALIZE, INITIALIZED, request(1))
    assert ids(talk.lose()) == [1]
    assert talk.connect() == [INITIALIZE, INITIALIZED]
    assert talk.server(opened())
    assert talk.lose() == []
    assert talk.connect() == [INITIALIZE]
    assert not talk.server(opened())


def test_a_handshake_that_waits_is_sent_once(talk):
    talk.client(INITIALIZE, INITIALIZED, request(1))
    assert talk.connect() == [INITIALIZE, INITIALIZED, request(1)]


def test_initialized_that_waits_when_the_connection_is_lost_is_sent_once(talk):
    talk.connect()
    talk.client(INITIALIZE)
    talk.server(opened())
    talk.state.on_client_line(as_line(INITIALIZED))
    talk.lose()
    assert talk.connect() == [INITIALIZE]
    talk.server(opened())
    assert talk.sent() == [INITIALIZED]


def test_initialized_that_is_sent_while_there_is_no_connection_is_sent_once(talk):
    talk.connect()
    talk.client(INITIALIZE)
    talk.server(opened())
    talk.lose()
    talk.client(INITIALIZED)
    assert talk.connect() == [INITIALIZE]
    talk.server(opened())
    assert talk.sent() == [INITIALIZED]


def test_a_repetition_that_is_lost_is_repeated(session):
    session.lose()
    session.connect()
    assert session.lose() == []
    assert session.connect() == [INITIALIZE]


def test_a_rejected_repetition_fails_what_waits_and_the_next_request_repeats_it(session):
    session.lose()
    session.client(request(1))
    session.connect()
    assert not session.server(error(0, -32603, text="cannot start"))
    (failed,) = session.replies()
    assert (failed["id"], failed["error"]["message"]) == (
        1,
        "the server rejected the repeated initialize: cannot start",
    )
    assert session.state.phase == RESTING
    assert session.client({"jsonrpc": "2.0", "method": "notifications/x"}) == []
    assert session.client(request(2)) == [INITIALIZE]
    assert not session.server(opened())
    assert ids(session.sent()[2:]) == [2]


def test_a_rejected_repetition_is_not_repeated_by_a_connection_alone(session):
    session.lose()
    session.connect()
    session.server(error(0))
    session.lose()
    assert session.connect() == []
    assert session.client(request(1)) == [INITIALIZE]


@pytest.mark.parametrize("reason", ["stopping", "session ended"])
def test_a_repetition_that_a_daemon_rejects_because_it_ends_waits_for_the_next_connection(session, reason):
    session.lose()
    session.client(request(1))
    session.connect()
    assert not session.server(error(0, reason=reason))
    assert session.replies() == []
    session.lose()
    assert session.connect() == [INITIALIZE]


@pytest.mark.parametrize("reason", ["stopping", "session ended"])
def test_a_first_initialize_that_a_daemon_rejects_because_it_ends_waits_for_the_next_connection(talk, reason):
    talk.connect()
    talk.client(INITIALIZE)
    assert not talk.server(error(0, reason=reason))
    assert talk.lose() == []
    assert talk.connect() == [INITIALIZE]


def test_after_a_rejected_initialize_another_may_follow(talk):
    talk.connect()
    talk.client(INITIALIZE)
    assert talk.server(error(0))
    assert talk.lose() == []
    assert talk.connect() == []
    second = {**INITIALIZE, "id": 5}
    talk.client(second)
    assert talk.server({**opened(), "id": 5})
    talk.lose()
    assert talk.connect() == [second]


def test_what_the_new_process_lacks_is_reported(session):
    session.lose()
    session.connect()
    session.server(opened("2025-06-18", prompts={}))
    assert session.state.notices == [
        "the server now uses revision 2025-06-18 instead of 2025-11-25",
        "the server no longer declares the capabilities logging, tools",
    ]


def test_notifications_of_the_server_pass_while_the_session_is_opened_again(session):
    session.lose()
    session.connect()
    assert session.server({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
    assert session.server({"jsonrpc": "2.0", "id": "p", "method": "ping"})
    assert session.client(result("p")) == [result("p")]


# ---- requests of the server


def test_requests_of_a_lost_server_are_cancelled_and_their_late_responses_dropped(session):
    assert session.server(request("q", "roots/list"))
    assert session.server(request(8, "elicitation/create"))
    session.client(result(8))
    (cancelled,) = session.lose()
    assert cancelled == {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": "q", "reason": "one closed the connection"},
    }
    session.client(result("q"), request(1))
    session.connect()
    session.server(opened())
    assert session.sent() == [INITIALIZED, request(1)]


def test_a_response_that_waits_when_its_connection_is_lost_is_dropped(session):
    session.server(request("q", "roots/list"))
    session.state.on_client_line(as_line(request(1)))
    session.sent(3)
    session.state.on_client_line(as_line(result("q")))
    session.lose()
    session.connect()
    session.server(opened())
    assert session.sent() == [INITIALIZED, request(1)]


def test_a_request_that_the_server_has_cancelled_is_not_cancelled_again(session):
    session.server(request("q", "roots/list"))
    session.server({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q"}})
    assert session.lose() == []


def test_a_new_request_with_the_id_of_a_lost_one_is_answered(session):
    session.server(request("q", "roots/list"))
    session.lose()
    session.connect()
    session.server(opened())
    session.server(request("q", "roots/list"))
    session.sent()
    assert session.client(result("q")) == [result("q")]


# ---- a daemon that ends


def test_a_request_that_was_not_begun_waits_for_the_next_connection(session):
    session.client(request(1), request(2))
    assert not session.server(error(1, reason="stopping"))
    assert session.state.has_rejected
    assert session.state.has_unsent
    assert ids(session.lose()) == [2]
    session.connect()
    session.server(opened())
    assert session.sent() == [INITIALIZED, request(1)]
    assert session.lose()[0]["id"] == 1


@pytest.mark.parametrize(
    "answer",
    [
        error(1, -32603, "stopping"),
        error(1, -32000, "connection lost"),
        error(1, -32000, text='"stopping"'),
        {**error(1), "error": {"code": -32000, "message": "x" * 20_000, "data": {"reason": "stopping"}}},
    ],
)
def test_a_request_that_may_have_been_begun_is_answered(session, answer):
    session.client(request(1))
    assert session.server(answer)
    assert session.lose() == []


def test_a_large_request_is_not_kept_and_its_rejection_is_passed_on(session):
    session.client(request(1, text="x" * 70_000))
    assert session.server(error(1, reason="stopping"))


def test_rejections_are_passed_on_if_the_connection_does_not_end(session):
    session.client(request(1))
    session.server(error(1, reason="stopping"))
    session.state.return_rejections()
    assert session.replies() == [error(1, reason="stopping")]
    assert not session.state.has_unsent


def test_a_rejected_request_that_is_cancelled_is_dropped(session):
    session.client(request(1))
    session.server(error(1, reason="stopping"))
    session.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    assert not session.state.has_unsent


def test_the_response_to_a_repeated_initialize_is_not_for_the_client_also_while_the_connection_drains(
    session,
):
    session.state.on_disconnect("gone")
    session.state.on_connect()
    session.client(request(1))
    session.state.on_drain()
    assert not session.server(opened())
    assert session.state.phase == DRAINING
    session.state.on_disconnect("gone")
    session.state.on_connect()
    assert session.sent() == [INITIALIZE]
    assert not session.server(opened())
    assert [line["method"] for line in session.sent()] == ["notifications/initialized", "tools/call"]
    # A request of the client may have the same id later.
    session.client(request(0))
    assert session.server(result(0))


def test_while_a_connection_drains_nothing_is_sent_and_responses_still_arrive(session):
    session.client(request(1))
    session.state.on_drain()
    assert session.state.phase == DRAINING
    assert session.client(request(2)) == []
    assert session.server(result(1))
    assert session.lose() == []
    session.connect()
    session.server(opened())
    assert session.sent() == [INITIALIZED, request(2)]


# ---- the end


def test_at_the_end_every_request_without_a_response_fails(session):
    session.client(request(1))
    session.client(request(3))
    session.server(error(3, reason="stopping"))
    session.state.phase = AWAY
    session.client(request(2))
    session.state.close("stdin was closed")
    failed = session.replies()
    assert ids(failed) == [3, 1, 2]
    assert failed[1]["error"]["message"] == "stdin was closed"


def test_a_reason_with_quotes_is_json(session):
    session.client(request(1))
    session.state.close('x "\u00fc" \n')
    assert session.replies()[0]["error"]["message"] == 'x "\u00fc" \n'


def test_a_large_line_that_was_cut_fails_when_its_end_has_arrived(talk):
    talk.connect()
    line = Line([b'{"method":"x","params":"' + b"x" * 70_000], finished=False)
    talk.state.outgoing.append(line)
    talk.sent(70_025)
    assert talk.lose() == []
    assert line.is_lost
    line.extend([b'","jsonrpc":"2.0","id":9}\n'], finished=True)
    talk.state.on_cut_line(line)
    (failed,) = talk.replies()
    assert failed["id"] == 9
    assert "was not executed" in failed["error"]["message"]


# ---- batches


def test_of_a_batch_only_what_configures_the_session_is_repeated(talk):
    talk.connect()
    talk.client(INITIALIZE)
    talk.server(opened("2025-03-26"))
    talk.client([INITIALIZED, request(1)])
    talk.client(
        [request(2, "logging/setLevel", level="error"), request(3, "resources/subscribe", uri="test:one")]
    )
    talk.client([request(4, "resources/subscribe", uri="test:two")])
    talk.client([request(5, "resources/unsubscribe", uri="test:two")])
    assert ids(talk.lose()) == [1, 2, 3, 4, 5]
    assert talk.connect() == [INITIALIZE]
    talk.server(opened("2025-03-26"))
    initialized, level, subscription = talk.sent()
    assert initialized == INITIALIZED
    assert (level["method"], level["params"]) == ("logging/setLevel", {"level": "error"})
    assert (subscription["method"], subscription["params"]) == ("resources/subscribe", {"uri": "test:one"})


def test_initialize_in_a_batch_is_not_repeated(talk):
    talk.connect()
    talk.client([INITIALIZE, request(1)])
    assert ids(talk.lose()) == [0, 1]
    assert talk.connect() == []


# ---- rejections without an end of the connection


@pytest.mark.parametrize("reason", ["stopping", "session ended"])
def test_a_rejected_initialize_is_answered_if_the_connection_does_not_end(talk, reason):
    talk.connect()
    talk.client(INITIALIZE)
    assert not talk.server(error(0, reason=reason))
    assert talk.state.has_rejected
    talk.state.return_rejections()
    assert not talk.state.has_rejected
    assert talk.replies() == [error(0, reason=reason)]
    assert talk.lose() == []
    assert talk.connect() == []


def test_a_rejected_repetition_fails_what_waits_if_the_connection_does_not_end(session):
    session.lose()
    session.connect()
    session.client(request(1))
    assert not session.server(error(0, reason="stopping", text="later"))
    assert session.state.has_rejected
    session.state.return_rejections()
    assert session.state.phase == RESTING
    (failed,) = session.replies()
    assert failed["id"] == 1
    assert "later" in failed["error"]["message"]


def test_a_request_fails_unsent_if_a_connection_that_drains_does_not_end(session):
    session.state.on_drain()
    session.client(request(1))
    session.state.return_rejections()
    (failed,) = session.replies()
    assert failed["id"] == 1
    assert failed["error"]["message"].endswith("not executed")
    session.lose()
    assert request(1) not in session.connect()


def test_a_rejected_repetition_on_a_connection_that_drains_waits_for_its_end(session):
    session.lose()
    session.connect()
    session.client(request(1))
    session.server(error(0, reason="stopping"))
    session.state.on_drain()
    assert session.replies() == []
    assert session.state.phase == DRAINING
    assert session.lose() == []
    assert session.connect() == [INITIALIZE]


# ---- large lines


def part():
    return Line([b'{"jsonrpc":"2.0","id":9,"method":"x","params":{"text":"xxx'], finished=False)


def test_a_large_line_whose_session_is_not_opened_again_fails_when_its_end_has_arrived(session):
    session.lose()
    session.connect()
    line = part()
    session.state.on_client_part(line)
    session.client(request(8))
    session.server(error(0))
    assert ids(session.replies()) == [8]
    assert line.is_lost
    assert session.state.outgoing.size == 0


def test_a_large_line_has_a_session_opened_again_that_was_rejected(session):
    session.lose()
    session.connect()
    session.server(error(0))
    assert session.state.phase == RESTING
    session.state.on_client_part(part())
    assert session.sent() == [INITIALIZE]


def test_a_large_line_whose_session_is_not_opened_again_counts_no_more(session):
    source = ClientInput(session.state, held=1000)
    for number in range(1, 4):
        session.lose()
        session.connect()
        source.feed(b'{"jsonrpc":"2.0","id":%d,"method":"x","params":{"text":"' % number + b"x" * 1001)
        session.sent()
        session.server(error(0))
        source.feed(b"x" * 900)
        source.feed(b'"}}\n')
        assert ids(session.replies()) == [number]
        assert not source.is_full
        assert session.state.outgoing.size == 0


def test_a_line_that_the_kernel_has_taken_in_part_is_completed_after_a_rejected_repetition(session):
    session.lose()
    session.connect()
    session.server({"jsonrpc": "2.0", "id": 70, "method": "ping"})
    session.state.on_client_line(as_line(result(70)))
    begin = session.sent(5)
    session.server(error(0))
    session.state.on_client_line(as_line(request(1)))
    end = session.sent(1 << 20)
    assert [json.loads(line) for line in (begin + end).splitlines()] == [result(70), INITIALIZE]


def test_a_large_request_of_which_the_begin_is_not_kept_is_not_sent_again(session):
    source = ClientInput(session.state, held=1000)
    source.feed(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"text":"' + b"x" * 1001)
    session.sent(1 << 20)
    source.feed(b'xxx"}}\n')
    session.sent(1 << 20)
    assert session.server(error(1, reason="stopping"))
    assert session.lose() == []
    assert session.connect() == [INITIALIZE]
