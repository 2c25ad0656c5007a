"""The list of mutants that may survive."""

import pytest

from .accepted import FILE, accepted
from .modules import pure_modules
from .mutant import Key

ENTRY = """
[[mutant]]
module = "validators/names.py"
line = "return 1"
operator = "NumberReplacer"
"""


def test_an_entry_has_a_name_and_a_reason():
    reason = "equivalent: only its sign is read"
    assert accepted(f'{ENTRY}number = 2\nreason = "{reason}"\n') == {
        Key("validators/names.py", "return 1", "NumberReplacer", 2): reason
    }


@pytest.mark.parametrize("reason", ['reason = "because"', 'reason = ""', ""])
def test_an_entry_without_a_reason_of_a_kind_is_an_error(reason):
    with pytest.raises(ValueError, match="does not begin"):
        accepted(ENTRY + reason)


def test_an_entry_that_stands_twice_is_an_error():
    with pytest.raises(ValueError, match="twice"):
        accepted(2 * f'{ENTRY}reason = "text: a log line"\n')


def test_each_entry_of_the_list_is_a_line_of_its_module():
    """`make mutation` also checks the operators."""
    modules = {*pure_modules()}
    for key in accepted(FILE.read_text()):
        assert key.module in modules
        assert key.line in [line.strip() for line in (FILE.parents[2] / key.module).read_text().splitlines()]
