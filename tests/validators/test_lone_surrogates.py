"""JSON texts with lone surrogates."""

import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators import json_object, lone_surrogates
from mcpbridged.validators.lone_surrogates import MOST_REPLACED, readable

MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
ITEMS = msgspec.json.Decoder(list[msgspec.Raw]).decode


@pytest.mark.parametrize(
    ("text", "copy"),
    [
        (rb'"\ud800"', rb'"\ufffd"'),
        (rb'"\UD800"', None),
        (rb'"\\ud800"', None),
        (rb'"\\\ud800"', rb'"\\\ufffd"'),
        (rb'"\ud83d\ude00"', None),
        (rb'"\uD83D\uDE00"', None),
        (rb'"\ud83d\ude00\ude00"', rb'"\ud83d\ude00\ufffd"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\udc00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\uD83Dx\uDE00"', rb'"\ufffdx\ufffd"'),
        (rb'"\ud83d\\ude00"', rb'"\ufffd\\ude00"'),
        (rb'"\\ud83d\ude00"', rb'"\\ud83d\ufffd"'),
        (rb'"\ud55c\ud7ff"', None),
        (rb'"x\\\\\ud83d y"', rb'"x\\\\\ufffd y"'),
        (b'"' + b"\\\\" * 2000 + rb'\ud83d"', b'"' + b"\\\\" * 2000 + rb'\ufffd"'),
        (b'"' + b"\\\\" * 2000 + rb'ud83d"', None),
        (rb'"\ud83"', None),
        (rb'"\n' + b"x" * 70_000 + rb'\\\ud83d"', rb'"\n' + b"x" * 70_000 + rb'\\\ufffd"'),
        (b'"\\ud800\x01\x02\\\\ \\ud800"', None),
        (b'"x"', None),
    ],
)
def test_lone_surrogates_are_replaced_in_a_copy_of_the_same_length(text, copy):
    assert readable(text) == copy


@given(
    st.text(
        st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010) | st.sampled_from('\\"u\U0001f600a'),
        max_size=12,
    )
)
@settings(max_examples=500)
def test_any_text_is_readable_and_of_the_same_length(value):
    text = json.dumps(value).encode()
    copy = readable(text)
    assert copy is None or len(copy) == len(text)
    wanted = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if copy else None
    assert copy is None or "\ufffd" in wanted
    msgspec.json.decode(copy or text)


def test_too_many_lone_surrogates_are_refused_at_once():
    assert readable(b'"' + rb"\ud83d" * MOST_REPLACED + b'"') is not None
    began = time.thread_time()
    assert readable(b'"' + rb"\ud83d" * (MOST_REPLACED + 1) + b'"') is None
    assert readable(b'"' + rb"\ud83d\ude00" * (1024 * 1024) + rb'\ud83d"') is None
    assert time.thread_time() - began < 5


def test_values_are_parts_of_the_original_text():
    text = b'{"1":1,"\\ud83d":"\\ud83d", "a" : [ "\\uDE00" ] ,"a":{"1":1},"\xc3\xa9":1e0}'
    found = lone_surrogates.members(msgspec.Raw(text), MEMBERS)
    assert {name: bytes(value) for name, value in found.items()} == {
        "1": b"1",
        "\ufffd": b'"\\ud83d"',
        "a": b'{"1":1}',
        "é": b"1e0",
    }
    items = lone_surrogates.items(b'[ 1,"1" , "\\ud83d",["\\ud83d"],{"a":1}]', ITEMS)
    assert list(map(bytes, items)) == [b"1", b'"1"', b'"\\ud83d"', b'["\\ud83d"]', b'{"a":1}']
    items = lone_surrogates.items(b' [["\\ud83d"],1]', ITEMS)
    assert list(map(bytes, items)) == [b'["\\ud83d"]', b"1"]
    assert lone_surrogates.decoded(msgspec.json.decode, rb'"\ud83d"') == "\ufffd"


@pytest.mark.parametrize("text", [b"{", b'{"a":"\\ud83d",}', b"[]", b'["\\ud83d"]'])
def test_other_values_than_objects_are_refused(text):
    with pytest.raises(json_object.UNREADABLE):
        lone_surrogates.members(text, MEMBERS)
    with pytest.raises(json_object.UNREADABLE):
        lone_surrogates.decoded(MEMBERS, text)


@pytest.mark.parametrize("text", [b"[", b'["\\ud83d",]', b"{}", b'{"a":"\\ud83d"}'])
def test_other_values_than_arrays_are_refused(text):
    with pytest.raises(json_object.UNREADABLE):
        lone_surrogates.items(text, ITEMS)


def test_the_names_and_repeated_members_of_an_object_with_a_lone_surrogate_are_small():
    text = b'{"a":"%b","a":1,"b":"\\ud83d"}'
    assert bytes(lone_surrogates.members(text % b"x", MEMBERS)["a"]) == b"1"
    with pytest.raises(json_object.UNREADABLE):
        lone_surrogates.members(text % (b"x" * 2_000_000), MEMBERS)
    with pytest.raises(json_object.UNREADABLE):  # deeper than a slow parser can follow
        lone_surrogates.places(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"b":1}', {"b": b"1"})


def test_objects_with_a_lone_surrogate_are_read_and_written():
    text = b'{"_meta":{"a":"\\ud83d"},"tools":[{"name":"x\\ud83d"}]}'
    found = json_object.read(text)
    assert json_object.string(json_object.peek(json_object.items(found["tools"])[0])["name"]) == "x\ufffd"
    assert json_object.write(found) == text
    assert json_object.items_up_to(1, b'["\\ud83d",2]') is None
    assert list(map(bytes, json_object.items_up_to(2, b'["\\ud83d",2]'))) == [b'"\\ud83d"', b"2"]
