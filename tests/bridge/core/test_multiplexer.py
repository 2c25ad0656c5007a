"""The multiplexer in front of a modern server: the requester of each request, and the receivers of each message."""

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.call_metrics import CallMetrics
from mcpbridged.bridge.core.effects import (
    EraMismatch,
    LogDebug,
    RequestFinished,
    StartProcess,
    ToClient,
)
from mcpbridged.bridge.core.request_state import StateSigner
from mcpbridged.validators import tool_headers
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.definition_guards import guard_of
from ...support.multiplexer_talk import (
    ACK,
    PREFIX,
    SendQueue,
    Talk,
    call,
    params,
    sent_to_clients,
    sent_to_server,
)


def test_ids_are_those_of_the_bridge_at_the_server_and_of_the_client_in_the_response():
    talk = Talk()
    one, effects = talk.ask("same", "tools/list")
    assert sent_to_server(effects) == [(1, "tools/list", params())]
    two, effects = talk.ask("same", "prompts/list")
    assert sent_to_server(effects) == [(2, "prompts/list", params())]
    assert talk.it.in_flight == 2
    assert talk.it.calling
    assert talk.it.queues == {one, two}
    assert [one.request.method for one in talk.it.requests] == ["tools/list", "prompts/list"]
    assert talk.it.request_of(b"2").request.method == "prompts/list"
    assert talk.it.request_of(b"9") is None
    assert sent_to_clients(talk.answer(2, {"x": 1})) == [
        (two, {"jsonrpc": "2.0", "id": "same", "result": {"x": 1}}, 200)
    ]
    assert sent_to_clients(talk.answer(1, {"y": 1})) == [
        (one, {"jsonrpc": "2.0", "id": "same", "result": {"y": 1}}, 200)
    ]
    assert talk.it.in_flight == 0
    assert not talk.it.calling
    assert [type(effect) for effect in talk.answer(1, {})] == [LogDebug]


def test_a_subscription_is_no_call_that_an_end_would_wait_for():
    talk = Talk()
    talk.ask(1, "subscriptions/listen", params(notifications={}))
    assert (talk.it.in_flight, talk.it.calling) == (1, False)


def test_a_queue_waits_for_the_responses_to_its_own_requests_and_not_for_subscriptions():
    talk = Talk()
    one, _ = talk.ask(1, "tools/list")
    other, _ = talk.ask(1, "subscriptions/listen", params(notifications={}))
    assert (talk.it.waits(one), talk.it.waits(other), talk.it.waits("another")) == (True, False, False)
    talk.answer(1, {})
    assert not talk.it.waits(one)
    calling, _ = talk.ask(1, "tools/call", call("plain"), headers={})
    assert (talk.it.waits(calling), talk.it.waits(one)) == (True, False)


def test_the_first_request_starts_the_server_and_all_wait_for_it():
    talk = Talk(started=False)
    _, effects = talk.ask(1, "tools/list")
    assert effects == [StartProcess()]
    _, effects = talk.ask(2, "prompts/list")
    assert effects == []
    assert [one[1] for one in sent_to_server(talk.it.on_server_start())] == ["tools/list", "prompts/list"]


def test_a_server_is_started_ahead_of_the_first_request_once():
    talk = Talk(started=False)
    assert list(talk.it.start_process()) == [StartProcess()]
    assert list(talk.it.start_process()) == []
    assert talk.ask(1, "tools/list")[1] == []
    list(talk.it.on_server_start())
    assert list(talk.it.start_process()) == []


def test_requests_that_the_server_was_not_given_are_taken_back_and_nothing_is_left():
    talk = Talk(started=False, limits=Limits(calls_at_once=1, call_seconds=1))
    talk.ask(1, "tools/list")
    talk.ask(2, "prompts/list")
    talk.ask(3, "subscriptions/listen", params(notifications={}))
    talk.ask(4, "tools/call", params(name="t"), headers={})
    removed = talk.it.remove_requests()
    assert sorted(one.request.id for one in removed) == [b"1", b"2", b"3", b"4"]
    # Each can be sent to a process of another era, once.
    assert not any(one.moved for one in removed)
    assert not talk.it.in_flight
    assert not list(talk.it.on_server_exit("gone", {}))
    assert not list(talk.it.on_tick(100))
    assert talk.ask(1, "tools/list")[1] == [StartProcess()]


def test_a_server_that_cannot_be_started_fails_what_waits_and_is_started_again_by_the_next():
    talk = Talk(started=False)
    queue, _ = talk.ask(1, "subscriptions/listen", params(notifications={}))
    [(to, message, status)] = sent_to_clients(talk.it.on_server_exit("no program", {"reason": "not started"}))
    assert (to, status) == (queue, 503)
    assert message["error"] == {"code": -32603, "message": "no program", "data": {"reason": "not started"}}
    assert talk.ask(2, "tools/list")[1] == [StartProcess()]


def test_the_death_of_the_server_fails_calls_and_ends_subscriptions():
    talk = Talk()
    call, _ = talk.ask(1, "tools/call", params(name="t"))
    listen, _ = talk.ask("l", "subscriptions/listen", params(notifications={}), pipe=True)
    unchecked, _ = talk.ask(3, "tools/call", params(name="t"), headers={})
    answers = sent_to_clients(talk.it.on_server_exit("the server is gone", {"reason": "exited"}))
    assert [(to, status) for to, _, status in answers] == [
        (call, 503),
        (listen, None),
        (listen, None),
        (unchecked, 503),
    ]
    assert answers[1][1]["result"] == {"resultType": "complete", "_meta": {f"{PREFIX}subscriptionId": "l"}}
    assert talk.it.in_flight == 0


def test_the_end_of_the_bridge_ends_subscriptions_in_order():
    talk = Talk()
    talk.ask("l", "subscriptions/listen", params(notifications={}))
    [(_, message, status)] = sent_to_clients(talk.it.close("stopping"))
    assert message["result"]["resultType"] == "complete"
    assert status == 200


@pytest.mark.parametrize(
    ("code", "status"), [(-32601, 404), (-32021, 400), (-32600, 400), (-32602, 200), (-32603, 200), (7, 200)]
)
def test_an_error_has_the_status_that_its_code_demands(code, status):
    talk = Talk()
    talk.ask(1, "tools/list")
    [(_, message, found)] = sent_to_clients(talk.fail(1, code))
    assert (message["error"]["code"], found) == (code, status)


def test_a_client_gets_only_the_revisions_that_both_sides_support():
    talk = Talk()
    found = {"capabilities": {"x": {}}, "resultType": "complete", "ttlMs": 5}
    for id_, offered in enumerate((["2027-01-01", "2026-07-28", "2025-11-25"], ["2026-07-28"]), 1):
        talk.ask(id_, "server/discover")
        [(_, message, _)] = sent_to_clients(talk.answer(id_, {**found, "supportedVersions": offered}))
        assert message["result"] == {**found, "supportedVersions": ["2026-07-28"]}


@pytest.mark.parametrize(("code", "mismatched"), [(-32022, True), (-32020, False)])
def test_errors_about_our_hop_are_not_relayed(code, mismatched):
    talk = Talk()
    talk.ask(1, "tools/list")
    effects = talk.fail(1, code, "x")
    [(_, message, status)] = sent_to_clients(effects)
    assert message["error"]["code"] == -32603
    assert status == 200
    assert any(isinstance(effect, EraMismatch) for effect in effects) is mismatched


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/list"]
)
def test_methods_that_the_era_has_taken_out_are_not_found(method):
    with pytest.raises(Rejection) as refused:
        Talk().ask(1, method)
    assert (refused.value.status, refused.value.code) == (404, -32601)


def test_calls_in_flight_are_limited():
    talk = Talk(limits=Limits(in_flight=1))
    talk.ask(1, "tools/list")
    with pytest.raises(Rejection, match="the limit of 1 call in flight") as refused:
        talk.ask(2, "tools/list")
    assert refused.value.status == 429


def test_a_call_that_waits_for_the_tools_is_in_flight():
    talk = Talk(limits=Limits(in_flight=2))
    talk.ask(1, "prompts/list")
    talk.ask(2, "tools/call", call("plain"), headers={})
    with pytest.raises(Rejection, match="the limit of 2 calls in flight"):
        talk.ask(3, "prompts/list")


@pytest.mark.parametrize("why", ["start", "turn", "tools"])
def test_what_waits_for_the_server_has_a_limit_in_bytes(why):
    talk = Talk(limits=Limits(stdin_bytes=1000, calls_at_once=1), started=why != "start")
    if why == "turn":
        talk.ask(0, "tools/list")
    large = params(name="t", arguments={"text": "x" * 600})
    headers = {} if why == "tools" else None
    waiting, _ = talk.ask(1, "tools/call", large, headers=headers)
    with pytest.raises(Rejection, match=r"[0-9]+ bytes wait for the server and the limit is 1000") as refused:
        talk.ask(2, "tools/call", large, headers=headers)
    assert refused.value.status == 429
    list(talk.it.on_disconnect(waiting))
    talk.ask(
        3, "tools/call", large, headers=headers
    )  # there is room again, and the refused one has left nothing


def test_subscriptions_take_no_calls_place_and_have_a_limit_of_their_own():
    talk = Talk(limits=Limits(in_flight=1, sessions=2))
    listen, about = "subscriptions/listen", params(notifications={})
    first, _ = talk.ask("a", listen, about)
    talk.ask("b", listen, about)
    with pytest.raises(Rejection, match="the limit of 2 open subscriptions") as refused:
        talk.ask("c", listen, about)
    assert refused.value.status == 429
    assert sent_to_server(talk.ask(1, "tools/list")[1]) != []
    with pytest.raises(Rejection, match="the limit of 1 call in flight"):
        talk.ask(2, "tools/list")
    list(talk.it.on_disconnect(first))
    assert sent_to_server(talk.ask("c", listen, about)[1]) != []
    talk = Talk(limits=Limits(in_flight=9, sessions=1))
    talk.ask("a", listen, about)
    with pytest.raises(Rejection, match="the limit of 1 open subscription"):
        talk.ask("b", listen, about)


def test_an_id_is_used_once_at_a_time_on_a_stream_of_many():
    talk = Talk()
    queue, _ = talk.ask(1, "tools/list", pipe=True)
    with pytest.raises(Rejection, match="in use"):
        talk.ask(1, "tools/list", queue=queue, pipe=True)
    talk.ask(2, "tools/list", queue=queue, pipe=True)
    assert sent_to_clients(talk.answer(1, {})) == [(queue, {"jsonrpc": "2.0", "id": 1, "result": {}}, None)]
    talk.ask(1, "tools/list", queue=queue, pipe=True)


# ---- leaving


def test_a_client_that_disconnects_cancels_its_own_requests_only():
    talk = Talk()
    queue, _ = talk.ask(1, "tools/list", pipe=True)
    talk.ask(2, "tools/list", queue=queue, pipe=True)
    other, _ = talk.ask(1, "tools/list")
    assert sent_to_server(talk.it.on_disconnect(queue)) == [
        ("notifications/cancelled", {"requestId": 1}),
        ("notifications/cancelled", {"requestId": 2}),
    ]
    assert sent_to_clients(talk.answer(1, {})) == []
    assert [to for to, _, _ in sent_to_clients(talk.answer(3, {}))] == [other]
    assert list(talk.it.on_disconnect(queue)) == []


def test_one_request_of_many_can_be_taken_back():
    talk = Talk()
    queue, _ = talk.ask("a", "tools/list", pipe=True)
    talk.ask("b", "tools/list", queue=queue, pipe=True)
    assert sent_to_server(talk.it.on_cancelled(queue, b'"a"')) == [
        ("notifications/cancelled", {"requestId": 1})
    ]
    assert list(talk.it.on_cancelled(queue, b'"a"')) == []
    assert talk.it.in_flight == 1


def test_what_never_reached_the_server_is_not_taken_back_there():
    talk = Talk(started=False)
    queue, _ = talk.ask(1, "tools/list")
    talk.ask(2, "tools/list")
    assert list(talk.it.on_disconnect(queue)) == []
    assert [one[0] for one in sent_to_server(talk.it.on_server_start())] == [2]


# ---- progress and logging


def test_a_progress_token_is_ours_at_the_server_and_theirs_with_its_type_in_the_notification():
    talk = Talk()
    for id_, token in ((1, 7), (2, "7")):
        _, effects = talk.ask(id_, "tools/call", params(name="t", meta={"progressToken": token}))
        assert sent_to_server(effects)[0][2]["_meta"]["progressToken"] == id_
    sent = "notifications/progress"
    for id_, token in ((1, 7), (2, "7")):
        [(to, message, _)] = sent_to_clients(talk.notify(sent, progressToken=id_, progress=1, total=2))
        assert to.name == f"queue {id_}"
        assert message["params"] == {"progressToken": token, "progress": 1, "total": 2}
    assert [type(effect) for effect in talk.notify(sent, progressToken=9, progress=1)] == [LogDebug]
    assert len(sent_to_clients(talk.notify(sent, 1, progressToken=7, progress=1))) == 1


def test_progress_without_a_request_is_dropped():
    talk = Talk()
    talk.ask(1, "tools/list")
    assert [
        type(effect) for effect in talk.notify("notifications/progress", progressToken=1, progress=1)
    ] == [LogDebug]


def level(name):
    return params(name="t", meta={f"{PREFIX}logLevel": name})


def test_a_log_line_is_sent_to_the_newest_caller_that_requests_it():
    talk = Talk()
    send = "notifications/message"
    one, _ = talk.ask(1, "tools/call", level("debug"))
    talk.ask(2, "tools/call", level("error"))
    talk.ask(3, "tools/call", params(name="t"))
    assert [to for to, _, _ in sent_to_clients(talk.notify(send, level="info", data="x"))] == [one]
    assert [to.name for to, _, _ in sent_to_clients(talk.notify(send, level="error", data="x"))] == [
        "queue 2"
    ]
    assert talk.notify(send, level="loud", data="x") == []
    assert [to.name for to, _, _ in sent_to_clients(talk.notify(send, 1, level="info", data="x"))] == [
        "queue 1"
    ]
    assert talk.notify(send, 9, level="info", data="x") == []


def test_a_log_line_among_callers_of_several_principals_is_dropped():
    talk = Talk()
    talk.ask(1, "tools/call", level("debug"))
    talk.ask(2, "tools/call", params(name="t"), principal="other")
    assert talk.notify("notifications/message", level="error", data="x") == []


def test_a_log_line_among_calls_of_several_connections_of_one_principal_is_sent_to_none():
    talk = Talk()
    one, other = SendQueue("one"), SendQueue("other")
    talk.ask(1, "tools/call", level("debug"), queue=one, pipe=True)
    talk.ask(2, "subscriptions/listen", params(notifications={}), queue=other, pipe=True)
    assert [
        to for to, _, _ in sent_to_clients(talk.notify("notifications/message", level="error", data="x"))
    ] == [one]
    talk.ask(3, "tools/call", params(name="t"), queue=other, pipe=True)
    assert talk.notify("notifications/message", level="error", data="x") == []
    talk.answer(3, {})
    talk.ask(4, "tools/call", level("debug"), queue=one, pipe=True)
    assert [
        to for to, _, _ in sent_to_clients(talk.notify("notifications/message", level="error", data="x"))
    ] == [one]


def test_a_caller_that_requests_no_log_gets_none():
    talk = Talk()
    talk.ask(1, "tools/call", params(name="t"))
    assert talk.notify("notifications/message", level="error", data="x") == []


# ---- subscriptions


def test_a_subscription_is_known_to_its_client_by_the_clients_id():
    talk = Talk()
    queue, effects = talk.ask(
        "mine", "subscriptions/listen", params(notifications={"toolsListChanged": True})
    )
    assert sent_to_server(effects)[0][:2] == (1, "subscriptions/listen")
    own = {f"{PREFIX}subscriptionId": 1}
    theirs = {f"{PREFIX}subscriptionId": "mine"}
    for method in (ACK, "notifications/tools/list_changed"):
        assert sent_to_clients(talk.notify(method, _meta={**own, "a": 1})) == [
            (queue, {"jsonrpc": "2.0", "method": method, "params": {"_meta": {**theirs, "a": 1}}}, None)
        ]
    [(_, message, status)] = sent_to_clients(talk.answer(1, {"resultType": "complete", "_meta": own}))
    assert message == {"jsonrpc": "2.0", "id": "mine", "result": {"resultType": "complete", "_meta": theirs}}
    assert status == 200


def test_a_subscription_receives_neither_the_log_nor_progress():
    talk = Talk()
    meta = {f"{PREFIX}logLevel": "debug", "progressToken": "t"}
    talk.ask(1, "subscriptions/listen", params(notifications={}, meta=meta))
    line = {"level": "error", "data": "x"}
    assert sent_to_clients(talk.notify("notifications/message", **line)) == []
    assert sent_to_clients(talk.notify("notifications/progress", progressToken=1, progress=1)) == []
    caller, _ = talk.ask(2, "tools/call", params(name="t", meta=meta))
    talk.ask(3, "subscriptions/listen", params(notifications={}, meta=meta))
    assert [to for to, _, _ in sent_to_clients(talk.notify("notifications/message", **line))] == [caller]


@pytest.mark.parametrize("pipe", [False, True])
def test_the_end_of_a_subscription_is_sent_both_ways_on_a_pipe(pipe):
    done = {"resultType": "complete"}
    named = {**done, "_meta": {f"{PREFIX}subscriptionId": "a"}}
    for end in (
        lambda talk: talk.answer(1, done),
        lambda talk: talk.notify("notifications/cancelled", requestId=1),
        lambda talk: talk.it.close("stopping"),
    ):
        talk = Talk()
        talk.ask("a", "subscriptions/listen", params(notifications={}), pipe=pipe)
        result = {"jsonrpc": "2.0", "id": "a", "result": named}
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a"}}
        assert [message for _, message, _ in sent_to_clients(end(talk))] == [
            result,
            *([cancelled] if pipe else []),
        ]


@pytest.mark.parametrize("meta", [{}, {f"{PREFIX}subscriptionId": 9}, {f"{PREFIX}subscriptionId": 1}])
def test_what_belongs_to_no_subscription_is_dropped(meta):
    talk = Talk()
    talk.ask(1, "tools/list")
    effects = talk.notify("notifications/resources/updated", uri="u:x", _meta=meta)
    assert [type(effect) for effect in effects] == [LogDebug]


def test_a_subscription_that_the_server_cancels_is_over():
    talk = Talk()
    listener, _ = talk.ask("a", "subscriptions/listen", params(notifications={}))
    talk.ask("b", "tools/call", params(name="t"))
    for other in (2, 9, "1"):
        assert sent_to_clients(talk.notify("notifications/cancelled", requestId=other)) == []
    [(to, message, status)] = sent_to_clients(talk.notify("notifications/cancelled", requestId=1))
    assert (to, message["id"], status) == (listener, "a", 200)
    assert message["result"] == {"resultType": "complete", "_meta": {f"{PREFIX}subscriptionId": "a"}}
    assert sent_to_clients(talk.answer(1, {"resultType": "complete"})) == []
    assert talk.it.in_flight == 1


def test_a_modern_server_must_not_send_requests():
    effects = list(Talk().it.on_server_message(Request(b"1", "roots/list", b"")))
    assert [type(effect) for effect in effects] == [LogDebug]


# ---- requestState


def input_required(state="inner"):
    return {"resultType": "input_required", "inputRequests": {}, **({"requestState": state} if state else {})}


def sealed(talk, about=None, principal="me", *, view=False):
    talk.ask(1, "tools/call", about or params(name="t", arguments={"a": 1}), principal=principal)
    [(_, message, status)] = sent_to_clients(talk.answer(1, input_required(), view=view))
    assert status == 200
    return message["result"]["requestState"]


@pytest.mark.parametrize("view", [False, True])
def test_a_state_goes_out_sealed_and_comes_back_as_it_was(view):
    talk = Talk()
    state = sealed(talk, view=view)
    assert state != "inner"
    _, effects = talk.ask(
        2, "tools/call", params(name="t", arguments={"a": 1}, requestState=state, inputResponses={})
    )
    assert sent_to_server(effects)[0][2]["requestState"] == "inner"


@pytest.mark.parametrize(
    ("about", "principal"),
    [
        (params(name="t", arguments={"a": 1}), "another"),
        (params(name="u", arguments={"a": 1}), "me"),
        (params(name="t", arguments={"a": 2}), "me"),
        (params(name="t"), "me"),
    ],
)
def test_a_state_is_good_for_the_same_principal_and_the_same_call_only(about, principal):
    talk = Talk()
    state = sealed(talk)
    with pytest.raises(Rejection, match="Invalid or expired requestState") as refused:
        talk.ask(2, "tools/call", {**about, "requestState": state}, principal=principal)
    assert refused.value.code == -32602


def test_a_state_is_good_for_its_method_only():
    talk = Talk()
    state = sealed(talk, params(name="t"))
    with pytest.raises(Rejection, match="requestState"):
        talk.ask(2, "prompts/get", params(name="t", requestState=state))


def test_no_byte_of_a_state_can_be_changed():
    talk = Talk()
    state = sealed(talk)
    for i, character in enumerate(state):
        other = "A" if character != "A" else "B"
        with pytest.raises(Rejection, match="requestState"):
            talk.ask(
                2,
                "tools/call",
                params(name="t", arguments={"a": 1}, requestState=state[:i] + other + state[i + 1 :]),
            )


def test_a_state_does_not_outlive_the_key():
    state = sealed(Talk())
    with pytest.raises(Rejection, match="requestState"):
        Talk(seal=StateSigner(b"another")).ask(
            2, "tools/call", params(name="t", arguments={"a": 1}, requestState=state)
        )


def test_a_state_where_none_belongs_is_none_of_our_business():
    talk = Talk()
    _, effects = talk.ask(1, "tools/list", params(requestState="x"))
    assert sent_to_server(effects)[0][2]["requestState"] == "x"


def test_a_result_without_a_state_passes_as_it_is():
    talk = Talk()
    talk.ask(1, "tools/call", params(name="t"))
    [(_, message, _)] = sent_to_clients(talk.answer(1, input_required("")))
    assert message["result"] == input_required("")
    talk.ask(2, "tools/call", params(name="t"))
    [(_, message, _)] = sent_to_clients(talk.answer(2, {"content": ["input_required"]}))
    assert message["result"] == {"content": ["input_required"]}


def test_an_answer_that_cannot_be_read_fails_its_call():
    talk = Talk()
    talk.ask(1, "tools/list")
    [(_, message, _)] = sent_to_clients(
        talk.it.on_server_message(Response(b"1", b"", b'{"code":-32603,"message":"not valid"}'))
    )
    assert message["error"]["message"] == "not valid"


# ---- headers that mirror arguments

SCHEMA = {"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}
TOOLS = {
    "tools": [
        {"name": "t", "inputSchema": SCHEMA},
        {"name": "plain"},
        {
            "name": "bad",
            "inputSchema": {
                "type": "object",
                "properties": {"r": {"type": "number", "x-mcp-header": "Region"}},
            },
        },
    ]
}


OURS = params(meta={f"{PREFIX}clientInfo": {"name": "mcp-bridge", "version": "0"}})


def test_the_tools_are_listed_before_the_first_call_so_that_its_headers_can_be_checked():
    talk = Talk()
    queue, effects = talk.ask(1, "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    [(id_, method, about)] = sent_to_server(effects)
    assert (id_, method) == (1, "tools/list")
    assert about == OURS
    talk.ask(2, "tools/call", call("plain"), headers={})
    assert talk.it.in_flight == 2
    assert [one[:2] for one in sent_to_server(talk.answer(1, TOOLS))] == [
        (2, "tools/call"),
        (3, "tools/call"),
    ]
    assert [to for to, _, _ in sent_to_clients(talk.answer(2, {}))] == [queue]
    _, effects = talk.ask(3, "tools/call", call("bad", r=1), headers={})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/call"]


def test_a_response_during_the_list_of_the_tools_is_that_of_its_request():
    talk = Talk()
    other, _ = talk.ask(1, "prompts/list")
    talk.ask(2, "tools/call", call("plain"), headers={})
    assert [to for to, _, _ in sent_to_clients(talk.answer(1, {}))] == [other]
    assert [one[1] for one in sent_to_server(talk.answer(2, TOOLS))] == ["tools/call"]


def test_a_list_of_tools_beyond_a_limit_fails_the_calls_that_wait_for_it():
    talk = Talk(limits=Limits(list_items=2))
    queue, _ = talk.ask("c", "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    [(to, message, status)] = sent_to_clients(talk.answer(1, TOOLS))
    assert (to, message["id"], status) == (queue, "c", 200)
    assert "list_items" in message["error"]["message"]


def test_all_pages_of_the_tools_are_read():
    talk = Talk()
    talk.ask(1, "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    effects = talk.answer(1, {"tools": [], "nextCursor": ""})
    assert sent_to_server(effects) == [(2, "tools/list", {**OURS, "cursor": ""})]
    assert [one[:2] for one in sent_to_server(talk.answer(2, TOOLS))] == [(3, "tools/call")]


def test_no_cursor_is_the_end_of_the_tools_also_where_it_is_written_down():
    talk = Talk()
    talk.ask(1, "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    assert [one[1] for one in sent_to_server(talk.answer(1, {**TOOLS, "nextCursor": None}))] == ["tools/call"]


def test_a_server_that_never_ends_its_list_is_not_read_for_ever():
    talk = Talk()
    talk.ask(1, "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    for page in range(1, 64):
        assert [one[1] for one in sent_to_server(talk.answer(page, {"tools": [], "nextCursor": "x"}))] == [
            "tools/list"
        ]
    assert [one[1] for one in sent_to_server(talk.answer(64, {"tools": [], "nextCursor": "x"}))] == [
        "tools/call"
    ]


def test_a_header_that_is_not_the_argument_is_refused():
    talk = Talk()
    queue, _ = talk.ask(1, "tools/call", call(r="eu"), headers={"mcp-param-region": "us"})
    effects = talk.answer(1, TOOLS)
    [(to, message, status)] = sent_to_clients(effects)
    assert (to, message["error"]["code"], status) == (queue, -32020, 400)
    assert sent_to_server(effects) == []
    with pytest.raises(Rejection) as refused:
        talk.ask(2, "tools/call", call(r="eu"), headers={})
    assert refused.value.code == -32020


def test_the_tools_are_listed_again_before_a_call_is_refused_if_anything_has_happened_since():
    talk = Talk()
    talk.ask(1, "tools/call", call("plain"), headers={})
    talk.answer(1, TOOLS)
    _, effects = talk.ask(2, "tools/call", call(r="eu"), headers={})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/list"]
    _, effects = talk.ask(3, "tools/call", call("new"), headers={})
    assert effects == []
    effects = talk.answer(3, {"tools": [{"name": "t"}, {"name": "new"}]})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/call", "tools/call"]
    _, effects = talk.ask(4, "tools/call", call("unknown"), headers={})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/list"]
    assert [one[1] for one in sent_to_server(talk.answer(6, TOOLS))] == ["tools/call"]


def test_the_tools_are_listed_again_when_the_server_notifies_that_they_have_changed():
    talk = Talk()
    talk.ask(1, "tools/call", call(), headers={})
    talk.answer(1, {"tools": [{"name": "t"}]})
    talk.answer(2, {})
    talk.notify("notifications/tools/list_changed")
    queue, effects = talk.ask(2, "tools/call", call(r="eu"), headers={})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/list"]
    [(to, message, status)] = sent_to_clients(talk.answer(3, TOOLS))
    assert (to, message["error"]["code"], status) == (queue, -32020, 400)
    _, effects = talk.ask(3, "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/call"]


@pytest.mark.parametrize(
    ("cursor", "more", "whole"),
    [({}, {}, True), ({"cursor": "x"}, {}, False), ({}, {"nextCursor": "x"}, False)],
)
def test_a_list_that_passes_teaches_as_well(cursor, more, whole):
    talk = Talk()
    talk.ask(1, "tools/call", call("plain"), headers={})
    talk.answer(1, {"tools": []})
    talk.notify("notifications/tools/list_changed")
    talk.ask(2, "tools/list", params(**cursor))
    talk.answer(3, {**TOOLS, **more})
    _, effects = talk.ask(3, "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/call" if whole else "tools/list"]


def many(*numbers, **more):
    return {"tools": [{"name": f"t{number}", "inputSchema": SCHEMA} for number in numbers], **more}


def test_the_number_of_stored_tools_is_limited_and_others_are_listed_again(monkeypatch):
    monkeypatch.setattr(tool_headers, "TOOLS", 3000)
    talk = Talk()
    talk.ask(1, "tools/call", call("t0", r="eu"), headers={"mcp-param-region": "eu"})
    talk.answer(1, many(0))
    for turn in range(5):  # of a list that changes
        talk.ask(10 + turn, "tools/list")
        talk.answer(3 + turn, many(*range(1000 * turn, 1000 * turn + 1000)))
    assert talk.it._tools._tools._size == 2 * len(talk.it._tools._tools.by_name) == tool_headers.TOOLS
    talk.answer(2, {})
    talk.it._tools._called = False
    # One that is known is checked at once, and one that was dropped after the tools were listed.
    with pytest.raises(Rejection):
        talk.ask(20, "tools/call", call("t4999", r="eu"), headers={})
    queue, effects = talk.ask(21, "tools/call", call("t1", r="eu"), headers={})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/list"]
    [(to, message, _)] = sent_to_clients(talk.answer(8, many(*range(4000))))
    assert (to, message["error"]["code"]) == (queue, -32020)
    # A tool that does not exist is requested all the same, and the list is not requested for ever.
    _, effects = talk.ask(22, "tools/call", call("unknown"), headers={})
    assert [one[1] for one in sent_to_server(effects)] == ["tools/list"]
    assert [one[1] for one in sent_to_server(talk.answer(9, many(*range(4000))))] == ["tools/call"]


def test_a_needed_name_is_not_dropped_and_a_name_that_is_too_long_not_stored(monkeypatch):
    monkeypatch.setattr(tool_headers, "TOOLS", 3000)
    talk = Talk()
    talk.ask(1, "tools/call", call("t0", r="eu"), headers={})
    [(_, message, _)] = sent_to_clients(talk.answer(1, many(*range(4000), "x" * 1000)))
    assert message["error"]["code"] == -32020
    assert talk.it._tools._tools.by_name.get("t" + "x" * 1000) is None
    tools = tool_headers.ToolHeaders()
    for number in range(tool_headers.TOOLS + 10):
        tools.add(str(number), (), {str(number) for number in range(tool_headers.TOOLS + 10)})
    assert (len(tools.by_name), tools.incomplete) == (tool_headers.TOOLS + 10, True)


def test_a_call_whose_client_leaves_before_the_tools_are_listed_is_not_sent():
    talk = Talk()
    queue, _ = talk.ask(1, "tools/call", call("plain"), headers={})
    assert list(talk.it.on_disconnect(queue)) == []
    assert sent_to_server(talk.answer(1, TOOLS)) == []


def test_the_tools_are_listed_by_a_server_that_must_be_started_first():
    talk = Talk(started=False)
    _, effects = talk.ask(1, "tools/call", call("plain"), headers={})
    assert effects == [StartProcess()]
    assert [one[1] for one in sent_to_server(talk.it.on_server_start())] == ["tools/list"]
    talk = Talk(started=False)
    talk.ask(1, "prompts/list")
    assert talk.ask(2, "tools/call", call("plain"), headers={})[1] == []
    assert [one[1] for one in sent_to_server(talk.it.on_server_start())] == ["prompts/list", "tools/list"]
    talk = Talk()
    talk.ask(1, "tools/call", call("plain"), headers={})
    [(_, _message, status)] = sent_to_clients(talk.it.on_server_exit("gone", {"reason": "exited"}))
    assert status == 503


# ---- calls that take too long


def test_a_call_that_takes_too_long_is_given_up_and_a_subscription_lasts():
    talk = Talk(limits=Limits(call_seconds=10, call_idle_seconds=5))
    list(talk.it.on_tick(100))
    talk.ask("l", "subscriptions/listen", params(notifications={}))
    queue, _ = talk.ask("c", "tools/call", params(name="t", meta={"progressToken": "p"}))
    assert list(talk.it.on_tick(104)) == []
    talk.notify("notifications/progress", progressToken=2, progress=1)
    assert list(talk.it.on_tick(108)) == []
    talk.notify("notifications/progress", progressToken=2, progress=2)
    effects = list(talk.it.on_tick(111))
    assert sent_to_server(effects) == [("notifications/cancelled", {"requestId": 2})]
    text = "the call has taken more than 10 s, the limit"
    error = {"code": -32001, "message": text, "data": {"reason": "timeout"}}
    assert sent_to_clients(effects) == [(queue, {"jsonrpc": "2.0", "id": "c", "error": error}, 200)]
    assert (talk.it.in_flight, talk.it.calling) == (1, False)


def test_a_list_of_tools_that_takes_too_long_fails_the_calls_that_wait_for_it():
    talk = Talk(limits=Limits(call_seconds=10))
    list(talk.it.on_tick(100))
    queue, _ = talk.ask("c", "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    assert list(talk.it.on_tick(109)) == []
    effects = list(talk.it.on_tick(111))
    assert sent_to_server(effects) == [("notifications/cancelled", {"requestId": 1})]
    text = "the list of tools that the call waits for has taken more than 10 s, the limit"
    error = {"code": -32001, "message": text, "data": {"reason": "timeout"}}
    assert sent_to_clients(effects) == [(queue, {"jsonrpc": "2.0", "id": "c", "error": error}, 200)]
    assert talk.it.in_flight == 0
    assert sent_to_server(talk.answer(1, TOOLS)) == []
    talk.ask("d", "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    assert [order[1] for order in sent_to_server(talk.answer(2, TOOLS))] == ["tools/call"]
    assert [order for order in sent_to_server(talk.it.on_tick(120)) if order[1] == {"requestId": 2}] == []


def test_a_list_of_tools_that_was_not_requested_yet_may_take_too_long_as_well():
    talk = Talk(started=False, limits=Limits(call_seconds=10))
    list(talk.it.on_tick(100))
    talk.ask("c", "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    effects = list(talk.it.on_tick(111))
    assert (sent_to_server(effects), len(sent_to_clients(effects))) == ([], 1)
    talk.ask("d", "tools/call", call(r="eu"), headers={"mcp-param-region": "eu"})
    assert len(sent_to_clients(talk.it.on_server_exit("gone", {"reason": "not started"}))) == 1
    assert list(talk.it.on_tick(200)) == []


def test_without_a_limit_a_call_may_take_for_ever():
    talk = Talk()
    talk.ask("c", "tools/call")
    assert list(talk.it.on_tick(10**9)) == []


# ---- servers that take one call at a time


def test_calls_wait_for_their_turn_where_the_server_takes_one_at_a_time():
    talk = Talk(limits=Limits(calls_at_once=1))
    assert len(sent_to_server(talk.ask("a", "tools/call")[1])) == 1
    for name in ("b", "c", "d"):
        assert talk.ask(name, "tools/call")[1] == []
    assert len(sent_to_server(talk.ask("l", "subscriptions/listen", params(notifications={}))[1])) == 1
    assert [order[0] for order in sent_to_server(talk.answer(1, {}))] == [2]
    # A request that is cancelled before its turn is never sent; a request whose turn it is passes the turn on.
    queue = next(ask.queue for wire_id, ask in talk.it._calls.items() if wire_id == b"3")
    assert list(talk.it.on_disconnect(queue)) == []
    queue = next(ask.queue for wire_id, ask in talk.it._calls.items() if wire_id == b"2")
    effects = sent_to_server(talk.it.on_disconnect(queue))
    assert [order[0] for order in effects] == ["notifications/cancelled", 4]
    assert talk.it.in_flight == 2


def test_principals_take_turns_where_the_server_takes_one_call_at_a_time():
    talk = Talk(limits=Limits(calls_at_once=1))
    for number, principal in enumerate(("one", "one", "one", "other")):
        talk.ask(number, "tools/call", principal=principal)
    sent = [order[0] for turn in (1, 2, 4) for order in sent_to_server(talk.answer(turn, {}))]
    assert sent == [2, 4, 3]


def test_calls_that_wait_for_their_turn_fail_with_the_server():
    talk = Talk(limits=Limits(calls_at_once=1))
    talk.ask("a", "tools/call")
    talk.ask("b", "tools/call")
    assert len(sent_to_clients(talk.it.on_server_exit("gone", {}))) == 2
    _, effects = talk.ask("c", "tools/call")
    assert [type(effect) for effect in effects] == [StartProcess]
    assert [order[0] for order in sent_to_server(talk.it.on_server_start())] == [3]


def test_a_call_that_is_cancelled_while_it_waits_is_dropped():
    talk = Talk(limits=Limits(calls_at_once=1))
    talk.ask(1, "tools/call", params(name="t"))
    for number in range(2, 300):  # more than may be in flight
        queue, _ = talk.ask(number, "tools/call", params(name="t", arguments={"x": "x" * 1000}))
        assert list(talk.it.on_disconnect(queue)) == []
    assert (talk.it.in_flight, len(talk.it._start.queued)) == (1, 0)
    talk.ask(300, "tools/call", params(name="t"))
    assert [order[:2] for order in sent_to_server(talk.answer(1, {}))] == [(300, "tools/call")]


def test_a_call_that_takes_too_long_gives_its_turn_to_the_next():
    talk = Talk(limits=Limits(calls_at_once=1, call_seconds=10))
    list(talk.it.on_tick(100))
    talk.ask("a", "tools/call")
    list(talk.it.on_tick(105))
    talk.ask("b", "tools/call")
    assert [order[0] for order in sent_to_server(talk.it.on_tick(111))] == ["notifications/cancelled", 2]


# ---- tools that are not for clients


def test_a_tool_that_is_not_chosen_is_neither_listed_nor_called():
    talk = Talk(policy=AccessPolicy(("a*",)))
    with pytest.raises(Rejection, match="Unknown tool: b"):
        talk.ask("x", "tools/call", params(name="b"))
    assert len(sent_to_server(talk.ask("y", "tools/call", params(name="a"))[1])) == 1
    talk.ask("z", "tools/list")
    [(_, listed, _)] = sent_to_clients(talk.answer(2, {"tools": [{"name": "a"}, {"name": "b"}]}))
    assert listed["result"] == {"tools": [{"name": "a"}]}


def test_a_definition_that_is_not_approved_is_neither_listed_nor_used():
    talk = Talk(policy=AccessPolicy().guarded_by(guard_of(tool="b", prompt="p")))
    with pytest.raises(Rejection, match="Unknown tool: b"):
        talk.ask("x", "tools/call", params(name="b"))
    with pytest.raises(Rejection, match="Unknown prompt: p"):
        talk.ask("x", "prompts/get", params(name="p"))
    assert len(sent_to_server(talk.ask("y", "tools/call", params(name="a"))[1])) == 1
    talk.ask("z", "tools/list")
    [(_, listed, _)] = sent_to_clients(talk.answer(2, {"tools": [{"name": "a"}, {"name": "b"}]}))
    assert listed["result"] == {"tools": [{"name": "a"}]}


# ---- tasks, where the server serves several principals


def with_a_task(**more):
    talk = Talk(shared=True, **more)
    talk.ask(1, "tools/call", params(name="t"), principal="a")
    talk.answer(1, {"resultType": "task", "taskId": "T", "status": "working"})
    return talk


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_task_is_its_principals_only(method):
    talk = with_a_task()
    _, effects = talk.ask(2, method, params(taskId="T"), principal="a")
    assert [one[1] for one in sent_to_server(effects)] == [method]
    for principal, task in (("b", "T"), ("a", "other")):
        with pytest.raises(Rejection) as caught:
            talk.ask(3, method, params(taskId=task), principal=principal)
        assert (caught.value.status, caught.value.code) == (200, -32602)


def test_nobody_listens_to_the_tasks_of_another():
    talk = with_a_task()
    listen = "subscriptions/listen"
    for principal, mine in (("a", ["T"]), ("b", [])):
        wanted = params(notifications={"taskIds": ["T", "other"], "toolsListChanged": True})
        [(_, _, about)] = sent_to_server(talk.ask(principal, listen, wanted, principal=principal)[1])
        assert about["notifications"] == {"taskIds": mine, "toolsListChanged": True}
    [(_, _, about)] = sent_to_server(talk.ask("c", listen, params(notifications={}))[1])
    assert about == params(notifications={})


@pytest.mark.parametrize("view", [False, True])
def test_a_result_that_is_no_task_names_none(view):
    talk = Talk(shared=True)
    talk.ask(1, "tools/call", params(name="t"))
    talk.answer(1, {"resultType": "complete", "taskId": "T", "content": []}, view=view)
    with pytest.raises(Rejection):
        talk.ask(2, "tasks/get", params(taskId="T"))


def test_the_tasks_that_are_known_are_limited():
    talk = with_a_task(limits=Limits(stream_messages=1))
    talk.ask(2, "tools/call", params(name="t"), principal="a")
    talk.answer(2, {"resultType": "task", "taskId": "U", "status": "working"})
    with pytest.raises(Rejection):
        talk.ask(3, "tasks/get", params(taskId="T"), principal="a")
    assert sent_to_server(talk.ask(4, "tasks/get", params(taskId="U"), principal="a")[1]) != []


def test_a_server_of_one_principal_has_its_tasks_itself():
    talk = Talk()
    assert sent_to_server(talk.ask(1, "tasks/get", params(taskId="T"))[1]) != []


def test_a_denied_feature_passes_in_no_direction():
    talk = Talk(policy=AccessPolicy(without=("prompts", "sampling", "logging")))
    with pytest.raises(Rejection, match="prompts is disabled") as caught:
        talk.ask("x", "prompts/list")
    assert (caught.value.status, caught.value.code, talk.it.in_flight) == (404, -32601, 0)

    asked = {f"{PREFIX}clientCapabilities": {"sampling": {}, "roots": {}}, f"{PREFIX}logLevel": "debug"}
    left = {"name": "a", "_meta": params()["_meta"] | {f"{PREFIX}clientCapabilities": {"roots": {}}}}
    one, effects = talk.ask("y", "tools/call", params(name="a", meta=asked))
    assert sent_to_server(effects) == [(1, "tools/call", left)]
    assert talk.notify("notifications/message", "1", level="error") == []
    asking = {"resultType": "input_required", "inputRequests": {"a": {"method": "sampling/createMessage"}}}
    text = "the server requires input, and sampling is disabled for this server"
    answer = {"jsonrpc": "2.0", "id": "y", "error": {"code": -32603, "message": text}}
    assert sent_to_clients(talk.answer(1, asking)) == [(one, answer, 200)]

    talk.ask("z", "server/discover")
    [(_, found, _)] = sent_to_clients(talk.answer(2, {"capabilities": {"prompts": {}, "tools": {}}}))
    assert found["result"]["capabilities"] == {"tools": {}}


def test_what_is_switched_off_is_taken_out_beside_a_token_of_ours():
    talk = Talk(policy=AccessPolicy(without=("sampling",)))
    meta = {f"{PREFIX}clientCapabilities": {"sampling": {}}, "progressToken": "mine"}
    [(_, _, sent)] = sent_to_server(talk.ask("y", "tools/call", params(name="a", meta=meta))[1])
    assert sent["_meta"] == {**params()["_meta"], "progressToken": 1}


def test_each_caller_of_a_shared_server_has_what_is_its_own():
    talk = Talk()
    listening = params(notifications={"promptsListChanged": True, "toolsListChanged": True})
    one, _ = talk.ask(1, "subscriptions/listen", listening, principal="one")
    talk.policy = AccessPolicy(without=("prompts",))
    two, effects = talk.ask(2, "subscriptions/listen", listening, principal="two")
    assert sent_to_server(effects)[0][2]["notifications"] == {"toolsListChanged": True}
    about = {"_meta": {f"{PREFIX}subscriptionId": 1}}
    assert [
        found[0] for found in sent_to_clients(talk.notify("notifications/prompts/list_changed", **about))
    ] == [one]
    about = {"_meta": {f"{PREFIX}subscriptionId": 2}}
    effects = talk.notify("notifications/prompts/list_changed", **about)
    assert effects == [LogDebug("notification_denied")]
    assert [
        found[0] for found in sent_to_clients(talk.notify("notifications/tools/list_changed", **about))
    ] == [two]

    talk.ask(3, "tools/list", principal="two")
    effects = list(talk.it.on_permissions_changed("two"))
    assert sent_to_server(effects) == [("notifications/cancelled", {"requestId": 2})]
    [(ended, answer, _)] = sent_to_clients(effects)
    assert (ended, answer["id"], "result" in answer) == (two, 2, True)
    assert talk.it.in_flight == 2  # the subscription of the other, and the call


def test_changed_permissions_end_no_subscription_of_another_principal():
    talk = Talk()
    talk.ask(1, "subscriptions/listen", params(notifications={}), principal="a")
    talk.ask(2, "subscriptions/listen", params(notifications={}), principal="c")
    assert [*talk.it.on_permissions_changed("b")] == []
    assert talk.it.in_flight == 2


def test_requests_that_wait_for_the_tools_are_in_flight():
    talk = Talk()
    talk.ask(1, "tools/call", params(name="a", arguments={}), headers={"mcp-param-region": "another"})
    assert talk.it.in_flight == 1
    talk.ask(2, "prompts/list")
    assert talk.it.in_flight == 2


# ---- requests whose end is reported


def ends(effects):
    return [(effect.id, effect.outcome) for effect in effects if isinstance(effect, RequestFinished)]


def test_the_end_of_each_request_is_notified_once_where_that_is_wanted():
    talk = Talk(since=7.0, limits=Limits(call_seconds=10))
    list(talk.it.on_tick(100))
    headers = {"mcp-param-region": "another"}
    about = params(name="a", arguments={"r": "here"})
    listed = {"tools": [{"name": "a", "inputSchema": SCHEMA}]}

    talk.ask(1, "prompts/list")
    assert ends(talk.answer(1, {})) == [(b"1", "ok")]
    talk.ask(2, "prompts/list")
    assert ends(talk.fail(2, -32050)) == [(b"2", "error -32050")]
    queue, _ = talk.ask(3, "prompts/list")
    assert ends(talk.it.on_disconnect(queue)) == [(b"3", "cancelled")]
    queue, _ = talk.ask(4, "tools/call", about, headers=headers)  # waits for the tools
    assert ends(talk.it.on_disconnect(queue)) == [(b"4", "cancelled")]
    talk.ask(5, "tools/call", about, headers=headers)
    assert ends(talk.answer(4, listed)) == [(b"5", "error -32020")]
    talk.ask(6, "prompts/list")
    assert ends(talk.it.on_tick(200)) == [(b"6", "error -32001")]
    talk.ask(7, "subscriptions/listen", params(notifications={}))
    assert ends(talk.it.on_permissions_changed("me")) == [(b"7", "ok")]
    talk.ask(8, "subscriptions/listen", params(notifications={}))
    talk.ask(9, "prompts/list")
    assert ends(talk.it.on_server_exit("gone", {})) == [(b"8", "ok"), (b"9", "error -32603")]
    talk.ask(10, "tools/call", about, headers=headers)
    assert ends(talk.it.on_server_exit("gone", {})) == [(b"10", "error -32603")]
    assert talk.it.in_flight == 0


# ---- rounds that are over before their client retries


def required_input(talk, id_, queue, *, pipe=True, extensions=None):
    """Call a tool that requires input. Returns the state that the client gets."""
    declared = {"extensions": {"mcp-bridge/input-over": {}} if extensions is None else extensions}
    about = params(name="t", meta={f"{PREFIX}clientCapabilities": declared})
    talk.ask(id_, "tools/call", about, queue=queue, pipe=pipe)
    wire_id = talk.it._next_id - 1
    [(_, message, _)] = sent_to_clients(talk.answer(wire_id, input_required(f"inner {id_}")))
    return message["result"]["requestState"]


OVER = "notifications/mcp-bridge/input_over"


def test_s3_a_client_with_the_extension_is_notified_once_that_its_input_round_is_over():
    talk, queue = Talk(), SendQueue()
    state = required_input(talk, 1, queue)
    assert sent_to_clients(talk.notify(OVER, requestState="another")) == []
    assert sent_to_clients(talk.notify(OVER, requestState="inner 1")) == [
        (queue, {"jsonrpc": "2.0", "method": OVER, "params": {"requestState": state}}, None)
    ]
    assert sent_to_clients(talk.notify(OVER, requestState="inner 1")) == []


@pytest.mark.parametrize(
    "more", [{"pipe": False}, {"extensions": {}}, {"extensions": {"x": "mcp-bridge/input-over"}}]
)
def test_s3_no_other_client_is_sent_what_its_era_does_not_know(more):
    talk = Talk()
    required_input(talk, 1, SendQueue(), **more)
    assert sent_to_clients(talk.notify(OVER, requestState="inner 1")) == []


def test_s3_the_rounds_that_are_kept_for_it_are_limited_and_end_with_their_stream():
    talk, queue = Talk(limits=Limits(held_calls=1)), SendQueue()
    required_input(talk, 1, queue)
    required_input(talk, 2, queue)
    assert list(talk.it._rounds) == ["inner 2"]
    list(talk.it.on_disconnect(queue))
    assert sent_to_clients(talk.notify(OVER, requestState="inner 2")) == []


# ---- extensions


def test_a_notification_of_a_caller_goes_to_a_server_that_is_there():
    message = Notification("notifications/a/done", b'{"x":1}')
    assert sent_to_server(Talk().it.on_notification(message)) == [("notifications/a/done", {"x": 1})]
    assert sent_to_server(Talk(started=False).it.on_notification(message)) == []


def test_a_notification_of_an_extension_goes_to_the_newest_request_of_the_only_caller():
    talk = Talk()
    assert sent_to_clients(talk.notify("notifications/a/done", x=1)) == []
    listener, _ = talk.ask("l", "subscriptions/listen", params(notifications={}))
    [(queue, message, _)] = sent_to_clients(talk.notify("notifications/a/done", x=1))
    assert queue is listener
    assert message["params"] == {"x": 1, "_meta": {f"{PREFIX}subscriptionId": "l"}}
    one, _ = talk.ask("a", "a/do")
    two, _ = talk.ask("b", "a/do")
    assert [queue for queue, _, _ in sent_to_clients(talk.notify("notifications/a/done"))] == [two]
    assert [queue for queue, _, _ in sent_to_clients(talk.notify("notifications/a/done", 2))] == [one]
    named = talk.notify("notifications/a/done", _meta={f"{PREFIX}subscriptionId": 1})
    assert [queue for queue, _, _ in sent_to_clients(named)] == [listener]
    talk.ask("c", "a/do", principal="other")
    assert sent_to_clients(talk.notify("notifications/a/done")) == []


def test_a_notification_of_what_is_switched_off_is_not_sent():
    talk = Talk(policy=AccessPolicy(without=["tools"]))
    talk.ask("a", "a/do")
    assert sent_to_clients(talk.notify("notifications/tools/other")) == []


def test_a_notification_on_the_stream_of_an_answered_request_goes_to_no_other_request():
    talk = Talk()
    talk.ask("a", "tools/call", call())
    talk.ask("b", "tools/call", call())
    talk.answer(1, {"content": []})
    assert sent_to_clients(talk.notify("notifications/com.example/x", 1)) == []
    assert len(sent_to_clients(talk.notify("notifications/com.example/x", 2))) == 1


def test_a_request_that_is_only_counted_ends_without_an_effect():
    talk = Talk(since=7.0)
    talk.it._recorder.counts = counts = CallMetrics(lambda: 7.25)
    talk.ask(1, "tools/call", call())
    effects = talk.answer(1, {"resultType": "complete", "content": []})
    assert [type(effect) for effect in effects] == [ToClient]
    [series] = counts
    assert (series.tool, series.count, series.seconds, series.errors) == ("t", 1, 0.25, {})
