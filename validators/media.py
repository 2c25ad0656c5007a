"""Media types of requests (RFC 9110 sections 8.3 and 12.5.1), matched exactly: `application/jsonx` is not JSON."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

_JSON: Final = re.compile(
    r'application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?;?[ \t]*\Z', re.IGNORECASE
)
_EVENTS_RANGES: Final = ("text/event-stream", "text/*", "*/*")
_JSON_RANGES: Final = ("application/json", "application/*", "*/*")


class Accepts(NamedTuple):
    """What a client takes as an answer; `events_first` where it would rather have an event stream."""

    json: bool
    events: bool
    events_first: bool


@lru_cache(maxsize=64)
def accepts(value: str | None) -> Accepts:
    """Read an Accept header; none at all accepts everything (RFC 9110 section 12.5.1).

    Where both are worth the same, the one that is named first counts as preferred: the header has no better way to say
    it, and the clients that name event streams first mean it.
    """
    if value is None:
        return Accepts(json=True, events=True, events_first=False)
    weights: dict[str, tuple[float, int]] = {}
    for place, part in enumerate(value.split(",")):
        name, *parameters = part.split(";")
        weights.setdefault(name.strip().lower(), (_weight(parameters), -place))
    json = _best(weights, _JSON_RANGES)
    events = _best(weights, _EVENTS_RANGES)
    first = "text/event-stream" in weights and events > json
    return Accepts(json=json[0] > 0, events=events[0] > 0, events_first=first and events[0] > 0)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _best(weights: dict[str, tuple[float, int]], ranges: tuple[str, ...]) -> tuple[float, int]:
    # The most specific range that matches decides (RFC 9110 section 12.5.1).
    for name in ranges:
        if name in weights:
            return weights[name]
    return (0.0, 0)


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type is JSON in UTF-8."""
    return content_type is not None and _JSON.match(content_type) is not None
