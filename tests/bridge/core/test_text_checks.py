"""Checks of media types, base64, addresses and characters."""

import json

import msgspec
import pytest

from mcpbridged.bridge.core.schema_checks import OFF, REFUSE, WARN
from mcpbridged.bridge.core.text_checks import CHARACTERS, MIME, REWRITE, SCHEMES, TextChecks, TextModes
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.rejection import INTERNAL_ERROR, INVALID_PARAMS

MANY = 4097
IMAGE = {"type": "image", "mimeType": "image/png", "data": "AAAA"}


class World:
    def __init__(self, **modes):
        self.findings = []
        self.checks = TextChecks(TextModes(**modes), "git", self.findings.append)

    def result(self, value):
        self.text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.checks.on_response("draw", Response(b"1", self.text, b""))

    @property
    def found(self):
        return [(one.kind, one.path, one.keyword, one.refused) for one in self.findings]


def message_is_refused(response):
    return bool(bytes(response.error))


def message_of(response):
    assert not bytes(response.result)
    fault = json.loads(response.error)
    assert fault["data"] == {"reason": "content_refused"}
    return fault["code"], fault["message"]


@pytest.mark.parametrize(
    ("modes", "on"),
    [
        ({}, False),
        ({"mime": WARN}, True),
        ({"schemes": WARN}, True),
        ({"characters": REWRITE}, True),
        ({"mime": REFUSE, "schemes": REFUSE, "characters": REFUSE}, True),
    ],
)
def test_checks_are_off_by_default(modes, on):
    assert TextModes(**modes).on is on


@pytest.mark.parametrize(
    ("member", "value", "path", "keyword"),
    [
        ("content", [{**IMAGE, "mimeType": "text/plain\n"}], "/content/0/mimeType", "mimeType"),
        ("content", [{**IMAGE, "mimeType": 5}], "/content/0/mimeType", "mimeType"),
        ("content", [{**IMAGE, "mimeType": ""}], "/content/0/mimeType", "mimeType"),
        ("content", [IMAGE, {**IMAGE, "data": "!!notbase64!!"}], "/content/1/data", "base64"),
        ("content", [{**IMAGE, "data": 5}], "/content/0/data", "base64"),
        ("contents", [{"uri": "a:b", "blob": "AA"}], "/contents/0/blob", "base64"),
        ("messages", [{"content": {**IMAGE, "data": "A"}}], "/messages/0/content/data", "base64"),
    ],
)
def test_a_bad_media_type_or_base64_refuses_the_result(member, value, path, keyword):
    world = World(mime=REFUSE)
    code, text = message_of(world.result({member: value}))
    assert code == INTERNAL_ERROR
    assert text.startswith(f"a response of the server git was refused: {path} is not ")
    assert text.endswith(" (content.mime)")
    assert world.found == [(MIME, path, keyword, True)]
    assert world.findings[0].tool == "draw"


@pytest.mark.parametrize("modes", [{"schemes": REFUSE}, {"characters": REFUSE}])
def test_a_check_that_is_off_refuses_nothing(modes):
    world = World(**modes)
    assert not message_is_refused(world.result({"content": [{**IMAGE, "mimeType": 5, "data": "A"}]}))
    assert world.found == []


def test_schemes_that_are_not_checked_pass():
    world = World(mime=REFUSE, characters=REFUSE)
    link = {"type": "resource_link", "uri": "javascript:x", "name": "a"}
    assert not message_is_refused(world.result({"content": [link]}))
    assert world.found == []


def test_absent_values_pass():
    world = World(mime=REFUSE, schemes=REFUSE)
    value = {
        "content": [{**IMAGE, "mimeType": None}, {"type": "text", "text": "a"}],
        "contents": [{"uri": None}],
    }
    assert bytes(world.result(value).result) == world.text
    assert not world.findings


@pytest.mark.parametrize(
    ("value", "path", "entry"),
    [
        ({"serverInfo": {"websiteUrl": "javascript:x"}}, "/serverInfo/websiteUrl", "javascript"),
        ({"serverInfo": {"icons": [{"src": "java\tscript:x"}]}}, "/serverInfo/icons/0/src", "javascript"),
        ({"content": [{"type": "resource_link", "uri": "VBScript:x"}]}, "/content/0/uri", "vbscript"),
        ({"content": [{"type": "resource_link", "uri": ["javascript:x"]}]}, "/content/0/uri", "not a string"),
        (b'{"contents":[{"uri":"\\u006aavascript:x"}]}', "/contents/0/uri", "javascript"),
        (
            {
                "inputRequests": {
                    "a": {"method": "elicitation/create", "params": {"mode": "url", "url": "javascript:x"}}
                }
            },
            "/inputRequests/0/params/url",
            "javascript",
        ),
    ],
)
def test_an_address_with_a_refused_scheme_refuses_the_result(value, path, entry):
    world = World(schemes=REFUSE)
    code, text = message_of(world.result(value))
    assert code == INTERNAL_ERROR
    assert (
        text
        == f"a response of the server git was refused: {path} has a refused scheme ({entry}) (content.schemes)"
    )
    assert world.found == [(SCHEMES, path, entry, True)]


def test_icons_may_have_images_in_data_urls():
    world = World(schemes=REFUSE)
    value = {"tools": [{"name": "a", "icons": [{"src": "data:image/svg+xml,<svg/>"}]}]}
    assert bytes(world.result(value).result) == world.text


def test_the_schemes_are_those_of_the_list():
    world = World(schemes=REFUSE, refused=("file",))
    assert bytes(world.result({"contents": [{"uri": "javascript:x"}]}).result) == world.text
    assert message_of(world.result({"contents": [{"uri": "file:///x"}]}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            b'{ "tools" : [ {"name":"a"} , {"name":"b","icons":[{"src":"javascript:x"}]},{"name":"c"} ] , "nextCursor":"x" }',
            b'{ "tools" : [{"name":"a"},{"name":"c"}] , "nextCursor":"x" }',
        ),
        (b'{"prompts":[{"name":"b","icons":[{"src":"javascript:x"}]}]}', b'{"prompts":[]}'),
        (
            b'{"resources":[{"uri":"javascript:x"},{"uri":"a:b"}],"x":1}',
            b'{"resources":[{"uri":"a:b"}],"x":1}',
        ),
        (
            b'{"resourceTemplates":[{"uriTemplate":"a:{b}"},{"uriTemplate":"javascript:{b}"}]}',
            b'{"resourceTemplates":[{"uriTemplate":"a:{b}"}]}',
        ),
        # The same text at another place is not the list.
        (
            b'{"resources":[{"uri":"javascript:x"}],"_meta":{"resources":[{"uri":"javascript:x"}]}}',
            b'{"resources":[],"_meta":{"resources":[{"uri":"javascript:x"}]}}',
        ),
    ],
)
def test_a_bad_item_of_a_list_is_removed_and_all_other_bytes_stay(text, expected):
    world = World(schemes=REFUSE)
    assert bytes(world.result(text).result) == expected
    (finding,) = world.findings
    assert finding.refused


def test_items_of_several_lists_are_removed_by_any_check():
    world = World(schemes=REFUSE, mime=REFUSE, characters=REFUSE)
    value = {
        "resources": [
            {"uri": "a:b", "mimeType": "x"},
            {"uri": "a:b"},
            {"uri": "javascript:x", "name": "\u200b"},
        ],
        "tools": [{"name": "a\u200b"}, {"name": "b", "\u200b": 1}, "\u200b", {"name": "c"}],
    }
    assert json.loads(bytes(world.result(value).result)) == {
        "resources": [{"uri": "a:b"}],
        "tools": [{"name": "c"}],
    }
    assert world.found == [
        (MIME, "/resources/0/mimeType", "mimeType", True),
        (SCHEMES, "/resources/2/uri", "javascript", True),
        (CHARACTERS, "/resources/2/name", "zero-width", True),
    ]


def test_a_fault_of_the_list_itself_refuses_it():
    world = World(schemes=REFUSE)
    meta = {"io.modelcontextprotocol/serverInfo": {"websiteUrl": "javascript:x"}}
    assert message_of(world.result({"tools": [{"icons": [{"src": "javascript:x"}]}], "_meta": meta}))


@pytest.mark.parametrize("value", [{"tools": "\u200b"}, {"tools": {"x": "\u200b"}}])
def test_a_list_of_another_type_is_refused(value):
    assert message_of(World(characters=REFUSE).result(value))


def test_a_warning_passes_byte_for_byte():
    world = World(mime=WARN, schemes=WARN, characters=WARN)
    value = {
        "content": [{**IMAGE, "data": "A"}, {"uri": "javascript:x", "text": "\u200b"}],
        "tools": [{"name": "\u200b"}],
    }
    message = Response(b"1", json.dumps(value).encode(), b"")
    assert world.checks.on_response("draw", message) is message
    assert world.found == [
        (MIME, "/content/0/data", "base64", False),
        (SCHEMES, "/content/1/uri", "javascript", False),
        (CHARACTERS, "/content/1/text", "zero-width", False),
    ]


def test_hidden_characters_refuse_the_result():
    world = World(characters=REFUSE)
    _, text = message_of(world.result({"content": [{"type": "text", "text": "a\x1b[31m\U000e0041"}]}))
    assert "/content/0/text has hidden characters (control, tag) (content.characters)" in text
    assert world.found == [(CHARACTERS, "/content/0/text", "control, tag", True)]
    assert message_of(world.result({"structuredContent": {"a\u200b": 1}}))
    assert message_of(world.result({"instructions": "\u202e"}))
    assert message_of(world.result({"completion": {"values": ["\u200b"]}}))


def test_values_that_only_the_server_reads_are_not_checked():
    world = World(characters=REFUSE)
    value = {"nextCursor": "\u200b", "requestState": "\x00", "task": {"taskId": "\u200b"}}
    assert bytes(world.result(value).result) == world.text


def test_hidden_characters_are_removed_from_texts_and_all_other_bytes_stay():
    world = World(characters=REWRITE, mime=REFUSE)
    text = (
        b'{ "content":[ {"type":"text" , "text":"\\u0041\\u200b\\/\\"\\u001b[0m\xe2\x80\x8b", "x":1.50} ],'
        b'"structuredContent":{"a":["\\udb40\\udc41b"]} }'
    )
    expected = b'{ "content":[ {"type":"text" , "text":"\\u0041\\/\\"[0m", "x":1.50} ],"structuredContent":{"a":["b"]} }'
    assert bytes(world.result(text).result) == expected
    (finding,) = world.findings
    assert (finding.kind, finding.refused, finding.rewritten) == (CHARACTERS, False, True)
    assert finding.keyword == "zero-width, control, tag"


@pytest.mark.parametrize(
    "value",
    [
        {"structuredContent": {"a\u200b": 1}},
        {"contents": [{"uri": "a:b\u200b", "text": ""}]},
        {"contents": [{"uri": "a:b", "mimeType": "text/plain\u200b"}]},
        {"messages": [{"role": "us\u200ber", "content": {"type": "text", "text": ""}}]},
    ],
)
def test_names_are_refused_and_not_rewritten(value):
    world = World(characters=REWRITE)
    assert message_of(world.result(value))
    assert all(one.refused for one in world.findings)


def test_only_titles_and_descriptions_of_a_schema_are_rewritten():
    world = World(characters=REWRITE)
    good = {
        "name": "a",
        "description": "x\u200b",
        "inputSchema": {"description": "y\u200b", "p": {"title": "z\u200b"}},
    }
    bad = {"name": "b", "inputSchema": {"properties": {"x": {"enum": ["a", "b\u200b"]}}}}
    key = {"name": "c", "inputSchema": {"properties": {"description\u200b": {}}}}
    name = {"name": "d\u200b"}
    result = json.loads(
        bytes(world.result(json.dumps({"tools": [good, bad, key, name]}, indent=1).encode()).result)
    )
    assert result == {
        "tools": [{"name": "a", "description": "x", "inputSchema": {"description": "y", "p": {"title": "z"}}}]
    }
    assert [(one.path, one.refused, one.rewritten) for one in world.findings] == [
        ("/tools/1/inputSchema", True, False),
        ("", False, True),
    ]


def test_errors_of_a_server_are_checked():
    world = World(schemes=REFUSE, characters=REWRITE)
    checks = world.checks
    fault = {
        "code": -32042,
        "message": "x",
        "data": {"elicitations": [{"mode": "url", "url": "javascript:x"}]},
    }
    assert message_of(checks.on_response("", Response(b"1", b"", json.dumps(fault).encode())))
    text = Response(b"1", b"", b'{"code":1,"message":"a\\u001b"}')
    assert checks.on_response("", text) == Response(b"1", b"", b'{"code":1,"message":"a"}')
    plain = Response(b"1", b"", b'{"code":1,"message":"a"}')
    assert checks.on_response("", plain) is plain


def test_notifications_are_dropped_or_rewritten():
    world = World(schemes=REFUSE, characters=REWRITE)
    on = world.checks.on_notification
    assert on(Notification("notifications/resources/updated", b'{"uri":"javascript:x"}')) is None
    assert on(Notification("notifications/message", b'{"data":"a\\u200b"}')) == Notification(
        "notifications/message", b'{"data":"a"}'
    )
    for params in (b"", b'{"data":"a"}'):
        plain = Notification("notifications/message", params)
        assert on(plain) is plain


def test_requests_of_a_server_are_refused_or_rewritten():
    world = World(schemes=REFUSE, characters=REWRITE)
    on = world.checks.on_server_request
    refused = on(Request(b"7", "elicitation/create", b'{"mode":"url","url":"javascript:x","message":"m"}'))
    assert isinstance(refused, Response)
    assert refused.id == b"7"
    code, text = message_of(refused)
    assert code == INVALID_PARAMS
    assert (
        text
        == "a request of the server git was refused: /url has a refused scheme (javascript) (content.schemes)"
    )
    assert on(Request(b"7", "elicitation/create", b'{"message":"a\\u200b"}')) == Request(
        b"7", "elicitation/create", b'{"message":"a"}'
    )
    plain = Request(b"7", "elicitation/create", b'{"message":"a"}')
    assert on(plain) is plain


@pytest.mark.parametrize(
    ("modes", "kind", "refused"),
    [
        ({"mime": REFUSE, "schemes": WARN}, MIME, True),
        ({"mime": WARN, "schemes": REFUSE}, SCHEMES, True),
        ({"mime": WARN, "schemes": OFF}, MIME, False),
    ],
)
def test_what_is_too_large_is_refused_unless_the_checks_only_warn(modes, kind, refused):
    world = World(**modes)
    response = world.result({"content": [{}] * MANY})
    if refused:
        _, text = message_of(response)
        assert f"/content is too large to be examined (content.{kind})" in text
    else:
        assert bytes(response.result) == world.text
    assert world.found == [(kind, "/content", "too_large", refused)]


def test_too_many_hidden_characters_are_refused():
    world = World(characters=REWRITE)
    _, text = message_of(world.result({"content": ["\u200b"] * 8193}))
    assert "the whole has more than 8192 strings" in text
    assert world.found == [(CHARACTERS, "", "too_large", True)]


def test_a_large_result_is_a_view():
    world = World(characters=REWRITE)
    result = msgspec.Raw(b'{"content":[{"type":"text","text":"a"}]}')
    message = Response(b"1", result, b"")
    assert world.checks.on_response("", message) is message
    assert (
        bytes(world.checks.on_response("", Response(b"1", msgspec.Raw(b'{"a":"\\u200b"}'), b"")).result)
        == b'{"a":""}'
    )
