"""Documents that a program of the tests writes, compared with what it writes now."""

import re

import pytest

from mcpbridged.bridge.commands import status

from ..clients import import_table
from ..support.documents import read


def test_the_page_of_clients_is_what_the_imports_make():
    """After a change: make import-table."""
    assert import_table.DOCUMENT.read_text() == import_table.document()


def unknown_columns(text):
    """Return the titles of recorded tables of `mcp-bridge status` that are no column of the program, short or long."""
    titles = {title for column in status._COLUMNS for title in (column.title, column.short) if title}
    heads = re.findall(r"^ *(server +state .*)$", text, re.MULTILINE)
    assert heads
    return {title for head in heads for title in re.split(r" {2,}", head.strip())} - titles


@pytest.mark.parametrize("document", ["docs/SESSION.md", "docs/WORKSTATION.md"])
def test_a_recorded_table_has_the_columns_of_the_program(document):
    assert unknown_columns(read(document)) == set()


def test_another_column_is_found():
    assert unknown_columns("    server  state    eras  procs\n") == {"eras"}
