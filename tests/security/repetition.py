"""Find repetitions in regular expressions whose time can double with each character (CWE-1333).

`(?:a+)+` can divide a text of n letters in 2^(n-1) ways, and the matcher tries all of them before it reports that there is no
match. A repetition that holds another one is unambiguous if each turn has a character that the inner repetitions cannot match,
as the dot of `(?:\\.[a-z]+)*`. Possessive repetitions (`++`) and atomic groups try one way only.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from re import _constants as codes
from re import _parser as parser
from typing import Any, Final

# More turns than this are as bad as any number.
_MANY: Final = 64
_ALL: Final = frozenset(range(0x180))
_BACKTRACKS: Final = (codes.MAX_REPEAT, codes.MIN_REPEAT)
_FINAL: Final = (codes.POSSESSIVE_REPEAT, codes.ATOMIC_GROUP)
_CATEGORIES: Final = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}


def ambiguous(pattern: str | bytes) -> bool:
    """Return whether a pattern has a repetition that a text can go through in very many ways."""
    return any(_is_ambiguous(body) for _, most, body in _repeated(parser.parse(pattern)) if most >= _MANY)


def _repeated(items: Iterable[Any], *, final: bool = True) -> Iterator[tuple[int, int, Any]]:
    """Yield the least and most turns and the body of each repetition that backtracks. Without `final`, the parts are left out
    into which the matcher never goes back."""
    for code, value in items:
        if code in _BACKTRACKS:
            yield value
        if final or code not in _FINAL:
            for part in _parts(code, value):
                yield from _repeated(part, final=final)


def _parts(code: Any, value: Any) -> list[Any]:
    """Return the patterns in an item."""
    match code:
        case codes.MAX_REPEAT | codes.MIN_REPEAT | codes.POSSESSIVE_REPEAT:
            return [value[2]]
        case codes.SUBPATTERN:
            return [value[3]]
        case codes.BRANCH:
            return list(value[1])
        case codes.ASSERT | codes.ASSERT_NOT:
            return [value[1]]
        case codes.ATOMIC_GROUP:
            return [value]
        case _:
            return []


def _is_ambiguous(body: Any) -> bool:
    ways = _ways(body)
    if any(_first(one) & _first(other) for one, other in combinations(ways, 2)):
        return True
    # Also `a?` and `a{1,3}` divide a text in many ways.
    inner = [_letters(repeated) for least, most, repeated in _repeated(body, final=False) if least < most]
    within = frozenset().union(*inner)
    return bool(inner) and any(
        not any(letters.isdisjoint(within) for letters in _needed(way)) for way in ways
    )


def _first(items: Any) -> frozenset[int]:
    """Return the characters with which a sequence can begin."""
    for code, value in items:
        if code in {codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY}:
            return _letters([(code, value)])
        if code is codes.SUBPATTERN:
            return _first(value[3])
        if code is codes.BRANCH:
            return frozenset().union(*map(_first, value[1]))
        if code in {*_BACKTRACKS, codes.POSSESSIVE_REPEAT}:
            return _first(value[2]) if value[0] else _letters(items)
    return frozenset()


def _ways(body: Any) -> list[Any]:
    """Return the alternatives of a body; one if it is no list of alternatives."""
    items = list(body)
    if len(items) == 1 and items[0][0] is codes.SUBPATTERN:
        return _ways(items[0][1][3])
    if len(items) == 1 and items[0][0] is codes.BRANCH:
        return [list(way) for way in items[0][1][1]]
    return [items]


def _needed(items: Any) -> Iterator[frozenset[int]]:
    """Yield the characters of each item of a sequence that cannot be left out."""
    for code, value in items:
        if code in {codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY}:
            yield _letters([(code, value)])
        elif code is codes.SUBPATTERN:
            yield from _needed(value[3])
        elif code in {*_BACKTRACKS, codes.POSSESSIVE_REPEAT} and value[0] > 0 and len(value[2]) == 1:
            yield _letters(value[2])


def _letters(items: Any) -> frozenset[int]:
    """Return the characters that a pattern can have anywhere."""
    found: frozenset[int] = frozenset()
    for code, value in items:
        match code:
            case codes.LITERAL:
                found |= {value}
            case codes.NOT_LITERAL:
                found |= _ALL - {value}
            case codes.ANY:
                found |= _ALL
            case codes.IN:
                found |= _class(value)
            case _:
                found = found.union(*(_letters(part) for part in _parts(code, value)))
    return found


def _class(items: Any) -> frozenset[int]:
    letters: frozenset[int] = frozenset()
    for code, value in items:
        if code is codes.LITERAL:
            letters |= {value}
        elif code is codes.RANGE:
            letters |= frozenset(range(value[0], min(value[1], max(_ALL)) + 1))
        elif code is codes.CATEGORY:
            letters |= {number for number in _ALL if re.match(_CATEGORIES[value], chr(number))}
    return _ALL - letters if items[0][0] is codes.NEGATE else letters
