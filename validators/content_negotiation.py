"""Read Content-Type and Accept, as far as MCP uses them (RFC 9110 sections 8.3 and 12.5.1).

Only a few media types matter here, therefore a list of a thousand others costs one scan. A malformed part counts as absent.
No function raises: the caller decides on the response.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple


class Accepts(NamedTuple):
    """Whether a client accepts JSON, whether it accepts an event stream, and whether it prefers the event stream."""

    json: bool
    events: bool
    events_first: bool


_JSON: Final = ("application/json", "application/*", "*/*")
_EVENTS: Final = ("text/event-stream", "text/*", "*/*")
# A string without a closing quote ends with the value. Otherwise each of its quotes would cause a search to the end.
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_RANGE: Final = re.compile(
    r"(?:\A|,)[ \t]*+"
    r"(application/(?:json|\*)|text/(?:event-stream|\*)|\*/\*)"
    r"(?:[ \t]*+;([^,]*+))?+[ \t]*+(?=,|\Z)"
)
_WEIGHT: Final = re.compile(r"(?:\A|;)[ \t]*+q=([^;]*+)")
# The grammar requires a digit before the point. The default Accept of Java's HTTP client has none.
_QVALUE: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|\.[0-9]{1,3}|1(?:\.0{0,3})?)[ \t]*\Z")
# A page can send a body of these types, and of multipart ones, to another origin without a preflight (Fetch section 2.2.2).
# Browsers differ in where the type of a malformed value ends, therefore its first word decides.
_WORD_END: Final = re.compile(r"[,; \t]")
_SENT_BY_PAGES: Final = frozenset({"", "text/plain", "application/x-www-form-urlencoded"})


@lru_cache(maxsize=32)
def accepts(value: str | None) -> Accepts:
    """Return the meaning of an Accept header. An absent or empty header accepts everything.

    The most specific range decides for each type. The weight decides `events_first`; with equal weights, the order.

    >>> accepts("application/json, text/event-stream")
    Accepts(json=True, events=True, events_first=False)
    >>> accepts("text/event-stream, application/json;q=0")
    Accepts(json=False, events=True, events_first=True)
    """
    if value is None or not value.strip():
        return Accepts(json=True, events=True, events_first=False)
    ranges = _ranges(value.lower())
    json, json_at = _weight(ranges, _JSON)
    events, events_at = _weight(ranges, _EVENTS)
    first = events > json or (events == json > 0 and events_at < json_at)
    return Accepts(json > 0, events > 0, first)


def is_json(content_type: str | None) -> bool:
    """Return whether a Content-Type is JSON that no page of another origin could send without a preflight.

    Parameters are ignored, charset included (RFC 8259 section 11): the body must be JSON in UTF-8.
    """
    if content_type == "application/json":
        return True
    value = (content_type or "").lower()
    first = _WORD_END.split(value, maxsplit=1)[0]
    if first in _SENT_BY_PAGES or first.startswith("multipart/"):
        return False
    return "json" in value.partition(";")[0]


def _ranges(value: str) -> dict[str, tuple[float, int]]:
    """Return weight and position of each range that matters here. Of a repeated range the greatest weight counts."""
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
