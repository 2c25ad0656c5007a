"""Parse WWW-Authenticate (RFC 9110 section 11.6.1) and find the Bearer challenge (RFC 6750 section 3, RFC 9728 section 5.1).

A field may have several challenges, and a response several fields. Commas separate both challenges and parameters; a word is
a scheme if no equals sign follows. Values may be words or quoted strings. The parser never fails: it skips what it cannot
read, because a client must respond to a 401 whatever the field is.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from .oauth_scopes import parse_scopes

# More is not read (characters of all fields together, and challenges).
_LONGEST: Final = 16 * 1024
_MOST_CHALLENGES: Final = 32

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_SEPARATORS: Final = re.compile(r"[ \t,]*+")
# A value without quotation marks may have any characters, because some servers send URLs in this way.
_PARAMETER: Final = re.compile(
    rf'({_NAME})[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|([^ \t,"]++))(?=[ \t,]|\Z)', re.DOTALL
)
_SCHEME: Final = re.compile(rf"({_NAME})(?=[ \t,]|\Z)")
_SKIPPED: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[^ \t,"]++', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@attrs.frozen
class Challenge:
    """One challenge: the scheme in lower case, and its parameters by their name in lower case. The first value counts."""

    scheme: str
    parameters: dict[str, str]


@attrs.frozen
class BearerChallenge:
    """The parameters of the Bearer challenge of a response. An absent parameter is empty; `scopes` is None if absent."""

    resource_metadata: str = ""
    scopes: tuple[str, ...] | None = None
    error: str = ""
    description: str = ""


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of the WWW-Authenticate fields of a response, in order."""
    challenges: list[Challenge] = []
    # Each field begins a new challenge.
    for value in values:
        for found in _items(value[:_LONGEST]):
            if isinstance(found, str):
                if len(challenges) == _MOST_CHALLENGES:
                    return tuple(challenges)
                challenges.append(Challenge(found, {}))
            elif challenges:
                challenges[-1].parameters.setdefault(*found)
    return tuple(challenges)


def bearer_challenge(values: Iterable[str]) -> BearerChallenge:
    """Return the Bearer challenge of a response, empty if there is none.

    Of several, the one with resource metadata is taken, otherwise the first.
    """
    found = [one.parameters for one in parse_challenges(values) if one.scheme == "bearer"]
    named = [one for one in found if one.get("resource_metadata")]
    parameters = (named or found or [{}])[0]
    scope = parameters.get("scope")
    return BearerChallenge(
        parameters.get("resource_metadata", ""),
        None if scope is None else parse_scopes(scope),
        parameters.get("error", ""),
        parameters.get("error_description", ""),
    )


def _items(value: str) -> Iterator[str | tuple[str, str]]:
    """Yield schemes, and parameters as pairs of name and value."""
    at = _skip(_SEPARATORS, value, 0)
    while at < len(value):
        if match := _PARAMETER.match(value, at):
            name, quoted, plain = match.groups()
            yield name.lower(), plain if quoted is None else _ESCAPE.sub(r"\1", quoted)
            at = match.end()
        elif match := _SCHEME.match(value, at):
            yield match[1].lower()
            at = match.end()
        else:
            at = _skip(_SKIPPED, value, at)
        at = _skip(_SEPARATORS, value, at)


def _skip(pattern: re.Pattern[str], value: str, at: int) -> int:
    """Return the end of a match that there always is."""
    match = pattern.match(value, at)
    assert match is not None  # noqa: S101 - every character is a separator, a quotation mark or another one
    return match.end()
