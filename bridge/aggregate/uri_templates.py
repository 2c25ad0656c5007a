"""Which URIs a resource template stands for (RFC 6570), to find the server of a resource. Pure.

Matching is at least as generous as that of the official SDKs, because it only chooses whom to ask: a variable of a path
takes any characters but `/`, and a query may be absent. The time is bounded by the length of the URI times the number of
expressions, whatever the template is.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

# Of a template. A longer one, or one with more expressions, matches nothing.
_LONGEST: Final = 2048
_MOST_EXPRESSIONS: Final = 64
_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
# What an expression begins with in the URI, by its operator (RFC 6570, section 3.2.1).
_FIRST: Final = {"#": "#", ".": ".", "/": "/", ";": ";", "?": "?", "&": "&"}
# Expressions that may stand for nothing, since clients leave undefined variables out.
_OPTIONAL: Final = frozenset("#;?&")
# Expressions whose values may hold a slash.
_RESERVED: Final = frozenset("+#?&")


class _Part(NamedTuple):
    """A literal text, and the expression after it: what it begins with, whether it takes slashes, and may be empty."""

    literal: str
    first: str = ""
    slashes: bool = False
    optional: bool = False
    ends: bool = False  # no expression follows


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[_Part, ...]:
    """Return the parts of a template, the last one without an expression; none for what is not matched."""
    parts: list[_Part] = []
    end = 0
    for found in _EXPRESSION.finditer(template):
        operator, variables = found[1], found[2]
        several = "*" in variables or (operator == "/" and "," in variables)
        slashes = operator in _RESERVED or several
        literal = template[end : found.start()]
        parts.append(_Part(literal, _FIRST.get(operator, ""), slashes, operator in _OPTIONAL))
        end = found.end()
    parts.append(_Part(template[end:], ends=True))
    unbalanced = any("{" in part.literal or "}" in part.literal for part in parts)
    return () if unbalanced or len(template) > _LONGEST or len(parts) > _MOST_EXPRESSIONS else tuple(parts)


def matches(template: str, uri: str) -> bool:
    """Return whether the template may stand for this URI."""
    ends = [0]  # where in the URI the parts so far can end, in ascending order
    for part in _parts(template):
        literal = part.literal
        ends = [end + len(literal) for end in ends if uri.startswith(literal, end)]
        if part.ends:
            return bool(ends) and ends[-1] == len(uri)
        ends = _after(part, uri, ends)
    return False


def _after(part: _Part, uri: str, starts: list[int]) -> list[int]:
    """Return where an expression can end that begins at any of these places."""
    ends: set[int] = set(starts) if part.optional else set()
    reached = 0  # the ends of earlier starts go up to here
    for start in starts:
        if not uri.startswith(part.first, start):
            continue
        begin = start + len(part.first)
        slash = -1 if part.slashes else uri.find("/", begin)
        last = len(uri) if slash < 0 else slash
        ends.update(range(max(begin + 1, reached), last + 1))
        reached = max(reached, last + 1)
    return sorted(ends)


def literal_length(template: str) -> int:
    """Return the number of characters that a URI must have in common with the template: more is more specific."""
    return sum(len(part.literal) for part in _parts(template))
