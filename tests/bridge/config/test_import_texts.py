"""Texts of an imported configuration in TOML."""

import tomllib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.config.import_texts import toml_array, toml_string


@settings(deadline=None)
@given(st.text())
@example('"\\\n\r\t\0\x7f\x85\u2028\u202e\U000e0001\U0001f600')
def test_a_toml_string_means_its_text(text):
    quoted = toml_string(text)
    assert quoted.isprintable()
    assert tomllib.loads(f"x = {quoted}") == {"x": text}


def test_an_array_holds_its_texts():
    assert tomllib.loads(f"x = {toml_array(['a', 'b c'])}") == {"x": ["a", "b c"]}
