"""The members of an object in a text that may not be JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.partial_object import outline, walk

WHOLE = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN},"id":2}'


def test_a_whole_object_has_its_members():
    found, whole = outline(b" \n" + WHOLE + b" \r\n")
    assert whole
    assert found == {"jsonrpc": b'"2.0"', "id": b"2", "method": b'"x"', "params": b'{"a":NaN}'}


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_a_cut_object_has_the_members_before_the_cut(cut):
    found, whole = outline(WHOLE[:cut])
    assert not whole
    assert all(value in (b"", b'"2.0"', b"1", b'"x"', b'{"a":NaN}') for value in found.values())


@pytest.mark.parametrize(
    ("text", "members"),
    [
        (b'{"result":[1,],"id":5}', {"result": b"", "id": b"5"}),
        (
            b'{"result":[1,],"jsonrpc":"2.0" , "id" : "a\\"b" } ',
            {"result": b"", "jsonrpc": b'"2.0"', "id": b'"a\\"b"'},
        ),
        (b'{"id":1,"result":[1,],"id":5}', {"id": b"1", "result": b""}),
        (b'{"result":[1,],"x":{"id":5}}', {"result": b""}),
        (b'{"id":01,"a":1}', {"id": b""}),
        (b'{"result":[1,],"id":007}', {"result": b""}),
        (b'{"result":[1,],"jsonrpc":"2.0","id":"\n","method":"x"\r\n}', {"result": b"", "jsonrpc": b'"2.0"'}),
        (b'{"a":' + b"[" * 5000 + b'},"id":5}', {"a": b"", "id": b"5"}),
        ('{"é":1,"\\u00e9":2,"id":3}'.encode(), {"é": b"2", "id": b"3"}),
        (b'{"id":1,"\xff":2}', {"id": b"1"}),
        (b'{"id" 1}', {}),
        (b'{"id', {}),
        (b'{"id":1;}', {"id": b""}),
        (b'{"id":1,}', {"id": b"1"}),
        (b"{}", {}),
        (b"[1]", {}),
        (b"", {}),
    ],
)
def test_readable_members_are_returned(text, members):
    assert outline(text).members == members


def test_known_values_are_not_read_again():
    deep = b"[" * 5000
    assert list(walk(b'{"a": ' + deep + b' ,"b":1}', {"a": deep})) == [("a", 6, 5006), ("b", 5012, 5013)]
    assert list(walk(b'{"a":10,"a":1}', {"a": b"1"})) == [("a", 5, 7), ("a", 12, 13)]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())), st.booleans())
@settings(max_examples=200)
def test_any_object_has_its_members(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found, whole = outline(text)
    assert whole == bool(value)
    assert {name: json.loads(one) for name, one in found.items()} == value
