"""Which places are mutated, and which lines are run with a place."""

import ast
from textwrap import dedent

import pytest

from .places import RULES, Skipped, reached

SOURCE = dedent(
    '''\
    """é: a text that is longer in UTF-8."""
    from typing import TYPE_CHECKING, override

    if TYPE_CHECKING:
        import a1

    LIMIT: int | 2 = 3

    @dataclass(frozen=True, order=True)
    class One(Struct, gc=False, tag=True):
        __slots__ = (4,)
        field: int | 5 = 6

        @override
        @cache
        def method(self, first: int | 7 = 8, *, second=9) -> int | 10:
            local: int | 11 = 12
            "é"; return local + 13
    '''
)


def place_of(text, end=""):
    """Return the place of the last text in the source."""
    index = SOURCE.rindex(text + end)
    before = SOURCE[:index]
    return before.count("\n") + 1, len(before.rpartition("\n")[2])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a1", "type checking"),
        ("2 = 3", "annotation"),
        ("3\n", ""),
        ("True, order", "declaration"),
        ("order=True", ""),
        ("gc", "declaration"),
        ("tag", ""),
        ("4,", "declaration"),
        # A class makes fields of its annotations.
        ("5 =", ""),
        ("6\n", ""),
        ("@override", "typing decorator"),
        ("@cache", ""),
        ("7 =", "signature"),
        ("8,", ""),
        ("*,", "signature"),
        ("9)", ""),
        ("10:", "signature"),
        ("11 =", "annotation"),
        ("12", ""),
        ("+ 13", ""),
    ],
)
def test_a_place_has_its_rule(text, rule):
    assert Skipped(SOURCE).rule("NumberReplacer", place_of(text)) == rule
    assert not rule or rule in RULES


@pytest.mark.parametrize("variant", ["Eq_Is", "Is_Eq", "NotEq_IsNot", "IsNot_NotEq"])
def test_identity_and_equality_are_not_exchanged(variant):
    skipped = Skipped("a = b == c\n")
    assert skipped.rule(f"ReplaceComparisonOperator_{variant}", (1, 6)) == "identity"


@pytest.mark.parametrize("variant", ["Eq_NotEq", "Is_IsNot", "Eq_IsNot", "Gt_Is"])
def test_other_comparisons_are_exchanged(variant):
    assert Skipped("a = b == c\n").rule(f"ReplaceComparisonOperator_{variant}", (1, 6)) == ""


LINES = dedent(
    """\
    LIMIT = 1
    @decorator
    def one(first=2):
        if (first
                and second):
            return 6
        try:
            eight()
        except (Nine,
                Ten):
            eleven()
        match first:
            case 13 if (
                    fourteen):
                fifteen()
        return (16 +
                17)

    class Two:
        nineteen = 19

        def method(self, first=21):
            def inner(second=22):
                return 23
            return 24
        async def other(self): return 25
    """
)


@pytest.mark.parametrize(
    ("line", "lines", "at_import"),
    [
        (1, None, True),
        (2, range(2, 18), True),
        (3, range(2, 18), True),
        (5, range(4, 6), False),
        (6, range(6, 7), False),
        (8, range(8, 9), False),
        (10, range(9, 11), False),
        (11, range(11, 12), False),
        (12, range(12, 13), False),
        (14, range(13, 15), False),
        (17, range(16, 18), False),
        (20, range(19, 27), True),
        (22, range(22, 26), True),
        (23, range(23, 25), False),
        (24, range(24, 25), False),
        (25, range(25, 26), False),
        (26, range(26, 27), False),
    ],
)
def test_the_lines_that_are_run_with_a_line(line, lines, at_import):
    found = reached(ast.parse(LINES), line)
    assert found.at_import == at_import
    assert found.lines == lines
