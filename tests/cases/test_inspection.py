"""Bound everything that the bridge inspects: lists, schemas, and the arguments of a forged requestState."""

import json
import time

import msgspec
import pytest

from mcpbridged.bridge.aggregate import merge
from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.effects import ToClient, ToServer
from mcpbridged.bridge.core.multiplexer import Multiplexer
from mcpbridged.bridge.core.request_state import StateSigner
from mcpbridged.bridge.core.requests import ClientRequest
from mcpbridged.bridge.eras import rules_legacy_to_modern, rules_modern_to_legacy
from mcpbridged.validators import json_object, mirrored_headers, stateless_request
from mcpbridged.validators.jsonrpc import Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.revisions import MODERN_REVISION

LIMITS = Limits(list_bytes=100_000, list_items=100, schema_bytes=4000)
TOOL = b'{"name":"t","inputSchema":{}}'
META = json.dumps(
    {
        stateless_request.PROTOCOL_VERSION: MODERN_REVISION,
        stateless_request.CLIENT_CAPABILITIES: {},
    }
).encode()


def listed(tools, more=b""):
    return b'{"tools":[%b]%b}' % (b",".join(tools), more)


MANY = listed([TOOL] * 101)
LONG = listed([b'{"name":"t","description":"%b"}' % (b"a" * 100_000)])
EMPTY_ONES = listed([b"{}"] * 1_000_000)


# ---- policy


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (MANY, "the number of items of a list exceeds the limit of 100 (limits.list_items)"),
        (LONG, f"a list of {len(LONG)} bytes exceeds the limit of 100000 (limits.list_bytes)"),
        (EMPTY_ONES, f"a list of {len(EMPTY_ONES)} bytes exceeds the limit of 100000 (limits.list_bytes)"),
    ],
)
def test_r04_a_list_of_tools_that_a_policy_cannot_inspect_is_an_error(result, reason):
    answer = AccessPolicy(("t",)).answer("tools/list", Response(b"1", result, b""), LIMITS)
    assert json.loads(answer.error) == {"code": -32603, "message": reason}


def test_r04_a_list_within_the_limits_is_filtered():
    tools = [b'{"name":"t%d"}' % n for n in range(100)]
    answer = AccessPolicy(("t7*",)).answer("tools/list", Response(b"1", listed(tools), b""), LIMITS)
    assert len(json.loads(answer.result)["tools"]) == 11


def test_r04_millions_of_empty_tools_do_not_become_objects():
    limits = Limits(list_bytes=16 * 1024 * 1024)
    result = listed([b"{}"] * 1_000_000)
    began = time.thread_time()
    answer = AccessPolicy(("t",)).answer("tools/list", Response(b"1", result, b""), limits)
    took = time.thread_time() - began
    assert "limits.list_items" in json.loads(answer.error)["message"]
    began = time.thread_time()
    msgspec.json.decode(result)
    assert took < 5 * (time.thread_time() - began) + 0.05


# ---- headers that mirror arguments


class Upstream:
    """A multiplexer whose server has started, and one client over HTTP."""

    def __init__(self, limits=LIMITS):
        self.multiplexer = Multiplexer(limits, StateSigner(b"key"))
        self.multiplexer.on_server_start()
        self.numbers = iter(range(1, 100))

    def request(self, params, method="tools/call", headers=None, name="t", state=None, token=b""):
        request = Request(b"%d" % next(self.numbers), method, params)
        envelope = stateless_request.Envelope(MODERN_REVISION, b"{}", "", token, name, state)
        request = ClientRequest(
            "me", request, envelope, {} if headers is None else headers, object(), pipe=False
        )
        return list(self.multiplexer.on_request(request))

    def response(self, orders, result):
        (order,) = orders
        assert isinstance(order, ToServer)
        return list(self.multiplexer.on_server_message(Response(order.message.id, result, b"")))


CALL = b'{"name":"t","arguments":{},"_meta":%b}' % META
ANNOTATED = b'{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}},"description":"%b"}'


@pytest.mark.parametrize(
    ("result", "reason"), [(MANY, "list_items"), (LONG, "limits.list_bytes")], ids=["many", "long"]
)
def test_r04_calls_that_wait_for_a_list_beyond_the_limits_are_refused(result, reason):
    upstream = Upstream()
    (effect,) = upstream.response(upstream.request(CALL), result)
    assert isinstance(effect, ToClient)
    assert reason in json.loads(effect.message)["error"]["message"]
    assert upstream.multiplexer.in_flight == 0
    # The next call requests the list again.
    (effect,) = upstream.response(upstream.request(CALL), listed([TOOL]))
    assert isinstance(effect, ToServer)


def test_r04_a_tool_whose_annotations_are_beyond_the_limit_is_refused_and_others_are_not():
    upstream = Upstream()
    tools = [b'{"name":"big","inputSchema":%b}' % (ANNOTATED % (b"a" * 4000)), TOOL]
    (effect,) = upstream.response(upstream.request(CALL, name="big"), listed(tools))
    assert isinstance(effect, ToClient)
    assert "(limits.schema_bytes)" in json.loads(effect.message)["error"]["message"]
    (effect,) = upstream.request(CALL)
    assert isinstance(effect, ToServer)
    assert effect.message.method == "tools/call"


def test_r04_annotated_schemas_have_a_limit_together():
    upstream = Upstream()
    tool = b'{"name":"t%d","inputSchema":%b}'
    tools = [tool % (n, ANNOTATED % (b"a" * 3000)) for n in range(6)]
    (effect,) = upstream.response(upstream.request(CALL, name="t5"), listed(tools))
    assert "(limits.schema_bytes, 4 times)" in json.loads(effect.message)["error"]["message"]


def test_r04_pages_of_a_list_are_limited():
    upstream = Upstream(Limits(list_pages=3))
    orders, pages = upstream.request(CALL), 0
    while isinstance(orders[0], ToServer) and orders[0].message.method == "tools/list":
        orders = upstream.response(orders, listed([TOOL], b',"nextCursor":"c"'))
        pages += 1
    assert pages == 3


def test_r04_a_requested_list_beyond_the_limits_is_forwarded_and_not_stored():
    upstream = Upstream()
    upstream.response(upstream.request(CALL), listed([TOOL]))
    (effect,) = upstream.response(upstream.request(b'{"_meta":%b}' % META, "tools/list"), MANY)
    assert MANY in effect.message
    # The list may have changed by now.
    assert upstream.request(CALL)[0].message.method == "tools/list"


def nested_schema(size):
    """Return a deeply nested schema whose innermost member makes each level look annotated."""
    bottom = b'"description":"%b","x":"\\u0041x-mcp-header"' % (b"a" * size)
    return b'{"properties":{"a":' * 30 + b"{%b}" % bottom + b"}}" * 30


def test_r04_a_nested_schema_is_parsed_once():
    schema = nested_schema(250_000)
    began = time.thread_time()
    assert mirrored_headers.param_headers(schema) == ()
    assert time.thread_time() - began < 20 * timed(lambda: json.loads(schema)) + 0.05
    with pytest.raises(Rejection, match="schema_bytes"):
        mirrored_headers.param_headers(nested_schema(300_000))


def timed(call):
    began = time.thread_time()
    call()
    return time.thread_time() - began


@pytest.mark.parametrize(
    ("spelled", "annotated"),
    [
        (b"x-mcp-header", True),
        (b"\\u0078-mcp-header", True),
        (b"x\\u002Dmcp-header", True),
        (b"x-mcp-head\\u0065r", True),
        (b"caf\\u00e9 \\u003cb\\u003e \\u0041", False),
    ],
)
def test_r04_only_a_possible_annotation_is_inspected(spelled, annotated):
    schema = b'{"properties":{"a":{"type":"string","%b":"A"}},"x":"%b"}' % (spelled, b"a" * 300_000)
    if annotated:
        with pytest.raises(Rejection):
            mirrored_headers.param_headers(schema)
    else:
        assert mirrored_headers.param_headers(schema) == ()


# ---- requestState


def test_r04_a_forged_state_is_refused_before_anything_is_read(monkeypatch):
    upstream = Upstream()
    upstream.response(upstream.request(CALL), listed([TOOL]))
    state = "A" * 100
    arguments = b'{"name":"t","requestState":"%b","arguments":[%b1],"_meta":%b}' % (
        state.encode(),
        b"{}," * 100_000,
        META,
    )

    def read(_text):
        raise AssertionError

    monkeypatch.setattr(json_object, "read", read)
    monkeypatch.setattr(json_object, "peek", read)
    with pytest.raises(Rejection, match="Invalid or expired requestState"):
        upstream.request(arguments, state=state, token=b"1")


def test_r04_a_state_is_valid_for_its_own_arguments_of_any_size():
    upstream = Upstream()
    upstream.response(upstream.request(CALL), listed([TOOL]))
    for size in (10, 100_000):
        arguments = b"[%b1]" % (b"{}," * size)
        orders = upstream.request(b'{"name":"t","arguments":%b,"_meta":%b}' % (arguments, META))
        (effect,) = upstream.response(orders, b'{"resultType":"input_required","requestState":"inner"}')
        state = json.loads(effect.message)["result"]["requestState"]
        params = b'{"name":"t","requestState":"%b","arguments":%b,"_meta":%b}'
        (effect,) = upstream.request(params % (state.encode(), arguments, META), state=state)
        assert json.loads(effect.message.params)["requestState"] == "inner"
        with pytest.raises(Rejection):
            upstream.request(params % (state.encode(), b"[2]", META), state=state)


def test_r04_the_tasks_of_a_subscription_are_limited():
    multiplexer = Multiplexer(LIMITS, StateSigner(b"key"), shared=True)
    params = b'{"notifications":{"taskIds":[%b""]},"_meta":%b}' % (b'"",' * 200, META)
    envelope = stateless_request.Envelope(MODERN_REVISION, b"{}", "", b"", "", None)
    request = ClientRequest(
        "me", Request(b"1", "subscriptions/listen", params), envelope, None, object(), pipe=True
    )
    with pytest.raises(Rejection, match="list_items"):
        list(multiplexer.on_request(request))


# ---- translation


@pytest.mark.parametrize("word", [b"execution", b"x-mcp-header", b"\\u0065xecution"])
@pytest.mark.parametrize(
    ("filler", "reason"),
    [(b"{}," * 101, "list_items"), (b'"' + b"a" * 100_000 + b'",', "limits.list_bytes")],
    ids=["many", "long"],
)
def test_r04_a_list_that_must_be_changed_for_a_modern_client_is_limited(word, filler, reason):
    listing = b'{"tools":[%b{"%b":{}}]}' % (filler, word)
    with pytest.raises(Rejection, match=reason):
        rules_legacy_to_modern.modern_result("tools/list", listing, json_object.raw(b"{}"), "c.", LIMITS)
    plain = b'{"tools":[%b{"a\\u00e9":1}]}' % filler
    assert filler in rules_legacy_to_modern.modern_result(
        "tools/list", plain, json_object.raw(b"{}"), "c.", LIMITS
    )


def test_r04_a_list_beyond_the_limits_names_no_tools_that_are_tasks_only():
    tool = b'{"name":"t","execution":{"taskSupport":"required"}}'
    assert rules_legacy_to_modern.tools_that_require_tasks(listed([tool]), LIMITS) == {"t"}
    assert rules_legacy_to_modern.tools_that_require_tasks(listed([tool, LONG]), LIMITS) == set()


@pytest.mark.parametrize(
    ("method", "version", "result", "reason"),
    [
        ("tools/list", "2025-06-18", listed([b'{"outputSchema":{}}'] * 101), "list_items"),
        ("tools/list", "2025-06-18", LONG[:-1] + b',"x":"outputSchema"}', None),
        (
            "tools/list",
            "2025-06-18",
            listed([b'{"outputSchema":{},"x":"%b"}' % (b"a" * 100_000)]),
            "list_bytes",
        ),
        ("tools/call", "2025-03-26", b'{"content":[%b"audio"]}' % (b"{}," * 101), "list_items"),
        ("tools/call", "2025-06-18", b'{"content":[%b"audio"]}' % (b"{}," * 101), None),
        ("prompts/get", "2025-03-26", b'{"messages":[%b"audio"]}' % (b"{}," * 101), "list_items"),
        ("prompts/get", "2025-03-26", b'{"messages":[%b1]}' % (b"{}," * 101), None),
    ],
)
def test_r04_a_result_that_must_be_changed_for_a_legacy_client_is_limited(method, version, result, reason):
    if reason is None:
        assert rules_modern_to_legacy.legacy_result(method, result, version, LIMITS) == result
        return
    with pytest.raises(Rejection, match=reason):
        rules_modern_to_legacy.legacy_result(method, result, version, LIMITS)


def test_r04_messages_of_a_sampling_request_are_limited():
    params = {"messages": json_object.raw(b"[%b1]" % (b"{}," * 101))}
    with pytest.raises(Rejection, match="list_items"):
        rules_modern_to_legacy.downgrade_sampling_messages("2025-03-26", params, LIMITS)


# ---- the aggregate


@pytest.mark.parametrize("method", merge.LISTS)
def test_r04_a_list_that_is_merged_is_limited(method):
    where, _ = merge.LISTS[method]
    page = {where: json_object.raw(b"[%b{}]" % (b"{}," * 60))}
    assert len(merge.page(method, page, 0, LIMITS)) == 61
    assert merge.page(method, {}, 0, LIMITS) == []
    with pytest.raises(Rejection, match="list_items"):
        merge.page(method, page, 61, LIMITS)
    with pytest.raises(Rejection, match="list_bytes"):
        merge.page(method, {where: json_object.raw(b'["%b"]' % (b"a" * 100_000))}, 0, LIMITS)


def test_a_tool_without_a_readable_name_matches_no_pattern():
    tools = [b"7", b'{"name":7}', b'{"name":"t"}']
    answer = AccessPolicy(("t",)).answer("tools/list", Response(b"1", listed(tools), b""), LIMITS)
    assert answer.result == b'{"tools":[{"name":"t"}]}'
