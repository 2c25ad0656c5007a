"""How text of a server appears in errors."""

from mcpbridged.validators.oauth_refusal import ErrorAnswer, shown


def test_control_characters_of_a_server_are_escaped():
    assert shown("\x1b[2J\r\nX: é") == r"'\x1b[2J\r\nX: \xe9'"


def test_long_text_is_cut():
    assert shown("a" * 201) == f"'{'a' * 200}'…"
    assert shown("a" * 200) == f"'{'a' * 200}'"


def test_other_values_are_shown_as_well():
    assert shown(None) == "'None'"


def test_an_error_answer_has_its_code():
    assert ErrorAnswer("text", "invalid_grant").code == "invalid_grant"
    assert ErrorAnswer("text").code == ""
