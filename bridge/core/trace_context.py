"""Find the trace of a request (W3C Trace Context, and MCP 2026-07-28 basic: `_meta.traceparent`, SEP-414). Pure.

The bridge only reads these values. They pass through unchanged, and nothing is added to a message.

Source: https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Mapping
from typing import Final, Self

import msgspec

from ...validators import json_object

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY: Final = "traceparent"
_KEY_TEXT: Final = b'"traceparent"'
_SAMPLED: Final = 1
# A longer value of a later version is not read (characters).
_LONGEST: Final = 512


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """The trace that a request is part of: ids in hexadecimal, and whether the sender records it."""

    trace: str
    parent: str
    sampled: bool


class TracedTime(float):
    """The time of a request (seconds), with its trace. It takes the place of a plain time in `since`."""

    __slots__ = ("context",)

    context: TraceContext

    def __new__(cls, seconds: float, context: TraceContext) -> Self:
        """Return the time with this trace."""
        made = super().__new__(cls, seconds)
        made.context = context
        return made


def read_parent(value: str) -> TraceContext | None:
    """Return the context of a `traceparent`, or None if it is invalid.

    A later version is read as version 00, as far as that goes (W3C Trace Context, Versioning of traceparent).

    >>> read_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    TraceContext(trace='0af7651916cd43dd8448eb211c80319c', parent='b7ad6b7169203331', sampled=True)
    """
    found = _PARENT.fullmatch(value) if len(value) <= _LONGEST else None
    if found is None:
        return None
    version, trace, parent, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not (trace.strip("0") and parent.strip("0")):
        return None
    return TraceContext(trace, parent, bool(int(flags, 16) & _SAMPLED))


def trace_of(params: bytes, headers: Mapping[str, str] | None = None) -> TraceContext | None:
    """Return the context of a request: that of `_meta`, or that of the HTTP header if there is no valid one."""
    if params.find(_KEY_TEXT) >= 0 and json_object.is_small(params):
        meta = json_object.peek(json_object.peek(params).get("_meta"))
        found = read_parent(json_object.string(meta.get(_KEY)))
        if found is not None:
            return found
    return read_parent(headers.get(_KEY, "")) if headers else None
