"""Headers of a request without a session that mirror its body."""

import json

import pytest

from mcpbridged.validators import mirrored_headers
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.mirrored_headers import ParamHeader, SchemaReader
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.stateless_request import Envelope

LIMITS = Limits()
CALL = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo"}


def envelope(version="2026-07-28", name="echo"):
    return Envelope(version, b"{}", "", b"", name, None)


def schema(**properties):
    return json.dumps({"type": "object", "properties": properties}).encode()


def annotated(header, kind="string"):
    return {"type": kind, "x-mcp-header": header}


def without_annotations(text):
    return SchemaReader(LIMITS).without_annotations(text)


@pytest.mark.parametrize(
    ("method", "headers", "named"),
    [
        ("tools/list", {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}, ""),
        ("tools/list", {**CALL, "mcp-method": "tools/list", "mcp-name": "=?base64?!?="}, ""),
        ("tools/call", CALL, "echo"),
        ("tools/call", {**CALL, "mcp-name": "=?base64?ZWNobw==?="}, "echo"),
        ("prompts/get", {**CALL, "mcp-method": "prompts/get"}, "echo"),
        (
            "resources/read",
            {**CALL, "mcp-method": "resources/read", "mcp-name": "=?base64?eDovL+S4lg==?="},
            "x://世",
        ),
        ("tasks/cancel", {**CALL, "mcp-method": "tasks/cancel", "mcp-name": "t-1"}, "t-1"),
    ],
)
def test_headers_that_equal_the_body_are_accepted(method, headers, named):
    mirrored_headers.check_headers(headers, method, envelope(name=named))


def without(name):
    return {key: value for key, value in CALL.items() if key != name}


@pytest.mark.parametrize(
    ("headers", "version", "code", "expected_text"),
    [
        (without("mcp-protocol-version"), "2026-07-28", -32020, "MCP-Protocol-Version"),
        ({**CALL, "mcp-protocol-version": "2025-11-25"}, "2026-07-28", -32020, "MCP-Protocol-Version"),
        # A mismatch is reported before an unsupported version, which is reported before any other header.
        (CALL, "2099-01-01", -32020, "MCP-Protocol-Version"),
        (without("mcp-protocol-version"), "2099-01-01", -32020, "MCP-Protocol-Version"),
        ({"mcp-protocol-version": "2099-01-01"}, "2099-01-01", -32022, "Unsupported protocol version"),
        (without("mcp-method"), "2026-07-28", -32020, "Mcp-Method"),
        ({**CALL, "mcp-method": "tools/list"}, "2026-07-28", -32020, "Mcp-Method"),
        ({**CALL, "mcp-method": "TOOLS/CALL"}, "2026-07-28", -32020, "Mcp-Method"),
        ({**CALL, "mcp-method": "tools/call, tools/call"}, "2026-07-28", -32020, "Mcp-Method"),
        ({**CALL, "mcp-method": "=?base64?dG9vbHMvY2FsbA==?="}, "2026-07-28", -32020, "Mcp-Method"),
        ({"mcp-protocol-version": "2026-07-28", "mcp-name": "x"}, "2026-07-28", -32020, "Mcp-Method"),
        (without("mcp-name"), "2026-07-28", -32020, "Mcp-Name"),
        ({**CALL, "mcp-name": ""}, "2026-07-28", -32020, "Mcp-Name"),
        ({**CALL, "mcp-name": "Echo"}, "2026-07-28", -32020, "Mcp-Name"),
        ({**CALL, "mcp-name": "echo, echo"}, "2026-07-28", -32020, "Mcp-Name"),
        ({**CALL, "mcp-name": "=?base64?RWNobw==?="}, "2026-07-28", -32020, "Mcp-Name"),
        ({**CALL, "mcp-name": "=?base64?ZWNobw?="}, "2026-07-28", -32020, "canonical Base64"),
        ({**CALL, "mcp-name": "=?BASE64?ZWNobw==?="}, "2026-07-28", -32020, "Mcp-Name"),
    ],
)
def test_missing_and_different_headers_are_refused_in_order(headers, version, code, expected_text):
    with pytest.raises(Rejection) as caught:
        mirrored_headers.check_headers(headers, "tools/call", envelope(version))
    assert (caught.value.status, caught.value.code) == (400, code)
    assert expected_text in caught.value.text


# The table in MCP 2026-07-28 basic/transports/streamable-http, and further values.
ENCODED = [
    ("us-west1", "us-west1"),
    ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
    (" padded ", "=?base64?IHBhZGRlZCA=?="),
    ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
    ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ("", ""),
    ("a", "a"),
    ("in\tside and\t out", "in\tside and\t out"),
    ("\tled", "=?base64?CWxlZA==?="),
    ("trailed\t", "=?base64?dHJhaWxlZAk=?="),
    ("\r", "=?base64?DQ==?="),
    ("a\n", "=?base64?YQo=?="),
    ("\x7f", "=?base64?fw==?="),
    ("=?base64?open", "=?base64?open"),
    ("=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?="),
    ("=?base64?=", "=?base64?="),
    ("=?base64?a\n?=", "=?base64?PT9iYXNlNjQ/YQo/PQ==?="),
]


@pytest.mark.parametrize(("value", "header"), ENCODED)
def test_a_value_that_a_header_cannot_carry_is_encoded(value, header):
    assert mirrored_headers.encode_value(value) == header
    assert mirrored_headers.decode_value(header) == value


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("=?base64??=", ""),
        ("=?base64?SGVsbG8=?=", "Hello"),
        ("SGVsbG8=", "SGVsbG8="),
        ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
        ("SGVsbG8=?=", "SGVsbG8=?="),
        ("=?Base64?SGVsbG8=?=", "=?Base64?SGVsbG8=?="),
        (" =?base64?SGVsbG8=?=", " =?base64?SGVsbG8=?="),
    ],
)
def test_a_value_without_both_markers_is_literal(header, value):
    assert mirrored_headers.decode_value(header) == value


@pytest.mark.parametrize(
    "header",
    [
        "=?base64?SGVsbG8?=",  # no padding
        "=?base64?SGVs!!!bG8=?=",  # not of the alphabet
        "=?base64?SGVsbG9=?=",  # bits behind the end
        "=?base64?SGVsbG8==?=",  # too much padding
        "=?base64?=?=",
        "=?base64?SGVs bG8=?=",
        "=?base64?_-8=?=",  # the alphabet of URLs
        "=?base64?literal?=",
        "=?base64?é?=",
        "=?base64?/w==?=",  # not UTF-8
        "=?base64?7aCA?=",  # half of a surrogate pair
    ],
)
def test_base64_that_is_invalid_or_not_canonical_or_not_utf8_is_refused(header):
    with pytest.raises(Rejection) as caught:
        mirrored_headers.decode_value(header)
    assert (caught.value.status, caught.value.code) == (400, -32020)


# ---- the headers that mirror the arguments of a tool


def test_the_annotations_of_a_schema_are_found_with_their_paths_and_types():
    found = mirrored_headers.param_headers(
        schema(
            region=annotated("Region"),
            plain={"type": "number", "enum": [1.5]},
            deep={"type": "object", "properties": {"count": annotated("Count-1", "integer")}},
            dry=annotated("X_Dry.Run", "boolean"),
        )
    )
    assert found == (
        ParamHeader("mcp-param-region", ("region",), "string"),
        ParamHeader("mcp-param-count-1", ("deep", "count"), "integer"),
        ParamHeader("mcp-param-x_dry.run", ("dry",), "boolean"),
    )


def test_an_annotation_spelled_with_escapes_is_found():
    escaped = schema(a=annotated("A")).replace(b"x-mcp-header", b"x-mcp-\\u0068eader")
    assert mirrored_headers.param_headers(escaped) == (ParamHeader("mcp-param-a", ("a",), "string"),)
    assert b"eader" not in without_annotations(escaped)


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"true",
        schema(a={"type": "string"}),
        schema(a={"type": "string", "description": "\xe9"}),
        b'"x-mcp-header"',
        b'["x-mcp-header"]',
        b'{"properties":["x-mcp-header"]}',
        b'{"properties":{"a":"x-mcp-header"}}',
        b'{"description":"x-mcp-header"}',
        # An argument may be called so, and data may look so.
        schema(**{"x-mcp-header": {"type": "object"}}),
        schema(a={"type": "object", "default": {"x-mcp-header": "A"}}),
        schema(a={"enum": [{"x-mcp-header": "A"}], "const": {"x-mcp-header": "A"}}),
        b'{"examples":[{"x-mcp-header":"A"}],"required":["x-mcp-header"]}',
    ],
)
def test_a_schema_without_annotations_is_not_changed(text):
    assert mirrored_headers.param_headers(text) == ()
    assert json.loads(without_annotations(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        (schema(a=annotated("")), "not a header name"),
        (schema(a=annotated("My Region")), "not a header name"),
        (schema(a=annotated("Region:Primary")), "not a header name"),
        (schema(a=annotated("Région")), "not a header name"),
        (schema(a=annotated("Region\t1")), "not a header name"),
        (schema(a=annotated("Region\n")), "not a header name"),
        (schema(a=annotated(7)), "not a header name"),
        (schema(a=annotated(None)), "not a header name"),
        (schema(a=annotated("A", "object")), "not on a string, integer or boolean"),
        (schema(a=annotated("A", "array")), "not on a string, integer or boolean"),
        (schema(a=annotated("A", "null")), "not on a string, integer or boolean"),
        (schema(a=annotated("A", "number")), "not on a string, integer or boolean"),
        (schema(a=annotated("A", ["string", "null"])), "not on a string, integer or boolean"),
        (schema(a={"x-mcp-header": "A"}), "not on a string, integer or boolean"),
        (schema(a={"$ref": "#/$defs/a", "x-mcp-header": "A"}), "not on a string, integer or boolean"),
        (schema(a=annotated("Region"), b=annotated("Region")), "same"),
        (schema(a=annotated("MyField"), b=annotated("myfield")), "same"),
        (schema(a=annotated("A"), b={"properties": {"c": annotated("a")}}), "same"),
        (b'{"type":"string","x-mcp-header":"A"}', "on the inputSchema itself"),
        (schema(a={"items": annotated("A")}), "by properties alone"),
        (schema(a={"items": [True, annotated("A")]}), "by properties alone"),
        (schema(a={"prefixItems": [annotated("A")]}), "by properties alone"),
        (schema(a={"oneOf": [{"type": "null"}, annotated("A")]}), "by properties alone"),
        (schema(a={"anyOf": [{"properties": {"b": annotated("A")}}]}), "by properties alone"),
        (schema(a={"allOf": [annotated("A")]}), "by properties alone"),
        (schema(a={"not": annotated("A")}), "by properties alone"),
        (schema(a={"additionalProperties": annotated("A")}), "by properties alone"),
        (schema(a={"patternProperties": {"^x": annotated("A")}}), "by properties alone"),
        (b'{"if":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}', "by properties alone"),
        (b'{"then":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}', "by properties alone"),
        (b'{"else":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}', "by properties alone"),
        (b'{"$defs":{"a":{"type":"string","x-mcp-header":"A"}}}', "by properties alone"),
        (b'{"definitions":{"a":{"type":"string","x-mcp-header":"A"}}}', "by properties alone"),
    ],
)
def test_an_invalid_annotation_makes_the_tool_invalid_and_can_be_removed(text, expected_text):
    with pytest.raises(ValueError, match=expected_text):
        mirrored_headers.param_headers(text)
    assert mirrored_headers.param_headers(without_annotations(text)) == ()
    assert b"x-mcp-header" not in without_annotations(text)


def test_removing_annotations_changes_no_other_member():
    text = (
        b'{"type":"object","x-mcp-header":"Z","$defs":{"n":{"maximum":1e400,"x-mcp-header":"N"}},"anyOf":[{"x-mcp-header":1},true],'
        b'"properties":{"x-mcp-header":{"x-mcp-header":"A","default":{"x-mcp-header":1.10}},"b":{"minimum":123456789012345678901}},'
        b'"allOf":"x-mcp-header","patternProperties":"x-mcp-header"}'
    )
    assert without_annotations(text) == (
        b'{"type":"object","$defs":{"n":{"maximum":1e400}},"anyOf":[{},true],'
        b'"properties":{"x-mcp-header":{"default":{"x-mcp-header":1.10}},"b":{"minimum":123456789012345678901}},'
        b'"allOf":"x-mcp-header","patternProperties":"x-mcp-header"}'
    )


def test_a_schema_deeper_than_a_message_is_not_read():
    deep = b'{"properties":{"a":' * 5000 + b'{"type":"string","x-mcp-header":"A"}' + b"}}" * 5000
    with pytest.raises(ValueError, match="too deep"):
        mirrored_headers.param_headers(deep)
    assert without_annotations(deep) == deep


def test_a_schema_as_deep_as_a_message_is_read():
    deep = b'{"properties":{"a":' * 31 + b'{"type":"string","x-mcp-header":"A"}' + b"}}" * 31
    assert mirrored_headers.param_headers(deep) == (ParamHeader("mcp-param-a", ("a",) * 31, "string"),)
    assert b"x-mcp-header" not in without_annotations(deep)


MIRRORS = (
    ParamHeader("mcp-param-text", ("text",), "string"),
    ParamHeader("mcp-param-count", ("deep", "count"), "integer"),
    ParamHeader("mcp-param-dry", ("dry",), "boolean"),
)


def call(arguments):
    return b'{"name":"a","arguments":%b}' % arguments.encode()


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ("{}", {}),
        ("null", {}),
        ("[]", {}),
        ('{"text":null,"deep":null,"dry":null}', {}),
        ('{"deep":{"count":null}}', {}),
        ('{"deep":[{"count":1}]}', {}),
        ('{"deep.count":1}', {}),
        ("{}", {"mcp-param-other": "=?base64?!?=", "mcp-param-": "x"}),
        ('{"text":"us-west1"}', {"mcp-param-text": "us-west1"}),
        ('{"text":"us-west1"}', {"mcp-param-text": "=?base64?dXMtd2VzdDE=?="}),
        ('{"text":"Hello, \\u4e16\\u754c"}', {"mcp-param-text": "=?base64?SGVsbG8sIOS4lueVjA==?="}),
        ('{"text":" padded "}', {"mcp-param-text": "=?base64?IHBhZGRlZCA=?="}),
        ('{"text":"line1\\nline2"}', {"mcp-param-text": "=?base64?bGluZTEKbGluZTI=?="}),
        ('{"text":"=?base64?literal?="}', {"mcp-param-text": "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="}),
        ('{"text":"=?base64?open"}', {"mcp-param-text": "=?base64?open"}),
        ('{"text":""}', {"mcp-param-text": ""}),
        ('{"text":""}', {"mcp-param-text": "=?base64??="}),
        ('{"t\\u0065xt":"a"}', {"mcp-param-text": "a"}),
        ('{"deep":{"count":42}}', {"mcp-param-count": "42"}),
        ('{"deep":{"count":42}}', {"mcp-param-count": "42.0"}),
        ('{"deep":{"count":42.0}}', {"mcp-param-count": "42"}),
        ('{"deep":{"count":4.2e1}}', {"mcp-param-count": "42"}),
        ('{"deep":{"count":-0}}', {"mcp-param-count": "0"}),
        ('{"deep":{"count":-9007199254740991}}', {"mcp-param-count": "-9007199254740991"}),
        ('{"deep":{"count":42}}', {"mcp-param-count": "=?base64?NDI=?="}),
        ('{"dry":true}', {"mcp-param-dry": "true"}),
        ('{"dry":false}', {"mcp-param-dry": "false"}),
        # A value of another type than the schema says is for the server to refuse; here its text is compared.
        ('{"deep":{"count":"forty"}}', {"mcp-param-count": "forty"}),
        ('{"deep":{"count":true}}', {"mcp-param-count": "true"}),
        ('{"deep":{"count":1e9999}}', {"mcp-param-count": "1e9999"}),
        ('{"text":42}', {"mcp-param-text": "42"}),
        ('{"text":["é"]}', {"mcp-param-text": "=?base64?WyLDqSJd?="}),
        ('{"dry":"true"}', {"mcp-param-dry": "true"}),
    ],
)
def test_headers_that_equal_the_arguments_are_accepted(arguments, headers):
    mirrored_headers.check_param_headers(headers, call(arguments), MIRRORS)


@pytest.mark.parametrize(
    ("arguments", "headers", "expected_text"),
    [
        ('{"text":"a"}', {}, "Mcp-Param-text"),
        ('{"text":""}', {}, "Mcp-Param-text"),
        ('{"text":"a"}', {"mcp-param-other": "a"}, "Mcp-Param-text"),
        ('{"deep":{"count":0}}', {}, "Mcp-Param-count"),
        ('{"dry":false}', {}, "Mcp-Param-dry"),
        ("{}", {"mcp-param-text": ""}, "is given"),
        ('{"text":null}', {"mcp-param-text": "null"}, "is given"),
        ('{"deep":{}}', {"mcp-param-count": "0"}, "is given"),
        ('{"deep":7}', {"mcp-param-count": "7"}, "is given"),
        ('{"text":"a"}', {"mcp-param-text": "A"}, "Mcp-Param-text"),
        ('{"text":"a"}', {"mcp-param-text": "a, a"}, "Mcp-Param-text"),
        ('{"text":"42"}', {"mcp-param-text": "42.0"}, "Mcp-Param-text"),
        ('{"text":42}', {"mcp-param-text": "42.0"}, "Mcp-Param-text"),
        ('{"text":"Hello"}', {"mcp-param-text": "SGVsbG8="}, "Mcp-Param-text"),
        ('{"text":"Hello"}', {"mcp-param-text": "=?base64?SGVsbG8?="}, "canonical Base64"),
        ('{"text":"Hello"}', {"mcp-param-text": "=?base64?SGVs!!!bG8=?="}, "canonical Base64"),
        ('{"text":"a"}', {"mcp-param-text": "=?BASE64?YQ==?="}, "Mcp-Param-text"),
        ('{"deep":{"count":42}}', {"mcp-param-count": "43"}, "Mcp-Param-count"),
        ('{"deep":{"count":42}}', {"mcp-param-count": ""}, "Mcp-Param-count"),
        ('{"deep":{"count":42}}', {"mcp-param-count": "42.1"}, "Mcp-Param-count"),
        ('{"deep":{"count":42}}', {"mcp-param-count": "042"}, "Mcp-Param-count"),
        ('{"deep":{"count":42}}', {"mcp-param-count": "+42"}, "Mcp-Param-count"),
        ('{"deep":{"count":42}}', {"mcp-param-count": "4_2"}, "Mcp-Param-count"),
        ('{"deep":{"count":42}}', {"mcp-param-count": "=?base64?77yU77yS?="}, "Mcp-Param-count"),
        ('{"deep":{"count":42}}', {"mcp-param-count": "=?base64?NDIK?="}, "Mcp-Param-count"),
        # Neither rounded to the same float, nor both infinite.
        ('{"deep":{"count":9007199254740993}}', {"mcp-param-count": "9007199254740992"}, "Mcp-Param-count"),
        ('{"deep":{"count":1e400}}', {"mcp-param-count": "1e401"}, "Mcp-Param-count"),
        ('{"deep":{"count":1e9999}}', {"mcp-param-count": "inf"}, "Mcp-Param-count"),
        ('{"deep":{"count":"42"}}', {"mcp-param-count": "42.0"}, "Mcp-Param-count"),
        ('{"dry":true}', {"mcp-param-dry": "True"}, "Mcp-Param-dry"),
        ('{"dry":true}', {"mcp-param-dry": "1"}, "Mcp-Param-dry"),
        ('{"dry":true}', {"mcp-param-dry": "false"}, "Mcp-Param-dry"),
    ],
)
def test_headers_that_differ_from_the_arguments_are_refused(arguments, headers, expected_text):
    with pytest.raises(Rejection) as caught:
        mirrored_headers.check_param_headers(headers, call(arguments), MIRRORS)
    assert (caught.value.status, caught.value.code) == (400, -32020)
    assert expected_text in caught.value.text


def test_a_call_without_arguments_must_have_no_headers():
    mirrored_headers.check_param_headers({}, b'{"name":"a"}', MIRRORS)
    with pytest.raises(Rejection):
        mirrored_headers.check_param_headers({"mcp-param-text": "a"}, b'{"name":"a"}', MIRRORS)


def test_headers_of_a_tool_without_annotations_are_ignored():
    mirrored_headers.check_param_headers({"mcp-param-text": "a"}, b"", ())


@pytest.mark.parametrize(
    "schema",
    [
        b'{"anyOf":[{"default":{"x-mcp-header":"a"}}]}',
        b'{"anyOf":[{"not":{"anyOf":[{"const":"x-mcp-header"}]}}]}',
        b'{"anyOf":[{"items":{"default":"x-mcp-header"},"title":"x"}]}',
    ],
)
def test_the_name_of_the_annotation_in_data_is_not_an_annotation(schema):
    assert mirrored_headers.param_headers(schema) == ()


def test_arguments_are_mirrored():
    annotations = [
        ParamHeader("mcp-param-a", ("a",), "string"),
        ParamHeader("mcp-param-b", ("o", "b"), "integer"),
        ParamHeader("mcp-param-c", ("o", "c"), "boolean"),
        ParamHeader("mcp-param-d", ("d",), "string"),
        ParamHeader("mcp-param-e", ("e",), "string"),
        ParamHeader("mcp-param-f", ("f",), "string"),
    ]
    params = (
        '{"name":"t","arguments":{"a":"x\\r\\nY: z","o":{"b":-42,"c":true},"d":null,"f":[1,\n"é"]}}'.encode()
    )
    fields = mirrored_headers.mirror_arguments(params, annotations)
    assert fields == [
        (b"Mcp-Param-a", b"=?base64?eA0KWTogeg==?="),
        (b"Mcp-Param-b", b"-42"),
        (b"Mcp-Param-c", b"true"),
        (b"Mcp-Param-f", b"=?base64?WzEsCiLDqSJd?="),
    ]
    # A server of the same rules accepts them.
    headers = {name.decode().lower(): value.decode() for name, value in fields}
    mirrored_headers.check_param_headers(headers, params, annotations)
    assert mirrored_headers.mirror_arguments(params, []) == []
