"""Keep the spans of requests until they are exported. Pure.

A span has no payload: names, times, ids and the outcome only.
"""

from collections import deque
from typing import Final

import msgspec

from .trace_context import TraceContext

# Spans that wait at most. Beyond that the newest are dropped and counted.
MOST_SPANS: Final = 4096


class Span(msgspec.Struct, frozen=True, gc=False):
    """One request of a client. Times are in nanoseconds since the epoch. `parent` is None for the root of a trace."""

    server: str
    method: str
    # That of the tool, prompt or resource, or empty.
    name: str
    outcome: str
    start: int
    end: int
    parent: TraceContext | None = None


class SpanQueue:
    """The spans that wait. `dropped` counts those that were never exported, for any reason."""

    def __init__(self, most: int = MOST_SPANS) -> None:
        self.dropped = 0
        self._most = most
        self._waiting: deque[Span] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, span: Span) -> None:
        """Add a span, unless its sender does not record the trace or there is no room."""
        if span.parent is not None and not span.parent.sampled:
            return
        if len(self._waiting) >= self._most:
            self.dropped += 1
        else:
            self._waiting.append(span)

    def take(self, most: int) -> list[Span]:
        """Remove and return the oldest spans."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
