"""The `_meta` of requests without a session."""

import pytest

from mcpbridged.validators import stateless_request
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import INVALID_PARAMS, Rejection
from mcpbridged.validators.stateless_request import Envelope

LIMITS = Limits()
VERSION = '"io.modelcontextprotocol/protocolVersion":"2026-07-28"'
ABLE = '"io.modelcontextprotocol/clientCapabilities":{}'


def params(meta=f"{VERSION},{ABLE}", rest=""):
    return f'{{{rest}{"," if rest else ""}"_meta":{{{meta}}}}}'.encode()


# ---- the envelope


@pytest.mark.parametrize(
    "claims",
    [
        params(),
        params('"io.modelcontextprotocol/protocolVersion":7'),
        params('"io.modelcontextprotocol/protocolVersion":null'),
        params('"io.modelcontextprotocol\\/protocolVersion":"2026-07-28"'),
        params('"io.modelcontextprotocol/\\u0070rotocolVersion":"2026-07-28"'),
        b'{"\\u005fmeta":{"io.modelcontextprotocol/protocolVersion":""}}',
    ],
)
def test_a_request_with_any_spelling_of_the_protocol_version_in_its_meta_is_modern(claims):
    assert stateless_request.is_modern(claims)


@pytest.mark.parametrize(
    "claims",
    [
        b"",
        b"{}",
        b'{"protocolVersion":"2025-11-25","_meta":{}}',
        b'{"name":"a","_meta":{"progressToken":1}}',
        b'{"text":"a\\nb","_meta":{}}',
        b'{"text":"\\u00e9\\/","_meta":{}}',
        b'{"text":"io.modelcontextprotocol/protocolVersion"}',
        b'{"text":"io.modelcontextprotocol/protocolVersion","_meta":{"progressToken":1}}',
        b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","_meta":[]}',
        b'{"arguments":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}',
        b'["io.modelcontextprotocol/protocolVersion"]',
    ],
)
def test_a_request_without_the_protocol_version_in_its_meta_is_not_modern(claims):
    assert not stateless_request.is_modern(claims)


@pytest.mark.parametrize(
    ("method", "rest", "name", "state"),
    [
        ("tools/list", "", "", None),
        ("tools/list", '"name":7,"uri":8,"taskId":9,"requestState":[]', "", None),
        ("vendor/x", '"name":7', "", None),
        ("tools/call", "", "", None),
        ("tools/call", '"name":"echo","uri":7,"taskId":8', "echo", None),
        ("tools/call", '"name":"echo","requestState":"s"', "echo", "s"),
        ("tools/call", '"name":"echo","requestState":""', "echo", ""),
        ("prompts/get", '"name":"Hello, 世界"', "Hello, 世界", None),
        ("resources/read", '"uri":"file:///a b","name":7'.replace(" ", "%20"), "file:///a%20b", None),
        ("tasks/get", '"taskId":"t-1"', "t-1", None),
        ("tasks/update", '"taskId":"t-1"', "t-1", None),
        ("tasks/cancel", '"taskId":"t-1"', "t-1", None),
    ],
)
def test_the_envelope_has_the_member_that_the_method_names(method, rest, name, state):
    read = stateless_request.read_envelope(method, params(rest=rest), LIMITS)
    assert read == Envelope("2026-07-28", b"{}", "", b"", name, state)


def test_the_envelope_has_all_members_of_the_meta():
    meta = (
        f'{VERSION},"io.modelcontextprotocol/clientCapabilities": {{"elicitation":{{"url":{{}}}}}},"progressToken":"7",'
        '"io.modelcontextprotocol/logLevel":"warning","traceparent":"00"'
    )
    read = stateless_request.read_envelope("tools/list", params(meta), LIMITS)
    assert read == Envelope("2026-07-28", b'{"elicitation":{"url":{}}}', "warning", b'"7"', "", None)


def test_a_request_without_client_info_is_accepted():
    assert stateless_request.read_envelope("tools/list", params(), LIMITS).version == "2026-07-28"


def test_an_unknown_version_is_accepted_because_the_headers_are_compared_first():
    meta = f'"io.modelcontextprotocol/protocolVersion":"2099-01-01",{ABLE}'
    assert stateless_request.read_envelope("tools/list", params(meta), LIMITS).version == "2099-01-01"


@pytest.mark.parametrize("level", stateless_request.LOG_LEVELS)
def test_each_of_the_eight_log_levels_is_accepted(level):
    meta = f'{VERSION},{ABLE},"io.modelcontextprotocol/logLevel":"{level}"'
    assert stateless_request.read_envelope("tools/list", params(meta), LIMITS).log_level == level


def test_the_log_levels_ascend():
    assert stateless_request.LOG_LEVELS == (
        "debug",
        "info",
        "notice",
        "warning",
        "error",
        "critical",
        "alert",
        "emergency",
    )


@pytest.mark.parametrize("token", ["0", "-7", "9007199254740993", '"t"', '""', '"' + "t" * 256 + '"'])
def test_a_progress_token_is_kept_as_it_is_written(token):
    meta = f'{VERSION},{ABLE},"progressToken":{token}'
    assert stateless_request.read_envelope("tools/list", params(meta), LIMITS).token == token.encode()


LEVEL = '"io.modelcontextprotocol/logLevel"'


@pytest.mark.parametrize(
    ("method", "broken", "expected_text"),
    [
        ("tools/list", b"", "_meta needs io.modelcontextprotocol/protocolVersion; a session"),
        ("tools/list", b"{}", "_meta needs io.modelcontextprotocol/protocolVersion; a session"),
        ("tools/list", b'{"_meta":[]}', "_meta must be an object"),
        ("tools/list", b'{"_meta":null}', "_meta must be an object"),
        ("tools/call", b'{"name":7,"_meta":"x"}', "_meta must be an object"),
        ("tools/list", params(ABLE), "_meta needs io.modelcontextprotocol/protocolVersion"),
        ("tools/list", params(VERSION), "_meta needs io.modelcontextprotocol/clientCapabilities"),
        (
            "tools/list",
            params(f'"io.modelcontextprotocol/protocolVersion":20260728,{ABLE}'),
            "io.modelcontextprotocol/protocolVersion must be a string",
        ),
        (
            "tools/list",
            params(f'"io.modelcontextprotocol/protocolVersion":null,{ABLE}'),
            "io.modelcontextprotocol/protocolVersion must be a string",
        ),
        (
            "tools/list",
            params(f'{VERSION},"io.modelcontextprotocol/clientCapabilities":[]'),
            "io.modelcontextprotocol/clientCapabilities must be an object",
        ),
        (
            "tools/list",
            params(f'{VERSION},"io.modelcontextprotocol/clientCapabilities":null'),
            "io.modelcontextprotocol/clientCapabilities must be an object",
        ),
        (
            "tools/list",
            params(f"{VERSION},{ABLE},{LEVEL}:3"),
            "io.modelcontextprotocol/logLevel must be a string",
        ),
        (
            "tools/list",
            params(f'{VERSION},{ABLE},{LEVEL}:"loud"'),
            "io.modelcontextprotocol/logLevel must be one of debug, info",
        ),
        (
            "tools/list",
            params(f'{VERSION},{ABLE},{LEVEL}:"Info"'),
            "io.modelcontextprotocol/logLevel must be one of debug, info",
        ),
        (
            "tools/list",
            params(f'{VERSION},{ABLE},{LEVEL}:""'),
            "io.modelcontextprotocol/logLevel must be one of debug, info",
        ),
        ("tools/list", params(f'{VERSION},{ABLE},"progressToken":1.0'), "a progress token is"),
        ("tools/list", params(f'{VERSION},{ABLE},"progressToken":null'), "a progress token is"),
        ("tools/list", params(f'{VERSION},{ABLE},"progressToken":{{}}'), "a progress token is"),
        ("tools/list", params(f'{VERSION},{ABLE},"progressToken":"{"t" * 257}"'), "of at most 256 bytes"),
        ("tools/call", params(rest='"name":7'), "name must be a string"),
        ("prompts/get", params(rest='"name":null'), "name must be a string"),
        ("resources/read", params(rest='"uri":{}'), "uri must be a string"),
        ("tasks/get", params(rest='"taskId":7'), "taskId must be a string"),
        ("tools/call", params(rest='"name":""'), "this one has 0"),
        ("tools/call", params(rest=f'"name":"{"n" * 129}"'), "this one has 129"),
        ("tasks/get", params(rest='"taskId":"a\\u0000"'), "control"),
        ("resources/read", params(rest='"uri":"no \\u0007 bell"'), "control"),
        ("resources/read", params(rest='"uri":"cut \\ud83d"'), "control"),
        ("tools/call", params(rest='"name":"cut \\ud83d"'), "control"),
        ("tools/call", params(rest='"x":"\\ud83d","name":7'), "name must be a string"),
        ("tools/call", params(rest='"name":"a","requestState":7'), "requestState must be a string"),
        ("prompts/get", params(rest='"name":"a","requestState":null'), "requestState must be a string"),
    ],
)
def test_the_rejection_names_the_missing_or_invalid_member(method, broken, expected_text):
    with pytest.raises(Rejection) as caught:
        stateless_request.read_envelope(method, broken, LIMITS)
    assert (caught.value.status, caught.value.code, caught.value.data) == (400, INVALID_PARAMS, None)
    assert expected_text in caught.value.text


@pytest.mark.parametrize("state", ["s" * 65536, "é" * 32768])
def test_a_request_state_may_have_64_kib_and_no_more(state):
    assert (
        stateless_request.read_envelope("tools/call", params(rest=f'"requestState":"{state}"'), LIMITS).state
        == state
    )
    with pytest.raises(Rejection) as caught:
        stateless_request.read_envelope("tools/call", params(rest=f'"requestState":"{state}s"'), LIMITS)
    assert caught.value.code == INVALID_PARAMS
    assert caught.value.text == "a requestState of 65537 bytes exceeds the limit of 65536"


def test_an_unsupported_version_is_refused_with_the_supported_versions():
    stateless_request.check_supported("2026-07-28")
    with pytest.raises(Rejection) as caught:
        stateless_request.check_supported("2099-01-01")
    assert (caught.value.status, caught.value.code) == (400, -32022)
    assert caught.value.data == {"supported": ["2026-07-28"], "requested": "2099-01-01"}


def test_a_request_with_a_lone_surrogate_is_read():
    for rest in ('"name":"a","arguments":{"x":"\\ud83d"}', '"x":"\\ud83d"'):
        found = stateless_request.read_envelope("tools/call", params(rest=rest), LIMITS)
        assert found.name == ("a" if "name" in rest else "")
        assert stateless_request.is_modern(params(rest=rest))
    assert stateless_request.read_envelope("tools/list", params(rest='"x":"\\ud83d"'), LIMITS).name == ""


MANY_VALUES = b"[%b1]" % (b"1," * 40_000)


@pytest.mark.parametrize(
    "params",
    [
        b"{}",
        b'{"_meta":{"a":1},"arguments":%b}' % MANY_VALUES,
        b'{"_meta":null,"arguments":%b}' % MANY_VALUES,
        b'{"arguments":%b}' % MANY_VALUES,
        b'{"_meta":{"icon":"%b"}}' % (b"x" * 100_000),
        MANY_VALUES,
    ],
)
def test_a_meta_of_few_values_is_accepted_with_any_other_members(params):
    stateless_request.check_meta(params)


@pytest.mark.parametrize("meta", [b'{"a":%b}' % MANY_VALUES, MANY_VALUES])
def test_a_meta_of_many_values_is_refused(meta):
    with pytest.raises(
        Rejection, match="_meta has more than 65536 bytes and more than 16384 values"
    ) as caught:
        stateless_request.check_meta(b'{"name":"t","_meta":%b}' % meta)
    assert (caught.value.status, caught.value.code) == (400, -32602)
