"""What a client sends and what it can read: Content-Type and Accept, as far as MCP uses them (RFC 9110 sections 8.3, 12.5.1).

Only a few media types matter here, so a list of a thousand others costs one scan. What cannot be read counts as not
said; nothing is ever refused here, the answer is left to who asks.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple


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
# The grammar wants a digit before the point, which the default Accept of Java's HTTP client does not have.
_QVALUE: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|\.[0-9]{1,3}|1(?:\.0{0,3})?)[ \t]*\Z")
# A page can send a body of these types, and of multipart ones, to another origin without a preflight (Fetch section 2.2.2).
# Browsers differ in where the type of a malformed value ends, therefore its first word decides.
_WORD_END: Final = re.compile(r"[,; \t]")
_SENT_BY_PAGES: Final = frozenset({"", "text/plain", "application/x-www-form-urlencoded"})


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
    """Whether a Content-Type says JSON, and no page of another origin could have sent it without a preflight.

    Parameters mean nothing, charset included (RFC 8259 section 11): the body itself has to be JSON in UTF-8.
    """
    if content_type == "application/json":
        return True
    value = (content_type or "").lower()
    first = _WORD_END.split(value, maxsplit=1)[0]
    if first in _SENT_BY_PAGES or first.startswith("multipart/"):
        return False
    return "json" in value.partition(";")[0]


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
