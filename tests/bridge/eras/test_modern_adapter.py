"""The adapter for a modern server: transcripts of the messages of the session and of the server."""

import itertools
import json

import pytest

from mcpbridged.bridge.core.effects import EraMismatch, LogDebug, SetTimer, ToRequester, ToServer
from mcpbridged.bridge.eras.listen_stream import LISTEN_DELAY
from mcpbridged.bridge.eras.modern_adapter import INPUT_TIMEOUT, MOST_ROUNDS, RETRY_DELAY, ModernAdapter
from mcpbridged.bridge.eras.timers import ListenDue, RetryDue, TaskPollDue
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits

LIMITS = Limits()
PREFIX = "io.modelcontextprotocol/"
# The log level of a request until the client has set a level.
INFORMED = {f"{PREFIX}logLevel": "info"}
TASKS = f"{PREFIX}tasks"
INFO = {"name": "ide", "version": "1"}
SERVER = {"name": "new", "version": "2"}
ASKABLE = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}, "tasks": {"list": {}}}
OFFERED = {"tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {}}
LIVELY = {**OFFERED, "tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": True}}


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _plain(message):
    if isinstance(message, Request):
        return (json.loads(message.id), message.method, json.loads(message.params or b"null"))
    if isinstance(message, Notification):
        return (message.method, json.loads(message.params or b"null"))
    return (json.loads(message.id), json.loads(bytes(message.result or message.error)))


def to_server(effects):
    """Return the messages to the server."""
    return [_plain(effect.message) for effect in effects if isinstance(effect, ToServer)]


def to_client(effects):
    """Return the messages to the session."""
    return [_plain(effect.message) for effect in effects if isinstance(effect, ToRequester)]


def timers_of(effects):
    return [effect for effect in effects if isinstance(effect, SetTimer)]


class Talk:
    """An adapter whose session is open."""

    def __init__(
        self,
        *,
        version="2025-11-25",
        capabilities=ASKABLE,
        offered=OFFERED,
        ready=False,
        limits=LIMITS,
        own=False,
    ):
        ids = (f"url{n}" for n in itertools.count(1))
        self.it = ModernAdapter(limits, lambda: next(ids), "stdio", own=own)
        self.capabilities = {name: value for name, value in capabilities.items() if name != "tasks"}
        if own:
            self.capabilities["extensions"] = {"mcp-bridge/input-over": {}}
        if "roots" in capabilities:
            self.capabilities["roots"] = {}
        assert self.it.on_start() == ()
        self.first = self.ask(
            0, "initialize", {"protocolVersion": version, "capabilities": capabilities, "clientInfo": INFO}
        )
        self.opened = self.answer(
            1,
            {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {**offered, "extensions": {}},
                "instructions": "do",
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": {f"{PREFIX}serverInfo": SERVER},
            },
        )
        if ready:
            self.listened = self.client_notifies("notifications/initialized")

    def meta(self, **more):
        return {
            f"{PREFIX}protocolVersion": "2026-07-28",
            f"{PREFIX}clientCapabilities": self.capabilities,
            f"{PREFIX}clientInfo": INFO,
            **more,
        }

    def ask(self, id_, method, params=None):
        return list(self.it.from_client(Request(raw(id_), method, b"" if params is None else raw(params))))

    def call(self, id_=7, name="t", **more):
        return self.ask(id_, "tools/call", {"name": name, **more})

    def client_notifies(self, method, **params):
        return list(self.it.from_client(Notification(method, raw(params) if params else b"")))

    def reply(self, id_, result):
        return list(self.it.from_client(Response(raw(id_), raw(result), b"")))

    def refuse(self, id_, code=-1, message="no", **more):
        error = {"code": code, "message": message, **more}
        return list(self.it.from_client(Response(raw(id_), b"", raw(error))))

    def answer(self, id_, result):
        return list(self.it.from_server(Response(raw(id_), raw(result), b"")))

    def fail(self, id_, code, message="no", **more):
        error = {"code": code, "message": message, **more}
        return list(self.it.from_server(Response(raw(id_), b"", raw(error))))

    def server_notifies(self, method, **params):
        return list(self.it.from_server(Notification(method, raw(params))))

    def on_timer(self, timer):
        return list(self.it.on_timer(timer))


def required(state="s", **requests):
    found = {"resultType": "input_required"}
    if requests:
        found["inputRequests"] = requests
    if state is not None:
        found["requestState"] = state
    return found


def elicit(**params):
    return {
        "method": "elicitation/create",
        "params": {"message": "who?", "requestedSchema": {"type": "object"}, **params},
    }


def test_s3_a_round_that_is_over_at_the_server_is_over_at_the_client():
    talk = Talk(own=True)
    [(wire_id, _, sent)] = to_server(talk.call())
    assert sent["_meta"][f"{PREFIX}clientCapabilities"]["extensions"] == {"mcp-bridge/input-over": {}}
    [(leg, method, _), _] = to_client(talk.answer(wire_id, required(a=elicit(), b=ROOTS)))
    assert method == "elicitation/create"
    talk.reply(leg, ACCEPTED)
    over = "notifications/mcp-bridge/input_over"
    assert to_server(talk.server_notifies(over, requestState="another")) == []
    effects = talk.server_notifies(over, requestState="s")
    assert to_client(effects) == [("notifications/cancelled", {"requestId": "input-2"})]
    [(again, _, retried)] = to_server(effects)
    assert (retried["requestState"], retried["inputResponses"]) == ("s", {"a": ACCEPTED})
    assert to_server(talk.server_notifies(over, requestState="s")) == []
    assert to_client(talk.answer(again, {"content": []})) == [(7, {"content": []})]


ROOTS = {"method": "roots/list"}
ACCEPTED = {"action": "accept", "content": {"name": "x"}}


MANY = {f"k{number}": 0 for number in range(100_000)}


def test_r04_what_has_too_many_members_is_refused_under_its_id():
    talk = Talk()
    assert to_client(talk.call(7, **MANY))[0][1]["code"] == -32602
    [(wire_id, *_)] = to_server(talk.call(8, arguments=MANY))
    [(id_, error)] = to_client(talk.answer(wire_id, MANY))
    assert (id_, error["code"]) == (8, -32603)


# ---- the handshake


def test_initialize_is_answered_from_discover():
    talk = Talk()
    assert to_server(talk.first) == [(1, "server/discover", {"_meta": talk.meta()})]
    assert to_client(talk.opened) == [
        (
            0,
            {
                "protocolVersion": "2025-11-25",
                "capabilities": OFFERED,
                "serverInfo": SERVER,
                "instructions": "do",
            },
        )
    ]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("2024-11-05", "2024-11-05"), ("2026-07-28", "2025-11-25"), ("1999-01-01", "2025-11-25")],
)
def test_the_revision_is_the_clients_if_it_is_a_legacy_one(asked, answered):
    [(_, result)] = to_client(Talk(version=asked).opened)
    assert result["protocolVersion"] == answered


def test_a_server_without_server_info_gets_a_name():
    talk = ModernAdapter(LIMITS, str, "stdio")
    list(talk.from_client(Request(b"0", "initialize", b'{"protocolVersion":"2025-06-18"}')))
    [(_, result)] = to_client(talk.from_server(Response(b"1", b'{"capabilities":{}}', b"")))
    assert result["serverInfo"] == {"name": "stdio", "version": "0"}


def test_a_server_that_refuses_discover_refuses_initialize():
    talk = ModernAdapter(LIMITS, str)
    list(talk.from_client(Request(b"0", "initialize", b'{"protocolVersion":"2025-06-18"}')))
    effects = talk.from_server(Response(b"1", b"", b'{"code":-32601,"message":"what?"}'))
    text = "the server refused server/discover: what?"
    assert to_client(effects) == [(0, {"code": -32603, "message": text})]
    assert EraMismatch(text) in effects


def test_a_client_of_2025_06_18_does_not_get_url_elicitations():
    talk = Talk(version="2025-06-18", capabilities={"elicitation": {"url": {}}})
    [(_, _, params)] = to_server(talk.first)
    assert params["_meta"][f"{PREFIX}clientCapabilities"] == {"elicitation": {}}


# ---- requests


def test_a_request_gets_its_envelope_and_keeps_its_own_meta():
    talk = Talk()
    effects = talk.call(
        7, arguments={"a": 1}, task={"ttl": 1}, _meta={"progressToken": "p", "traceparent": "00"}
    )
    assert to_server(effects) == [
        (
            2,
            "tools/call",
            {
                "name": "t",
                "arguments": {"a": 1},
                "_meta": talk.meta(progressToken=2, traceparent="00", **INFORMED),
            },
        )
    ]
    assert to_client(talk.answer(2, {"resultType": "complete", "content": []})) == [(7, {"content": []})]
    assert [type(effect) for effect in talk.answer(2, {})] == [LogDebug]


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("tasks/list", "there is no such method"),
        ("vendor/x", "there is no such method"),
        ("prompts/list", "the server has no prompts"),
    ],
)
def test_requests_without_the_capability_are_refused(method, text):
    talk = Talk(offered={"tools": {}})
    effects = talk.ask(7, method)
    assert to_client(effects) == [(7, {"code": -32601, "message": text})]
    assert to_server(effects) == []


def test_ping_is_answered_here():
    assert to_client(Talk().ask(7, "ping")) == [(7, {})]


def test_the_log_level_is_sent_with_every_later_request():
    talk = Talk()
    assert to_client(talk.ask(7, "logging/setLevel", {"level": "warning"})) == [(7, {})]
    [(_, _, params)] = to_server(talk.ask(8, "tools/list"))
    assert params["_meta"][f"{PREFIX}logLevel"] == "warning"
    [(_, error)] = to_client(talk.ask(9, "logging/setLevel", {"level": "loud"}))
    assert error["code"] == -32602


@pytest.mark.parametrize(
    "method", ["notifications/roots/list_changed", "notifications/progress", "notifications/x"]
)
def test_notifications_without_a_modern_equivalent_are_dropped(method):
    assert Talk().client_notifies(method) == []


@pytest.mark.parametrize(
    ("code", "more", "method", "legacy"),
    [
        (-32602, {"data": {"uri": "u:x"}}, "resources/read", (-32002, {"uri": "u:x"})),
        (-32602, {}, "resources/read", (-32602, None)),
        (-32602, {"data": {"uri": "u:x"}}, "prompts/get", (-32602, {"uri": "u:x"})),
        (
            -32021,
            {"data": {"requiredCapabilities": {"sampling": {"tools": {}}}}},
            "tools/list",
            (-32602, None),
        ),
        (-32022, {}, "tools/list", (-32603, {"originalCode": -32022})),
        (-32099, {}, "tools/list", (-32603, {"originalCode": -32099})),
        (-32042, {"data": 1}, "tools/list", (-32042, 1)),
        (5, {}, "tools/list", (5, None)),
    ],
)
def test_an_error_has_a_code_of_the_revision(code, more, method, legacy):
    talk = Talk()
    talk.ask(7, method, {"uri": "u:x", "name": "n"})
    [(_, error)] = to_client(talk.fail(2, code, **more))
    assert (error["code"], error.get("data")) == legacy


@pytest.mark.parametrize(
    "result",
    [{"resultType": "odd"}, {"resultType": "task", "taskId": "x"}, required(a=ROOTS), {"resultType": 7}],
)
def test_a_result_of_a_kind_that_cannot_be_is_an_error(result):
    talk = Talk()
    talk.ask(7, "tools/list")
    [(_, error)] = to_client(talk.answer(2, result))
    assert error["code"] == -32603


def test_a_result_without_a_kind_is_complete():
    talk = Talk()
    talk.ask(7, "tools/list")
    assert to_client(talk.answer(2, {"tools": []})) == [(7, {"tools": []})]


def test_a_request_of_a_modern_server_is_dropped():
    effects = list(Talk().it.from_server(Request(b"1", "roots/list", b"")))
    assert [type(effect) for effect in effects] == [LogDebug]


# ---- rounds


def test_input_required_becomes_requests_and_their_answers_resume_the_call():
    talk = Talk()
    talk.call(7, arguments={"a": 1})
    sampling = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
    effects = talk.answer(2, required("ünï", a=elicit(), b=sampling, c=ROOTS))
    assert to_client(effects) == [
        ("input-1", "elicitation/create", elicit()["params"]),
        ("input-2", "sampling/createMessage", sampling["params"]),
        ("input-3", "roots/list", None),
    ]
    assert {effect.about for effect in effects} == {b"7"}
    assert talk.reply("input-3", {"roots": []}) == []
    assert talk.reply("input-1", ACCEPTED) == []
    effects = talk.reply("input-2", {"role": "assistant"})
    assert to_server(effects) == [
        (
            3,
            "tools/call",
            {
                "name": "t",
                "arguments": {"a": 1},
                "_meta": talk.meta(**INFORMED),
                "inputResponses": {"a": ACCEPTED, "b": {"role": "assistant"}, "c": {"roots": []}},
                "requestState": "ünï",
            },
        )
    ]
    assert to_client(talk.answer(3, {"resultType": "complete", "content": []})) == [(7, {"content": []})]


def test_the_state_goes_back_byte_for_byte_or_not_at_all():
    talk = Talk()
    talk.call(7)
    list(
        talk.it.from_server(
            Response(
                b"2",
                b'{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}},"requestState":"\\u00fc\\/"}',
                b"",
            )
        )
    )
    [effect] = talk.reply("input-1", {"roots": []})
    assert b'"requestState":"\\u00fc\\/"' in effect.message.params
    talk.answer(3, required(None, a=ROOTS))
    [(_, _, params)] = to_server(talk.reply("input-2", {"roots": []}))
    assert "requestState" not in params


def test_a_state_without_requests_is_returned_after_a_delay():
    talk = Talk()
    talk.call(7)
    assert talk.answer(2, required("s")) == [SetTimer(RETRY_DELAY, RetryDue(b"7"))]
    [(id_, method, params)] = to_server(talk.on_timer(RetryDue(b"7")))
    assert (id_, method, params["requestState"]) == (3, "tools/call", "s")
    assert "inputResponses" not in params
    assert talk.on_timer(RetryDue(b"7")) == []
    assert talk.on_timer(RetryDue(b"99")) == []


def test_a_client_that_declines_a_form_is_an_answer_and_one_that_fails_cancels_it():
    talk = Talk()
    talk.call(7)
    talk.answer(2, required(a=elicit()))
    [(_, _, params)] = to_server(talk.refuse("input-1"))
    assert params["inputResponses"] == {"a": {"action": "cancel"}}


def test_t03_an_input_request_that_no_stream_can_carry_ends_the_call_with_the_reason():
    talk = Talk(capabilities={"elicitation": {}})
    talk.call(7)
    talk.answer(2, required(a=elicit()))
    [(_, answer)] = to_client(talk.refuse("input-1", -32603, "no stream", data={"reason": "no event stream"}))
    text = "the client refused elicitation/create: no stream"
    assert answer == {"content": [{"type": "text", "text": text}], "isError": True}


@pytest.mark.parametrize(
    ("method", "params", "answer"),
    [
        (
            "tools/call",
            {"name": "t"},
            {"content": [{"type": "text", "text": "the client refused roots/list: no"}], "isError": True},
        ),
        ("prompts/get", {"name": "p"}, {"code": -32603, "message": "the client refused roots/list: no"}),
    ],
)
def test_a_client_that_refuses_input_fails_the_call_and_its_other_input_requests_are_cancelled(
    method, params, answer
):
    talk = Talk()
    talk.ask(7, method, params)
    talk.answer(2, required(a=ROOTS, b=elicit()))
    assert to_client(talk.refuse("input-1")) == [
        ("notifications/cancelled", {"requestId": "input-2"}),
        (7, answer),
    ]
    assert [type(effect) for effect in talk.reply("input-2", ACCEPTED)] == [LogDebug]


@pytest.mark.parametrize(
    ("capabilities", "request_"),
    [
        ({}, ROOTS),
        ({}, elicit()),
        ({}, {"method": "sampling/createMessage", "params": {}}),
        ({"sampling": {}}, {"method": "sampling/createMessage", "params": {"tools": []}}),
        ({"elicitation": {}}, elicit(mode="url")),
        ({"elicitation": {"url": {}}}, elicit()),
        (ASKABLE, {"method": "tasks/get"}),
        (ASKABLE, {}),
    ],
)
def test_an_undeclared_input_request_fails_the_call(capabilities, request_):
    talk = Talk(capabilities=capabilities)
    talk.call(7)
    effects = talk.answer(
        2, required(ok=elicit(), bad=request_) if "elicitation" in capabilities else required(bad=request_)
    )
    [(id_, result)] = to_client(effects)
    assert id_ == 7
    assert result["isError"]
    assert "which the client has not declared" in result["content"][0]["text"]
    assert to_server(effects) == []


def test_declared_input_requests_are_sent():
    talk = Talk(capabilities={"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}})
    talk.call(7)
    effects = talk.answer(
        2, required(a={"method": "sampling/createMessage", "params": {"tools": []}}, b=elicit(mode="form"))
    )
    assert len(to_client(effects)) == 2


def test_rounds_are_limited():
    talk = Talk()
    talk.call(7)
    for round_ in range(MOST_ROUNDS):
        talk.answer(2 + round_, required("s"))
        talk.on_timer(RetryDue(b"7"))
    [(_, result)] = to_client(talk.answer(2 + MOST_ROUNDS, required("s")))
    assert result["isError"]


def test_input_required_without_requests_fails_the_call():
    talk = Talk()
    talk.call(7)
    [(_, result)] = to_client(talk.answer(2, required(None)))
    assert result["isError"]


def test_an_input_request_without_an_answer_in_time_fails_the_call():
    talk = Talk()
    talk.call(7)
    talk.answer(2, required(a=elicit()))
    assert list(talk.it.on_tick(1000)) == []  # whatever the clock shows first
    assert list(talk.it.on_tick(1001)) == []
    assert list(talk.it.on_tick(1000 + INPUT_TIMEOUT)) == []
    effects = list(talk.it.on_tick(1001 + INPUT_TIMEOUT))
    assert [one[0] for one in to_client(effects)] == ["notifications/cancelled", 7]


# ---- URLs


def test_a_url_gets_an_id_and_is_complete_when_the_server_continues():
    talk = Talk(capabilities={"elicitation": {"url": {}}})
    talk.call(7)
    url = {"mode": "url", "message": "m", "url": "https://x"}
    effects = talk.answer(2, required(a={"method": "elicitation/create", "params": url}))
    assert to_client(effects) == [("input-1", "elicitation/create", {**url, "elicitationId": "url1"})]
    [(_, _, params)] = to_server(talk.reply("input-1", {"action": "accept"}))
    assert params["inputResponses"] == {"a": {"action": "accept"}}
    assert to_client(talk.answer(3, {"content": []})) == [
        ("notifications/elicitation/complete", {"elicitationId": "url1"}),
        (7, {"content": []}),
    ]


def test_a_url_that_the_server_requires_again_is_not_complete():
    talk = Talk(capabilities={"elicitation": {"url": {}}})
    ask = elicit(mode="url", url="https://a")
    talk.call()
    talk.answer(2, required(k=ask))
    talk.reply("input-1", {"action": "accept"})
    again = talk.answer(3, required(k=ask))
    assert to_client(again) == [("input-2", ask["method"], {**ask["params"], "elicitationId": "url2"})]
    talk.reply("input-2", {"action": "accept"})
    assert to_client(talk.answer(4, {"content": []})) == [
        ("notifications/elicitation/complete", {"elicitationId": "url2"}),
        (7, {"content": []}),
    ]


def test_a_url_of_a_call_that_fails_is_not_complete():
    talk = Talk(capabilities={"elicitation": {"url": {}}})
    talk.call()
    talk.answer(2, required(k=elicit(mode="url", url="https://a")))
    talk.reply("input-1", {"action": "accept"})
    assert to_client(talk.fail(3, -32603)) == [(7, {"code": -32603, "message": "no"})]


def test_a_url_that_was_not_opened_is_never_complete():
    talk = Talk(capabilities={"elicitation": {"url": {}}})
    talk.call(7)
    talk.answer(2, required(a={"method": "elicitation/create", "params": {"mode": "url"}}))
    talk.reply("input-1", {"action": "decline"})
    assert to_client(talk.answer(3, {"content": []})) == [(7, {"content": []})]


# ---- forms for 2025-06-18


def test_a_prompt_for_the_clients_model_has_one_block_in_each_message_before_2025_11_25():
    text, picture = {"type": "text", "text": "a"}, {"type": "image", "data": "", "mimeType": "image/png"}
    audio, use = {"type": "audio", "data": "", "mimeType": "audio/wav"}, {"type": "tool_use", "id": "1"}
    several = {"role": "user", "content": [text, picture, audio, use], "_meta": {"a": 1}}
    request = {
        "method": "sampling/createMessage",
        "params": {"messages": [several, {"role": "assistant", "content": text}], "maxTokens": 5},
    }

    def messages_of(version):
        talk = Talk(version=version)
        talk.call()
        [(_, _, params)] = to_client(talk.answer(2, required(k=request)))
        assert params["maxTokens"] == 5
        return params["messages"]

    def message(content, role="user", **more):
        return {"role": role, "content": content, **more}

    assert messages_of("2025-11-25") == request["params"]["messages"]
    for version, heard in (
        ("2025-06-18", audio),
        ("2024-11-05", {"type": "text", "text": "[audio, audio/wav]"}),
    ):
        used = {"type": "text", "text": '{"type":"tool_use","id":"1"}'}
        assert messages_of(version) == [
            *(message(content, _meta={"a": 1}) for content in (text, picture, heard, used)),
            message(text, "assistant"),
        ]


def test_a_form_is_translated_for_2025_06_18():
    talk = Talk(version="2025-06-18", capabilities={"elicitation": {}})
    talk.call(7)
    properties = {
        "a": {"type": "string", "default": "x"},
        "b": {"type": "boolean", "default": True},
        "c": {"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]},
    }
    schema = {"type": "object", "properties": properties}
    effects = talk.answer(2, required(a=elicit(mode="form", requestedSchema=schema), b=elicit()))
    [(_, _, first), (_, _, second)] = to_client(effects)
    assert "mode" not in first
    assert first["requestedSchema"]["properties"] == {
        "a": {"type": "string"},
        "b": {"type": "boolean", "default": True},
        "c": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
    }
    assert second == elicit()["params"]


def test_a_form_that_2025_06_18_cannot_show_is_cancelled_and_the_call_continues():
    talk = Talk(version="2025-06-18", capabilities={"elicitation": {}})
    talk.call(7)
    many = {"type": "object", "properties": {"a": {"type": "array"}}}
    effects = talk.answer(2, required(a=elicit(requestedSchema=many)))
    assert to_client(effects) == []
    [(_, _, params)] = to_server(effects)
    assert params["inputResponses"] == {"a": {"action": "cancel"}}


# ---- cancellation


def test_a_cancelled_call_is_cancelled_at_the_server():
    talk = Talk()
    talk.call(7)
    assert to_server(talk.client_notifies("notifications/cancelled", requestId=7)) == [
        ("notifications/cancelled", {"requestId": 2})
    ]
    assert to_client(talk.answer(2, {})) == []
    assert talk.client_notifies("notifications/cancelled", requestId=7) == []


def test_a_cancelled_call_cancels_its_input_requests():
    talk = Talk()
    talk.call(7)
    talk.answer(2, required(a=elicit(), b=ROOTS))
    effects = talk.client_notifies("notifications/cancelled", requestId=7)
    assert to_server(effects) == []
    assert to_client(effects) == [
        ("notifications/cancelled", {"requestId": "input-1"}),
        ("notifications/cancelled", {"requestId": "input-2"}),
    ]


# ---- progress and logging


def test_progress_rises_over_all_rounds():
    talk = Talk()
    [(_, _, params)] = to_server(talk.call(7, _meta={"progressToken": "5", "a": 1}))
    assert params["_meta"] == talk.meta(progressToken=2, a=1, **INFORMED)
    talk.call(8)
    send = "notifications/progress"
    first = talk.server_notifies(send, progressToken=2, progress=1, message="x")
    assert to_client(first) == [(send, {"progressToken": "5", "progress": 1, "message": "x"})]
    assert first[0].about == b"7"
    talk.answer(2, required("s"))
    assert to_client(talk.server_notifies(send, progressToken=2, progress=2)) == []
    [(_, _, params)] = to_server(talk.on_timer(RetryDue(b"7")))
    assert params["_meta"] == talk.meta(progressToken=4, a=1, **INFORMED)
    assert to_client(talk.server_notifies(send, progressToken=4, progress=0.5)) == []
    assert len(to_client(talk.server_notifies(send, progressToken=4, progress=1.5))) == 1
    assert (
        len(to_client(talk.server_notifies(send, progressToken="4", progress=1.6))) == 1
    )  # as some servers write it
    for about in (
        {"progressToken": 3, "progress": 9},  # the other call has requested none
        {"progressToken": 6, "progress": 9},
        {"progress": 9},
        {"progressToken": 4, "progress": "x"},
    ):
        assert to_client(talk.server_notifies(send, **about)) == []


def test_a_log_line_belongs_to_the_one_call_there_is():
    talk = Talk()
    talk.call(7)
    [effect] = talk.server_notifies("notifications/message", level="info", data="x")
    assert effect.about == b"7"
    talk.call(8)
    [effect] = talk.server_notifies("notifications/message", level="info", data="x")
    assert effect.about == b""


# ---- subscriptions


def listened(talk, id_, *uris):
    granted = {"toolsListChanged": True, **({"resourceSubscriptions": list(uris)} if uris else {})}
    return talk.server_notifies(
        "notifications/subscriptions/acknowledged",
        notifications=granted,
        _meta={f"{PREFIX}subscriptionId": id_},
    )


KINDS = {"toolsListChanged": True, "resourcesListChanged": True}


def test_list_changes_are_listened_for_when_the_client_is_ready():
    talk = Talk(offered=LIVELY, ready=True)
    assert to_server(talk.listened) == [
        (2, "subscriptions/listen", {"notifications": KINDS, "_meta": talk.meta()})
    ]
    changed = "notifications/tools/list_changed"
    assert to_client(talk.server_notifies(changed, _meta={f"{PREFIX}subscriptionId": 2})) == []
    assert listened(talk, 2) == []
    assert to_client(talk.server_notifies(changed, _meta={f"{PREFIX}subscriptionId": 2})) == [(changed, None)]
    assert to_client(talk.server_notifies(changed, _meta={f"{PREFIX}subscriptionId": 2, "a": 1})) == [
        (changed, {"_meta": {"a": 1}})
    ]
    assert to_client(talk.server_notifies(changed, _meta={f"{PREFIX}subscriptionId": 3})) == []
    assert to_client(talk.server_notifies(changed)) == []
    assert to_client(talk.server_notifies("notifications/odd", _meta={f"{PREFIX}subscriptionId": 2})) == []


def test_a_server_that_offers_no_changes_is_not_listened_to():
    assert Talk(ready=True).listened == []


def test_a_subscription_is_made_before_the_old_one_is_broken():
    talk = Talk(offered=LIVELY, ready=True)
    listened(talk, 2)
    effects = talk.ask(7, "resources/subscribe", {"uri": "u:a"})
    assert to_client(effects) == []
    assert to_server(effects) == [
        (
            3,
            "subscriptions/listen",
            {"notifications": {**KINDS, "resourceSubscriptions": ["u:a"]}, "_meta": talk.meta()},
        )
    ]
    effects = listened(talk, 3, "u:a")
    assert to_server(effects) == [("notifications/cancelled", {"requestId": 2})]
    assert to_client(effects) == [(7, {})]
    updated = "notifications/resources/updated"
    assert to_client(talk.server_notifies(updated, uri="u:a", _meta={f"{PREFIX}subscriptionId": 3})) == [
        (updated, {"uri": "u:a"})
    ]
    effects = talk.ask(8, "resources/unsubscribe", {"uri": "u:a"})
    assert to_client(effects) == [(8, {})]
    assert [one[2]["notifications"] for one in to_server(effects)] == [KINDS]


def test_a_resource_that_the_server_does_not_acknowledge_is_an_error():
    talk = Talk(offered=LIVELY)
    talk.ask(7, "resources/subscribe", {"uri": "u:a"})
    [(id_, error)] = to_client(listened(talk, 2))
    assert (id_, error["code"]) == (7, -32602)
    effects = talk.ask(8, "resources/subscribe", {"uri": "u:b"})
    assert to_server(effects)[0][2]["notifications"]["resourceSubscriptions"] == ["u:b"]


def test_changes_follow_one_another():
    talk = Talk(offered=LIVELY)
    assert len(to_server(talk.ask(7, "resources/subscribe", {"uri": "u:a"}))) == 1
    assert to_server(talk.ask(8, "resources/subscribe", {"uri": "u:b"})) == []
    assert to_server(talk.ask(9, "resources/subscribe", {"uri": "u:c"})) == []
    effects = listened(talk, 2, "u:a")
    assert to_client(effects) == [(7, {})]
    assert to_server(effects)[0][2]["notifications"]["resourceSubscriptions"] == ["u:a", "u:b"]
    effects = listened(talk, 3, "u:a", "u:b")
    assert [one[0] for one in to_server(effects)] == ["notifications/cancelled", 4]


def test_without_subscriptions_the_stream_is_closed():
    talk = Talk(offered={"resources": {"subscribe": True}})
    talk.ask(7, "resources/subscribe", {"uri": "u:a"})
    listened(talk, 2, "u:a")
    effects = talk.ask(8, "resources/unsubscribe", {"uri": "u:a"})
    assert to_server(effects) == [("notifications/cancelled", {"requestId": 2})]
    assert to_server(talk.ask(9, "resources/unsubscribe", {"uri": "u:a"})) == []


def test_subscribing_at_a_server_without_subscriptions_fails():
    [(_, error)] = to_client(Talk().ask(7, "resources/subscribe", {"uri": "u:a"}))
    assert error["code"] == -32601


def test_subscriptions_are_limited():
    talk = Talk(offered=LIVELY, limits=Limits(stream_messages=2))
    assert to_client(talk.ask(7, "resources/subscribe", {"uri": "u:a"})) == []
    assert to_client(talk.ask(8, "resources/subscribe", {"uri": "u:b"})) == []
    # Of the same resource, there is one subscription.
    assert to_client(talk.ask(9, "resources/subscribe", {"uri": "u:b"})) == []
    [(id_, error)] = to_client(talk.ask(10, "resources/subscribe", {"uri": "u:c"}))
    assert (id_, error["code"]) == (10, -32602)
    assert error["message"] == "the limit of 2 subscribed resources is reached"


def test_a_listen_that_the_server_refuses_or_ends_at_once_refuses_the_subscription():
    talk = Talk(offered=LIVELY)
    talk.ask(7, "resources/subscribe", {"uri": "u:a"})
    talk.ask(8, "resources/subscribe", {"uri": "u:b"})
    effects = talk.fail(2, -32603, "full")
    assert to_client(effects) == [(7, {"code": -32602, "message": "full"})]
    assert len(to_server(effects)) == 1
    assert to_client(talk.answer(3, {})) == [
        (8, {"code": -32602, "message": "the server has ended the subscription"})
    ]


def test_a_subscription_that_the_server_ends_is_opened_again():
    talk = Talk(offered=LIVELY, ready=True)
    listened(talk, 2)
    assert talk.answer(2, {"resultType": "complete"}) == [SetTimer(LISTEN_DELAY, ListenDue())]
    assert [one[1] for one in to_server(talk.on_timer(ListenDue()))] == ["subscriptions/listen"]
    assert talk.on_timer(ListenDue()) == []


def test_a_subscription_that_cannot_be_opened_again_backs_off():
    talk = Talk(offered=LIVELY, ready=True)
    listened(talk, 2)
    assert talk.answer(2, {"resultType": "complete"}) == [SetTimer(1, ListenDue())]
    pauses = []
    for id_ in range(3, 11):
        talk.on_timer(ListenDue())
        [again] = talk.fail(id_, -32603)
        pauses.append(again.seconds)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    talk.ask(7, "resources/subscribe", {"uri": "u:a"})
    talk.ask(8, "resources/subscribe", {"uri": "u:b"})
    assert timers_of(talk.fail(11, -32603)) == []  # the next is another attempt
    assert timers_of(talk.fail(12, -32603)) == [SetTimer(60, ListenDue())]
    talk.on_timer(ListenDue())
    assert to_client(listened(talk, 13)) == [("notifications/tools/list_changed", None)]
    assert talk.answer(13, {"resultType": "complete"}) == [SetTimer(1, ListenDue())]


def test_possible_changes_without_a_stream_are_published():
    talk = Talk(offered=LIVELY, ready=True)
    talk.ask(7, "resources/subscribe", {"uri": "u:a"})
    assert to_client(listened(talk, 2)) == []
    assert to_client(listened(talk, 3, "u:a")) == [(7, {})]
    talk.answer(3, {"resultType": "complete"})
    talk.on_timer(ListenDue())
    assert to_client(listened(talk, 4, "u:a")) == [
        ("notifications/tools/list_changed", None),  # and what was not granted is not notified
        ("notifications/resources/updated", {"uri": "u:a"}),
    ]
    talk.ask(8, "resources/unsubscribe", {"uri": "u:a"})
    assert to_client(listened(talk, 5)) == []


def test_a_subscription_that_the_server_cancels_is_over():
    talk = Talk(offered=LIVELY, ready=True)
    listened(talk, 2)
    talk.call(7)
    for other in (3, 9):
        assert [
            type(effect) for effect in talk.server_notifies("notifications/cancelled", requestId=other)
        ] == [LogDebug]
    assert [type(effect) for effect in talk.server_notifies("notifications/cancelled")] == [LogDebug]
    assert talk.server_notifies("notifications/cancelled", requestId=2) == [
        SetTimer(LISTEN_DELAY, ListenDue())
    ]
    assert to_server(talk.ask(8, "resources/subscribe", {"uri": "u:a"})) != []
    assert [id_ for id_, _ in to_client(talk.server_notifies("notifications/cancelled", requestId=4))] == [8]


def test_a_refused_first_listen_has_no_effect():
    talk = Talk(offered=LIVELY, ready=True)
    assert talk.fail(2, -32603) == []


def test_an_unexpected_acknowledgement_is_dropped():
    assert [type(effect) for effect in listened(Talk(), 9)] == [LogDebug]


# ---- tasks

NEEDED = {"data": {"requiredCapabilities": {"extensions": {TASKS: {}}}}}


def tasked(method="tools/call"):
    talk = Talk()
    talk.ask(7, method, {"name": "t"})
    [(id_, _, params)] = to_server(talk.fail(2, -32021, **NEEDED))
    assert id_ == 3
    assert params["_meta"][f"{PREFIX}clientCapabilities"]["extensions"] == {TASKS: {}}
    effects = talk.answer(
        3, {"resultType": "task", "taskId": "T", "status": "working", "pollIntervalMs": 500}
    )
    assert effects == [SetTimer(0.5, TaskPollDue(b"7"))]
    return talk


def test_a_task_is_polled_until_it_is_complete():
    talk = tasked()
    [(id_, method, params)] = to_server(talk.on_timer(TaskPollDue(b"7")))
    assert (id_, method, params["taskId"]) == (4, "tasks/get", "T")
    assert timers_of(
        talk.answer(4, {"resultType": "complete", "status": "working", "pollIntervalMs": 1})
    ) == [SetTimer(0.1, TaskPollDue(b"7"))]
    talk.on_timer(TaskPollDue(b"7"))
    assert timers_of(talk.answer(5, {"status": "working"})) == [SetTimer(1.0, TaskPollDue(b"7"))]
    talk.on_timer(TaskPollDue(b"7"))
    assert to_client(
        talk.answer(6, {"status": "completed", "result": {"content": [], "resultType": "complete"}})
    ) == [(7, {"content": []})]


@pytest.mark.parametrize(
    ("seen", "error"),
    [
        (
            {"status": "failed", "error": {"code": -32022, "message": "x"}},
            {"code": -32603, "message": "x", "data": {"originalCode": -32022}},
        ),
        ({"status": "failed"}, {"code": -32603, "message": "the task failed"}),
        ({"status": "cancelled"}, {"code": -32603, "message": "the task was cancelled"}),
    ],
)
def test_a_failed_task_fails_the_call(seen, error):
    talk = tasked()
    talk.on_timer(TaskPollDue(b"7"))
    assert to_client(talk.answer(4, seen)) == [(7, error)]


def test_a_task_that_requires_input_sends_requests_to_the_client():
    talk = tasked()
    talk.on_timer(TaskPollDue(b"7"))
    effects = talk.answer(4, {"status": "input_required", "inputRequests": {"a": ROOTS}})
    assert to_client(effects) == [("input-1", "roots/list", None)]
    [(_, method, params)] = to_server(talk.reply("input-1", {"roots": []}))
    assert (method, params["taskId"], params["inputResponses"]) == ("tasks/update", "T", {"a": {"roots": []}})
    assert timers_of(talk.answer(5, {"resultType": "complete"})) == [SetTimer(1.0, TaskPollDue(b"7"))]
    talk.on_timer(TaskPollDue(b"7"))
    assert talk.answer(6, {"status": "input_required", "inputRequests": {"a": ROOTS}}) == [
        SetTimer(1.0, TaskPollDue(b"7"))
    ]
    talk.on_timer(TaskPollDue(b"7"))
    effects = talk.answer(7, {"status": "input_required", "inputRequests": {"a": ROOTS, "b": ROOTS}})
    assert to_client(effects) == [("input-2", "roots/list", None)]
    [(_, _, params)] = to_server(talk.reply("input-2", {"roots": []}))
    assert list(params["inputResponses"]) == ["b"]


def test_a_cancelled_call_cancels_its_task():
    talk = tasked()
    effects = talk.client_notifies("notifications/cancelled", requestId=7)
    assert [(one[1], one[2]["taskId"]) for one in to_server(effects)] == [("tasks/cancel", "T")]
    assert talk.on_timer(TaskPollDue(b"7")) == []


def test_a_call_that_is_cancelled_before_it_has_become_a_task_cancels_the_task_when_it_is_one():
    talk = Talk()
    talk.call()
    talk.fail(2, -32021, **NEEDED)
    talk.client_notifies("notifications/cancelled", requestId=7)
    assert [
        (one[1], one[2]["taskId"]) for one in to_server(talk.answer(3, {"resultType": "task", "taskId": "T"}))
    ] == [("tasks/cancel", "T")]
    assert [type(effect) for effect in talk.answer(4, {"resultType": "complete"})] == [LogDebug]


def test_the_extension_is_declared_once():
    talk = Talk()
    talk.call(7)
    talk.fail(2, -32021, **NEEDED)
    [(_, error)] = to_client(talk.fail(3, -32021, **NEEDED))
    assert error["code"] == -32602


def test_an_aborted_call_cancels_its_task():
    talk = Talk(capabilities={})
    talk.call()
    talk.fail(2, -32021, data={"requiredCapabilities": {"extensions": {TASKS: {}}}})
    talk.answer(3, {"resultType": "task", "taskId": "T", "status": "working"})
    talk.on_timer(TaskPollDue(b"7"))
    given_up = talk.answer(4, {"taskId": "T", "status": "input_required", "inputRequests": {"k": ROOTS}})
    [(id_, method, params)] = to_server(given_up)
    assert (id_, method, params["taskId"]) == (5, "tasks/cancel", "T")
    [(asker, result)] = to_client(given_up)
    assert (asker, result["isError"]) == (7, True)


# ---- repeated messages


def test_a_second_initialized_has_no_effect():
    talk = Talk(offered=LIVELY, ready=True)
    assert len(to_server(talk.listened)) == 1
    assert talk.client_notifies("notifications/initialized") == []
    talk.server_notifies(
        "notifications/subscriptions/acknowledged", notifications={}, _meta={f"{PREFIX}subscriptionId": 2}
    )
    assert talk.client_notifies("notifications/initialized") == []


def test_changes_of_subscriptions_that_wait_are_limited():
    talk = Talk(offered=LIVELY, ready=True, limits=Limits(in_flight=2))
    assert to_client(talk.ask(7, "resources/subscribe", {"uri": "a:1"})) == []
    assert to_client(talk.ask(8, "resources/unsubscribe", {"uri": "a:1"})) == [(8, {})]
    text = "2 changes of subscriptions wait for the server"
    for method in ("resources/subscribe", "resources/unsubscribe"):
        assert to_client(talk.ask(9, method, {"uri": "a:2"})) == [(9, {"code": -32603, "message": text})]


def test_a_subscription_that_the_server_refuses_is_not_in_the_one_that_waited_behind_it():
    talk = Talk(offered=LIVELY)
    talk.ask(7, "resources/subscribe", {"uri": "a:bad"})
    talk.ask(8, "resources/subscribe", {"uri": "a:good"})
    [(_, method, params)] = to_server(talk.fail(2, -32602))
    assert method == "subscriptions/listen"
    assert params["notifications"]["resourceSubscriptions"] == ["a:good"]


def test_the_reason_of_a_cancellation_goes_with_it():
    talk = Talk()
    talk.call()
    assert to_server(talk.client_notifies("notifications/cancelled", requestId=7, reason="enough")) == [
        ("notifications/cancelled", {"requestId": 2, "reason": "enough"})
    ]


def test_a_list_that_is_too_large_to_be_changed_is_an_error():
    talk = Talk(limits=Limits(list_items=1), version="2025-06-18")
    talk.ask(5, "tools/list")
    told_of = to_client(talk.answer(2, {"resultType": "complete", "tools": [{"outputSchema": {}}] * 2}))
    assert told_of[0][1]["message"].endswith("exceeds the limit of 1 (limits.list_items)")


def test_a_sampling_request_with_too_many_messages_ends_its_call():
    talk = Talk(limits=Limits(list_items=1), version="2025-06-18")
    talk.call(7)
    request = {"method": "sampling/createMessage", "params": {"messages": [{}, {}]}}
    told_of = to_client(talk.answer(2, {"resultType": "input_required", "inputRequests": {"a": request}}))
    assert told_of[0][1]["isError"]
    assert "limits.list_items" in told_of[0][1]["content"][0]["text"]


# ---- extensions


def extended(declared=None, offered=None):
    """Return a client and a server that have declared extensions: the same extension without arguments."""
    mine = {"extensions": {"a/b": {}}} if declared is None else declared
    theirs = {"experimental": {"a/b": {}}, "logging": {}} if offered is None else offered
    return Talk(capabilities=mine, offered=theirs)


def test_a_request_of_an_extension_passes_as_it_is():
    talk = extended()
    [(upstream, method, sent)] = to_server(talk.ask(7, "a/do", {"x": 1, "task": {}, "requestState": "s"}))
    assert (method, sent) == (
        "a/do",
        {"x": 1, "task": {}, "requestState": "s", "_meta": talk.meta(**INFORMED)},
    )
    assert to_client(talk.answer(upstream, {"y": 1, "ttlMs": 5, "resultType": "complete"})) == [
        (7, {"y": 1, "ttlMs": 5})
    ]
    [(upstream, _, _)] = to_server(talk.ask(8, "a/do"))
    [answer] = talk.fail(upstream, -32050, data=1)
    assert json.loads(answer.message.error) == {"code": -32050, "message": "no", "data": 1}


def test_a_result_of_a_kind_of_an_extension_passes_as_it_is():
    talk = extended(offered={"tools": {}, "experimental": {"a/b": {}}})
    [(upstream, _, _)] = to_server(talk.call(7))
    assert to_client(talk.answer(upstream, {"resultType": "stream", "x": 1})) == [
        (7, {"resultType": "stream", "x": 1})
    ]


def test_notifications_of_an_extension_pass_in_both_directions():
    talk = extended()
    assert to_server(talk.client_notifies("notifications/a/done", x=1)) == [
        ("notifications/a/done", {"x": 1})
    ]
    [effect] = talk.server_notifies("notifications/a/done", x=1)
    assert (effect.about, to_client([effect])) == (b"", [("notifications/a/done", {"x": 1})])
    talk.ask(7, "a/do")
    [effect] = talk.server_notifies("notifications/a/done", x=1, _meta={f"{PREFIX}subscriptionId": 1})
    assert (effect.about, to_client([effect])) == (b"7", [("notifications/a/done", {"x": 1})])
    assert talk.client_notifies("notifications/roots/list_changed") == []


@pytest.mark.parametrize(
    ("declared", "offered"),
    [
        ({"extensions": {"a/b": {}}}, {}),
        ({"extensions": {TASKS: {}}}, {"experimental": {TASKS: {}}}),
    ],
)
def test_of_a_server_without_extensions_other_methods_are_unknown(declared, offered):
    talk = extended(declared, offered)
    [effect] = talk.ask(7, "a/do")
    assert json.loads(effect.message.error)["code"] == -32601
    assert talk.client_notifies("notifications/a/done") == []
    assert to_client(talk.server_notifies("notifications/a/done")) == []


def test_a_method_of_the_core_is_no_extension():
    talk = extended()
    [effect] = talk.ask(7, "tasks/list")
    assert json.loads(effect.message.error)["code"] == -32601
