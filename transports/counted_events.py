"""A log for events that a peer can cause at will, with exact counts: each kind of event is written at most once a second.

The event that is written has the fields of the last one, the number of all since the one written before, and their
correlation ids up to a limit. The counts of all written events add up to the number of all events.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

import attrs

from .ports import Log

# Time between two events of one kind (seconds).
_PAUSE: Final = 1.0
# How many correlation ids are stored of the suppressed events of one kind.
_IDS: Final = 16


@attrs.define(eq=False)
class _Kind:
    event: str
    reason: str = ""
    fields: dict[str, object] = attrs.field(factory=dict[str, object])
    ids: deque[str] = attrs.field(factory=lambda: deque[str](maxlen=_IDS))
    # The number of events that were not written yet, and when one was written last (seconds).
    unwritten: int = 0
    written_at: float = float("-inf")


class CountedEvents:
    """Events by kind. `tick` writes those that were suppressed."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        # An entry is removed by `tick` when its kind has had no event for the pause.
        self._kinds: dict[Hashable, _Kind] = {}

    def add(
        self, event: str, kind: Hashable, correlation_id: str = "", *, reason: str, **fields: object
    ) -> None:
        """Write an event of level info, unless one of this kind was written less than a second ago."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind(event)
        found.reason, found.fields = reason, fields
        found.unwritten += 1
        if correlation_id:
            found.ids.append(correlation_id)
        self._write(found, self._clock())

    def tick(self, now: float) -> None:  # noqa: ARG002 - the clock of the log is not Trio's
        """Write suppressed events that are due (ticker.Ticking)."""
        if self._kinds:
            time_now = self._clock()
            for key, kind in tuple(self._kinds.items()):
                if kind.unwritten:
                    self._write(kind, time_now)
                elif time_now - kind.written_at >= _PAUSE:
                    del self._kinds[key]

    def flush(self) -> None:
        """Write all suppressed events, on shutdown."""
        for kind in self._kinds.values():
            if kind.unwritten:
                self._write(kind, float("inf"))

    def _write(self, kind: _Kind, now: float) -> None:
        if now - kind.written_at < _PAUSE:
            return
        kind.written_at = now
        fields = {"reason": kind.reason, "count": kind.unwritten, **kind.fields}
        if kind.ids:
            fields["correlation_id"] = kind.ids.pop()
        if kind.ids:
            fields["earlier"] = ",".join(kind.ids)
        self._log.info(kind.event, **fields)
        kind.ids.clear()
        kind.unwritten = 0
