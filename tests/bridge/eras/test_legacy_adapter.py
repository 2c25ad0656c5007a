"""The adapter for a legacy server: transcripts of the messages of the multiplexer and of the server."""

import itertools
import json

import pytest

from mcpbridged.bridge.core.attribution import AFTER_ANSWER, Client, Origin, Origins
from mcpbridged.bridge.core.effects import (
    EraMismatch,
    LogDebug,
    ServerRequestRefused,
    SetTimer,
    ToRequester,
    ToServer,
    Unassigned,
)
from mcpbridged.bridge.core.requests import ClientRequest
from mcpbridged.bridge.eras import rules_legacy_to_modern
from mcpbridged.bridge.eras.legacy_adapter import LegacyAdapter
from mcpbridged.bridge.eras.legacy_calls import COMPLETION
from mcpbridged.bridge.eras.rules_legacy_to_modern import Profile
from mcpbridged.bridge.eras.server_requests import GATHERING
from mcpbridged.bridge.eras.timers import InputsGathered, UrlTimeout
from mcpbridged.validators import json_object
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.stateless_request import Envelope

LIMITS = Limits()
EVERYTHING = Profile(roots=True, sampling=True, form=True, url=True)
PREFIX = "io.modelcontextprotocol/"
CAPABILITIES = {
    "tools": {"listChanged": True},
    "prompts": {},
    "resources": {"subscribe": True, "listChanged": True},
    "logging": {},
    "completions": {},
    "tasks": {},
}
INFO = {"name": "old", "version": "1"}


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


def params(**more):
    meta = more.pop("meta", {})
    return raw(
        {
            **more,
            "_meta": {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}, **meta},
        }
    )


def to_server(effects):
    """Return the messages to the server: (method or id of the request, params or result or error)."""
    return [_plain(effect.message) for effect in effects if isinstance(effect, ToServer)]


def to_client(effects):
    """Return the messages to the multiplexer."""
    return [_plain(effect.message) for effect in effects if isinstance(effect, ToRequester)]


def _plain(message):
    if isinstance(message, Request):
        return (json.loads(message.id), message.method, json.loads(message.params or b"null"))
    if isinstance(message, Notification):
        return (message.method, json.loads(message.params or b"null"))
    return (json.loads(message.id), json.loads(bytes(message.result or message.error)))


def context_of(request, client, capabilities):
    """Return the context of a request in the multiplexer, for a named client."""
    if client is None:
        return None
    declared = ALL if capabilities is None else capabilities
    envelope = Envelope("2026-07-28", raw(declared), b"", "", b"", None)
    return ClientRequest("p", request, envelope, None, object(), pipe=True, client=client)


ALL = {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}}
ONE, OTHER, UNKNOWN = Client("one"), Client("other"), Client("same", known=False)


class Talk:
    """An adapter whose server has responded to initialize."""

    def __init__(
        self,
        profile=EVERYTHING,
        capabilities=CAPABILITIES,
        *,
        limits=LIMITS,
        strict=False,
        opened=True,
        shared=False,
        revision="2025-11-25",
    ):
        names = (f"key{n}" for n in itertools.count(1))
        origins = Origins(limits.held_seconds, several=strict)
        ids = (b'"i%d"' % n for n in itertools.count(1))
        more = {"ids": lambda: next(ids), "shared": True} if shared else {}
        self.it = LegacyAdapter(limits, profile, lambda: next(names), version="9", origins=origins, **more)
        self.first = list(self.it.on_start())
        self.timers = []
        if opened and not shared:
            self.answer(1, {"protocolVersion": revision, "capabilities": capabilities, "serverInfo": INFO})

    def _note(self, effects):
        effects = list(effects)
        self.timers += [effect for effect in effects if isinstance(effect, SetTimer)]
        return effects

    def ask(self, id_, method, text=None, client=None, capabilities=None):
        request = Request(raw(id_), method, params() if text is None else text)
        return self._note(self.it.from_client(request, context_of(request, client, capabilities)))

    def call(self, id_, name="t", client=None, capabilities=None, **more):
        return self.ask(id_, "tools/call", params(name=name, **more), client, capabilities)

    def cancel(self, id_):
        return self._note(
            self.it.from_client(Notification("notifications/cancelled", raw({"requestId": id_})))
        )

    def answer(self, id_, result):
        return self._note(self.it.from_server(Response(raw(id_), raw(result), b"")))

    def fail(self, id_, code, message="no", **more):
        return self._note(
            self.it.from_server(Response(raw(id_), b"", raw({"code": code, "message": message, **more})))
        )

    def server_requests(self, id_, method, related=b"", **about):
        return self._note(self.it.from_server(Request(raw(id_), method, raw(about)), related))

    def server_notifies(self, method, related=b"", **about):
        return self._note(self.it.from_server(Notification(method, raw(about)), related))

    def gathered(self):
        return self._note(self.it.on_timer(self.timers.pop(0).timer))

    def retry(self, id_, state, responses, name="t", **more):
        return self.call(id_, name, inputResponses=responses, requestState=state, **more)


FORM = {"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}
ACCEPTED = {"action": "accept", "content": {"name": "x"}}


def complete(id_, **result):
    return (id_, {**result, "_meta": {f"{PREFIX}serverInfo": INFO}, "resultType": "complete"})


def stale(id_, **result):
    answered = complete(id_, **result)
    answered[1].update(ttlMs=0, cacheScope="private")
    return answered


# ---- opening


def test_the_server_gets_the_profile_once():
    talk = Talk(opened=False)
    assert to_server(talk.first) == [
        (
            1,
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
                "clientInfo": {"name": "mcp-bridge", "version": "9"},
            },
        )
    ]


def test_requests_wait_until_the_server_has_opened():
    talk = Talk(opened=False)
    assert talk.call(1) == []
    assert talk.it.busy
    effects = talk.answer(
        1, {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "instructions": "do"}
    )
    assert to_server(effects) == [("notifications/initialized", None), (2, "tools/call", {"name": "t"})]
    assert talk.it._handshake.revision == "2024-11-05"
    assert to_client(talk.ask(9, "server/discover")) == [
        (
            9,
            {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "instructions": "do",
                "_meta": {f"{PREFIX}serverInfo": {"name": "server", "version": "0"}},
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "private",
            },
        )
    ]


def test_the_requester_of_a_call_at_the_server_is_known():
    talk = Talk()
    talk.call(1)
    found = {talk.it.requester_of(b"%d" % number) for number in range(5)}
    assert found == {b"", b"1"}


def test_a_request_cancelled_before_the_handshake_is_never_sent():
    talk = Talk(opened=False)
    talk.call(1)
    assert talk.cancel(1) == []
    assert to_server(talk.answer(1, {"capabilities": {"tools": {}}})) == [("notifications/initialized", None)]


def test_a_server_that_refuses_to_open_fails_every_request_and_contradicts_its_era():
    talk = Talk(opened=False)
    talk.call(1)
    assert talk.it.opening
    effects = talk.fail(1, -32022, "modern only")
    assert not talk.it.opening
    text = "the server refused to initialize: modern only"
    assert EraMismatch(text) in effects
    assert to_client(effects) == [(1, {"code": -32603, "message": text})]
    assert to_client(talk.call(2)) == [(2, {"code": -32603, "message": text})]


def test_a_server_that_does_not_open_in_time_fails_every_request():
    talk = Talk(opened=False, limits=Limits(start_seconds=10))
    talk.call(1)
    assert list(talk.it.on_tick(100)) == []
    assert list(talk.it.on_tick(110)) == []
    effects = list(talk.it.on_tick(111))
    text = "the server did not answer initialize within 10 s"
    assert EraMismatch(text) in effects
    assert to_client(effects) == [(1, {"code": -32603, "message": text})]
    assert list(talk.it.on_tick(200)) == []


def test_discover_is_answered_from_initialize_without_tasks():
    [(id_, result)] = to_client(Talk().ask("d", "server/discover"))
    assert id_ == "d"
    assert result["capabilities"] == {name: value for name, value in CAPABILITIES.items() if name != "tasks"}
    assert result["_meta"] == {f"{PREFIX}serverInfo": INFO}


# ---- plain calls


def test_the_envelope_is_taken_off_and_other_meta_stays():
    talk = Talk(Profile())
    effects = talk.call(
        5, arguments={"a": 1}, meta={"traceparent": "00", "progressToken": 5, f"{PREFIX}clientInfo": {}}
    )
    assert to_server(effects) == [
        (
            2,
            "tools/call",
            {"name": "t", "arguments": {"a": 1}, "_meta": {"traceparent": "00", "progressToken": 2}},
        )
    ]


@pytest.mark.parametrize(
    ("meta", "kept", "token"),
    [
        (b'{"progressToken":5}', b'{"progressToken":9}', b"5"),
        (rb'{"progress\u0054oken":"a"}', b'{"progressToken":9}', b'"a"'),
        (b'{"io.modelcontextprotocol/clientInfo":{}}', None, b""),
        (rb'{"io.modelcontextprotocol\/clientInfo":{}}', None, b""),
        (b'{"a":"%b"}' % (b"x" * 2000), b'{"a":"%b"}' % (b"x" * 2000), b""),
        (b"[]", None, b""),
    ],
)
def test_a_progress_token_is_replaced_however_it_is_written(meta, kept, token):
    for _ in range(2):
        found = {"_meta": json_object.raw(meta)}
        assert rules_legacy_to_modern.progress_token_and_log_level(found["_meta"]) == (token, "")
        params = rules_legacy_to_modern.remove_envelope(found, b"9")
        assert params == (b"" if kept is None else b'{"_meta":%b}' % kept)


@pytest.mark.parametrize(
    ("method", "legacy", "modern"),
    [
        ("tools/call", {"content": []}, complete(7, content=[])),
        ("tools/call", {"structuredContent": 1}, complete(7, structuredContent=1, content=[])),
        ("tools/list", {"tools": []}, stale(7, tools=[])),
        ("prompts/list", {"prompts": [], "nextCursor": ""}, stale(7, prompts=[], nextCursor="key1.")),
        ("resources/read", {"contents": []}, stale(7, contents=[])),
        ("resources/templates/list", {"resourceTemplates": []}, stale(7, resourceTemplates=[])),
        ("completion/complete", {"completion": {"values": []}}, complete(7, completion={"values": []})),
        ("prompts/get", {"messages": [], "resultType": "x"}, complete(7, messages=[])),
    ],
)
def test_a_result_becomes_complete(method, legacy, modern):
    talk = Talk()
    assert [one[1] for one in to_server(talk.ask(7, method, params(uri="u:x")))] == [method]
    assert to_client(talk.answer(2, legacy)) == [modern]
    assert not talk.it.busy


def test_the_meta_of_a_result_keeps_what_is_there():
    talk = Talk()
    talk.call(7)
    [(_, result)] = to_client(talk.answer(2, {"content": [], "_meta": {"a": 1}}))
    assert result["_meta"] == {"a": 1, f"{PREFIX}serverInfo": INFO}


@pytest.mark.parametrize(
    ("legacy", "modern"),
    [
        ({"code": -32002, "message": "gone"}, {"code": -32602, "message": "gone", "data": {"uri": "u:x"}}),
        (
            {"code": -32050, "message": "x"},
            {"code": -32603, "message": "x", "data": {"originalCode": -32050}},
        ),
        (
            {"code": -32020, "message": "x"},
            {"code": -32603, "message": "x", "data": {"originalCode": -32020}},
        ),
        ({"code": -32602, "message": "x", "data": [1]}, {"code": -32602, "message": "x", "data": [1]}),
        ({"code": -32000, "message": "x"}, {"code": -32000, "message": "x"}),
        ({"code": "odd"}, {"code": "odd"}),
    ],
)
def test_an_error_speaks_modern_codes(legacy, modern):
    talk = Talk()
    talk.ask(7, "resources/read", params(uri="u:x"))
    effects = talk.it.from_server(Response(b"2", b"", raw(legacy)))
    assert to_client(effects) == [(7, modern)]


def test_tools_lose_execution_and_annotations_that_would_have_them_dropped():
    good = {"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}
    bad = {"type": "object", "properties": {"r": {"type": "number", "x-mcp-header": "Region"}}}
    talk = Talk()
    talk.ask(7, "tools/list")
    tools = [
        {"name": "a", "inputSchema": good, "execution": {"taskSupport": "optional"}},
        {"name": "b", "inputSchema": bad},
        {"name": "c"},
    ]
    [(_, result)] = to_client(talk.answer(2, {"tools": tools}))
    assert result["tools"] == [
        {"name": "a", "inputSchema": good},
        {"name": "b", "inputSchema": {"type": "object", "properties": {"r": {"type": "number"}}}},
        {"name": "c"},
    ]


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("ping", "there is no such method"),
        ("vendor/x", "there is no such method"),
        ("prompts/list", "the server has no prompts"),
        ("completion/complete", "the server has no completions"),
    ],
)
def test_requests_without_the_capability_are_refused(method, text):
    talk = Talk(capabilities={"tools": {}})
    effects = talk.ask(7, method)
    assert to_client(effects) == [(7, {"code": -32601, "message": text})]
    assert to_server(effects) == []


@pytest.mark.parametrize(
    ("revision", "capabilities", "context"),
    [
        ("2024-11-05", {}, False),
        ("2025-03-26", {"completions": {}}, False),
        ("2025-06-18", {"completions": {}}, True),
    ],
)
def test_completion_context_is_sent_to_servers_that_define_it(revision, capabilities, context):
    talk = Talk(capabilities=capabilities, revision=revision)
    about = {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "x"}}
    more = {"context": {"arguments": {"b": "y"}}}
    [(_, _, heard)] = to_server(talk.ask(7, "completion/complete", params(**about, **more)))
    assert heard == {**about, **(more if context else {})}


def test_a_cursor_is_good_for_the_child_that_gave_it_only():
    talk = Talk()
    talk.ask(1, "tools/list")
    [(_, result)] = to_client(talk.answer(2, {"tools": [], "nextCursor": "p2"}))
    assert result["nextCursor"] == "key1.p2"
    assert to_server(talk.ask(2, "tools/list", params(cursor="key1.p2"))) == [
        (3, "tools/list", {"cursor": "p2"})
    ]
    assert to_client(talk.ask(3, "tools/list", params(cursor="other.p2"))) == [
        (3, {"code": -32602, "message": "Invalid cursor"})
    ]


@pytest.mark.parametrize("cursor", [None, 7])
def test_a_cursor_that_is_no_text_is_the_end(cursor):
    talk = Talk()
    talk.ask(1, "prompts/list")
    assert to_client(talk.answer(2, {"prompts": [], "nextCursor": cursor})) == [stale(1, prompts=[])]


def test_an_empty_cursor_is_one():
    talk = Talk()
    talk.ask(1, "prompts/list")
    [(_, result)] = to_client(talk.answer(2, {"prompts": [], "nextCursor": ""}))
    assert to_server(talk.ask(2, "prompts/list", params(cursor=result["nextCursor"]))) == [
        (3, "prompts/list", {"cursor": ""})
    ]


def test_messages_without_a_legacy_equivalent_are_dropped():
    talk = Talk()
    assert [type(effect) for effect in talk.it.from_client(Notification("notifications/x", b""))] == [
        LogDebug
    ]
    assert [type(effect) for effect in talk.server_notifies("notifications/tasks/status")] == [LogDebug]
    assert [type(effect) for effect in talk.answer(99, {})] == [LogDebug]


MANY = {f"k{number}": 0 for number in range(100_000)}


def test_r04_what_has_too_many_members_is_refused_under_its_id():
    talk = Talk()
    [(id_, error)] = to_client(talk.call(7, **MANY))
    assert (id_, error["code"]) == (7, -32602)
    assert to_server(talk.call(8, arguments=MANY))[0][1] == "tools/call"
    [(id_, error)] = to_client(talk.answer(2, MANY))
    assert (id_, error["code"]) == (8, -32603)


# ---- cancellation


def test_a_cancelled_call_is_cancelled_at_the_server_and_its_late_answer_is_swallowed():
    talk = Talk()
    talk.call(7)
    assert to_server(talk.cancel(7)) == [("notifications/cancelled", {"requestId": 2})]
    assert to_client(talk.answer(2, {"content": []})) == []
    assert not talk.it.busy
    assert talk.cancel(7) == []


def test_a_second_response_to_a_call_is_noted():
    talk = Talk(strict=True)
    talk.call(7)
    assert to_client(talk.answer(2, {"content": []})) == [complete(7, content=[])]
    assert talk.answer(2, {"content": []}) == [LogDebug("response_unmatched", ("server", b"2"))]


# ---- to which call a request of the server belongs

AMBIGUOUS = "calls of several clients are in progress, and the request does not name the one it belongs to"


def refused(effects):
    """Return the code of the error for the server, and the reason in the log."""
    [(_, error)] = to_server(effects)
    [reason] = [effect.reason for effect in effects if isinstance(effect, ServerRequestRefused)]
    return error["code"], reason


def test_a3_calls_run_concurrently_also_after_a_server_request():
    talk = Talk()
    held(talk)
    assert [len(to_server(talk.call(id_))) for id_ in (8, 9, 10)] == [1, 1, 1]
    assert to_server(talk.retry(11, "key2.0", {"k1": ACCEPTED})) == [("q", ACCEPTED)]


def test_a2_two_calls_of_one_client_require_input_at_the_same_time():
    talk = Talk()
    talk.call(7, client=ONE)
    talk.call(8, client=ONE)
    talk.server_requests("q", "elicitation/create", **FORM)
    [(requester, result)] = to_client(talk.gathered())
    assert (requester, result["resultType"]) == (8, "input_required")
    talk.server_requests("r", "elicitation/create", **FORM)
    [(requester, result)] = to_client(talk.gathered())
    assert (requester, result["resultType"]) == (7, "input_required")
    # Both are held: a third request is sent in the next round of the newest call.
    assert talk.server_requests("s", "elicitation/create", **FORM) == []
    [(_, again)] = to_client(talk.retry(9, "key2.0", {"k1": ACCEPTED}))
    assert list(again["inputRequests"]) == ["k2"]


def test_the_answer_for_another_call_of_the_client_reaches_the_server_before_the_result_the_client():
    talk = Talk()
    talk.call(7, client=ONE)
    talk.call(8, client=ONE)
    talk.server_requests("of 7", "elicitation/create", **FORM)
    talk.gathered()  # it was given to 8
    assert to_client(talk.answer(3, {"content": []})) == [OVER]
    effects = talk.retry(9, "key2.0", {"k1": ACCEPTED}, client=ONE)
    assert to_server(effects) == [("of 7", ACCEPTED)]
    assert to_client(effects) == [complete(9, content=[])]
    assert to_client(talk.answer(2, {"content": []})) == [complete(7, content=[])]


def test_an_unanswered_server_request_moves_to_another_call_when_its_call_ends():
    talk = Talk()
    talk.call(7, client=ONE)
    talk.call(8, client=ONE)
    talk.server_requests("of 7", "elicitation/create", **FORM)
    talk.gathered()
    talk.answer(3, {"content": []})
    effects = talk.retry(9, "key2.0", {}, client=ONE)
    assert to_client(effects) == [complete(9, content=[])]
    talk.timers = talk.timers[-1:]
    [(requester, result)] = to_client(talk.gathered())
    assert (requester, list(result["inputRequests"])) == (7, ["k1"])


@pytest.mark.parametrize("end", ["answer", "cancel"])
def test_a_call_that_ends_while_input_requests_are_gathered_leaves_them_to_another(end):
    talk = Talk()
    talk.call(7, client=ONE)
    talk.call(8, client=ONE)
    talk.server_requests("q", "elicitation/create", **FORM)
    talk.answer(3, {"content": []}) if end == "answer" else talk.cancel(8)
    assert talk.gathered() == []
    [(requester, result)] = to_client(talk.gathered())
    assert (requester, result["resultType"]) == (7, "input_required")


def test_a_server_request_whose_only_call_is_cancelled_is_refused():
    talk = Talk()
    talk.call(7, client=ONE)
    talk.server_requests("q", "elicitation/create", **FORM)
    effects = talk.cancel(7)
    assert [one[0] for one in to_server(effects)] == ["notifications/cancelled", "q"]
    assert [effect.reason for effect in effects if isinstance(effect, ServerRequestRefused)] == ["cancelled"]
    assert refused(talk.server_requests("r", "elicitation/create", **FORM)) == (-32603, "cancelled")
    assert talk.answer(2, {}) == []
    assert refused(talk.server_requests("s", "elicitation/create", **FORM)) == (-32603, "no_call")


@pytest.mark.parametrize("clients", [(ONE, OTHER), (OTHER, ONE), (UNKNOWN, UNKNOWN), (ONE, UNKNOWN)])
@pytest.mark.parametrize("end", ["running", "held", "cancelled", "answered"])
def test_a1_no_server_request_reaches_a_client_while_it_may_belong_to_another(clients, end):
    talk = Talk(strict=True)
    talk.call(7, client=clients[0])
    if end == "held":
        talk.server_requests("h", "elicitation/create", **FORM)
        talk.gathered()
    talk.call(8, client=clients[1])
    if end == "cancelled":
        talk.cancel(7)
    if end == "answered":
        talk.answer(2, {})
    effects = talk.server_requests("q", "elicitation/create", **FORM)
    assert refused(effects) == (-32603, "ambiguous")
    assert to_server(effects) == [("q", {"code": -32603, "message": AMBIGUOUS})]
    assert to_client(effects) == []


def test_on_a_shared_process_time_belongs_to_its_owner():
    talk = Talk(shared=True, limits=Limits(start_seconds=1))
    assert list(talk.it.on_tick(1)) == []
    assert list(talk.it.on_tick(100)) == []


def test_a_server_request_of_a_held_task_is_sent_after_the_retry():
    talk = tasked()
    talk.call(7)
    talk.answer(3, {"task": {"taskId": "T"}})
    related = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "T"}}}
    talk.server_requests("q", "elicitation/create", **FORM, **related)
    talk.gathered()
    talk.call(8, "plain")
    assert to_server(talk.server_requests("r", "elicitation/create", **FORM, **related)) == []
    [(requester, result)] = to_client(talk.retry(9, "key2.0", {"k1": ACCEPTED}))
    assert (requester, list(result["inputRequests"])) == (9, ["k2"])


def test_an_answered_call_is_a_candidate_for_a_moment_only():
    talk = Talk(strict=True)
    talk.call(7, client=ONE)
    talk.call(8, client=OTHER)
    talk.answer(2, {})
    talk.it.on_tick(100)
    talk.it.on_tick(100.1 + AFTER_ANSWER)
    talk.server_requests("q", "elicitation/create", **FORM)
    [(requester, result)] = to_client(talk.gathered())
    assert (requester, result["resultType"]) == (8, "input_required")


def test_s1_a_server_request_is_refused_for_the_client_that_has_not_declared_it_only():
    talk = Talk(strict=True)
    talk.call(7, client=ONE, capabilities={})
    assert refused(talk.server_requests("q", "elicitation/create", **FORM)) == (-32601, "not_declared")
    assert to_client(talk.fail(2, -32000))[0][1]["code"] == -32021
    talk.it.on_tick(1)
    talk.it.on_tick(4)
    talk.call(8, client=OTHER, capabilities={"elicitation": {}})
    talk.server_requests("r", "elicitation/create", **FORM)
    assert [one[0] for one in to_client(talk.gathered())] == [8]


def test_a_retry_counts_with_what_it_declares():
    talk = Talk()
    talk.call(7, client=ONE)
    talk.server_requests("q", "elicitation/create", **FORM)
    talk.gathered()
    talk.retry(8, "key2.0", {"k1": ACCEPTED}, client=OTHER, capabilities={})
    assert refused(talk.server_requests("r", "elicitation/create", **FORM)) == (-32601, "not_declared")
    assert talk.it._origins.clients == {OTHER}


def test_the_requests_of_one_call_are_limited():
    talk = Talk(limits=Limits(in_flight=2))
    talk.call(7)
    assert to_server(talk.server_requests(1, "elicitation/create", **FORM)) == []
    assert refused(talk.server_requests(1, "elicitation/create", **FORM)) == (-32600, "id_in_use")
    assert to_server(talk.server_requests(2, "elicitation/create", **FORM)) == []
    assert refused(talk.server_requests(3, "elicitation/create", **FORM)) == (-32603, "limit")


def test_on_a_shared_process_the_owner_opens_and_assigns():
    talk = Talk(shared=True)
    assert talk.first == []
    assert talk.call(7, client=ONE) == []
    result = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "serverInfo": INFO}
    assert to_server(talk.it.opened(raw(result))) == [("i1", "tools/call", {"name": "t"})]
    question = Request(b'"q"', "elicitation/create", raw(FORM))
    origin = talk.it._origins.assign(question.method, question.params)
    assert origin.owner is talk.it
    assert talk._note(talk.it.assigned(question, origin)) == [SetTimer(GATHERING, InputsGathered("key2"))]
    assert Unassigned(question, ONE) in talk.answer("i1", {"content": []})
    assert to_server(talk.it.refused("gone")) == []


def test_on_a_shared_process_the_owner_reports_undeclared_requests():
    talk = Talk(shared=True)
    talk.call(7, client=ONE, capabilities={})
    result = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "serverInfo": INFO}
    talk.it.opened(raw(result))
    question = Request(b'"q"', "elicitation/create", raw(FORM))
    [origin] = [talk.it._origins.get(b'"i1"')]
    talk.it.undeclared(
        Request(b'"r"', "ping", b""), Origin(b"gone", ONE, None, origin.declared, may_ask=True)
    )
    talk.it.undeclared(question, origin)
    assert to_client(talk.fail("i1", -32000))[0][1]["code"] == -32021


# ---- held calls


# For a part of the bridge that supports the extension.
OVER = ("notifications/mcp-bridge/input_over", {"requestState": "key2.0"})


def held(talk, id_=7, **more):
    """Begin a call whose server has sent one request. Returns the state."""
    talk.call(id_, **more)
    upstream = int(next(reversed(talk.it._calls.running)))
    assert talk.server_requests("q", "elicitation/create", **FORM) == [
        SetTimer(GATHERING, talk.timers[-1].timer)
    ]
    [(asker, result)] = to_client(talk.gathered())
    assert asker == id_
    assert result["resultType"] == "input_required"
    return upstream, result


def test_a_server_request_becomes_input_required_and_its_answer_resumes_the_call():
    talk = Talk()
    upstream, result = held(talk)
    assert result == {
        "resultType": "input_required",
        "inputRequests": {"k1": {"method": "elicitation/create", "params": FORM}},
        "requestState": "key2.0",
        "_meta": {f"{PREFIX}serverInfo": INFO},
    }
    assert to_server(talk.retry(8, "key2.0", {"k1": ACCEPTED, "stray": 1})) == [("q", ACCEPTED)]
    assert to_client(talk.answer(upstream, {"content": []})) == [complete(8, content=[])]
    assert not talk.it.busy


def test_several_server_requests_are_sent_in_one_result():
    talk = Talk()
    talk.call(7)
    talk.server_requests(1, "roots/list", _meta={"x": 1})
    assert talk.server_requests(2, "sampling/createMessage", messages=[], maxTokens=1, task={}) == []
    [(_, result)] = to_client(talk.gathered())
    assert result["inputRequests"] == {
        "k1": {"method": "roots/list"},
        "k2": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
    }
    roots = {"roots": [{"uri": "file:///a"}]}
    sampled = {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"}
    assert to_server(talk.retry(8, "key2.0", {"k1": roots, "k2": sampled})) == [(1, roots), (2, sampled)]


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("elicitation/create", {"action": "maybe"}),
        ("elicitation/create", {"action": "accept", "content": 1}),
        ("elicitation/create", 7),
        ("sampling/createMessage", {"role": "assistant"}),
        ("roots/list", {"roots": {}}),
    ],
)
def test_an_invalid_answer_is_requested_again(method, wrong):
    talk = Talk()
    talk.call(7)
    talk.server_requests("q", method, **FORM)
    [(_, first)] = to_client(talk.gathered())
    effects = talk.retry(8, first["requestState"], {"k1": wrong})
    assert to_server(effects) == []
    assert to_client(effects) == [(8, {**first, "requestState": "key2.1"})]


def test_missing_answers_are_requested_again_and_given_answers_are_kept():
    talk = Talk()
    talk.call(7)
    talk.server_requests(1, "elicitation/create", **FORM)
    talk.server_requests(2, "roots/list")
    talk.gathered()
    [(_, again)] = to_client(talk.retry(8, "key2.0", {"k1": ACCEPTED}))
    assert again["inputRequests"] == {"k2": {"method": "roots/list"}}
    assert to_server(talk.retry(9, "key2.1", {"k2": {"roots": []}})) == [(1, ACCEPTED), (2, {"roots": []})]


def test_a_round_can_be_answered_once():
    talk = Talk()
    upstream, _ = held(talk)
    talk.retry(8, "key2.0", {"k1": ACCEPTED})
    refused = {"code": -32602, "message": "Invalid or expired requestState"}
    assert to_client(talk.retry(9, "key2.0", {"k1": ACCEPTED})) == [(9, refused)]
    assert to_client(talk.retry(9, "key2.1", {"k1": ACCEPTED})) == [(9, refused)]
    talk.answer(upstream, {})
    for state in ("key2.0", "key2.1", "nonsense", "", "key2.x"):
        assert to_client(talk.retry(9, state, {})) == [(9, refused)]


def test_a_state_is_good_for_its_method_only():
    talk = Talk()
    held(talk)
    effects = talk.ask(9, "prompts/get", params(name="t", requestState="key2.0"))
    assert to_client(effects) == [(9, {"code": -32602, "message": "Invalid or expired requestState"})]


def test_a_call_may_have_several_input_rounds():
    talk = Talk()
    upstream, _ = held(talk)
    talk.retry(8, "key2.0", {"k1": ACCEPTED})
    talk.server_requests("q2", "elicitation/create", **FORM)
    [(asker, second)] = to_client(talk.gathered())
    assert asker == 8
    assert second["requestState"] == "key2.1"
    assert list(second["inputRequests"]) == ["k2"]
    talk.retry(9, "key2.1", {"k2": {"action": "decline"}})
    assert to_client(talk.answer(upstream, {"content": []})) == [complete(9, content=[])]


def test_a_response_to_a_held_call_is_kept_for_the_retry():
    talk = Talk()
    upstream, _ = held(talk)
    assert to_client(talk.answer(upstream, {"content": [], "isError": True})) == [OVER]
    effects = talk.retry(8, "key2.0", {})
    assert to_client(effects) == [complete(8, content=[], isError=True)]
    # The request may belong to another call of this client, so the server gets an error.
    assert refused(effects) == (-32603, "no_call")


def test_a_server_request_after_the_gathering_waits_for_the_retry():
    talk = Talk()
    held(talk)
    assert talk.server_requests("late", "roots/list") == []
    [(_, again)] = to_client(talk.retry(8, "key2.0", {"k1": ACCEPTED}))
    assert list(again["inputRequests"]) == ["k2"]


def test_a_retry_can_be_cancelled_and_the_call_with_it():
    talk = Talk()
    held(talk)
    talk.retry(8, "key2.0", {"k1": ACCEPTED})
    assert to_server(talk.cancel(8)) == [("notifications/cancelled", {"requestId": 2})]
    assert not talk.it.busy


def test_s3_a_cancelled_server_request_gets_no_answer_and_the_round_is_over():
    talk = Talk()
    upstream, _ = held(talk)
    assert to_client(talk.server_notifies("notifications/cancelled", requestId="q")) == [OVER]
    assert to_server(talk.retry(8, "key2.0", {"k1": ACCEPTED})) == []
    assert to_client(talk.answer(upstream, {})) == [complete(8, content=[])]
    assert talk.server_notifies("notifications/cancelled", requestId="never") == []


def test_s3_the_rounds_of_a_server_that_has_exited_are_over():
    talk = Talk()
    assert talk.it.on_exit() == ()
    held(talk)
    assert to_client(talk.it.on_exit()) == [OVER]


def test_s3_a_round_with_another_input_request_is_not_over():
    talk = Talk()
    talk.call(7)
    talk.server_requests(1, "elicitation/create", **FORM)
    talk.server_requests(2, "roots/list")
    talk.gathered()
    assert to_client(talk.server_notifies("notifications/cancelled", requestId=1)) == []
    assert to_client(talk.server_notifies("notifications/cancelled", requestId=2)) == [OVER]


def test_a_server_request_cancelled_before_it_was_sent_is_not_sent():
    talk = Talk()
    talk.call(7)
    talk.server_requests("q", "roots/list")
    talk.server_notifies("notifications/cancelled", requestId="q")
    assert talk.gathered() == []
    assert to_client(talk.answer(2, {})) == [complete(7, content=[])]


def test_an_answer_that_overtakes_the_gathering_wins():
    talk = Talk()
    talk.call(7)
    talk.server_requests("q", "roots/list")
    assert to_client(talk.answer(2, {})) == [complete(7, content=[])]
    assert talk.gathered() == []


def test_a_call_whose_client_does_not_retry_expires():
    talk = Talk()
    talk.call(7)
    talk.server_requests(1, "elicitation/create", **FORM)
    talk.server_requests(2, "roots/list")
    talk.gathered()
    assert list(talk.it.on_tick(1000)) == []  # whatever the clock shows first
    assert list(talk.it.on_tick(1000 + LIMITS.held_seconds)) == []
    effects = list(talk.it.on_tick(1001 + LIMITS.held_seconds))
    assert to_server(effects) == [
        (1, {"action": "cancel"}),
        (2, {"code": -32603, "message": "the client did not answer in time"}),
        ("notifications/cancelled", {"requestId": 2}),
    ]
    assert not talk.it.busy
    assert to_client(talk.retry(8, "key2.0", {})) == [
        (8, {"code": -32602, "message": "Invalid or expired requestState"})
    ]


def test_the_calls_that_wait_for_their_client_are_limited():
    talk = Talk(limits=Limits(held_calls=1))
    held(talk, 7)
    talk.call(8)
    talk.server_requests("q2", "roots/list")
    effects = talk.gathered()
    assert to_client(effects) == [
        (8, {"code": -32603, "message": "the limit of 1 call that waits for its client is reached"})
    ]
    assert to_server(effects) == [("notifications/cancelled", {"requestId": 3})]


def test_a_call_that_the_server_has_answered_makes_room_for_one_that_waits():
    talk = Talk(limits=Limits(held_calls=1))
    upstream, _ = held(talk, 7)
    talk.answer(upstream, {"content": []})
    talk.call(8)
    talk.server_requests("q2", "roots/list")
    [(requester, result)] = to_client(talk.gathered())
    assert (requester, result["resultType"]) == (8, "input_required")
    assert to_client(talk.retry(9, "key2.0", {}))[0][1]["code"] == -32602


# ---- server requests that are refused


@pytest.mark.parametrize(
    ("profile", "method", "about", "code"),
    [
        (Profile(), "roots/list", {}, -32601),
        (Profile(), "sampling/createMessage", {}, -32601),
        (Profile(), "elicitation/create", FORM, -32601),
        (Profile(url=True), "elicitation/create", FORM, -32602),
        (Profile(form=True), "elicitation/create", {"mode": "url", "url": "x"}, -32602),
        (Profile(url=True), "elicitation/create", {"mode": "form"}, -32602),
        (Profile(url=True), "elicitation/create", {"mode": "zoo"}, -32602),
        (Profile(sampling=True), "sampling/createMessage", {"tools": []}, -32602),
        (EVERYTHING, "tasks/get", {}, -32601),
    ],
)
def test_an_undeclared_server_request_is_refused(profile, method, about, code):
    talk = Talk(profile)
    talk.call(7)
    [(id_, error)] = to_server(talk.server_requests("q", method, **about))
    assert (id_, error["code"]) == ("q", code)


@pytest.mark.parametrize("failed", [True, False])
def test_a_call_that_fails_for_an_undeclared_capability_names_it(failed):
    talk = Talk(Profile())
    talk.call(7)
    talk.server_requests("q", "sampling/createMessage", messages=[])
    effects = talk.fail(2, -32603) if failed else talk.answer(2, {"content": [], "isError": True})
    [(_, error)] = to_client(effects)
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"sampling": {}}})


def test_a_call_that_goes_well_without_what_its_client_has_not_declared_is_complete():
    talk = Talk(Profile())
    talk.call(7)
    talk.server_requests("q", "elicitation/create", **FORM)
    assert to_client(talk.answer(2, {"content": []})) == [complete(7, content=[])]


@pytest.mark.parametrize("context", ["none", "thisServer", "allServers"])
def test_a_client_with_sampling_gets_requests_that_include_context(context):
    talk = Talk(Profile(sampling=True))
    talk.call(7)
    assert to_server(talk.server_requests("q", "sampling/createMessage", includeContext=context)) == []


def test_declared_input_requests_are_sent():
    talk = Talk(Profile(sampling=True, sampling_tools=True, sampling_context=True, url=True))
    talk.call(7)
    assert (
        to_server(talk.server_requests(1, "sampling/createMessage", tools=[], includeContext="thisServer"))
        == []
    )
    assert to_server(talk.server_requests(2, "sampling/createMessage", includeContext="none")) == []
    assert (
        to_server(
            talk.server_requests(3, "elicitation/create", mode="url", url="https://x", elicitationId="e")
        )
        == []
    )
    [(_, result)] = to_client(talk.gathered())
    assert result["inputRequests"]["k3"]["params"] == {"mode": "url", "url": "https://x"}


def test_a_server_request_outside_of_any_call_is_refused():
    talk = Talk()
    text = "no call is in progress that this request can belong to"
    assert to_server(talk.server_requests("q", "elicitation/create", **FORM)) == [
        ("q", {"code": -32603, "message": text})
    ]
    talk.ask(1, "completion/complete")
    assert refused(talk.server_requests("q", "elicitation/create", **FORM)) == (-32603, "no_call")


def test_t19_a_roots_request_outside_of_calls_is_sent_in_the_first_call_that_can_carry_it():
    talk = Talk()
    assert talk.server_requests("r", "roots/list") == []
    assert refused(talk.server_requests("r", "roots/list")) == (-32600, "id_in_use")
    assert [one[1] for one in to_server(talk.ask(1, "tools/list"))] == ["tools/list"]
    talk.call(2, client=ONE, capabilities={})
    talk.answer(3, {"content": []})
    # The result of the server may depend on the roots, so it gets the call after them.
    effects = talk.call(7)
    assert to_server(effects) == []
    [(requester, result)] = to_client(effects)
    assert (requester, result["inputRequests"]) == (7, {"k1": {"method": "roots/list"}})
    roots = {"roots": [{"uri": "file:///a"}]}
    answered = talk.retry(8, "key2.0", {"k1": roots})
    assert to_server(answered) == [("r", roots), (4, "tools/call", {"name": "t"})]
    talk.answer(4, {"content": []})
    assert to_server(talk.server_requests("s", "roots/list")) == [("s", roots)]


def test_t19_a_call_that_its_client_leaves_was_never_sent():
    talk = Talk()
    talk.server_requests("r", "roots/list")
    talk.call(7)
    assert list(talk.it.on_tick(1000)) == []
    [(server_id, error)] = to_server(list(talk.it.on_tick(1001 + LIMITS.held_seconds)))
    assert (server_id, error["code"]) == ("r", -32603)
    assert not talk.it.busy
    assert to_server(talk.call(8)) == [(2, "tools/call", {"name": "t"})]


def test_t19_a_server_that_withdraws_its_request_gets_the_call_with_the_retry():
    talk = Talk()
    talk.server_requests("r", "roots/list")
    talk.call(7)
    talk.server_notifies("notifications/cancelled", requestId="r")
    assert to_server(talk.retry(8, "key2.0", {})) == [(2, "tools/call", {"name": "t"})]


def test_t19_a_roots_request_that_no_call_carries_is_refused_after_a_while():
    talk = Talk(limits=Limits(in_flight=1))
    talk.server_requests("r", "roots/list")
    assert refused(talk.server_requests("one too many", "roots/list")) == (-32603, "no_call")
    assert list(talk.it.on_tick(1000)) == []
    assert list(talk.it.on_tick(1000 + LIMITS.held_seconds)) == []
    assert refused(list(talk.it.on_tick(1001 + LIMITS.held_seconds))) == (-32603, "no_call")
    talk.server_requests("s", "roots/list")
    talk.server_notifies("notifications/cancelled", requestId="s")
    assert to_server(talk.call(7)) == [(2, "tools/call", {"name": "t"})]


def told_roots(**more):
    talk = Talk(**more)
    talk.call(7)
    talk.server_requests(1, "roots/list")
    talk.gathered()
    talk.retry(8, "key2.0", {"k1": {"roots": []}})
    talk.answer(2, {})
    return talk


def test_the_last_roots_of_the_client_answer_requests_outside_of_calls():
    assert to_server(told_roots().server_requests(2, "roots/list")) == [(2, {"roots": []})]


def test_roots_of_one_client_are_never_sent_for_another():
    [(_, error)] = to_server(told_roots(strict=True).server_requests(2, "roots/list"))
    assert error["code"] == -32603


def test_a_ping_is_answered_here():
    assert to_server(Talk().server_requests("p", "ping")) == [("p", {})]


# ---- URLs that the server requires to be opened (-32042)

URLS = {
    "data": {"elicitations": [{"mode": "url", "message": "m", "url": "https://x", "elicitationId": "e1"}]}
}


def test_a_required_url_becomes_input_and_the_call_is_sent_again_when_it_is_complete():
    talk = Talk()
    talk.call(7)
    [(asker, result)] = to_client(talk.fail(2, -32042, **URLS))
    assert asker == 7
    assert result["inputRequests"] == {
        "k1": {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://x"}}
    }
    assert talk.retry(8, result["requestState"], {"k1": {"action": "accept"}}) == [
        SetTimer(COMPLETION, UrlTimeout("key2"))
    ]
    assert to_server(talk.server_notifies("notifications/elicitation/complete", elicitationId="e1")) == [
        (3, "tools/call", {"name": "t"})
    ]
    assert to_client(talk.answer(3, {"content": []})) == [complete(8, content=[])]
    assert talk.gathered() == []


def test_a_url_that_is_never_complete_is_waited_for_a_while_only():
    talk = Talk()
    talk.call(7)
    talk.fail(2, -32042, **URLS)
    talk.retry(8, "key2.0", {"k1": {"action": "accept"}})
    assert [one[1] for one in to_server(talk.gathered())] == ["tools/call"]
    assert talk.it.busy
    assert to_server(talk.it.on_timer(UrlTimeout("key2"))) == []


def test_a_url_without_an_id_or_already_complete_is_tried_at_once():
    talk = Talk()
    talk.call(7)
    talk.fail(2, -32042, **URLS)
    assert talk.server_notifies("notifications/elicitation/complete", elicitationId="e1") == []
    assert [one[1] for one in to_server(talk.retry(8, "key2.0", {"k1": {"action": "accept"}}))] == [
        "tools/call"
    ]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (
            "tools/call",
            complete(
                8,
                content=[{"type": "text", "text": "the URL that the server requires was not opened"}],
                isError=True,
            ),
        ),
        ("prompts/get", (8, {"code": -32603, "message": "the URL that the server requires was not opened"})),
    ],
)
def test_a_url_that_is_not_opened_fails_the_call(method, answer):
    talk = Talk()
    talk.ask(7, method, params(name="t"))
    talk.fail(2, -32042, **URLS)
    effects = talk.ask(
        8, method, params(name="t", requestState="key2.0", inputResponses={"k1": {"action": "decline"}})
    )
    assert to_client(effects) == [answer]


def test_a_client_without_url_elicitation_gets_the_missing_capability():
    talk = Talk(Profile(form=True))
    talk.call(7)
    assert to_client(talk.fail(2, -32042, **URLS)) == [
        (
            7,
            {
                "code": -32021,
                "message": "this call needs a client capability that was not declared",
                "data": {"requiredCapabilities": {"elicitation": {"url": {}}}},
            },
        )
    ]


@pytest.mark.parametrize(
    "more", [{}, {"data": {"elicitations": []}}, {"data": {"elicitations": 1}}, {"data": 1}]
)
def test_required_urls_that_are_not_named_fail_the_call(more):
    talk = Talk()
    talk.call(7)
    assert to_client(talk.fail(2, -32042, **more)) == [
        (7, {"code": -32603, "message": "the server requires URLs to be opened and names none"})
    ]


def test_required_urls_for_a_caller_that_is_away_are_an_error_later():
    talk = Talk()
    upstream, _ = held(talk)
    talk.fail(upstream, -32042, "open it", **URLS)
    assert to_client(talk.retry(8, "key2.0", {})) == [
        (8, {"code": -32603, "message": "open it", "data": {"originalCode": -32042}})
    ]


# ---- progress and logging


def test_progress_rises_over_all_rounds_and_carries_the_newest_token():
    talk = Talk()
    talk.call(7, meta={"progressToken": 7})
    send = "notifications/progress"
    assert to_client(talk.server_notifies(send, progressToken=2, progress=1)) == [
        (send, {"progressToken": 7, "progress": 1})
    ]
    assert to_client(talk.server_notifies(send, progressToken=2, progress=1)) == []
    talk.server_requests("q", "elicitation/create", **FORM)
    talk.gathered()
    assert to_client(talk.server_notifies(send, progressToken=2, progress=2)) == []
    talk.retry(8, "key2.0", {"k1": ACCEPTED}, meta={"progressToken": 8})
    assert to_client(talk.server_notifies(send, progressToken=2, progress=0)) == []
    assert to_client(talk.server_notifies(send, progressToken=2, progress=2.5, message="m")) == [
        (send, {"progressToken": 8, "progress": 2.5, "message": "m"})
    ]


@pytest.mark.parametrize(
    "about", [{}, {"progressToken": 9, "progress": 1}, {"progressToken": 2, "progress": "x"}]
)
def test_progress_of_nothing_is_dropped(about):
    talk = Talk()
    talk.call(7, meta={"progressToken": 7})
    assert to_client(talk.server_notifies("notifications/progress", **about)) == []


def test_progress_without_a_token_of_the_client_is_dropped():
    talk = Talk()
    talk.call(7)
    assert to_client(talk.server_notifies("notifications/progress", progressToken=2, progress=1)) == []


def level(name):
    return {f"{PREFIX}logLevel": name}


def test_the_server_logs_at_the_most_verbose_level_that_is_wanted():
    talk = Talk(Profile())
    set_level = "logging/setLevel"
    assert [one[1:] for one in to_server(talk.call(1, meta=level("error")))] == [
        (set_level, {"level": "error"}),
        ("tools/call", {"name": "t"}),
    ]
    assert [one[1] for one in to_server(talk.call(2, meta=level("critical")))] == ["tools/call"]
    assert next(one[1:] for one in to_server(talk.call(3, meta=level("debug")))) == (
        set_level,
        {"level": "debug"},
    )
    assert [one[1] for one in to_server(talk.call(4))] == ["tools/call"]


def test_a_retry_has_a_level_of_its_own():
    talk = Talk()
    talk.call(7)
    talk.server_requests("q", "elicitation/create", **FORM)
    talk.gathered()
    assert to_server(talk.retry(8, "key2.0", {"k1": ACCEPTED}, meta=level("debug"))) == [
        (3, "logging/setLevel", {"level": "debug"}),
        ("q", ACCEPTED),
    ]
    assert len(to_client(talk.server_notifies("notifications/message", level="debug", data="x"))) == 1


def test_without_logging_no_level_is_set():
    talk = Talk(Profile(), capabilities={"tools": {}})
    assert [one[1] for one in to_server(talk.call(1, meta=level("error")))] == ["tools/call"]


def test_a_log_line_goes_to_the_call_that_runs_if_it_wants_lines_of_that_level():
    talk = Talk()
    talk.call(1, meta=level("warning"))
    send = "notifications/message"
    assert to_client(talk.server_notifies(send, level="warning", data="x")) == [
        (send, {"level": "warning", "data": "x"})
    ]
    assert to_client(talk.server_notifies(send, level="info", data="x")) == []
    assert to_client(talk.server_notifies(send, level="loud", data="x")) == []
    talk.answer(2, {})
    assert to_client(talk.server_notifies(send, level="error", data="x")) == []
    talk.call(2)
    assert to_client(talk.server_notifies(send, level="error", data="x")) == []


@pytest.mark.parametrize(
    ("clients", "expected"),
    [((ONE, ONE), [b"1"]), ((ONE, OTHER), []), ((UNKNOWN, UNKNOWN), []), ((UNKNOWN,), [b"1"])],
)
def test_a_log_line_goes_to_the_newest_call_that_wants_it_of_a_process_with_one_client(clients, expected):
    talk = Talk(Profile(), strict=True)
    talk.call(1, client=clients[0], meta=level("debug"))
    for client in clients[1:]:
        talk.call(2, client=client)
    effects = talk.server_notifies("notifications/message", level="info", data=1)
    assert [effect.about for effect in effects if isinstance(effect, ToRequester)] == expected


def test_a_log_line_on_a_response_stream_goes_to_that_call_only():
    talk = Talk(Profile(), strict=True)
    talk.call(1, client=ONE, meta=level("debug"))
    talk.call(2, client=OTHER, meta=level("error"))

    def receivers(related, severity):
        effects = talk.server_notifies("notifications/message", related, level=severity, data=1)
        return [effect.about for effect in effects if isinstance(effect, ToRequester)]

    # The requests 1 and 3 of the bridge are initialize and the level.
    assert [call.wire_id for call in talk.it._calls.running.values()] == [b"2", b"4"]
    assert receivers(b"2", "info") == [b"1"]
    assert receivers(b"4", "error") == [b"2"]
    assert receivers(b"4", "info") == []
    assert receivers(b"9", "error") == []


def test_a_notification_of_an_extension_on_a_response_stream_goes_to_that_call_only():
    talk = Talk(Profile(), strict=True, capabilities={**CAPABILITIES, "extensions": {"vendor/x": {}}})
    talk.call(1, client=ONE)
    talk.call(2, client=OTHER)

    def receivers(related):
        effects = talk.server_notifies("vendor/news", related, data=1)
        return [effect.about for effect in effects if isinstance(effect, ToRequester)]

    assert receivers(b"2") == [b"1"]
    assert receivers(b"3") == [b"2"]
    assert receivers(b"") == receivers(b"9") == []


def test_a_request_on_a_response_stream_is_input_of_that_call():
    talk = Talk(strict=True)
    talk.call(7, client=ONE)
    talk.call(8, client=OTHER)
    assert to_server(talk.server_requests("q", "elicitation/create", b"2", **FORM)) == []
    [(answered, result)] = to_client(talk.gathered())
    assert (answered, result["resultType"]) == (7, "input_required")
    assert refused(talk.server_requests("r", "elicitation/create", **FORM)) == (-32603, "ambiguous")
    assert refused(talk.server_requests("r", "elicitation/create", b"99", **FORM)) == (-32603, "no_call")


# ---- subscriptions/listen


def listening(**wanted):
    return params(notifications=wanted)


ACK = "notifications/subscriptions/acknowledged"


def test_a_listen_is_acknowledged_with_what_the_server_can_do():
    talk = Talk()
    effects = talk.ask(
        4, "subscriptions/listen", listening(toolsListChanged=True, promptsListChanged=True, other=True)
    )
    assert to_client(effects) == [
        (ACK, {"notifications": {"toolsListChanged": True}, "_meta": {f"{PREFIX}subscriptionId": 4}})
    ]
    changed = "notifications/tools/list_changed"
    assert to_client(talk.server_notifies(changed, _meta={"a": 1})) == [
        (changed, None),  # for the relay
        (changed, {"_meta": {"a": 1, f"{PREFIX}subscriptionId": 4}}),
    ]
    assert to_client(talk.server_notifies("notifications/resources/list_changed")) == []
    assert talk.it.busy
    assert talk.cancel(4) == []
    assert to_client(talk.server_notifies(changed)) == [(changed, None)]


def test_resources_are_subscribed_once_for_all_listeners():
    talk = Talk()
    effects = talk.ask(4, "subscriptions/listen", listening(resourceSubscriptions=["u:a", "u:b", 7]))
    assert to_server(effects) == [
        (2, "resources/subscribe", {"uri": "u:a"}),
        (3, "resources/subscribe", {"uri": "u:b"}),
    ]
    assert to_client(effects) == []
    assert to_client(talk.answer(2, {})) == []
    effects = talk.ask(5, "subscriptions/listen", listening(resourceSubscriptions=["u:b"]))
    assert to_server(effects) == []
    assert to_client(talk.fail(3, -32602)) == [
        (ACK, {"notifications": {"resourceSubscriptions": ["u:a"]}, "_meta": {f"{PREFIX}subscriptionId": 4}}),
        (ACK, {"notifications": {"resourceSubscriptions": []}, "_meta": {f"{PREFIX}subscriptionId": 5}}),
    ]
    effects = talk.ask(6, "subscriptions/listen", listening(resourceSubscriptions=["u:a"]))
    assert to_server(effects) == []
    assert len(to_client(effects)) == 1
    updated = "notifications/resources/updated"
    assert [
        about["_meta"][f"{PREFIX}subscriptionId"]
        for _, about in to_client(talk.server_notifies(updated, uri="u:a/x"))
    ] == [
        4,
        6,
    ]
    assert to_server(talk.cancel(4)) == []
    assert to_server(talk.cancel(6)) == [(4, "resources/unsubscribe", {"uri": "u:a"})]


def test_an_update_under_a_name_of_its_own_reaches_all_subscribers_of_one_principal_only():
    for strict, expected in ((False, 1), (True, 0)):
        talk = Talk(strict=strict)
        talk.ask(4, "subscriptions/listen", listening(resourceSubscriptions=["u:a"]))
        talk.answer(2, {})
        assert (
            len(to_client(talk.server_notifies("notifications/resources/updated", uri="other:x"))) == expected
        )


def test_nothing_is_published_before_the_acknowledgement():
    talk = Talk()
    talk.ask(4, "subscriptions/listen", listening(resourceSubscriptions=["u:a"], toolsListChanged=True))
    assert to_client(talk.server_notifies("notifications/resources/updated", uri="u:a")) == []
    changed = "notifications/tools/list_changed"
    assert to_client(talk.server_notifies(changed)) == [(changed, None)]  # for the relay
    assert to_server(talk.cancel(4)) == [(3, "resources/unsubscribe", {"uri": "u:a"})]
    assert to_client(talk.fail(2, -32602)) == []


def test_changes_before_the_acknowledgement_are_published_after_it_once():
    talk = Talk()
    wanted = {"resourceSubscriptions": ["u:a", "u:b"], "toolsListChanged": True}
    talk.ask(4, "subscriptions/listen", listening(**wanted))
    changed, updated = "notifications/tools/list_changed", "notifications/resources/updated"
    for _ in range(2):
        for uri in ("u:a", "u:b", "u:c"):
            assert to_client(talk.server_notifies(updated, uri=uri)) == []
        assert to_client(talk.server_notifies(changed)) == [
            (changed, None)
        ]  # for servers that compare headers
        assert to_client(talk.server_notifies("notifications/prompts/list_changed")) == []
    assert to_client(talk.fail(3, -32602)) == []
    mine = {"_meta": {f"{PREFIX}subscriptionId": 4}}
    assert to_client(talk.answer(2, {})) == [
        (ACK, {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["u:a"]}, **mine}),
        (updated, {"uri": "u:a", **mine}),
        (changed, mine),
    ]
    assert to_client(talk.server_notifies(changed)) == [(changed, None), (changed, mine)]


def test_the_response_to_a_closed_subscription_is_no_response_to_the_next():
    for refused in (2, 4):
        talk = Talk()
        talk.ask(4, "subscriptions/listen", listening(resourceSubscriptions=["u:a"]))
        assert to_server(talk.cancel(4)) == [(3, "resources/unsubscribe", {"uri": "u:a"})]
        effects = talk.ask(5, "subscriptions/listen", listening(resourceSubscriptions=["u:a"]))
        assert to_server(effects) == [(4, "resources/subscribe", {"uri": "u:a"})]
        told_of = [
            about["notifications"]["resourceSubscriptions"]
            for id_ in (2, 4)
            for _, about in to_client(talk.fail(id_, -32602) if id_ == refused else talk.answer(id_, {}))
        ]
        assert told_of == [[] if refused == 4 else ["u:a"]]
        assert len(to_server(talk.cancel(5))) == (refused == 2)


def test_a_server_without_subscriptions_gets_no_subscribe():
    talk = Talk(capabilities={"resources": {}})
    effects = talk.ask(4, "subscriptions/listen", listening(resourceSubscriptions=["u:a"]))
    assert to_server(effects) == []
    assert to_client(effects) == [(ACK, {"notifications": {}, "_meta": {f"{PREFIX}subscriptionId": 4}})]


def test_subscriptions_are_limited():
    talk = Talk(limits=Limits(stream_messages=1))
    [(_, error)] = to_client(
        talk.ask(4, "subscriptions/listen", listening(resourceSubscriptions=["u:a", "u:b"]))
    )
    assert error["code"] == -32602
    assert to_client(talk.ask(5, "subscriptions/listen", listening(resourceSubscriptions=["u:a"]))) == []
    [(_, error)] = to_client(talk.ask(6, "subscriptions/listen", listening(resourceSubscriptions=["u:b"])))
    assert error["code"] == -32602


def test_an_update_of_one_subscription_leaves_the_others_waiting():
    talk = Talk()
    talk.ask(4, "subscriptions/listen", listening(resourceSubscriptions=["u:a"]))
    talk.ask(5, "subscriptions/listen", listening(resourceSubscriptions=["u:b"]))
    assert [about["_meta"][f"{PREFIX}subscriptionId"] for _, about in to_client(talk.answer(3, {}))] == [5]
    assert [about["_meta"][f"{PREFIX}subscriptionId"] for _, about in to_client(talk.answer(2, {}))] == [4]


def test_a_server_request_without_a_client_that_could_answer_is_refused():
    assert to_server(Talk(Profile()).server_requests("q", "roots/list"))[0][1]["code"] == -32601


def test_several_required_urls_are_all_waited_for():
    two = {
        "data": {
            "elicitations": [
                {"url": "https://x", "elicitationId": "e1"},
                {"url": "https://y"},
                {"elicitationId": "e2"},
            ]
        }
    }
    talk = Talk()
    talk.call(7)
    talk.fail(2, -32042, **two)
    yes = {"action": "accept"}
    talk.retry(8, "key2.0", {"k1": yes, "k2": yes, "k3": yes})
    assert to_server(talk.server_notifies("notifications/elicitation/complete", elicitationId="e2")) == []
    assert [
        one[1]
        for one in to_server(talk.server_notifies("notifications/elicitation/complete", elicitationId="e1"))
    ] == ["tools/call"]


def test_a_required_url_that_is_not_opened_fails_the_call():
    talk = Talk()
    talk.call(7)
    talk.fail(2, -32042, **URLS)
    talk.it.on_tick(1)
    assert to_server(talk.it.on_tick(LIMITS.held_seconds + 2)) == []
    assert not talk.it.busy


def test_input_requests_before_a_required_url_are_withdrawn():
    talk = Talk()
    talk.call(7)
    talk.server_requests("q", "elicitation/create", **FORM)
    [(_, result)] = to_client(talk.fail(2, -32042, **URLS))
    assert [one["params"]["mode"] for one in result["inputRequests"].values()] == ["url"]
    # Its id is free again.
    talk.retry(8, "key2.0", {"k2": {"action": "accept"}})
    talk.server_notifies("notifications/elicitation/complete", elicitationId="e1")
    assert to_server(talk.server_requests("q", "elicitation/create", **FORM)) == []


def test_a_completed_url_does_not_resume_other_held_calls():
    talk = Talk()
    held(talk)
    assert talk.server_notifies("notifications/elicitation/complete", elicitationId="e1") == []


# ---- tools that the server runs as tasks only


def tasked(**more):
    talk = Talk(**more)
    talk.ask(1, "tools/list")
    tools = [{"name": "t", "execution": {"taskSupport": "required"}}, {"name": "plain"}]
    talk.answer(2, {"tools": tools})
    return talk


def test_a_tool_that_requires_a_task_is_called_as_a_task():
    talk = tasked()
    assert to_server(talk.call(7)) == [(3, "tools/call", {"name": "t", "task": {}})]
    assert to_server(talk.answer(3, {"task": {"taskId": "T", "status": "working"}})) == [
        (4, "tasks/result", {"taskId": "T"})
    ]
    related = {"io.modelcontextprotocol/related-task": {"taskId": "T"}}
    effects = talk.answer(4, {"content": [], "_meta": {**related, "a": 1}})
    [(asker, result)] = to_client(effects)
    assert (asker, result["_meta"]) == (7, {"a": 1, f"{PREFIX}serverInfo": INFO})
    assert to_server(talk.call(8, "plain")) == [(5, "tools/call", {"name": "plain"})]
    assert to_client(talk.answer(5, {"content": [{"text": '"task"'}]})) == [
        complete(8, content=[{"text": '"task"'}])
    ]


def test_an_unlisted_tool_that_requires_a_task_is_called_again_as_a_task():
    offered = {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}
    talk = Talk(capabilities=offered)
    talk.call(7, arguments={"a": 1})
    assert to_server(talk.fail(2, -32601)) == [
        (3, "tools/call", {"name": "t", "arguments": {"a": 1}, "task": {}})
    ]
    assert to_server(talk.answer(3, {"task": {"taskId": "T"}})) == [(4, "tasks/result", {"taskId": "T"})]
    assert to_client(talk.answer(4, {"content": []})) == [complete(7, content=[])]
    assert to_server(talk.call(8)) == [(5, "tools/call", {"name": "t", "task": {}})]
    assert to_client(talk.fail(5, -32601))[0][1]["code"] == -32601
    assert to_server(talk.call(9, "none")) == [(6, "tools/call", {"name": "none"})]
    talk.fail(6, -32601)
    assert to_client(talk.fail(7, -32601)) == [(9, {"code": -32601, "message": "no"})]
    assert to_server(talk.call(10, "none")) == [(8, "tools/call", {"name": "none"})]


def test_a_task_that_fails_is_not_begun_again():
    talk = Talk(capabilities={"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}})
    talk.call(7, task={})
    talk.answer(2, {"task": {"taskId": "T"}})
    effects = talk.fail(3, -32601)
    assert (to_server(effects), to_client(effects)) == ([], [(7, {"code": -32601, "message": "no"})])


def test_a_task_that_requires_a_url_is_another_one_when_it_is_open():
    talk = tasked()
    talk.call(7)
    talk.answer(3, {"task": {"taskId": "T"}})
    talk.fail(4, -32042, **URLS)
    talk.retry(8, "key2.0", {"k1": {"action": "accept"}})
    assert to_server(talk.server_notifies("notifications/elicitation/complete", elicitationId="e1")) == [
        (5, "tools/call", {"name": "t", "task": {}})
    ]
    assert to_server(talk.answer(5, {"task": {"taskId": "U"}})) == [(6, "tasks/result", {"taskId": "U"})]
    assert to_client(talk.answer(6, {"content": []})) == [complete(8, content=[])]


def test_an_unknown_tool_of_a_server_without_tasks_is_not_called_again():
    talk = Talk()
    talk.call(7)
    assert to_client(talk.fail(2, -32601)) == [(7, {"code": -32601, "message": "no"})]
    talk.ask(8, "prompts/get")
    assert to_client(talk.fail(3, -32601)) == [(8, {"code": -32601, "message": "no"})]


def test_a_task_makes_progress_under_the_token_of_the_call_that_it_came_of():
    talk = tasked()
    talk.call(7, meta={"progressToken": "p"})
    progress = "notifications/progress"
    assert len(to_client(talk.server_notifies(progress, progressToken=3, progress=1))) == 1
    talk.answer(3, {"task": {"taskId": "T"}})
    assert to_client(talk.server_notifies(progress, progressToken=3, progress=1)) == []
    assert to_client(talk.server_notifies(progress, progressToken=3, progress=2)) == [
        (progress, {"progressToken": "p", "progress": 2})
    ]
    talk.answer(4, {"content": []})
    assert to_client(talk.server_notifies(progress, progressToken=3, progress=3)) == []


def test_a_server_request_of_a_task_belongs_to_its_call():
    talk = tasked()
    talk.call(7)
    talk.answer(3, {"task": {"taskId": "T"}})
    talk.call(8, "plain")
    related = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "T"}}}
    talk.server_requests("q", "elicitation/create", **FORM, **related)
    [(asker, result)] = to_client(talk.gathered())
    assert asker == 7
    assert result["inputRequests"]["k1"]["params"] == FORM
    assert talk.server_requests("r", "elicitation/create", **FORM, _meta={}) != []


def test_a_cancelled_call_cancels_its_task():
    talk = tasked()
    talk.call(7)
    talk.answer(3, {"task": {"taskId": "T"}})
    assert to_server(talk.cancel(7)) == [
        (5, "tasks/cancel", {"taskId": "T"}),
        ("notifications/cancelled", {"requestId": 4}),
    ]


@pytest.mark.parametrize("strict", [False, True])
def test_a_call_that_is_cancelled_before_it_has_become_a_task_cancels_the_task_when_it_is_one(strict):
    talk = tasked(strict=strict)
    talk.call(7)
    assert to_server(talk.cancel(7)) == [("notifications/cancelled", {"requestId": 3})]
    assert to_server(talk.answer(3, {"task": {"taskId": "T"}})) == [(4, "tasks/cancel", {"taskId": "T"})]
    assert to_server(talk.answer(4, {"taskId": "T", "status": "cancelled"})) == []
    assert not talk.it.busy


def test_a_result_with_a_task_of_its_own_is_one_where_the_server_has_no_tasks():
    talk = Talk(capabilities={"tools": {}})
    talk.call(7)
    todo = {"content": [], "task": {"taskId": "buy milk"}}
    assert to_client(talk.answer(2, todo)) == [complete(7, **todo)]


def test_only_a_list_of_tools_shows_which_tools_require_tasks():
    talk = Talk(capabilities={**CAPABILITIES, "extensions": {"vendor/x": {}}})
    talk.ask("a", "vendor/list")
    talk.answer(2, {"tools": [{"name": "t", "execution": {"taskSupport": "required"}}]})
    assert to_server(talk.call(7)) == [(3, "tools/call", {"name": "t"})]


def test_a_server_without_tasks_has_no_tools_that_need_them():
    talk = tasked(capabilities={"tools": {}})
    assert to_server(talk.call(7)) == [(3, "tools/call", {"name": "t"})]


def test_an_answer_about_a_subscription_that_is_over_is_not_taken_for_the_next():
    talk = Talk()
    [subscribe] = to_server(talk.ask(7, "subscriptions/listen", listening(resourceSubscriptions=["x://a"])))
    talk.cancel(7)
    [again] = to_server(talk.ask(8, "subscriptions/listen", listening(resourceSubscriptions=["x://a"])))
    assert to_client(talk.answer(subscribe[0], {})) == []
    [(method, about)] = to_client(talk.fail(again[0], -32602))
    assert (method, about["notifications"]) == (
        "notifications/subscriptions/acknowledged",
        {"resourceSubscriptions": []},
    )
    assert to_server(talk.cancel(8)) == []


def test_requests_without_a_response_are_not_kept():
    talk = Talk()
    for number in range(7, 107):
        talk.call(number, meta={f"{PREFIX}logLevel": ("info", "debug")[number % 2]})
        talk.ask(f"listen {number}", "subscriptions/listen", listening(resourceSubscriptions=["x://a"]))
        talk.cancel(number)
        talk.cancel(f"listen {number}")
    assert not talk.it._subscriptions._subscribing
    assert not talk.it._subscriptions._wanted


def test_a_list_that_is_too_large_to_be_changed_is_an_error():
    talk = Talk(limits=Limits(list_items=1))
    talk.ask(5, "tools/list")
    told_of = to_client(talk.answer(2, {"tools": [{"execution": {}}] * 2}))
    assert told_of[0][1]["message"].endswith("exceeds the limit of 1 (limits.list_items)")


# ---- the name of the client


@pytest.mark.parametrize(
    ("info", "sent"),
    [
        (b'{"name":"cursor","version":"1","title":"C"}', {"name": "cursor", "version": "1", "title": "C"}),
        (b'{"name":"cursor","version":7}', {"name": "cursor", "version": "0"}),
        (b'{"name":"cursor"}', {"name": "cursor", "version": "0"}),
        (b'{"version":"1"}', {"name": "mcp-bridge", "version": "9"}),
        (b"[]", {"name": "mcp-bridge", "version": "9"}),
        (b"", {"name": "mcp-bridge", "version": "9"}),
    ],
)
def test_a_server_gets_the_clientinfo_of_its_client(info, sent):
    it = LegacyAdapter(LIMITS, EVERYTHING, lambda: "x", version="9", info=info)
    [effect] = it.on_start()
    assert json.loads(effect.message.params)["clientInfo"] == sent


# ---- extensions

VENDOR = {"tools": {}, "extensions": {"a/b": {}, f"{PREFIX}tasks": {}}, "experimental": {"x": {}}}
DECLARED = {"extensions": {"a/b": {}}}


def extended(**more):
    return Talk(capabilities=VENDOR, **more)


def test_a_server_gets_the_given_capabilities():
    it = LegacyAdapter(LIMITS, EVERYTHING, lambda: "k", capabilities={"extensions": {"a/b": {}}})
    [(_, _, sent)] = to_server(it.on_start())
    assert sent["capabilities"] == {"extensions": {"a/b": {}}}


def test_the_extensions_of_a_server_are_shown_without_the_tasks():
    talk = extended()
    [(_, result)] = to_client(talk.ask("a", "server/discover"))
    assert result["capabilities"] == {"tools": {}, "extensions": {"a/b": {}}, "experimental": {"x": {}}}


def test_a_request_of_an_extension_passes_as_it_is():
    talk = extended()
    text = params(x=1, cursor="c", requestState="s", inputResponses={}, meta={"progressToken": 5, "k": 1})
    [(wire_id, method, sent)] = to_server(talk.ask("a", "a/do", text, ONE, DECLARED))
    assert (method, sent) == (
        "a/do",
        {
            "x": 1,
            "cursor": "c",
            "requestState": "s",
            "inputResponses": {},
            "_meta": {"progressToken": wire_id, "k": 1},
        },
    )
    assert to_client(talk.answer(wire_id, {"y": 1, "nextCursor": "n"})) == [
        ("a", {"y": 1, "nextCursor": "n", "resultType": "complete"})
    ]
    [(wire_id, _, _)] = to_server(talk.ask("b", "a/do"))
    assert to_client(talk.fail(wire_id, -32050, data=1)) == [
        ("b", {"code": -32050, "message": "no", "data": 1})
    ]
    assert not talk.it.busy


@pytest.mark.parametrize(
    ("method", "declared", "offered"),
    [
        ("a/do", DECLARED, {"tools": {}}),
        ("a/do", DECLARED, {"tools": {}, "extensions": {f"{PREFIX}tasks": {}}}),
        ("roots/list", DECLARED, VENDOR),
        ("tasks/get", DECLARED, VENDOR),
    ],
)
def test_of_a_server_without_extensions_other_methods_are_unknown(method, declared, offered):
    talk = Talk(capabilities=offered)
    [(_, error)] = to_client(talk.ask("a", method, None, ONE, declared))
    assert error["code"] == -32601


def test_notifications_of_an_extension_pass_in_both_directions():
    talk = extended()
    about = {"x": 1, "_meta": {f"{PREFIX}protocolVersion": "2026-07-28", "k": 1}}
    message = Notification("notifications/a/done", raw(about))
    [(wire_id, _, _)] = to_server(talk.ask("a", "a/do", None, ONE, DECLARED))
    assert to_server(talk.it.from_client(message)) == [("notifications/a/done", {"x": 1, "_meta": {"k": 1}})]
    plain = Notification("notifications/a/done", b'{"x":1}')
    assert to_server(talk.it.from_client(plain)) == [("notifications/a/done", {"x": 1})]
    assert to_server(talk.it.from_client(Notification("notifications/progress", b"{}"))) == []
    [effect] = talk.server_notifies("notifications/a/done", x=1)
    assert (effect.about, to_client([effect])) == (b'"a"', [("notifications/a/done", {"x": 1})])
    assert to_client(talk.server_notifies("notifications/roots/list_changed")) == []
    talk.answer(wire_id, {})
    [effect] = talk.server_notifies("notifications/a/done")
    assert effect.about == b""


@pytest.mark.parametrize("client", [ONE, UNKNOWN])
def test_a_notification_behind_the_only_call_is_sent(client):
    talk = extended(strict=True)
    [(wire_id, _, _)] = to_server(talk.ask("a", "a/do", None, client, DECLARED))
    talk.answer(wire_id, {})
    [effect] = talk.server_notifies("notifications/a/done")
    assert effect.about == b""


def test_a_notification_goes_to_the_newest_call_of_one_client():
    talk = extended(strict=True)
    for number in range(2):
        talk.ask(number, "a/do", None, ONE, DECLARED)
    [effect] = talk.server_notifies("notifications/a/done")
    assert effect.about == b"1"


@pytest.mark.parametrize("clients", [(ONE, OTHER), (UNKNOWN, UNKNOWN)])
def test_a_notification_that_may_be_of_several_clients_is_not_sent(clients):
    talk = extended(strict=True)
    for number, client in enumerate(clients):
        talk.ask(number, "a/do", None, client, DECLARED)
    assert to_client(talk.server_notifies("notifications/a/done")) == []


@pytest.mark.parametrize(
    ("clients", "answered", "receiver"),
    [((ONE, ONE), 0, b"1"), ((UNKNOWN,), 0, b"0"), ((UNKNOWN,), 1, b"")],
)
def test_a_notification_of_an_extension_goes_to_the_newest_call_of_a_single_client(
    clients, answered, receiver
):
    talk = extended(strict=True)
    for number, client in enumerate(clients):
        [(wire_id, _, _)] = to_server(talk.ask(number, "a/do", None, client, DECLARED))
        if answered:
            talk.answer(wire_id, {})
    [effect] = talk.server_notifies("notifications/a/done")
    assert effect.about == receiver
