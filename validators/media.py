"""What a client sends and what it can read: Content-Type and Accept, as far as MCP uses them (RFC 9110 sections 8.3, 12.5.1).

Only two media types matter here, so a list of a thousand others costs one scan. What cannot be read counts as not
said; nothing is ever refused here, the answer is left to who asks.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from .http_head import TCHAR


class Accepts(NamedTuple):
    """Which of our two kinds of answer a client takes, and whether it would rather have the event stream."""

    json: bool
    events: bool
    events_first: bool


_JSON: Final = ("application/json", "application/*", "*/*")
_EVENTS: Final = ("text/event-stream", "text/*", "*/*")
# A string that is never closed ends with the value: without that, each of its quotes would search to the end.
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_RANGE: Final = re.compile(
    r"(?:\A|,)[ \t]*+"
    r"(application/(?:json|\*)|text/(?:event-stream|\*)|\*/\*)"
    r"(?:[ \t]*+;([^,]*+))?+[ \t]*+(?=,|\Z)"
)
_WEIGHT: Final = re.compile(r"(?:\A|;)[ \t]*+q=([^;]*+)")
_QVALUE: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*\Z")
# Parameters mean nothing to JSON and may be anything, but for a charset, which may only be the one that it has.
_PARAMETER: Final = rf'{TCHAR}++=(?:{TCHAR}++|"(?:[\t !#-\[\]-~]|\\[\t -~])*+")'
_IS_JSON: Final = re.compile(
    r"application/json(?:[ \t]*+;[ \t]*+"
    rf'(?:charset=(?:utf-8|"utf-8")|(?!charset=){_PARAMETER})?+)*+[ \t]*+\Z',
    re.ASCII | re.IGNORECASE,
)


@lru_cache(maxsize=32)
def accepts(value: str | None) -> Accepts:
    """What an Accept header says, absent or empty meaning everything.

    The most specific range decides for each type, and `events_first` is decided by weight, then by who is named first.
    """
    if value is None or not value.strip():
        return Accepts(json=True, events=True, events_first=False)
    ranges = _ranges(value.lower())
    json, json_at = _weight(ranges, _JSON)
    events, events_at = _weight(ranges, _EVENTS)
    first = events > json or (events == json > 0 and events_at < json_at)
    return Accepts(json > 0, events > 0, first)


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type is JSON in UTF-8 and nothing else."""
    return content_type == "application/json" or (
        content_type is not None and bool(_IS_JSON.match(content_type))
    )


def _ranges(value: str) -> dict[str, tuple[float, int]]:
    """The weight and place of every range that concerns us, the heaviest mention of each."""
    found: dict[str, tuple[float, int]] = {}
    if '"' in value:
        value = _STRING.sub('""', value)
    for match in _RANGE.finditer(value):
        name = match[1]
        weight = _WEIGHT.search(match[2] or "")
        if weight is None:
            heavy = 1.0
        elif _QVALUE.match(weight[1]):
            heavy = float(weight[1])
        else:
            continue
        if name not in found or heavy > found[name][0]:
            found[name] = heavy, match.start()
    return found


def _weight(ranges: dict[str, tuple[float, int]], names: tuple[str, ...]) -> tuple[float, int]:
    for name in names:
        if name in ranges:
            return ranges[name]
    return 0.0, 0
