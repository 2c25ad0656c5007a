"""The check of messages against the schemas of MCP: official examples, and changed ones compared with a validator of JSON Schema."""

import json
import time
from copy import deepcopy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.message_schemas import shapes
from mcpbridged.validators.message_schemas.check import Fault, error_fault, params_fault, result_fault
from tests.specification.schemas import REVISIONS, corrected, definitions, examples, official
from tests.support import schema_oracle

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
# Examples in the prose of 2026-07-28 that leave out `_meta` or a member of it, which every request must have.
ABBREVIATED = {
    "basic/index": ["$._meta"],
    "server/prompts": ["$", "$"],
    "server/resources": ["$", "$", "$"],
    "server/tools": ["$", "$", "$"],
    "server/utilities/completion": ["$", "$"],
    "server/utilities/pagination": ["$"],
}
# An example that lacks members that its own definition requires. The JSON Schema of the response alone lets it pass, because
# `InputRequiredResult`, the other type of that result, fits any object with a `resultType`.
INCOMPLETE = "schema/2026-07-28/examples/ReadResourceResultResponse/read-resource-result-response.json"
# Results whose request is in none of the examples of their page.
WITHOUT_REQUEST = "tools/call"


def text(value):
    return json.dumps(value).encode()


def cases():
    """Yield the params and results of all examples: revision, source, sender, method, kind and value."""
    for revision in REVISIONS:
        requests = {}
        for source, name, value in examples(revision):
            if name.endswith("Params"):
                method = method_of(revision, name)
                if method:
                    side = "server" if "Notification" in name else "client"
                    kind = "notification" if "Notification" in name else "request"
                    yield revision, source, side, method, kind, value
            elif not name or name.endswith(("Request", "Notification", "ResultResponse")):
                yield from messages(revision, source, name, value, requests)
            elif name.endswith("Result") and (method := method_of(revision, name)):
                yield revision, source, "server", method, "result", value


def messages(revision, source, name, value, requests):
    if "method" in value:
        kind = "request" if "id" in value else "notification"
        requests[source, json.dumps(value.get("id"))] = value["method"]
        for side in ("client", "server"):
            if value["method"] in schema_oracle.messages(revision, side, kind == "request"):
                yield revision, source, side, value["method"], kind, value.get("params")
    elif "result" in value:
        method = requests.get((source, json.dumps(value["id"])))
        method = method_of(revision, name.removesuffix("Response")) if name else method or WITHOUT_REQUEST
        for side, other in (("client", "server"), ("server", "client")):
            if method in schema_oracle.messages(revision, other, True):
                yield revision, source, side, method, "result", value["result"]


def method_of(revision, name):
    """Return the method whose params, result or message have this name, an empty text for none."""
    base = name.removesuffix("Params").removesuffix("Result").removesuffix("Request")
    known = [
        *schema_oracle.messages(revision, "client", True).items(),
        *schema_oracle.messages(revision, "server", False).items(),
    ]
    return next((method for method, (one, _) in known if one.removesuffix("Request") == base), "")


def fault_of(revision, side, method, kind, value):
    if kind == "result":
        return result_fault(revision, side, method, text(value))
    params = b"" if value is None else text(value)
    return params_fault(revision, side, method, params, request=kind == "request")


def fits(revision, side, method, kind, value):
    """Return the decision of the validator of JSON Schema."""
    if kind == "result":
        return schema_oracle.result_fits(revision, side, method, value)
    _, schema = schema_oracle.messages(revision, side, kind == "request")[method]
    if value is None:
        return "params" not in schema["required"]
    return schema_oracle.params_validator(revision, side, method, kind == "request").is_valid(value)


def is_abbreviated(source, kind):
    return MODERN in source and source.startswith("docs") and kind == "request"


CASES = list(cases())


def test_the_examples_of_every_revision_are_read():
    counts = {revision: sum(case[0] == revision for case in CASES) for revision in REVISIONS}
    assert all(count >= 30 for count in counts.values()), counts
    assert {case[4] for case in CASES} == {"request", "notification", "result"}


def test_every_official_example_fits_except_those_that_leave_out_required_members():
    faults = {}
    for revision, source, side, method, kind, value in CASES:
        if source == INCOMPLETE:
            continue
        fault = fault_of(revision, side, method, kind, value)
        if fault is not None:
            assert is_abbreviated(source, kind), (source, method, fault)
            page = source.removeprefix(f"docs/specification/{MODERN}/").removesuffix(".mdx")
            faults.setdefault(page, []).append(fault.path)
    assert faults == ABBREVIATED


def test_the_incomplete_example_does_not_fit_its_own_definition_either():
    value = next(case[5] for case in CASES if case[1] == INCOMPLETE)
    fault = result_fault(MODERN, "server", "resources/read", text(value))
    assert fault == Fault("$", "Object missing required field `cacheScope`")
    assert not schema_oracle._result_validator(MODERN, "ReadResourceResult").is_valid(value)


def test_every_official_example_of_an_error_fits():
    found = [
        value["error"]
        for revision in REVISIONS
        for _, _, value in examples(revision)
        if isinstance(value, dict) and "error" in value
    ]
    assert len(found) >= 20
    assert [error_fault(revision, text(one)) for one in found for revision in REVISIONS] == [None] * (
        len(found) * len(REVISIONS)
    )


def test_every_official_example_of_a_part_of_a_message_fits():
    module = __import__("mcpbridged.validators.message_schemas.revision_2026_07_28", fromlist=["REVISION"])
    checked = 0
    for _, name, value in examples(MODERN):
        shape = getattr(module, name, None) if name else None
        if shape is not None and getattr(shape.__struct_config__, "tag", None) is None:
            shapes.check(shape, text(value))
            checked += 1
    assert checked >= 60


# ---- changed examples

VALUES = [
    None,
    True,
    0,
    1.0,
    1.5,
    -1,
    "",
    "text",
    "http://a",
    [],
    [1],
    ["a"],
    {},
    {"type": "text"},
    {"a": {}},
]


def places(value, path=()):
    """Yield the path of each value in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value, path, change, other):
    """Return a JSON value with a change at a path: a value is removed, replaced, put into a list or added to its list."""
    if not path:
        return other if change == "replace" else [value] if change == "wrap" else value
    value = deepcopy(value)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    match change:
        case "remove":
            del parent[path[-1]]
        case "replace":
            parent[path[-1]] = other
        case "wrap":
            parent[path[-1]] = [parent[path[-1]]]
        case "add" if isinstance(parent, list):
            parent.append(other)
        case "add":
            parent["x" + str(path[-1])] = other
    return value


def compare(case, value):
    revision, _, side, method, kind, _ = case
    fault = fault_of(revision, side, method, kind, value)
    assert (fault is None) == fits(revision, side, method, kind, value), (case[:5], value, fault)


@pytest.mark.slow
def test_the_check_and_the_validator_agree_about_each_missing_and_each_replaced_member_of_each_example():
    compared = 0
    for case in CASES:
        if case[5] is None:
            continue
        for path in places(case[5]):
            for change, other in (
                ("remove", None),
                ("wrap", None),
                ("add", 1),
                *(("replace", one) for one in VALUES),
            ):
                value = changed(case[5], path, change, other)
                if value is None or value == case[5]:
                    continue
                compare(case, value)
                compared += 1
    assert compared > 30_000


@settings(max_examples=400)
@given(st.data())
def test_the_check_and_the_validator_agree_about_examples_with_several_changes(data):
    case = data.draw(st.sampled_from([case for case in CASES if case[5] is not None]))
    value = case[5]
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(list(places(value))))
        donor = data.draw(st.sampled_from(CASES))[5]
        inner = data.draw(st.sampled_from(list(places(donor))))
        for key in inner:
            donor = donor[key]
        other = data.draw(st.one_of(st.sampled_from(VALUES), st.just(donor)))
        value = changed(value, path, data.draw(st.sampled_from(["remove", "replace", "wrap", "add"])), other)
    if value is not None:
        compare(case, value)


def test_the_corrections_are_needed_because_the_json_schema_refuses_what_schema_ts_allows():
    answer = {"action": "accept", "content": {"ratio": 1.5}}
    assert not schema_oracle._validator(LEGACY, definitions(official(LEGACY))["ElicitResult"]).is_valid(
        answer
    )
    assert result_fault(LEGACY, "client", "elicitation/create", text(answer)) is None
    assert official(MODERN) != corrected(MODERN)


# ---- single messages


def client_fault(method, params, revision=LEGACY):
    return params_fault(revision, "client", method, text(params), request=True)


def test_a_fault_names_the_place_and_the_expected_type():
    assert client_fault("tools/call", {"name": "echo", "arguments": "x"}) == Fault(
        "$.arguments", "Expected `object`, got `str`"
    )
    assert str(client_fault("tools/call", {"name": 5})) == "Expected `str`, got `int` at $.name"


def test_a_fault_has_no_value_and_no_key_of_the_message():
    secret = "hunter2"
    for method, params in (
        ("logging/setLevel", {"level": secret}),
        ("prompts/get", {"name": "p", "arguments": {secret: 1}}),
        ("completion/complete", {"ref": {"type": secret}, "argument": {"name": "a", "value": "b"}}),
    ):
        fault = client_fault(method, params)
        assert fault is not None
        assert secret not in str(fault)
    assert client_fault("logging/setLevel", {"level": secret}) == Fault(
        "$.level", "Value is none of those that are allowed"
    )
    assert client_fault("prompts/get", {"name": "p", "arguments": {"k": 1}}).path == "$.arguments[...]"


def test_a_map_with_too_many_members_does_not_fit():
    params = {"name": "p", "arguments": {str(number): "" for number in range(131_073)}}
    assert client_fault("prompts/get", params) == Fault("$.arguments", "More than 131072 members of maps")


def test_a_member_that_is_missing_is_named():
    assert client_fault("tools/call", {}) == Fault("$", "Object missing required field `name`")


def test_a_message_without_params_fits_where_the_schema_does_not_require_them():
    assert params_fault(LEGACY, "client", "tools/list", b"", request=True) is None
    assert params_fault(LEGACY, "client", "tools/call", b"", request=True) == Fault(
        "$", "Message has no `params`"
    )


def test_unknown_members_pass():
    params = {"name": "echo", "extra": [1], "_meta": {"com.example/trace": 5}}
    assert client_fault("tools/call", params) is None


@pytest.mark.parametrize("method", ["x/own", "elicitation/create", "tasks/get"])
def test_a_method_that_the_revision_does_not_have_passes(method):
    assert client_fault(method, {"taskId": 5}, "2024-11-05") is None
    assert result_fault("2024-11-05", "server", method, b"5") is None


def test_a_method_is_checked_in_its_own_direction():
    params = text({"level": 5})
    assert params_fault(LEGACY, "client", "logging/setLevel", params, request=True) is not None
    assert params_fault(LEGACY, "server", "logging/setLevel", params, request=True) is None
    message = text({"level": "info"})
    assert params_fault(LEGACY, "server", "notifications/message", message, request=False) is not None
    assert params_fault(LEGACY, "client", "notifications/message", message, request=False) is None


def test_the_result_of_a_client_is_checked_by_the_method_of_the_server():
    assert result_fault(LEGACY, "client", "roots/list", text({"roots": [{"name": "r"}]})) == Fault(
        "$.roots[0]", "Object missing required field `uri`"
    )
    assert result_fault(LEGACY, "client", "roots/list", text({"roots": [{"uri": "file:///r"}]})) is None


def test_a_number_without_a_fraction_is_an_integer():
    def listed(size):
        return text({"resources": [{"uri": "file:///a", "name": "a", "size": size}]})

    assert result_fault(LEGACY, "server", "resources/list", listed(2.0)) is None
    assert result_fault(LEGACY, "server", "resources/list", listed(2.5)) == Fault(
        "$.resources[0].size", "Expected `integer`"
    )


TASK = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttl": None}


def test_a_call_that_continues_as_a_task_has_another_result():
    assert result_fault(LEGACY, "server", "tools/call", text({"task": TASK})) is None
    assert result_fault(LEGACY, "server", "tools/call", text({"task": {}})) == Fault(
        "$", "Object missing required field `content`"
    )
    assert result_fault(LEGACY, "server", "tools/list", text({"task": TASK})) is not None


@pytest.mark.parametrize(
    ("result", "path"),
    [
        ({"resultType": "complete", "content": []}, ""),
        ({"resultType": "complete"}, "$"),
        ({"content": []}, "$"),
        ({"resultType": 5, "content": []}, "$.resultType"),
        ({"resultType": "input_required", "inputRequests": {}}, ""),
        (
            {"resultType": "input_required", "inputRequests": {"a": {"method": "x"}}},
            "$.inputRequests[...].method",
        ),
        ({"resultType": "task", "taskId": "t"}, ""),
        ({"resultType": "task", "_meta": 5}, "$._meta"),
        ([], "$"),
    ],
)
def test_the_type_of_a_modern_result_decides_its_schema(result, path):
    fault = result_fault(MODERN, "server", "tools/call", text(result))
    assert (fault.path if fault else "") == path


def test_a_method_without_input_rounds_has_no_result_that_requires_input():
    result = text({"resultType": "input_required"})
    assert result_fault(MODERN, "server", "tools/list", result) is not None
    assert result_fault(MODERN, "server", "resources/read", result) is None


@pytest.mark.parametrize(
    ("error", "path"), [({"code": 1, "message": "m"}, ""), ({"code": "1"}, "$"), ({}, "$")]
)
def test_an_error_has_a_code_and_a_message(error, path):
    for revision in REVISIONS:
        fault = error_fault(revision, text(error))
        assert (fault.path[:1] if fault else "") == path


def test_lone_surrogates_fit_where_any_text_does():
    content = rb'{"content":[{"type":"text","text":"cut \ud83d"}]}'
    assert result_fault(LEGACY, "server", "tools/call", content) is None
    contents = rb'{"contents":[{"uri":"u","text":"cut \ud83d"}]}'
    assert result_fault(LEGACY, "server", "resources/read", contents) is None


def test_a_text_that_the_decoder_cannot_follow_does_not_fit():
    deep = b'{"content":[],"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert result_fault(LEGACY, "server", "tools/call", deep) == Fault("$", "The text cannot be decoded")


def test_each_value_of_a_repeated_member_must_fit():
    assert params_fault(LEGACY, "client", "tools/call", b'{"name":5,"name":"a"}', request=True) is not None


# ---- time

SIZE = 4 * 1024 * 1024


def filled(head, unit, tail):
    """Return a text of this size that repeats a unit."""
    return head + unit * ((SIZE - len(head) - len(tail)) // len(unit)) + tail


SHAPES = {
    "text": ("tools/call", filled(b'{"content":[{"type":"text","text":"', b"x", b'"}]}')),
    "blocks": (
        "tools/call",
        filled(b'{"content":[', b'{"type":"text","text":""},', b'{"type":"text","text":""}]}'),
    ),
    "nests": ("tools/call", filled(b'{"content":[],"x":[', b"[[[[[[[[[[]]]]]]]]]],", b"1]}")),
    "tools": ("tools/list", filled(b'{"tools":[', b'{"name":"","inputSchema":{"type":"object"}},', b"1]}")),
    "strings": ("completion/complete", filled(b'{"completion":{"values":[', b'"",', b'""]}}')),
    "contents": ("resources/read", filled(b'{"contents":[', b'{"uri":"","text":""},', b"1]}")),
    "members": (
        "tools/list",
        b'{"tools":[{"name":"","inputSchema":{"type":"object","properties":{%b}}}]}'
        % b",".join(b'"%d":{}' % number for number in range(400_000)),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_check_holds_the_event_loop_much_longer_than_one_decoding(shape):
    """The factor is that of `tests/cases/test_loop_budget.py`. Times are CPU times, also of the measurement of coverage."""
    method, result = SHAPES[shape]
    result_fault(LEGACY, "server", method, b"{}")

    def shortest(work):
        times = []
        for _ in range(3):
            began = time.thread_time()
            work()
            times.append(time.thread_time() - began)
        return min(times)

    decoding = shortest(lambda: msgspec.json.decode(result, type=dict[str, msgspec.Raw]))
    assert shortest(lambda: result_fault(LEGACY, "server", method, result)) < 9 * decoding + 0.25
