"""Repetitions whose time doubles with each character: the check agrees with the time that the matcher takes."""

import re
import time

import pytest

from .gates.regular_expressions import _findings, ast
from .repetition import ambiguous

BAD = [
    r"(?:a+)+!",
    r"(?:a*)*!",
    r"(?:a+b?)*!",
    r"(?:[ab]|a[b]*)*!",
    r"(?:(?:ab?)+)*!",
    r"(?:\w|a+)*!",
    r"(?:[^x]+)*!",
    r"(?:a{1,100})+!",
    r"(?:a{1,3})+!",
    r"(?:aa?)+!",
    r"(?:ab|a|b)*!",
]
GOOD = [
    r"(?:\.[a-z]+)*!",
    r"[a-z]+(?:_[a-z]+)*!",
    r"(?:a++)+!",
    r"(?>a+)+!",
    r"(?:a+){1,3}!",
    r"(?:a{3})+!",
    r"(?:abc|abd)*!",
    r"(?:,[^,]*)*!",
    r"(?:[^\\]|\\\\)*!",
    r"(?:a[bc]*|d[bc]*)*!",
    r"(?:a|\w)*!",
    r"(?:(?:ab?)++)*!",
    r"a*b*!",
]


@pytest.mark.parametrize("pattern", BAD)
def test_a_repetition_of_a_repetition_is_ambiguous(pattern):
    assert ambiguous(pattern)
    assert ambiguous(pattern.encode())


@pytest.mark.parametrize("pattern", GOOD)
def test_a_repetition_that_can_be_gone_through_in_one_way_is_not(pattern):
    assert not ambiguous(pattern)


@pytest.mark.parametrize("pattern", GOOD)
@pytest.mark.parametrize(
    "text", ["a" * 60, "ab" * 30, ".ab" * 20, "a_" * 30, ",ab" * 20, "abc" * 20, "\\\\" * 30]
)
def test_what_is_not_ambiguous_takes_no_time(pattern, text):
    begun = time.process_time()
    assert re.fullmatch(pattern, text) is None
    assert time.process_time() - begun < 0.5


def found(text, constants=None):
    return list(_findings({"a.py": ast.parse(text)}, constants or {}))


@pytest.mark.parametrize(
    "text",
    [
        "re.compile('(?:a+)+')",
        "re.sub(rb'(?:a+)+', b'', x)",
        "A = '(?:a+)+'\nre.match(A + 'b', x)",
        "A: Final = 'a+'\nre.match(f'(?:{A})+', x)",
        "re.compile(rf'(?:{OTHER})*'.encode())",
    ],
)
def test_a_pattern_is_found_in_an_expression(text):
    assert len(found(text, {"OTHER": "b*"})) == 1


@pytest.mark.parametrize(
    "text",
    ["re.compile(made())", "re.compile(f'(?:{made})+')", "x.compile('(?:a+)+')", "re.compile(f'(?:{made}[')"],
)
def test_a_pattern_that_is_made_elsewhere_is_not_judged(text):
    assert found(text) == []
