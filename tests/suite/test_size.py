"""The report of the size of the code."""

import re

from .size import code_lines, needed, report, size_of

SOURCE = '''"""A docstring.

Of three lines."""

import os  # counted


# A comment.
class Name:
    """Another docstring."""

    text = """counted
    as two"""
'''


def test_lines_with_code_are_counted():
    assert code_lines(SOURCE) == 4


def test_the_requirements_of_requirements_are_needed_and_those_of_extras_are_not():
    found = needed("mcpbridged")
    assert {"trio", "outcome", "msgspec"} <= set(found)
    assert not {"pytest", "opentelemetry-sdk", "pyyaml"} & set(found)


def test_the_size_of_a_distribution_is_that_of_its_files():
    assert 100_000 < size_of(needed("mcpbridged")["trio"]) < 10_000_000


def test_the_report_has_packages_and_dependencies():
    text = "\n".join(report())
    assert re.search(r"^bridge +\d+,\d+$", text, re.MULTILINE)
    assert re.search(r"^  bridge/core +\d+,\d+$", text, re.MULTILINE)
    assert re.search(r"^dependencies \(\d+\) +[\d,]+ KiB$", text, re.MULTILINE)
    assert re.search(r"^  msgspec [\d.]+ +[\d,]+ KiB$", text, re.MULTILINE)
