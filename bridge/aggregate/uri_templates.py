"""Match URIs with resource templates (RFC 6570), to find the server of a resource. Pure.

Matching is at least as generous as that of the official SDKs, because it only chooses the servers that get a request: a variable
of a path takes any characters but `/`, and a query may be absent. The time is limited by the length of the URI times the
number of expressions, for any template.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

# A template with more characters or expressions matches no URI.
_LONGEST: Final = 2048
_MOST_EXPRESSIONS: Final = 64
_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
# By operator: the first character of an expression in the URI (RFC 6570 section 3.2.1).
_FIRST: Final = {"#": "#", ".": ".", "/": "/", ";": ";", "?": "?", "&": "&"}
# Operators of expressions that may be empty, because clients leave undefined variables out.
_OPTIONAL: Final = frozenset("#;?&")
# Operators of expressions whose values may have a slash.
_RESERVED: Final = frozenset("+#?&")


class _Part(NamedTuple):
    """A literal text, and the expression after it: its first character, whether it takes slashes, and whether it may be empty."""

    literal: str
    first: str = ""
    slashes: bool = False
    optional: bool = False
    # Whether no expression follows.
    ends: bool = False


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[_Part, ...]:
    """Return the parts of a template, the last part without an expression; none for a template that matches no URI."""
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
    # The positions in the URI where the parts so far can end, ascending.
    ends = [0]
    for part in _parts(template):
        literal = part.literal
        ends = [end + len(literal) for end in ends if uri.startswith(literal, end)]
        if part.ends:
            return bool(ends) and ends[-1] == len(uri)
        ends = _after(part, uri, ends)
    return False


def _after(part: _Part, uri: str, starts: list[int]) -> list[int]:
    """Return the positions where an expression can end that begins at any of these positions."""
    ends: set[int] = set(starts) if part.optional else set()
    # The last position that an earlier start has reached.
    reached = 0
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
    """Return the number of literal characters of a template: a template with more is more specific."""
    return sum(len(part.literal) for part in _parts(template))
