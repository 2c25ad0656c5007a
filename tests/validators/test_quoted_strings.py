"""The search for a string in JSON text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.quoted_strings import occurs

KEY = b'"_meta"'
LONG = b"x" * 20_000


@pytest.mark.parametrize(
    ("text", "start", "found"),
    [
        (b'{"_meta":1}', 0, True),
        (b'{"_meta":1}', 2, False),
        (b'{"meta":1}', 0, False),
        (b'{"a":"' + LONG + b'","_meta":1}', 0, True),
        (b'{"_meta":"' + LONG + b'"}', 0, True),
        (b'{"_meta":"' + LONG + b'"}', 2, False),
        (b'{"a":"' + LONG + b'"}', 0, False),
        (LONG, 0, False),
        (b'"a"' + LONG + KEY, 0, True),
        (LONG + b'""' * 31 + b'"_meta"', 0, True),
        (LONG + b'""' * 32 + b'"_meta"', 0, True),
        (LONG + b'""' * 100 + b'"_meta"', 0, True),
        (LONG + b'""' * 100 + b'"_met"', 0, False),
        (LONG + b'""' * 32, 0, False),
    ],
)
def test_a_string_is_found_wherever_it_is(text, start, found):
    assert occurs(KEY, text, start) is found


@given(
    st.lists(st.sampled_from([KEY, b'""', b'"_met', b"x" * 9_000, b'"', b'","'])).map(b"".join),
    st.integers(0, 30),
)
def test_the_search_agrees_with_that_of_python(text, start):
    assert occurs(KEY, text, start) == (KEY in text[start:])
