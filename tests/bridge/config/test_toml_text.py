"""Tables are written as TOML that has the same values."""

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.config.toml_text import written

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
LEAVES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_the_values_are_the_same_when_they_are_read_again(tables):
    assert tomllib.loads(written(tables)) == tables


def test_tables_have_headers_and_long_lists_have_lines():
    words = ["x" * 60, "y" * 60]
    text = written({"b": {"x": {"k": words, "t": {"m": 1}}}, "a": 1}, {("b", "x"): ["a note"]})
    assert text == (
        'a = 1\n\n[b.x]\n# a note\nk = [\n  "' + "x" * 60 + '",\n  "' + "y" * 60 + '",\n]\nt = { m = 1 }\n'
    )


def test_no_character_controls_the_terminal():
    text = written({"k": "\x1b[31m\x7f\x85\u202e\U000e0001"})
    assert text == 'k = "\\u001b[31m\\u007f\\u0085\\u202e\\U000e0001"\n'
