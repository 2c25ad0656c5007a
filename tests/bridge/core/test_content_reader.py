"""Parts of messages, and the places of strings."""

import json

import pytest

from mcpbridged.bridge.core import content_reader
from mcpbridged.bridge.core.content_reader import ContentReader, TooLarge, item_places
from mcpbridged.bridge.core.content_shapes import ERROR, PARAMS, RESULT, Leaf
from mcpbridged.bridge.core.hidden_json import find_hidden

MANY = 4097


def parts(shape, value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return [(one.path, one.leaf, bytes(one.text)) for one in ContentReader(len(text)).parts(shape, text)]


def places(shape, value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    found = ContentReader(len(text)).places(shape, text, find_hidden(text))
    return [(one.path, one.leaf) for one in found]


def test_the_parts_of_a_result_of_a_tool():
    content = [
        {"type": "text", "text": "a", "annotations": {"uri": "b"}},
        {"type": "image", "mimeType": "image/png", "data": "AAAA"},
        {"type": "resource", "resource": {"uri": "a:b", "mimeType": "x/y", "blob": "AA=="}},
        {
            "type": "resource_link",
            "uri": "c:d",
            "name": "n",
            "icons": [{"src": "e:f", "mimeType": "image/x"}],
        },
    ]
    assert parts(RESULT, {"content": content, "structuredContent": {"uri": "x", "mimeType": 1}}) == [
        ("/content/0/type", Leaf.NAME, b'"text"'),
        ("/content/1/type", Leaf.NAME, b'"image"'),
        ("/content/1/mimeType", Leaf.MEDIA_TYPE, b'"image/png"'),
        ("/content/1/data", Leaf.BASE64, b'"AAAA"'),
        ("/content/2/type", Leaf.NAME, b'"resource"'),
        ("/content/2/resource/uri", Leaf.ADDRESS, b'"a:b"'),
        ("/content/2/resource/mimeType", Leaf.MEDIA_TYPE, b'"x/y"'),
        ("/content/2/resource/blob", Leaf.BASE64, b'"AA=="'),
        ("/content/3/type", Leaf.NAME, b'"resource_link"'),
        ("/content/3/uri", Leaf.ADDRESS, b'"c:d"'),
        ("/content/3/icons/0/src", Leaf.ICON, b'"e:f"'),
        ("/content/3/icons/0/mimeType", Leaf.MEDIA_TYPE, b'"image/x"'),
    ]


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        (
            RESULT,
            {"serverInfo": {"websiteUrl": "a:b", "icons": [{"src": "c:d"}]}},
            ["/serverInfo/websiteUrl", "/serverInfo/icons/0/src"],
        ),
        (
            RESULT,
            {"_meta": {"io.modelcontextprotocol/serverInfo": {"websiteUrl": "a:b"}}},
            ["/_meta/io.modelcontextprotocol~1serverInfo/websiteUrl"],
        ),
        (RESULT, {"contents": [{"uri": "a:b"}]}, ["/contents/0/uri"]),
        (RESULT, {"resources": [{"uri": "a:b"}]}, ["/resources/0/uri"]),
        (
            RESULT,
            {"messages": [{"content": {"type": "resource_link", "uri": "a:b"}}]},
            ["/messages/0/content/uri"],
        ),
        (RESULT, {"result": {"content": [{"uri": "a:b"}]}}, ["/result/content/0/uri"]),
        (
            RESULT,
            {"inputRequests": {"k": {"params": {"mode": "url", "url": "a:b"}}}},
            ["/inputRequests/0/params/url"],
        ),
        (PARAMS, {"url": "a:b"}, ["/url"]),
        (PARAMS, {"uri": "a:b"}, ["/uri"]),
        (
            PARAMS,
            {"messages": [{"content": [{"type": "tool_result", "content": [{"uri": "a:b"}]}]}]},
            ["/messages/0/content/0/content/0/uri"],
        ),
        (ERROR, {"code": -32042, "data": {"elicitations": [{"url": "a:b"}]}}, ["/data/elicitations/0/url"]),
        (RESULT, {"content": "a:b"}, []),
        (RESULT, 5, []),
        (RESULT, [{"uri": "a"}], []),
    ],
)
def test_addresses_of_messages(shape, value, expected):
    assert [path for path, leaf, _ in parts(shape, value) if leaf in {Leaf.ADDRESS, Leaf.ICON}] == expected


def test_names_with_escapes_and_repeated_members_are_read():
    assert parts(RESULT, b'{"contents":[{"\\u0075ri":"a:b"}]}') == [
        ("/contents/0/uri", Leaf.ADDRESS, b'"a:b"')
    ]
    assert parts(PARAMS, b'{"url":"a:b","url":"c:d"}') == [("/url", Leaf.ADDRESS, b'"c:d"')]
    assert parts(PARAMS, b'{"url":"a:\\ud800"}')[0][1] is Leaf.ADDRESS


@pytest.mark.parametrize(
    "value",
    [
        {"content": [{}] * MANY},
        {"content": [{"icons": [{}] * 40}] * 1000},
        {"result": {f"member {number}": "" for number in range(70_000)}},
    ],
)
def test_what_is_too_large_is_not_read(value):
    with pytest.raises(TooLarge):
        parts(RESULT, value)


def test_the_number_of_values_is_limited(monkeypatch):
    monkeypatch.setattr(content_reader, "_MOST_VALUES", 4)
    assert parts(RESULT, {"content": [{}, {}]}) == []
    with pytest.raises(TooLarge, match="/content/2"):
        parts(RESULT, {"content": [{}, {}, {}]})


def nested(levels):
    """Return the result of a tool with results of tools in it. Each result has two levels."""
    value: object = {"content": []} if levels % 2 else {}
    for _ in range(levels // 2):
        value = {"content": [value]}
    return value


def test_a_short_text_may_have_32_levels():
    assert parts(RESULT, nested(32)) == []
    with pytest.raises(TooLarge, match=r"/content/0/content/0"):
        parts(RESULT, nested(33))


def test_a_long_text_may_have_few_levels():
    text = {"content": [{"type": "text", "text": "x" * 5 * 1024 * 1024}]}
    assert [path for path, _, _ in parts(RESULT, text)] == ["/content/0/type"]


def test_bytes_that_are_read_again_are_limited(monkeypatch):
    monkeypatch.setattr(content_reader, "_FREE_BYTES", 0)
    monkeypatch.setattr(content_reader, "_MOST_PASSES", 2)
    with pytest.raises(TooLarge):
        parts(RESULT, {"content": [{"resource": {"uri": "a"}}]})


def test_the_places_of_strings():
    value = {
        "\u200ba": 1,
        "structuredContent": {"\u200bb": ["\u200b"], "x": "\u200b"},
        "content": [{"text": "\u200b", "mimeType": "\u200b", "\u200b": ""}, 5, "\u200b", {"text": "a"}],
        "nextCursor": "\u200b",
        "tools": [{"name": "a\u200b", "inputSchema": {"x": "\u200b"}}],
        "contents": "\u200b",
        "a\u200b": 1,
    }
    expected = [
        ("", None),
        ("/structuredContent", None),
        ("/structuredContent", Leaf.TEXT),
        ("/structuredContent", Leaf.TEXT),
        ("/content/0/text", Leaf.TEXT),
        ("/content/0/mimeType", Leaf.MEDIA_TYPE),
        ("/content/0", None),
        ("/content/2", Leaf.TEXT),
        ("/nextCursor", Leaf.OPAQUE),
        ("/tools/0/name", Leaf.NAME),
        ("/tools/0/inputSchema", Leaf.SCHEMA),
        ("/contents", Leaf.TEXT),
        ("", None),
    ]
    assert places(RESULT, value) == expected
    spaced = json.dumps(value, indent=1, ensure_ascii=False).encode()
    assert places(RESULT, spaced) == expected
    assert places(RESULT, "\u200b") == [("", Leaf.TEXT)]


def test_the_places_of_strings_in_objects_of_objects():
    value = {"task": {}, "result": {"task": {}, "result": {"x": 1, "content": ["\u200b", {"uri": "\u200b"}]}}}
    assert places(RESULT, value) == [
        ("/result/result/content/0", Leaf.TEXT),
        ("/result/result/content/1/uri", Leaf.ADDRESS),
    ]


def test_places_in_a_text_with_lone_surrogates():
    assert places(
        RESULT, b'{"a\\ud800":"\\udc00","content":["\\ud800\\u200b",{"text":"\\u200b\\udfff"}]}'
    ) == [
        ("/content/0", Leaf.TEXT),
        ("/content/1/text", Leaf.TEXT),
    ]


@pytest.mark.parametrize(
    "text",
    [
        # A repeated list: which item is at a place is not certain.
        b'{"tools":["\\u200b"],"tools":["\\u200b"]}',
        b'{"contents":"\\u200b","x":' + b" " * 1024 * 1024 + b"1}",
        b'{"contents":"\\u200b","x":tru}',
    ],
)
def test_places_that_are_not_certain_are_not_read(text):
    with pytest.raises(TooLarge):
        places(RESULT, text)


def test_the_places_of_items():
    text = b'[ 1,"1" , {"a":[1]},[],null ]'
    assert [text[begin:end] for begin, end in item_places(text, "")] == [
        b"1",
        b'"1"',
        b'{"a":[1]}',
        b"[]",
        b"null",
    ]
    with pytest.raises(TooLarge):
        item_places(b"[" + b"1," * MANY + b"1]", "")
