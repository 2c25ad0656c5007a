"""Checks of content in a session and in the multiplexer: when the tools are listed, and what a refused call leaves behind."""

import itertools
import json

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.call_metrics import CallMetrics, Recorder
from mcpbridged.bridge.core.content_policy import ContentModes, ContentPolicy
from mcpbridged.bridge.core.effects import (
    LogDebug,
    RequestFinished,
    StartProcess,
    ToChild,
    ToClient,
    ToUpstream,
)
from mcpbridged.bridge.core.legacy_session import LegacySession
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.multiplexer_talk import Talk, call, params, sent_to_clients, sent_to_server

TOOL = {"name": "t", "inputSchema": {"required": ["a"]}, "outputSchema": {"required": ["b"]}}
LIST = {"tools": [TOOL]}
GOOD, BAD = {"name": "t", "arguments": {"a": 1}}, {"name": "t", "arguments": {}}
CHANGED = "notifications/tools/list_changed"


def policy(arguments="refuse", output="refuse", within=None, findings=None):
    made = AccessPolicy(within=within)
    made.content = ContentPolicy(
        ContentModes(arguments, output), [].append if findings is None else findings.append
    )
    return made


def raw(value):
    return json.dumps(value).encode()


class Session:
    """A session that is open, and what it sends."""

    def __init__(
        self, version="2025-11-25", limits=None, *, shared=False, recorder=None, opened=True, **modes
    ):
        counter = itertools.count(1)
        self.it = LegacySession(
            limits or Limits(),
            lambda: f"k{next(counter)}",
            policy=policy(**modes),
            ids=itertools.count(1) if shared else None,
            recorder=recorder,
        )
        self.numbers = itertools.count(10)
        self.version = version
        self.opening = {"protocolVersion": version, "capabilities": {}}
        self.request("initialize", self.opening)
        if opened:
            self.open()

    def open(self):
        return self.answer(1, {"protocolVersion": self.version})

    def request(self, method, about=None, *, id_=None, since=None):
        sent = Request(raw(id_ or next(self.numbers)), method, raw(about) if about is not None else b"")
        return self.it.on_client_message(sent, self.it.call_stream(object()), since)

    def call(self, about, **more):
        return self.request("tools/call", about, **more)

    def answer(self, id_, result):
        return self.it.on_server_message(Response(raw(id_), raw(result), b""))

    def fail(self, id_):
        return self.it.on_server_message(Response(raw(id_), b"", b'{"code":-32601,"message":"no"}'))


def to_server(effects):
    """Return the requests to the server: method and params, and of a notification the method."""
    found = []
    for effect in effects:
        if isinstance(effect, ToChild):
            message = json.loads(effect.line)
            found.append((message["method"], message.get("params")))
        elif isinstance(effect, ToUpstream):
            found.append((effect.message.method, json.loads(effect.message.params or b"null")))
    return found


def to_clients(effects):
    return [json.loads(effect.message) for effect in effects if isinstance(effect, ToClient)]


BOTH = pytest.mark.parametrize("shared", [False, True])


@BOTH
def test_a_call_waits_for_a_list_of_the_bridge(shared):
    session = Session(shared=shared)
    assert to_server(session.call(GOOD)) == [("tools/list", None)]
    # The next call waits for the same list.
    assert session.call(BAD, id_=99) == ()
    assert session.it.in_flight == 2
    effects = session.answer(3, LIST)
    assert to_server(effects) == [("tools/call", GOOD)]
    [refused] = to_clients(effects)
    assert refused["id"] == 99
    assert refused["result"]["isError"]
    assert session.it.in_flight == 1
    # From now on calls do not wait.
    assert to_server(session.call(GOOD)) == [("tools/call", GOOD)]
    assert to_clients(session.call(BAD))[0]["result"]["isError"]


def test_a_list_of_the_client_is_enough():
    session = Session()
    session.request("tools/list")
    session.answer(2, LIST)
    assert to_server(session.call(GOOD)) == [("tools/call", GOOD)]
    effects = session.call(BAD)
    assert to_server(effects) == []
    assert to_clients(effects)[0]["result"]["isError"]
    assert session.it.in_flight == 1


def test_the_first_page_of_a_client_is_not_enough():
    session = Session()
    session.request("tools/list")
    session.answer(2, {"tools": [], "nextCursor": "2"})
    assert to_server(session.call(BAD)) == [("tools/list", None)]
    assert to_server(session.answer(4, {"tools": [], "nextCursor": "2"})) == [("tools/list", {"cursor": "2"})]
    effects = session.answer(5, LIST)
    assert to_clients(effects)[0]["result"]["isError"]


def test_a_server_without_a_list_gets_its_calls():
    session = Session()
    session.call(BAD)
    assert to_server(session.fail(3)) == [("tools/call", BAD)]
    assert to_server(session.call(BAD)) == [("tools/call", BAD)]


def test_other_requests_do_not_wait():
    session = Session()
    assert to_server(session.request("prompts/get", {"name": "t"})) == [("prompts/get", {"name": "t"})]


def test_calls_of_an_older_revision_are_refused_with_an_error():
    session = Session("2025-06-18")
    session.call(BAD, id_=7)
    [refused] = to_clients(session.answer(3, LIST))
    assert refused["id"] == 7
    assert refused["error"]["code"] == -32602
    assert refused["error"]["data"] == {"path": "", "keyword": "required"}
    with pytest.raises(Rejection, match="Invalid arguments for the tool t: required is violated"):
        session.call(BAD)
    assert session.it.in_flight == 0


def test_output_is_checked():
    session = Session()
    session.call(GOOD)
    session.answer(3, LIST)
    [refused] = to_clients(session.answer(2, {"content": [], "structuredContent": {}}))
    assert refused["error"]["message"].startswith("Invalid output of the tool t: required is violated")
    session.call(GOOD)
    passed = {"content": [], "structuredContent": {"b": 1}}
    assert to_clients(session.answer(4, passed))[0]["result"] == passed


def test_a_cancelled_call_that_waits_is_not_sent():
    session = Session()
    session.call(GOOD, id_=7)
    assert (
        to_server(
            session.it.on_client_message(Notification("notifications/cancelled", b'{"requestId":7}'), None)
        )
        == []
    )
    assert to_server(session.answer(3, LIST)) == []
    assert session.it.in_flight == 0


def test_a_call_that_waits_too_long_is_not_sent():
    session = Session(limits=Limits(call_idle_seconds=5))
    session.call(GOOD, id_=7)
    session.it.on_tick(1.0)
    effects = session.it.on_tick(10.0)
    assert to_clients(effects)[0]["error"]["code"] == -32001
    assert to_server(effects) == []
    assert to_server(session.answer(3, LIST)) == []


def test_a_change_of_the_tools_needs_another_list():
    session = Session()
    session.call(GOOD)
    session.answer(3, LIST)
    session.it.on_server_message(Notification(CHANGED, b""))
    assert to_server(session.call(BAD)) == [("tools/list", None)]
    assert to_server(session.answer(5, {"tools": []})) == [("tools/call", BAD)]


def test_another_notification_needs_none():
    session = Session()
    session.call(GOOD)
    session.answer(3, LIST)
    session.it.on_server_message(Notification("notifications/prompts/list_changed", b""))
    assert to_clients(session.call(BAD))


def test_the_exit_of_the_process_fails_calls_that_wait_and_its_tools_are_listed_again():
    session = Session()
    session.call(GOOD, id_=7)
    [failed] = to_clients(session.it.on_server_exit("it has exited", {}))
    assert failed["id"] == 7
    assert [type(effect) for effect in session.call(BAD)] == [StartProcess]
    assert to_server(session.it.on_server_start()) == [("initialize", session.opening)]
    assert to_server(session.answer(5, {"protocolVersion": "2025-11-25"})) == [("tools/list", None)]
    # A late response to the list of the former process.
    assert [type(effect) for effect in session.answer(3, LIST)] == [LogDebug]
    assert to_clients(session.answer(6, LIST))[0]["result"]["isError"]


def test_the_exit_of_a_shared_process_fails_calls_that_wait():
    session = Session(shared=True)
    session.call(GOOD, id_=7)
    assert to_clients(session.it.on_calls_lost([b"3"], "it has exited", {}))[0]["id"] == 7
    assert to_server(session.call(GOOD)) == [("tools/list", None)]


def test_calls_before_initialize_is_answered_wait_too():
    session = Session(opened=False)
    assert session.call(BAD, id_=7) == ()
    effects = session.open()
    assert to_server(effects) == [("tools/list", None)]
    assert to_clients(session.answer(3, LIST))[0]["id"] == 7


def test_the_end_of_the_session_fails_calls_that_wait():
    session = Session()
    session.call(GOOD, id_=7)
    assert to_clients(session.it.close("over"))[0]["id"] == 7
    assert to_server(session.answer(3, LIST)) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_refused_call_has_an_outcome(known):
    session = Session()
    if known:
        session.request("tools/list")
        session.answer(2, LIST)
    effects = session.call(BAD, since=5.0)
    if not known:
        effects = session.answer(3, LIST)
    [finished] = [effect for effect in effects if isinstance(effect, RequestFinished)]
    assert (finished.method, finished.name, finished.since, finished.outcome) == (
        "tools/call",
        "t",
        5.0,
        "tool error",
    )


def test_a_refused_call_is_counted():
    recorder = Recorder()
    recorder.counts = CallMetrics(lambda: 6.0)
    session = Session(recorder=recorder)
    session.request("tools/list")
    session.answer(2, LIST)
    effects = session.call(BAD, since=5.0)
    assert not any(isinstance(effect, RequestFinished) for effect in effects)


def test_a_role_has_the_checks_of_the_server():
    common = policy()
    assert AccessPolicy(deny=("x",), within=common).content is common.content


# ---- stateless clients


def test_a_stateless_call_waits_for_a_list_of_the_bridge():
    talk = Talk(policy=policy())
    queue, effects = talk.ask("a", "tools/call", call(a=1), pipe=True)
    [(number, method, _)] = sent_to_server(effects)
    assert (number, method) == (1, "tools/list")
    bad, effects = talk.ask("b", "tools/call", call(), pipe=True)
    assert effects == []
    effects = talk.answer(1, LIST)
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/call"]
    [(where, answer, _)] = sent_to_clients(effects)
    assert where is bad
    assert (answer["id"], answer["result"]["isError"], answer["result"]["resultType"]) == (
        "b",
        True,
        "complete",
    )
    assert talk.it.in_flight == 1
    [(where, answer, _)] = sent_to_clients(talk.answer(2, {"content": []}))
    assert where is queue
    assert answer["error"]["message"].startswith("Invalid output of the tool t: structuredContent is missing")
    # A refused call takes no id, no place and no wait.
    _, effects = talk.ask("c", "tools/call", call())
    assert sent_to_clients(effects)[0][1]["result"]["isError"]
    assert talk.it.in_flight == 0


def test_a_list_of_a_stateless_client_is_enough():
    talk = Talk(policy=policy())
    talk.ask("a", "tools/list")
    talk.answer(1, LIST)
    _, effects = talk.ask("b", "tools/call", call(a=1))
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/call"]
    talk.notify(CHANGED)
    _, effects = talk.ask("c", "tools/call", call(a=1))
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/list"]


def test_a_stateless_call_with_headers_is_checked_once_the_tools_are_listed():
    talk = Talk(policy=policy())
    _, effects = talk.ask("a", "tools/call", call(), headers={})
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/list"]
    assert sent_to_clients(talk.answer(1, LIST))[0][1]["result"]["isError"]
    # Without checks of content the headers alone need the list.
    talk = Talk()
    _, effects = talk.ask("a", "tools/call", call(), headers={})
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/list"]


def test_a_list_that_cannot_be_read_lets_calls_without_headers_pass():
    limits = Limits(list_items=1)
    talk = Talk(policy=policy(), limits=limits)
    talk.ask("a", "tools/call", call(), pipe=True)
    talk.ask("b", "tools/call", call(a=1), headers={})
    effects = talk.answer(1, {"tools": [{"name": "x"}, {"name": "y"}]})
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/call"]
    assert [answer["id"] for _, answer, _ in sent_to_clients(effects)] == ["b"]
    _, effects = talk.ask("c", "tools/call", call(), pipe=True)
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/call"]


def test_a_server_that_refuses_the_list_gets_stateless_calls():
    talk = Talk(policy=policy())
    talk.ask("a", "tools/call", call(), pipe=True)
    assert [method for _, method, _ in sent_to_server(talk.fail(1, -32601))] == ["tools/call"]


def test_another_stateless_process_needs_another_list():
    talk = Talk(policy=policy())
    talk.ask("a", "tools/list")
    talk.answer(1, LIST)
    talk.it.on_server_exit("it has exited", {})
    talk.ask("b", "tools/call", call())
    assert [method for _, method, _ in sent_to_server(list(talk.it.on_server_start()))] == ["tools/list"]


def test_a_stateless_call_that_is_refused_later_has_an_outcome():
    talk = Talk(policy=policy(), since=5.0)
    talk.ask("a", "tools/call", call())
    effects = talk.answer(1, LIST)
    assert [effect.outcome for effect in effects if isinstance(effect, RequestFinished)] == ["tool error"]


def test_a_waiting_call_of_a_client_without_checks_beside_one_with_them():
    talk = Talk()
    talk.ask("a", "tools/call", call(), headers={})
    talk.policy = policy()
    talk.ask("b", "tools/call", call(), pipe=True)
    effects = talk.answer(1, LIST)
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/call"]
    assert [answer["id"] for _, answer, _ in sent_to_clients(effects)] == ["b"]
    assert params()


# ---- other messages of the server


class Censor(ContentPolicy):
    """Drops, changes or refuses messages of the server by the text in them."""

    def on_notification(self, message):
        if b"drop" in message.params:
            return None
        return Notification(message.method, message.params.replace(b"change", b"changed"))

    def on_server_request(self, message):
        if b"drop" in message.params:
            return Response(message.id, b"", b'{"code":-32603,"message":"refused"}')
        return Request(message.id, message.method, message.params.replace(b"change", b"changed"))

    def on_response(self, tools, method, name, message):
        return Response(message.id, message.result.replace(b"change", b"changed"), message.error)


def censoring():
    made = AccessPolicy()
    made.content = Censor(ContentModes(), print)
    return made


def listening(session):
    stream, _ = session.it.on_listen(object())
    session.it.on_client_message(Notification("notifications/initialized", b""), None)
    return stream


@pytest.fixture
def censored():
    session = Session()
    session.it._policy = censoring()
    listening(session)
    return session


def test_a_notification_of_the_server_may_be_changed_or_dropped(censored):
    def send(text):
        return censored.it.on_server_message(Notification("notifications/message", b'{"data":"%b"}' % text))

    assert to_clients(send(b"change"))[0]["params"] == {"data": "changed"}
    assert to_clients(send(b"x"))[0]["params"] == {"data": "x"}
    assert [effect.event for effect in send(b"drop")] == ["notification_refused"]


def test_a_request_of_the_server_may_be_changed_or_refused(censored):
    def send(text):
        return censored.it.on_server_message(Request(b'"s"', "x/ask", b'{"message":"%b"}' % text))

    assert to_clients(send(b"change"))[0]["params"] == {"message": "changed"}
    [effect] = send(b"drop")
    assert json.loads(effect.line) == {
        "jsonrpc": "2.0",
        "id": "s",
        "error": {"code": -32603, "message": "refused"},
    }


@pytest.mark.parametrize("method", ["initialize", "tools/list", "x/other"])
def test_each_response_is_checked(method):
    session = Session(opened=False)
    session.it._policy = censoring()
    if method != "initialize":
        session.open()
        session.request(method)
    effects = session.answer(
        1 if method == "initialize" else 2, {"protocolVersion": "2025-11-25", "x": "change"}
    )
    assert to_clients(effects)[0]["result"]["x"] == "changed"


def test_a_notification_to_a_stateless_client_may_be_changed_or_dropped():
    talk = Talk(policy=censoring())
    talk.ask("a", "tools/call", params(name="t", meta={"progressToken": 5}))

    def send(text):
        effects = talk.notify("notifications/progress", progressToken=1, progress=1, message=text)
        return [answer["params"]["message"] for _, answer, _ in sent_to_clients(effects)]

    assert (send("change"), send("x"), send("drop")) == (["changed"], ["x"], [])
    assert sent_to_clients(talk.answer(1, {"x": "change"}))[0][1]["result"]["x"] == "changed"


def test_waiting_calls_with_headers_are_checked_one_after_the_other():
    talk = Talk(policy=policy())
    for name in ("a", "b"):
        talk.ask(name, "tools/call", call("unlisted"), headers={})
    effects = talk.answer(1, LIST)
    # The first call may have changed the tools.
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/call", "tools/list"]
