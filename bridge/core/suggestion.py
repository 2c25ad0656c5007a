"""Suggest the known name that a wrong one most likely stands for. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

# A name that is less similar than this is not suggested (difflib, from 0 to 1).
_SIMILAR: Final = 0.6
# Longer names are not compared (characters), nor more names than this, because the time grows with both.
_LONGEST: Final = 64
_MOST: Final = 1000
# How many known names an error lists.
_MOST_LISTED: Final = 20


def most_similar(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most similar to a wrong one; empty if none is similar."""
    if not 0 < len(name) <= _LONGEST:
        return ""
    names = {one.lower(): one for one in [one for one in known if len(one) <= _LONGEST][:_MOST]}
    beginning = [one for one in names if one.startswith(name.lower())]
    if len(beginning) == 1:
        return names[beginning[0]]
    from difflib import get_close_matches  # noqa: PLC0415 - only for an error

    found = get_close_matches(name.lower(), list(names), 1, _SIMILAR)
    return names[found[0]] if found else ""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of an error text that suggests a known name; empty if none is similar.

    >>> suggestion("sear", ["git", "search"]), suggestion("weather", ["git", "search"])
    ("; did you mean 'search'?", '')
    """
    found = most_similar(name, known)
    return f"; did you mean {found!r}?" if found else ""


def alternatives(name: str, known: Sequence[str]) -> str:
    """Return the end of an error text that lists the known names, 20 at most, and suggests a similar one."""
    more = ", ..." if len(known) > _MOST_LISTED else ""
    return f"; there are: {', '.join(known[:_MOST_LISTED]) or 'none'}{more}{suggestion(name, known)}"
