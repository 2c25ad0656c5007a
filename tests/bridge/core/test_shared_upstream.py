"""One legacy process for several clients: plain messages in, effects out."""

import itertools
import json
import time

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.attribution import AFTER_ANSWER, Client
from mcpbridged.bridge.core.effects import LogDebug, ServerRequestRefused, StartProcess, ToServer
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.shared_effects import (
    Assigned,
    CallsLost,
    FrontOpened,
    KillProcess,
    LogOnly,
    Opened,
    ToFront,
    Undeclared,
    Unopened,
)
from mcpbridged.bridge.core.shared_upstream import SharedUpstream
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits

OFFERED = {
    "logging": {},
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "tasks": {"list": {}, "cancel": {}},
}
ASKABLE = {"roots": {}, "sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}, "tasks": {}}
RELATED = "io.modelcontextprotocol/related-task"


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


def to_server(effects):
    return [effect.message for effect in effects if isinstance(effect, ToServer)]


def to_front(effects):
    return [(effect.front, effect.message) for effect in effects if isinstance(effect, ToFront)]


def token_of(front, wire_id):
    """Return the progress token that the server gets for a request."""
    return json.loads(front.progress_token(wire_id))


class Talk:
    """An upstream and what is needed to speak to it."""

    def __init__(self, *, policy=None, **limits):
        self.ids = itertools.count(1)
        self.it = SharedUpstream(Limits(**limits), self.mint, policy or AccessPolicy(), "9")
        self.opened = {}

    def mint(self):
        return b"%d" % next(self.ids)

    def join(self, name, capabilities=ASKABLE, *, version="2025-11-25", info="c", **more):
        front = Front(Client(name), name)
        self.it.attach(front)
        wire_id = self.mint()
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": info}}
        self.opened[front] = (
            wire_id,
            self.it.on_front_message(front, Request(wire_id, "initialize", raw({**params, **more}))),
        )
        return front

    def start(self):
        """Start the process and answer its `initialize`."""
        [initialize] = to_server(self.it.on_start())
        self.initialize = json.loads(initialize.params)
        return self.answer(
            initialize.id, {"protocolVersion": "2025-11-25", "capabilities": OFFERED, "serverInfo": {}}
        )

    def request(self, front, method, params=None, token=b""):
        """Send a request. Returns its id and the effects."""
        wire_id = self.mint()
        params = params or {}
        if token:
            params = {**params, "_meta": {"progressToken": json.loads(token)}}
        return wire_id, self.it.on_front_message(front, Request(wire_id, method, raw(params)), token)

    def call(self, front, token=b"", **params):
        wire_id, effects = self.request(front, "tools/call", {"name": "t", **params}, token)
        assert [one.method for one in to_server(effects)] == ["tools/call"]
        return wire_id

    def answer(self, wire_id, result=None, error=None):
        return self.it.on_server_message(
            Response(wire_id, b"" if error else raw(result or {}), raw(error) if error else b"")
        )

    def ask(self, server_id, method="elicitation/create", params=None):
        return self.it.on_server_message(Request(server_id, method, raw(params or {})))

    def notify(self, method, params=None):
        return self.it.on_server_message(Notification(method, raw(params or {})))

    def tell(self, front, method, params=None):
        return self.it.on_front_message(front, Notification(method, raw(params or {})))


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture
def two(talk):
    one, other = talk.join("one"), talk.join("other")
    talk.start()
    return talk, one, other


# ---- the handshake


def test_the_process_is_initialized_once_with_all_requests_that_a_client_can_get(talk):
    one = talk.join("one", {"experimental": {"x": {}}}, info="first")
    other = talk.join("other", {}, version="2025-03-26", info="second")
    assert talk.opened[one][1] == (StartProcess(),)
    assert talk.opened[other][1] == ()
    effects = talk.start()
    assert set(talk.initialize["capabilities"]) == {
        "roots",
        "sampling",
        "elicitation",
        "tasks",
        "experimental",
    }
    assert talk.initialize["protocolVersion"] == "2025-11-25"
    assert talk.initialize["clientInfo"] == {"name": "first (via mcp-bridge 9)"}
    assert effects[:2] == (Opened(), ToServer(Notification("notifications/initialized", b"")))
    answers = {front: json.loads(message.result) for front, message in to_front(effects)}
    assert answers[one]["protocolVersion"] == "2025-11-25"
    assert answers[other]["protocolVersion"] == "2025-03-26"
    assert answers[other]["capabilities"] == OFFERED
    later = talk.join("later", version="2030-01-01")
    [(_, answer)] = to_front(talk.opened[later][1])
    assert json.loads(answer.result)["protocolVersion"] == "2025-11-25"
    assert talk.tell(one, "notifications/initialized") == ()


def test_a_feature_that_the_operator_denies_is_not_declared_and_refused(talk):
    talk = Talk(policy=AccessPolicy(without=("sampling", "tools")))
    front = talk.join("one")
    effects = talk.start()
    assert "sampling" not in talk.initialize["capabilities"]
    [(_, answer)] = to_front(effects)
    assert "tools" not in json.loads(answer.result)["capabilities"]
    talk.request(front, "prompts/get")
    refused, event = talk.ask(b"1", "sampling/createMessage")
    assert json.loads(refused.message.error)["code"] == -32601
    assert event == ServerRequestRefused("sampling/createMessage", "denied")


def test_a_client_without_a_name_leaves_the_name_of_the_bridge(talk):
    talk.join("one", clientInfo={})
    talk.start()
    assert talk.initialize["clientInfo"] == {"name": "mcp-bridge", "version": "9"}


def test_a_server_that_refuses_the_newest_revision_is_offered_those_of_its_clients(talk):
    talk.join("old", version="2024-11-05")
    newer = talk.join("newer", version="2025-03-26")
    [initialize] = to_server(talk.it.on_start())
    offered = []
    refused = {"code": -32602, "message": "Unsupported protocol version"}
    for _ in range(2):
        [initialize] = to_server(talk.answer(initialize.id, error=refused))
        offered.append(json.loads(initialize.params)["protocolVersion"])
    assert offered == ["2025-03-26", "2024-11-05"]
    assert talk.answer(initialize.id, error=refused) == (Unopened(raw(refused)),)
    effects = talk.it.refuse(raw(refused))
    assert {json.loads(message.error)["code"] for _, message in to_front(effects)} == {-32602}
    assert newer in dict(to_front(effects))
    assert effects[-1] == KillProcess()
    assert talk.it.refuse(b"{}") == ()
    assert not talk.it.calling
    assert talk.request(newer, "tools/list")[1] == (StartProcess(),)


def test_a_result_of_the_stateless_revision_is_no_handshake(talk):
    talk.join("one")
    [initialize] = to_server(talk.it.on_start())
    [effect] = talk.answer(initialize.id, {"resultType": "complete"})
    assert isinstance(effect, Unopened)
    assert talk.it.is_opening
    assert talk.it.is_refused
    assert talk.it.on_tick(1) == ()
    assert talk.it.on_tick(1000) == ()  # the shell finds out why
    [note] = talk.answer(initialize.id, {"protocolVersion": "2025-11-25"})
    assert isinstance(note, LogDebug)


def test_a_process_that_does_not_answer_initialize_in_time_is_given_up(talk):
    one = talk.join("one")
    talk.it.on_start()
    [note] = talk.answer(b"99", {})
    assert isinstance(note, LogDebug)
    assert talk.it.on_tick(5) == ()
    on_exit, abandon = talk.it.on_tick(5 + 61)
    assert (on_exit.front, on_exit.wire_ids, abandon) == (
        one,
        (talk.opened[one][0],),
        KillProcess(on_exit.text),
    )
    assert "did not answer initialize within 60 s" in on_exit.text


def test_a_client_that_leaves_before_the_handshake_gets_no_answer(talk):
    one = talk.join("one")
    other = talk.join("other")
    again = talk.join("again")
    assert talk.it.detach(one) == ()
    assert talk.it.detach(one) == ()
    assert talk.tell(again, "notifications/cancelled", {"requestId": int(talk.opened[again][0])}) == ()
    assert [front for front, _ in to_front(talk.start())] == [other]


# ---- requests and responses


def test_an_answer_finds_its_client_by_its_wire_id(two):
    talk, one, other = two
    first, second = talk.call(one), talk.call(other)
    assert talk.it.calling
    assert to_front(talk.answer(second, {"b": 2})) == [(other, Response(second, raw({"b": 2}), b""))]
    assert to_front(talk.answer(first, {"a": 1})) == [(one, Response(first, raw({"a": 1}), b""))]
    [note] = talk.answer(b"12345")
    assert isinstance(note, LogDebug)


def test_equal_progress_tokens_of_two_clients_stay_apart(two):
    talk, one, other = two
    first, second = talk.call(one, b'"t"'), talk.call(other, b'"t"')
    talk.call(one)
    for wire_id, front in ((first, one), (second, other)):
        [(got, message)] = to_front(
            talk.notify("notifications/progress", {"progressToken": token_of(front, wire_id), "progress": 1})
        )
        assert got is front
        assert json.loads(message.params) == {"progressToken": "t", "progress": 1}
    [note] = talk.notify("notifications/progress", {"progressToken": "t"})
    assert isinstance(note, LogDebug)
    third = talk.call(one)
    assert talk.notify("notifications/progress", {"progressToken": token_of(one, third)}) == (
        LogDebug("progress_without_token"),
    )


@pytest.mark.parametrize("spelling", ["number", "string", "own secret"])
def test_a_client_cannot_guess_the_progress_token_of_another(two, spelling):
    """A server may read members of its params that the bridge does not: the first of two, or `ProgressToken`."""
    talk, one, other = two
    wire_id = talk.call(one, b'"t"')
    forged = {"number": int(wire_id), "string": wire_id.decode(), "own secret": token_of(other, wire_id)}
    assert talk.notify("notifications/progress", {"progressToken": forged[spelling]}) == (
        LogDebug("progress_unmatched"),
    )


def test_the_server_gets_an_unguessable_token_with_the_wire_id(two):
    talk, one, _ = two
    wire_id, effects = talk.request(one, "tools/list", {"cursor": "c"}, b"7")
    [sent] = to_server(effects)
    assert json.loads(sent.params) == {"cursor": "c", "_meta": {"progressToken": token_of(one, wire_id)}}


@pytest.mark.parametrize(
    "method",
    [
        "tools/call",
        "resources/subscribe",
        "resources/unsubscribe",
        "logging/setLevel",
        "tasks/get",
        "vendor/x",
    ],
)
def test_no_request_reaches_the_server_with_the_token_of_its_client(two, method):
    talk, one, _ = two
    params = {"name": "t", "uri": "x://a", "level": "info", "taskId": "t", "_meta": {"progressToken": 1}}
    wire_id = talk.mint()
    effects = talk.it.on_front_message(one, Request(wire_id, method, raw(params)), b"1")
    sent = [json.loads(message.params) for message in to_server(effects)]
    expected = [{"progressToken": token_of(one, wire_id)}] * (method != "tasks/get")
    assert [params["_meta"] for params in sent] == expected


@pytest.mark.parametrize("opened", [True, False])
def test_a_request_whose_token_cannot_be_replaced_is_refused(talk, opened):
    one = talk.join("one")
    if opened:
        talk.start()
    members = ",".join(f'"m{number}":1' for number in range(100_000))
    params = f'{{"x":"_meta","_meta":{{"progressToken":1}},{members}}}'.encode()
    [(front, response)] = to_front(talk.it.on_front_message(one, Request(b"77", "tools/call", params), b"1"))
    assert front is one
    assert json.loads(response.error)["code"] == -32602
    assert talk.answer(b"77") == (LogDebug("response_unmatched", ("server", b"77")),)


def test_only_a_call_of_its_own_is_cancelled(two):
    talk, one, other = two
    wire_id = talk.call(one)
    cancel = {"requestId": int(wire_id), "reason": "r"}
    [note] = talk.tell(other, "notifications/cancelled", cancel)
    assert isinstance(note, LogDebug)
    [sent] = to_server(talk.tell(one, "notifications/cancelled", cancel))
    assert json.loads(sent.params) == cancel
    [note] = talk.tell(one, "notifications/cancelled", cancel)
    assert isinstance(note, LogDebug)
    assert talk.answer(wire_id) == ()
    assert talk.answer(wire_id) == ()
    listing, _ = talk.request(one, "tools/list")
    assert to_server(talk.tell(one, "notifications/cancelled", {"requestId": int(listing)}))


def test_what_comes_before_the_process_waits_within_a_limit():
    talk = Talk(stdin_bytes=50)
    one = talk.join("one")
    first, effects = talk.request(one, "tools/call", {"name": "long" * 9})
    assert effects == ()
    _, effects = talk.request(one, "tools/call", {"name": "more"})
    [(_, refused)] = to_front(effects)
    assert "stdin_bytes" in json.loads(refused.error)["message"]
    third = Request(talk.mint(), "tools/list", b"")
    talk.it.on_front_message(one, third)
    assert talk.tell(one, "notifications/cancelled", {"requestId": int(third.id)}) == ()
    assert talk.tell(one, "notifications/roots/list_changed") == ()
    sent = to_server(talk.start())
    assert [message.id for message in sent if isinstance(message, Request)] == [first]


def test_the_server_gets_so_many_calls_at_once():
    talk = Talk(calls_at_once=1)
    one, other = talk.join("one"), talk.join("other")
    talk.start()
    first = talk.call(one)
    waiting = [talk.request(front, "tools/call", {"name": "t"}) for front in (other, one, other)]
    assert [effects for _, effects in waiting] == [(), (), ()]
    ping, effects = talk.request(other, "ping")
    assert to_server(effects)
    assert talk.tell(other, "notifications/cancelled", {"requestId": int(waiting[2][0])}) == ()
    assert to_server(talk.answer(ping)) == []
    assert [message.id for message in to_server(talk.answer(first))] == [waiting[0][0]]
    sent = to_server(talk.tell(other, "notifications/cancelled", {"requestId": int(waiting[0][0])}))
    assert [message.id for message in sent if isinstance(message, Request)] == [waiting[1][0]]
    assert to_front(talk.answer(waiting[1][0]))[0][0] is one


def test_requests_that_were_held_are_sent_in_order_up_to_calls_at_once():
    talk = Talk(calls_at_once=2)
    one, other = talk.join("one"), talk.join("other")
    held = [talk.request(front, "tools/list")[0] for front in (one, other, one, other)]
    sent = [message.id for message in to_server(talk.start()) if isinstance(message, Request)]
    for answered in held[:2]:
        sent += [message.id for message in to_server(talk.answer(answered))]
    assert sent == held


def test_a_question_makes_room_for_the_next_call():
    talk = Talk(calls_at_once=1)
    one, other = talk.join("one"), talk.join("other")
    talk.start()
    talk.call(one)
    next_, effects = talk.request(other, "tools/call", {"name": "t"})
    assert effects == ()
    question, *given = talk.ask(b"1")
    assert (question.front, [message.id for message in to_server(given)]) == (one, [next_])


def test_a_client_that_leaves_costs_its_own_calls_only(two):
    talk, one, other = two
    mine, others = talk.call(one), talk.call(other)
    listing, _ = talk.request(one, "tools/list")
    sent = to_server(talk.it.detach(one))
    assert {json.loads(message.params)["requestId"] for message in sent} == {int(mine), int(listing)}
    assert to_front(talk.answer(mine)) == []
    assert to_front(talk.answer(others))[0][0] is other


# ---- requests of the server


def test_a_question_goes_to_the_client_of_the_only_call_and_back_under_its_id(two):
    talk, one, other = two
    wire_id = talk.call(one)
    [effect] = talk.ask(b'"q"', params={"message": "sure?"})
    assert (effect.front, effect.about) == (one, wire_id)
    assert (effect.message.method, effect.message.params) == ("elicitation/create", raw({"message": "sure?"}))
    reply = Response(effect.message.id, b"{}", b"")
    [note] = talk.it.on_front_message(other, reply)
    assert isinstance(note, LogDebug)
    assert talk.it.on_front_message(one, reply) == (ToServer(Response(b'"q"', b"{}", b"")),)
    [note] = talk.it.on_front_message(one, reply)
    assert isinstance(note, LogDebug)


def test_a_question_that_several_clients_can_have_caused_is_refused_at_once(two):
    talk, one, other = two
    talk.call(one)
    talk.call(other)
    refused, event = talk.ask(b"1")
    assert json.loads(refused.message.error)["code"] == -32603
    assert event == ServerRequestRefused("elicitation/create", "ambiguous")


def test_a_question_outside_of_calls_is_refused(two):
    talk, _, _ = two
    _, event = talk.ask(b"1", "roots/list")
    assert event.reason == "no_call"


def test_a_call_that_was_answered_lately_may_still_be_the_cause(two):
    talk, one, other = two
    talk.answer(talk.call(one))
    talk.call(other)
    assert talk.ask(b"1")[1].reason == "ambiguous"
    talk.it.on_tick(10)
    talk.it.on_tick(10 + AFTER_ANSWER + 1)
    assert talk.ask(b"1")[0].front is other


@pytest.mark.parametrize(
    ("declared", "method", "params", "answered"),
    [
        ({}, "roots/list", {}, False),
        ({"roots": {}}, "roots/list", {}, True),
        ({}, "sampling/createMessage", {}, False),
        ({"sampling": {}}, "sampling/createMessage", {}, True),
        ({"sampling": {}}, "sampling/createMessage", {"tools": []}, False),
        ({"sampling": {"tools": {}}}, "sampling/createMessage", {"tools": []}, True),
        ({}, "elicitation/create", {}, False),
        ({"elicitation": {}}, "elicitation/create", {"mode": "form"}, True),
        ({"elicitation": {}}, "elicitation/create", {"mode": "url"}, False),
        ({"elicitation": {"url": {}}}, "elicitation/create", {"mode": "url"}, True),
        ({"elicitation": {"url": {}}}, "elicitation/create", {}, False),
        ({"elicitation": {"url": {}, "form": {}}}, "elicitation/create", {}, True),
        ({}, "tasks/list", {}, False),
        ({"tasks": {}}, "tasks/list", {}, True),
        ({}, "vendor/question", {}, True),
    ],
)
def test_a_client_gets_only_requests_that_it_has_declared(talk, declared, method, params, answered):
    one = talk.join("one", declared)
    talk.start()
    talk.call(one)
    effects = talk.ask(b"1", method, params)
    if answered:
        assert [front for front, _ in to_front(effects)] == [one]
    else:
        assert json.loads(effects[0].message.error)["code"] == -32601
        assert effects[1:] == (ServerRequestRefused(method, "not_declared"),)


def test_ping_is_answered_and_an_id_in_use_refused(two):
    talk, one, _ = two
    assert talk.ask(b"5", "ping") == (ToServer(Response(b"5", b"{}", b"")),)
    talk.call(one)
    talk.ask(b'"\\u0061"')
    [refused] = to_server(talk.ask(b'"a"'))
    assert json.loads(refused.error)["code"] == -32600


def test_the_server_withdraws_its_question(two):
    talk, one, _ = two
    talk.call(one)
    [effect] = talk.ask(b"5")
    [(front, message)] = to_front(talk.notify("notifications/cancelled", {"requestId": 5, "reason": "late"}))
    assert front is one
    assert json.loads(message.params) == {"requestId": int(effect.message.id), "reason": "late"}
    [note] = talk.notify("notifications/cancelled", {"requestId": 5})
    assert isinstance(note, LogDebug)


def test_a_client_that_leaves_answers_its_questions_with_an_error(two):
    talk, one, other = two
    wire_id = talk.call(one)
    talk.ask(b"5")
    sent = to_server(talk.it.detach(one))
    assert {type(message) for message in sent} == {Notification, Response}
    [answer] = [message for message in sent if isinstance(message, Response)]
    assert (answer.id, json.loads(answer.error)["code"]) == (b"5", -32603)
    assert talk.ask(b"6", params={"_meta": {RELATED: {"taskId": "x"}}})[1].reason == "no_call"
    assert talk.ask(b"7")[1].reason == "cancelled"
    talk.answer(wire_id)
    talk.call(other)
    assert talk.ask(b"8")[1].reason == "ambiguous"


def test_progress_of_a_client_is_that_of_a_question_to_it(two):
    talk, one, other = two
    talk.call(one)
    talk.ask(b"5", "sampling/createMessage", {"_meta": {"progressToken": "p"}})
    progress = {"progressToken": "p", "progress": 1}
    assert to_server(talk.tell(one, "notifications/progress", progress))
    for front, token in ((other, "p"), (one, "o"), (one, "q")):
        [note] = talk.tell(front, "notifications/progress", {**progress, "progressToken": token})
        assert isinstance(note, LogDebug)
    assert to_server(talk.tell(other, "notifications/roots/list_changed"))


# ---- notifications of the server


def test_changed_lists_reach_every_client_that_is_initialized(two):
    talk, one, other = two
    talk.it.attach(Front(Client("new"), "new"))
    effects = talk.notify("notifications/tools/list_changed")
    assert [front for front, _ in to_front(effects)] == [one, other]


def test_log_lines_reach_the_only_client_that_can_have_caused_them(two):
    talk, one, other = two
    line = {"level": "info", "data": "x"}
    assert talk.notify("notifications/message", line) == (LogOnly(raw(line)),)
    talk.call(one)
    wire_id = talk.call(one)
    [effect] = talk.notify("notifications/message", line)
    assert (effect.front, effect.about) == (one, wire_id)
    talk.call(other)
    assert talk.notify("notifications/message", line) == (LogOnly(raw(line)),)
    talk.it.detach(one)
    talk.it.detach(other)
    assert talk.notify("notifications/message", line) == (LogOnly(raw(line)),)


def test_a_log_line_before_the_handshake_reaches_the_only_client(talk):
    one = talk.join("one")
    talk.it.on_start()
    assert [front for front, _ in to_front(talk.notify("notifications/message", {"level": "info"}))] == [one]


def test_the_level_is_the_most_verbose_one_and_each_client_gets_its_own(two):
    talk, one, other = two
    mine, effects = talk.request(one, "logging/setLevel", {"level": "debug"})
    assert [json.loads(message.params) for message in to_server(effects)] == [{"level": "debug"}]
    assert to_front(talk.answer(mine)) == [(one, Response(mine, b"{}", b""))]
    _, effects = talk.request(other, "logging/setLevel", {"level": "error"})
    assert [json.loads(message.params) for message in to_server(effects)] == [{"level": "debug"}]
    talk.call(other)
    assert talk.notify("notifications/message", {"level": "info"}) == ()
    assert to_front(talk.notify("notifications/message", {"level": "critical"}))[0][0] is other
    sent = to_server(talk.it.detach(one))
    assert [json.loads(message.params) for message in sent] == [{"level": "error"}]


def test_a_client_that_has_set_no_level_gets_the_usual_one(two):
    talk, one, other = two
    talk.request(one, "logging/setLevel", {"level": "debug"})
    talk.call(other)
    assert talk.notify("notifications/message", {"level": "debug"}) == ()
    assert to_front(talk.notify("notifications/message", {"level": "info"}))
    assert to_front(talk.notify("notifications/message", {"level": "strange"}))


def test_a_level_that_the_server_refuses_does_not_count(two):
    talk, one, other = two
    wire_id, _ = talk.request(one, "logging/setLevel", {"level": "debug"})
    talk.answer(wire_id, error={"code": -32601, "message": "no"})
    assert one.level == ""
    wire_id, effects = talk.request(other, "logging/setLevel", {"level": "loud"})
    assert json.loads(to_server(effects)[0].params) == {"level": "loud"}
    cancelled = talk.tell(other, "notifications/cancelled", {"requestId": int(wire_id)})
    assert cancelled == ()


def test_what_the_bridge_does_not_know_reaches_the_only_client(two):
    talk, one, other = two
    [note] = talk.notify("vendor/news")
    assert isinstance(note, LogDebug)
    talk.call(other)
    assert [front for front, _ in to_front(talk.notify("vendor/news"))] == [other]
    talk.call(one)
    [note] = talk.notify("vendor/news")
    assert isinstance(note, LogDebug)
    [note] = talk.notify("vendor/news", {"_meta": {RELATED: {"taskId": "of nobody"}}})
    assert isinstance(note, LogDebug)


def test_a_completed_url_reaches_the_client_that_was_to_open_it(two):
    talk, one, other = two
    talk.call(one)
    talk.ask(b"1", params={"mode": "url", "elicitationId": "u"})
    wire_id = talk.call(other)
    data = {"elicitations": [{"elicitationId": "v"}, {}]}
    talk.answer(wire_id, error={"code": -32042, "message": "open", "data": data})
    talk.answer(talk.call(other), error={"code": -32042, "message": "open"})
    for name, front in (("u", one), ("v", other)):
        effects = talk.notify("notifications/elicitation/complete", {"elicitationId": name})
        assert [got for got, _ in to_front(effects)] == [front]
    talk.it.detach(other)
    [note] = talk.notify("notifications/elicitation/complete", {"elicitationId": "v"})
    assert isinstance(note, LogDebug)


def test_equal_ids_of_two_clients_are_of_neither_and_old_ones_are_forgotten():
    talk = Talk(in_flight=1)
    one, other = talk.join("one"), talk.join("other")
    talk.start()
    for front, name in ((one, "u"), (one, "v"), (one, "w"), (other, "w")):
        wire_id = talk.call(front)
        data = {"elicitations": [{"elicitationId": name}]}
        talk.answer(wire_id, error={"code": -32042, "message": "open", "data": data})
        effects = talk.notify("notifications/elicitation/complete", {"elicitationId": name})
        assert bool(to_front(effects)) == (front is one)
    assert not to_front(talk.notify("notifications/elicitation/complete", {"elicitationId": "u"}))


# ---- subscriptions


def subscribe(talk, front, uri="x://a", method="resources/subscribe"):
    return talk.request(front, method, {"uri": uri})


def test_a_resource_is_subscribed_once_and_each_client_is_answered(two):
    talk, one, other = two
    first, effects = subscribe(talk, one)
    assert len(to_server(effects)) == 1
    second, effects = subscribe(talk, other)
    assert effects == ()
    assert [front for front, _ in to_front(talk.answer(first))] == [one, other]
    _, effects = subscribe(talk, other)
    assert [front for front, _ in to_front(effects)] == [other]
    effects = talk.notify("notifications/resources/updated", {"uri": "x://a/part"})
    assert [front for front, _ in to_front(effects)] == [one, other]
    assert talk.notify("notifications/resources/updated", {"uri": "x://ab"}) == ()
    _, effects = subscribe(talk, one, method="resources/unsubscribe")
    assert (to_server(effects), [front for front, _ in to_front(effects)]) == ([], [one])
    wire_id, effects = subscribe(talk, other, method="resources/unsubscribe")
    assert [message.id for message in to_server(effects)] == [wire_id]
    assert to_front(talk.answer(wire_id))[0][0] is other
    assert second


def test_a_subscription_that_the_server_refuses_is_refused_to_all(two):
    talk, one, other = two
    first, _ = subscribe(talk, one)
    subscribe(talk, other)
    effects = talk.answer(first, error={"code": -32002, "message": "no"})
    assert [(front, bool(message.error)) for front, message in to_front(effects)] == [
        (one, True),
        (other, True),
    ]
    assert one.uris == other.uris == {}
    _, effects = subscribe(talk, other)
    assert len(to_server(effects)) == 1


def test_a_subscription_outlives_the_client_that_has_opened_it(two):
    talk, one, other = two
    first, _ = subscribe(talk, one)
    second, _ = subscribe(talk, other)
    third, _ = subscribe(talk, other)
    assert talk.tell(other, "notifications/cancelled", {"requestId": int(third)}) == ()
    assert to_server(talk.it.detach(one)) == []
    assert [(front, message.id) for front, message in to_front(talk.answer(first))] == [(other, second)]
    [sent] = to_server(talk.it.detach(other))
    assert sent.method == "resources/unsubscribe"


def test_a_response_to_a_cancelled_subscription_does_not_affect_the_next(two):
    talk, one, _ = two
    first, _ = subscribe(talk, one)
    subscribe(talk, one, method="resources/unsubscribe")
    second, effects = subscribe(talk, one)
    assert len(to_server(effects)) == 1
    assert [front for front, _ in to_front(talk.answer(first, error={"code": 1, "message": ""}))] == [one]
    assert one.uris
    talk.answer(second)


def test_subscriptions_of_a_client_have_a_limit_and_a_uri():
    talk = Talk(stream_messages=1)
    one = talk.join("one")
    talk.start()
    subscribe(talk, one, "x://a")
    _, effects = subscribe(talk, one, "x://b")
    [(_, refused)] = to_front(effects)
    assert "stream_messages" in json.loads(refused.error)["message"]
    talk.it.on_front_message(one, Request(talk.mint(), "resources/unsubscribe", b'{"uri":"x://a"}'))
    wire_id, effects = talk.request(one, "resources/subscribe")
    assert [message.id for message in to_server(effects)] == [wire_id]
    assert to_front(talk.answer(wire_id, error={"code": -32602, "message": "no uri"}))


# ---- tasks


def become_task(talk, front, task="t1", token=b""):
    wire_id = talk.call(front, token, task={})
    talk.answer(wire_id, {"task": {"taskId": task, "status": "working"}})
    return wire_id


def test_a_task_is_of_the_client_whose_call_has_become_it(two):
    talk, one, other = two
    become_task(talk, one)
    get, effects = talk.request(one, "tasks/get", {"taskId": "t1"})
    assert [message.id for message in to_server(effects)] == [get]
    talk.answer(get, {"taskId": "t1", "status": "working"})
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        _, effects = talk.request(other, method, {"taskId": "t1"})
        [(_, refused)] = to_front(effects)
        assert json.loads(refused.error) == {"code": -32602, "message": "Unknown task"}
    listing, _ = talk.request(other, "tasks/list")
    [(_, answer)] = to_front(talk.answer(listing, {"tasks": [{"taskId": "t1"}], "nextCursor": "c"}))
    assert json.loads(answer.result) == {"tasks": [], "nextCursor": "c"}
    listing, _ = talk.request(one, "tasks/list")
    [(_, answer)] = to_front(talk.answer(listing, {"tasks": [{"taskId": "t1"}, {"taskId": "t2"}]}))
    assert json.loads(answer.result) == {"tasks": [{"taskId": "t1"}]}
    # Only the result of `tasks/list` is a list of tasks.
    [(_, answer)] = to_front(talk.answer(talk.call(other), {"tasks": [{"taskId": "t1"}]}))
    assert json.loads(answer.result) == {"tasks": [{"taskId": "t1"}]}
    listing, _ = talk.request(one, "tasks/list")
    [(_, answer)] = to_front(talk.answer(listing, error={"code": -32601, "message": "no"}))
    assert answer.error


def test_what_names_a_task_reaches_its_client(two):
    talk, one, other = two
    wire_id = become_task(talk, one, token=b'"p"')
    talk.call(other)
    progress = {"progressToken": token_of(one, wire_id)}
    [(front, message)] = to_front(talk.notify("notifications/progress", progress))
    assert (front, json.loads(message.params)) == (one, {"progressToken": "p"})
    about = {"_meta": {RELATED: {"taskId": "t1"}}}
    assert to_front(talk.ask(b"1", params=about))[0][0] is one
    result, effects = talk.request(one, "tasks/result", {"taskId": "t1"}, b"9")
    assert to_server(effects)
    [effect] = talk.ask(b"2", params=about)
    assert (effect.front, effect.about) == (one, result)
    assert to_front(talk.notify("vendor/news", about))[0][0] is one
    status = {"taskId": "t1", "status": "completed"}
    assert to_front(talk.notify("notifications/tasks/status", status))[0][0] is one
    assert talk.ask(b"3", params=about)[1].reason == "cancelled"
    assert to_front(talk.answer(result, {"content": []}))[0][0] is one
    assert to_front(talk.notify("notifications/tasks/status", {**status, "status": "working"}))[0][0] is one


def test_the_wait_for_a_task_can_be_cancelled_without_the_task(two):
    talk, one, _ = two
    become_task(talk, one)
    result, _ = talk.request(one, "tasks/result", {"taskId": "t1"})
    [sent] = to_server(talk.tell(one, "notifications/cancelled", {"requestId": int(result)}))
    assert sent.method == "notifications/cancelled"
    assert to_front(talk.ask(b"1", params={"_meta": {RELATED: {"taskId": "t1"}}}))
    ended, _ = talk.request(one, "tasks/cancel", {"taskId": "t1"})
    talk.answer(ended, {"taskId": "t1", "status": "cancelled"})
    assert talk.ask(b"2")[1].reason == "cancelled"


def test_a_task_is_cancelled_when_its_client_leaves_or_has_cancelled_the_call(two):
    talk, one, other = two
    become_task(talk, one)
    [sent] = to_server(talk.it.detach(one))
    assert (sent.method, sent.params) == ("tasks/cancel", b'{"taskId":"t1"}')
    wire_id = talk.call(other)
    talk.tell(other, "notifications/cancelled", {"requestId": int(wire_id)})
    [sent] = to_server(talk.answer(wire_id, {"task": {"taskId": "t2"}}))
    assert (sent.method, sent.params) == ("tasks/cancel", b'{"taskId":"t2"}')


def test_a_task_of_which_nothing_is_seen_is_forgotten(two):
    talk, one, other = two
    become_task(talk, one)
    talk.it.on_tick(1)
    talk.it.on_tick(300)
    talk.call(other)
    assert talk.ask(b"1")[1].reason == "ambiguous"
    talk.it.on_tick(700)
    talk.it.on_tick(710)
    talk.it.on_tick(720)
    assert to_front(talk.ask(b"2"))[0][0] is other


def test_a_client_has_so_many_tasks_and_costs_no_other_one():
    talk = Talk(in_flight=1)
    one, other = talk.join("one"), talk.join("other")
    talk.start()
    become_task(talk, other, "t1")
    become_task(talk, one, "t2", b"1")
    become_task(talk, one, "t3")
    assert to_front(talk.request(one, "tasks/get", {"taskId": "t2"})[1])
    assert to_server(talk.request(other, "tasks/get", {"taskId": "t1"})[1])


def test_without_tasks_of_the_server_requests_for_them_are_for_the_server(talk):
    one = talk.join("one")
    [initialize] = to_server(talk.it.on_start())
    talk.answer(initialize.id, {"protocolVersion": "2025-11-25", "capabilities": {}})
    wire_id, effects = talk.request(one, "tasks/get", {"taskId": "t1"})
    assert [message.id for message in to_server(effects)] == [wire_id]
    assert to_front(talk.answer(wire_id, error={"code": -32601, "message": "no"}))


def test_a_request_for_a_task_of_a_client_is_sent_to_that_client(two):
    talk, one, other = two
    wire_id = talk.call(one)
    [effect] = talk.ask(b"1", "sampling/createMessage", {"task": {}})
    talk.it.on_front_message(one, Response(effect.message.id, raw({"task": {"taskId": "c1"}}), b""))
    [effect] = talk.ask(b"2", "sampling/createMessage", {"task": {}})
    talk.it.on_front_message(one, Response(effect.message.id, raw({"role": "assistant"}), b""))
    talk.answer(wire_id)
    assert [front for front, _ in to_front(talk.ask(b"3", "tasks/get", {"taskId": "c1"}))] == [one]
    [refused] = to_server(talk.ask(b"4", "tasks/get", {"taskId": "c2"}))
    assert json.loads(refused.error)["code"] == -32602
    status = {"taskId": "c1", "status": "completed"}
    assert to_server(talk.tell(one, "notifications/tasks/status", status))
    [note] = talk.tell(other, "notifications/tasks/status", status)
    assert isinstance(note, LogDebug)
    talk.it.detach(one)
    assert to_server(talk.ask(b"5", "tasks/get", {"taskId": "c1"}))[0].error


# ---- the end of the process


def test_a_lost_process_fails_what_is_in_flight_and_the_next_gets_all_again(two):
    talk, one, other = two
    subscribe(talk, one)
    talk.request(other, "logging/setLevel", {"level": "debug"})
    wire_id = talk.call(one)
    [question] = talk.ask(b"1")
    data = {"reason": "exited"}
    withdrawn, *on_exit = talk.it.on_exit("gone", data)
    assert json.loads(withdrawn.message.params) == {"requestId": int(question.message.id)}
    assert {effect.front: len(effect.wire_ids) for effect in on_exit} == {one: 2, other: 1}
    assert all((effect.text, effect.data) == ("gone", data) for effect in on_exit)
    assert talk.answer(wire_id)  # late
    again, effects = talk.request(other, "tools/list")
    assert effects == (StartProcess(),)
    held, _ = talk.request(other, "resources/subscribe", {"uri": "x://a"})
    effects = talk.start()
    methods = [message.method for message in to_server(effects)]
    assert methods == ["notifications/initialized", "logging/setLevel", "resources/subscribe", "tools/list"]
    notified = [
        (front, message.method) for front, message in to_front(effects) if isinstance(message, Notification)
    ]
    lists = ["notifications/tools/list_changed", "notifications/resources/list_changed"]
    updated = "notifications/resources/updated"
    assert notified == [(one, name) for name in [*lists, updated]] + [
        (other, name) for name in [*lists, updated]
    ]
    assert not [message for _, message in to_front(effects) if isinstance(message, Response)]
    [restored] = [message.id for message in to_server(effects) if message.method == "resources/subscribe"]
    assert [message.id for _, message in to_front(talk.answer(restored))] == [held]
    assert to_front(talk.answer(again))[0][0] is other


def test_the_calls_of_many_clients_are_lost_in_a_short_time(talk):
    """A step of the event loop must not cost the product of the clients and the calls."""
    fronts = [talk.join(f"c{number}") for number in range(800)]
    talk.start()
    for _ in range(80):
        for front in fronts:
            talk.request(front, "tools/call")
    began = time.thread_time()
    lost = [effect for effect in talk.it.on_exit("gone", {}) if isinstance(effect, CallsLost)]
    assert time.thread_time() - began < 0.2
    assert [effect.front for effect in lost] == fronts
    assert {len(effect.wire_ids) for effect in lost} == {80}


def test_a_request_of_a_client_that_has_left_is_lost_silently(two):
    talk, one, _ = two
    talk.it.detach(one)
    talk.request(one, "tools/call")
    assert talk.it.on_exit("gone", {}) == ()


def test_a_front_of_another_process_goes_on_with_this_one(two):
    talk, one, other = two
    subscribe(talk, one, "x://a")
    before = Front(Client("third"), "third")
    before.capabilities, before.ready, before.level = one.capabilities, True, "debug"
    before.uris = {"x://a": None, "x://b": None}
    front = Front(Client("third"), "third")
    front.follow(before)
    effects = talk.it.attach(front)
    sent = [(message.method, json.loads(message.params)) for message in to_server(effects)]
    assert sent == [("logging/setLevel", {"level": "debug"}), ("resources/subscribe", {"uri": "x://b"})]
    assert len(to_front(effects)) == 4
    # The former process sends the client no more updates.
    assert (list(front.uris), list(before.uris)) == (["x://a", "x://b"], [])
    assert other


def test_a_process_that_has_ended_is_not_started_again(two):
    talk, one, _ = two
    talk.call(one)
    [on_exit] = talk.it.close("the server was restarted")
    assert (on_exit.text, on_exit.data) == ("the server was restarted", {"reason": "restarted"})
    assert talk.it.on_exit("gone", {}) == ()
    assert talk.request(one, "tools/list")[1] == ()


def test_a_subscription_that_waits_for_a_process_is_handed_over_to_its_successor(talk):
    one, successor = talk.join("one"), Talk()
    wire_id, effects = talk.request(one, "resources/subscribe", {"uri": "x://a"}, b"7")
    assert effects == ()
    later = successor.join("one")
    successor.start()
    later.follow(one)
    [(request, token)] = talk.it.hand_over(one)
    talk.start()
    [sent] = to_server(successor.it.on_front_message(later, request, token))
    assert json.loads(sent.params) == {"uri": "x://a", "_meta": {"progressToken": token_of(later, wire_id)}}
    assert one.uris == {}
    assert list(later.uris) == ["x://a"]


# ---- stateless clients behind a translator


def stateless(talk):
    front = Front(Client(""), translator := object(), translated=True)
    return front, translator, talk.it.attach(front)


def begin(talk, front, translator, declared=True):
    """As a translator begins a call."""
    wire_id = talk.mint()
    origin = talk.it.origins.begin(wire_id, Client("m"), translator, lambda _method, _params: declared)
    params = raw({"name": "t", "_meta": {"progressToken": int(wire_id)}})
    effects = talk.it.on_front_message(front, Request(wire_id, "tools/call", params))
    [sent] = [json.loads(message.params) for message in to_server(effects)]
    token = token_of(front, wire_id) if front.translated else int(wire_id)
    assert sent == {"name": "t", "_meta": {"progressToken": token}}
    assert [message.id for message in to_server(effects)] == [wire_id]
    return wire_id, origin


def test_stateless_clients_use_the_same_process(talk):
    front, translator, effects = stateless(talk)
    assert effects == (StartProcess(),)
    effects = talk.start()
    [opened] = [effect for effect in effects if isinstance(effect, FrontOpened)]
    assert json.loads(opened.result)["capabilities"] == OFFERED
    assert [type(effect) for effect in stateless(talk)[2]] == [FrontOpened]
    wire_id, origin = begin(talk, front, translator)
    progress = {"progressToken": token_of(front, wire_id)}
    [(got, message)] = to_front(talk.notify("notifications/progress", progress))
    assert (got, json.loads(message.params)) == (front, {"progressToken": int(wire_id)})
    [effect] = talk.ask(b"q")
    assert effect == Assigned(front, Request(effect.message.id, "elicitation/create", b"{}"), origin)
    assert to_front(talk.notify("notifications/message", {"level": "debug"}))[0][0] is front
    assert to_front(talk.notify("notifications/resources/updated", {"uri": "x"}))[0][0] is front
    assert to_front(talk.answer(wire_id, {"task": {"taskId": "t1"}}))[0][0] is front
    assert to_front(talk.notify("notifications/progress", progress))[0][0] is front
    result, effects = talk.request(front, "tasks/result", {"taskId": "t1"})
    assert to_server(effects)
    assert to_front(talk.answer(result))[0][0] is front
    listing, _ = talk.request(front, "tasks/list")
    talk.answer(listing, {"tasks": []})


def test_a_question_that_a_stateless_client_has_not_seen_is_assigned_again(talk):
    front, translator, _ = stateless(talk)
    talk.start()
    wire_id, origin = begin(talk, front, translator)
    other, again = begin(talk, front, translator)
    [effect] = talk.ask(b"q")
    assert effect.origin is again
    talk.it.origins.answer(again)
    [effect] = talk.it.reassign(effect.message, origin.client)
    assert effect.origin is origin
    talk.it.origins.cancel(origin)
    refused, event = talk.it.reassign(effect.message, origin.client)
    assert (refused.message.id, event.reason) == (b"q", "cancelled")
    assert talk.it.reassign(effect.message, origin.client) == ()
    assert wire_id != other


def test_a_stateless_client_that_has_not_declared_it_is_named(talk):
    front, translator, _ = stateless(talk)
    talk.start()
    _, origin = begin(talk, front, translator, declared=False)
    refused, event, undeclared = talk.ask(b"1", "roots/list")
    assert json.loads(refused.message.error)["code"] == -32601
    assert event.reason == "not_declared"
    assert undeclared == Undeclared(front, Request(b"1", "roots/list", b"{}"), origin)


def test_stateless_clients_are_part_of_every_end(talk):
    front, translator, _ = stateless(talk)
    [initialize] = to_server(talk.it.on_start())
    error = raw({"code": -32601, "message": "no"})
    talk.it.on_server_message(Response(initialize.id, b"", error))
    on_exit, abandon = talk.it.refuse(error)
    assert (on_exit, abandon) == (
        CallsLost(front, (), "the server refused to initialize: no", {}),
        KillProcess(),
    )
    talk.it.detach(front)
    front, translator, _ = stateless(talk)
    talk.start()
    wire_id, origin = begin(talk, front, translator)
    talk.ask(b"1")
    assert talk.it.on_exit("gone", {}) == (CallsLost(front, (wire_id,), "gone", {}),)
    assert origin


def test_a_request_of_a_translator_without_a_token_gets_none(talk):
    front, _, _ = stateless(talk)
    talk.start()
    params = raw({"name": "t", "arguments": {"progressToken": 1}})
    wire_id = talk.mint()
    [sent] = to_server(talk.it.on_front_message(front, Request(wire_id, "tools/call", params)))
    assert sent == Request(wire_id, "tools/call", params)
    assert talk.notify("notifications/progress", {"progressToken": token_of(front, wire_id)}) == (
        LogDebug("progress_without_token"),
    )


def test_a_question_to_a_translator_that_has_left_is_refused(talk):
    one = talk.join("one")
    front, translator, _ = stateless(talk)
    talk.start()
    begin(talk, front, translator)
    talk.it.detach(front)
    refused, event = talk.ask(b"1")
    assert (event.reason, bool(refused.message.error)) == ("client_left", True)
    wire_id, _ = begin(talk, one, translator)
    assert to_server(talk.tell(one, "notifications/cancelled", {"requestId": int(wire_id)}))


# ---- the name of the first client


def test_the_first_stateless_client_names_the_process_if_no_session_does(talk):
    talk.it.set_client_info(b"")
    talk.it.set_client_info(b'{"version":"1"}')
    talk.it.set_client_info(b'{"name":"cursor"}')
    talk.it.set_client_info(b'{"name":"zed","version":"2"}')
    talk.join("one", info="session")
    talk.start()
    assert talk.initialize["clientInfo"] == {"name": "cursor (via mcp-bridge 9)", "version": "0"}


def test_a_session_that_comes_first_names_the_process(talk):
    talk.join("one", info="session")
    talk.it.set_client_info(b'{"name":"cursor","version":"1"}')
    talk.start()
    assert talk.initialize["clientInfo"]["name"] == "session (via mcp-bridge 9)"


def test_t7_an_unmatched_response_names_its_sender_and_requests_of_the_bridge_are_awaited(two):
    talk, one, other = two
    [note] = talk.answer(b"987654")
    assert note.unmatched == ("server", b"987654")
    wire_id = talk.call(one)
    talk.answer(wire_id)
    [note] = talk.answer(wire_id)
    assert note.unmatched == ("server", wire_id)
    talk.request(one, "logging/setLevel", {"level": "debug"})
    talk.request(other, "logging/setLevel", {"level": "error"})
    [asked] = to_server(talk.it.detach(one))
    [note] = talk.answer(asked.id)
    assert note.unmatched is None
    [note] = talk.it.on_front_message(other, Response(b"987654", b"{}", b""))
    assert note.unmatched == ("client", b"987654")


# ---- extensions


def test_a_process_gets_the_extensions_of_all_clients_before_its_start(talk):
    talk.join("one", {"extensions": {"a/b": {"x": 1}}})
    talk.join("two", {"extensions": {"a/b": {"x": 2}, "a/c": {}}, "experimental": {"e": {}}})
    talk.it.add_extensions({("extensions", "a/d"): b"{}"})
    talk.start()
    told = talk.initialize["capabilities"]
    assert told["extensions"] == {"a/b": {"x": 1}, "a/c": {}, "a/d": {}}
    assert told["experimental"] == {"e": {}}
    talk.join("late", {"extensions": {"a/e": {}}})
    talk.it.on_exit("gone", {})
    talk.start()
    assert [*talk.initialize["capabilities"]["extensions"]] == ["a/b", "a/c", "a/d", "a/e"]


def test_the_extensions_that_are_kept_have_a_limit(talk):
    talk.it.add_extensions({("extensions", f"a/{number}"): b"{}" for number in range(300)})
    talk.it.add_extensions({("extensions", "a/large"): b'"%b"' % (b"x" * 70000)})
    talk.join("one")
    talk.start()
    assert len(talk.initialize["capabilities"]["extensions"]) == 256
    other = Talk()
    other.it.add_extensions(
        {("extensions", "a/large"): b'"%b"' % (b"x" * 70000), ("extensions", "a/b"): b"{}"}
    )
    other.join("one")
    other.start()
    assert other.initialize["capabilities"]["extensions"] == {"a/b": {}}


def test_a_message_of_too_many_members_is_refused_or_dropped(two):
    talk, _, _ = two
    params = {f"member{number}": 1 for number in range(70_000)}
    refusal, note = talk.ask(b"7", params=params)
    assert refusal.message.id == b"7"
    assert note == ServerRequestRefused("elicitation/create", "too_many_members")
    assert talk.notify("notifications/message", params) == (LogDebug("notification_with_too_many_members"),)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("ping", {}),
        ("logging/setLevel", {"level": "info"}),
        ("resources/subscribe", {"uri": ""}),
    ],
)
def test_requests_that_never_wait_delay_no_call_of_another_client(method, params):
    """Two clients that always have more of them in flight than `calls_at_once` would stop the calls of all others."""
    talk = Talk(calls_at_once=2)
    one, other = talk.join("one"), talk.join("other")
    talk.start()
    pings = [talk.request(one, method, params)[0] for _ in range(5)]
    first, second = talk.call(other), talk.call(other)
    third, effects = talk.request(other, "tools/call", {"name": "t"})
    fourth, _ = talk.request(other, "tools/call", {"name": "t"})
    assert to_server(effects) == to_server(talk.answer(pings[0])) == []
    assert [message.id for message in to_server(talk.answer(second))] == [third]
    cancelled = talk.tell(other, "notifications/cancelled", {"requestId": int(first)})
    assert [message.id for message in to_server(cancelled) if isinstance(message, Request)] == [fourth]
