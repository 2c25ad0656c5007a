"""The members of params and results that the bridge reads."""

import pytest

from mcpbridged.validators import mcp_params
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import INVALID_PARAMS, Rejection

LIMITS = Limits()


def larger(params):
    """The same, and so much more that it is not parsed where two searches tell enough."""
    return params[:-1] + b',"text":"' + b"x" * 2000 + b'"}' if params else params


@pytest.mark.parametrize(
    ("method", "params", "token"),
    [
        ("tools/call", b'{"name":"a","_meta":{"progressToken":7}}', b"7"),
        ("tools/call", b'{"name":"a","_meta":{"progressToken":"7"}}', b'"7"'),
        ("tools/call", b'{"name":"a","_meta":{}}', b""),
        ("tools/call", b'{"name":"a","arguments":{"progressToken":1}}', b""),
        ("tools/call", b"", b""),
        ("tools/list", b"{}", b""),
        ("tools/list", b'{"_meta":{"progressToken":-3}}', b"-3"),
        ("tools/list", b'{"_meta":{"\\u0070rogressToken":3}}', b"3"),
        ("vendor/x", b'{"name":7,"_meta":{"progressToken":1}}', b"1"),
        ("vendor/x", b'{"name":7,"_meta":{}}', b""),
        ("vendor/x", b'{"name":7,"_meta":[]}', b""),
        ("vendor/x", b'{"name":7}', b""),
        ("vendor/x", b'["_meta"]', b""),
        ("resources/read", b'{"uri":"file:///a"}', b""),
        ("resources/read", b'{"uri":"custom://a/100%2525"}', b""),
        ("prompts/get", '{"name":"ein Name mit é/.."}'.encode(), b""),
        ("resources/read", b'{"uri":"users/me"}', b""),
        ("tools/call", b'{"name":"a","_meta":null}', b""),
        ("tools/call", b'{"name":"a","_meta":[ ]}', b""),
        ("tools/call", b'{"_meta":[]}', b""),
        ("tools/list", b'{"_meta":null}', b""),
        ("tools/list", b'{"_meta":[]}', b""),
        ("tools/call", b'{"name":"a","x":"\\ud83d","_meta":{"progressToken":7}}', b"7"),
        ("tools/call", b'{"name":"a","x":"\\ud83d","_meta":{"a":1}}', b""),
        ("resources/read", b'{"uri":"a","x":"\\ud83d"}', b""),
        ("vendor/x", b'{"x":"\\ud83d","_meta":{"progressToken":7}}', b"7"),
        ("vendor/x", b'{"name":7,"x":"\\ud83d","_meta":{"progressToken":7}}', b"7"),
    ],
)
def test_the_progress_token_of_a_request(method, params, token):
    assert mcp_params.read_request(method, params, LIMITS)[0] == token
    assert mcp_params.read_request(method, larger(params), LIMITS)[0] == token


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", b'{"name":"a","arguments":{}}', "a"),
        ("tools/call", b'{"arguments":{"name":"b"},"name":"a"}', "a"),
        ("tools/call", b'{"name":"b","name":"a"}', "a"),
        ("tools/call", b'{"name":"b","n\\u0061me":"a"}', "a"),
        ("prompts/get", '{"name":"é","_meta":{"progressToken":1}}'.encode(), "é"),
        ("resources/read", b'{"uri":"file:///a","name":"b"}', "file:///a"),
        ("tools/call", b'{"arguments":{}}', ""),
        ("vendor/x", b'{"name":"a"}', ""),
        ("tools/call", b"", ""),
    ],
)
def test_the_name_of_a_request_is_the_one_that_the_server_reads(method, params, name):
    assert mcp_params.read_request(method, params, LIMITS)[1] == name
    assert mcp_params.read_request(method, larger(params), LIMITS)[1] == name


@pytest.mark.parametrize(
    ("method", "params", "expected_text"),
    [
        ("tools/call", b'{"name":1}', "wrong type"),
        ("tools/call", b'{"name":"a","name":2}', "wrong type"),
        ("tools/call", b'{"name":"a","n\\u0061me":2}', "wrong type"),
        ("tools/call", b'{"name":"a\x7f"}', "control"),
        ("tools/call", b'{"name":"a","_meta":[1]}', "wrong type"),
        ("tools/call", b'{"name":"a","_meta":"x"}', "wrong type"),
        ("tools/call", b'{"name":null}', "wrong type"),
        ("tools/call", b'{"name":"cut \\ud83d"}', "control"),
        ("tools/call", b'{"name":1,"x":"\\ud83d"}', "wrong type"),
        ("tools/call", b'{"name":"' + b"n" * 129 + b'"}', "this one has 129"),
        ("tools/call", b'{"name":"a\\u0000"}', "control"),
        ("tools/call", b'{"name":"a","_meta":{"progressToken":{}}}', "progress token"),
        ("tools/call", b'{"name":"a","_meta":{"progressToken":1.5}}', "progress token"),
        ("tools/call", b'{"name":"a","_meta":{"progressToken":"' + b"t" * 300 + b'"}}', "progress token"),
        ("resources/read", b'{"uri":"file:///' + b"u" * 8192 + b'"}', "this one has 8200"),
        ("resources/subscribe", b'{"uri":"no \\u0007 bell"}', "control"),
        ("resources/read", b'{"uri":"cut \\ud83d"}', "control"),
    ],
)
def test_invalid_names_and_tokens_are_refused(method, params, expected_text):
    for size in (params, larger(params)):
        with pytest.raises(Rejection, match=expected_text) as caught:
            mcp_params.read_request(method, size, LIMITS)
        assert caught.value.code == INVALID_PARAMS


def test_cancellation():
    assert mcp_params.read_cancelled(b'{"requestId":"a","reason":"no \\" more"}') == (
        b'"a"',
        b'"no \\" more"',
    )
    assert mcp_params.read_cancelled(b'{"requestId":7}') == (b"7", b"")
    assert mcp_params.read_cancelled(b"{}") == (b"", b"")
    assert mcp_params.read_cancelled(b"") == (b"", b"")
    assert mcp_params.read_cancelled(b"[]") == (b"", b"")
    assert mcp_params.cancelled_again(b"", b"7") == b'{"requestId":7}'
    again = mcp_params.cancelled_again(
        b'{ "_meta" : { "a" : 1.0 } , "requestId" : "a" , "x" : "\\ud83d" }', b"7"
    )
    assert again == b'{"_meta":{ "a" : 1.0 },"requestId":7,"x":"\\ud83d"}'
    assert mcp_params.cancelled_again(b'{"reason":"r",%b"requestId":1}' % (b'"a":1,' * 100_000), b"7") == (
        b'{"requestId":7,"reason":"r"}'
    )
    assert mcp_params.cancelled(b"7", b"") == b'{"requestId":7}'
    assert mcp_params.cancelled(b"7", b'"x"') == b'{"requestId":7,"reason":"x"}'


@pytest.mark.parametrize("name", ["RequestId", "requestid", "reque\u017ftId", "re\\u0071uestID"])
def test_a_cancellation_has_no_other_member_that_a_server_could_read_as_the_id(name):
    """As encoding/json of Go, which ignores case by the rules of Unicode and uses the last of several members."""
    params = f'{{"requestId":1,"{name}":2,"Reason":"r"}}'.encode()
    assert mcp_params.cancelled_again(params, b"7") == b'{"requestId":7,"Reason":"r"}'


def test_progress():
    assert mcp_params.read_progress(b'{"progressToken":"a","progress":1}') == b'"a"'
    assert mcp_params.read_progress(b"{}") == b""
    assert mcp_params.read_progress(b"") == b""


def test_the_version_of_initialize_is_required():
    assert mcp_params.read_version(b'{"protocolVersion":"2025-11-25"}') == "2025-11-25"
    with pytest.raises(Rejection):
        mcp_params.read_version(b"{}")
    with pytest.raises(Rejection):
        mcp_params.read_version(b"")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (b'{"_meta":{"progressToken":"x"},"a":1}', b'{"_meta":{"progressToken":7},"a":1}'),
        (
            b'{ "a" : [1.0,\t2],"_meta" :\t{"b":"\xc3\xa9", "progressToken" : 1 } , "c" : "\\n"}',
            b'{ "a" : [1.0,\t2],"_meta" :\t{"b":"\xc3\xa9","progressToken":7} , "c" : "\\n"}',
        ),
        # The name of the member stands in another place too.
        (
            b'{"a" : {"_meta":{"progressToken":1}},"_meta":{"progressToken":2}}',
            b'{"a":{"_meta":{"progressToken":1}},"_meta":{"progressToken":7}}',
        ),
        (
            b'{"_meta" : {"progressToken":2},"a":"_meta"}',
            b'{"_meta":{"progressToken":7},"a":"_meta"}',
        ),
        # The last of repeated members counts, and the others are dropped.
        (
            b'{"_meta":{"progressToken":1,"b":1},"_meta":{"progressToken":2}}',
            b'{"_meta":{"progressToken":7}}',
        ),
        (
            b'{"a":{"_meta":{"progressToken":1}},"\\u005fmeta":{"progressToken":2}}',
            b'{"a":{"_meta":{"progressToken":1}},"_meta":{"progressToken":7}}',
        ),
        (b'{"_meta":{"progressToken":1,"progressToken":2}}', b'{"_meta":{"progressToken":7}}'),
        (b'{"_meta":{"\\u0070rogressToken":1}}', b'{"_meta":{"progressToken":7}}'),
        (
            b'{"_meta" : {"progressToken":1,"b":"' + b"x" * 5000 + b'"}}',
            b'{"_meta":{"progressToken":7,"b":"' + b"x" * 5000 + b'"}}',
        ),
        (
            b'{"a":"\\ud83d","_meta":{"progressToken":1,"b":"\\ud83d"}}',
            b'{"a":"\\ud83d","_meta":{"progressToken":7,"b":"\\ud83d"}}',
        ),
        (b'{"a":1}', b'{"a":1,"_meta":{"progressToken":7}}'),
    ],
)
def test_a_progress_token_is_replaced(params, expected):
    assert mcp_params.with_progress_token(params, b"7") == expected


def test_a_progress_token_is_replaced_in_params_of_very_many_members():
    members = b",".join(b'"m%d":1' % number for number in range(200_000))
    params = b'{%b,"_meta":{"progressToken":1}}' % members
    assert mcp_params.with_progress_token(params, b"7") == b'{%b,"_meta":{"progressToken":7}}' % members
    with pytest.raises(Rejection, match="specification does not name") as caught:
        mcp_params.with_progress_token(b'{"x":"_meta",%b' % params[1:], b"7")
    assert (caught.value.status, caught.value.code) == (400, INVALID_PARAMS)


@pytest.mark.parametrize(
    ("params", "name"),
    [(b'{"name":"a"}', "a"), (b'{"arguments":{},"name":"\\u00e9"}', "\u00e9"), (b"{}", ""), (b"", "")],
)
def test_the_name_of_accepted_params_is_read(params, name):
    assert mcp_params.read_name(params) == name
