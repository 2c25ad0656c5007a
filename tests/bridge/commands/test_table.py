"""Tables for a terminal."""

from mcpbridged.bridge.commands.table import table


def test_columns_are_aligned_and_numbers_to_the_right():
    assert table(("name", "calls"), [("a", 5), ("long", 12)]) == "name  calls\na         5\nlong     12"


def test_a_column_with_a_text_is_aligned_to_the_left():
    assert table(("name", "calls"), [("a", 5), ("b", "none")]) == "name  calls\na     5\nb     none"


def test_a_table_without_rows_has_its_head():
    assert table(("name", "calls"), []) == "name  calls"


def test_text_of_a_server_cannot_control_the_terminal():
    assert "\x1b" not in table(("name",), [("\x1b[2J",)])
