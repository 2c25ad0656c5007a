"""Divide the time of the event loop among principals: fair queueing with deficits, as in RFC 8290 (FQ-CoDel). Pure.

A share belongs to one principal, with all its connections and its own server processes, or to one process of several
principals. A share that had nothing to do is served before those that have a backlog. Each of the others is served for a
slice of time in turn. Time that one function took beyond the slice is deducted from the next slices of its share.
"""

from collections import deque
from typing import Final
from weakref import WeakValueDictionary

# Time for which one share is served while others wait (seconds).
SLICE: Final = 0.00015
# Time between two checkpoints, at which tasks run (seconds).
STEP: Final = 2 * SLICE
# The most time that is deducted from later slices (seconds): a large message must not delay its sender for long.
_MOST_DEBT: Final = 20 * SLICE


class Share:
    """The descriptors of one principal that have input.

    `name` is the principal. It is empty for clients that are not known yet, and for a process of several principals.
    """

    __slots__ = ("__weakref__", "credit", "listed", "name", "ready")

    def __init__(self, name: str = "") -> None:
        self.name = name
        # By descriptor, whether the other side has left. The next one is first. `add` adds, the poller removes.
        self.ready: dict[int, bool] = {}
        # Time left of the current slice (seconds), negative after a long function.
        self.credit = 0.0
        # Whether the share is in one of the lists of `Shares`.
        self.listed = False

    def take(self) -> tuple[int, bool]:
        """Remove and return the next descriptor, and whether the other side has left. There must be one."""
        descriptor = next(iter(self.ready))
        return descriptor, self.ready.pop(descriptor)


class Shares:
    """The shares with input, in the order in which they are served."""

    def __init__(self) -> None:
        # Shares by name, as long as a descriptor has them.
        self._named: WeakValueDictionary[str, Share] = WeakValueDictionary()
        # Shares that had nothing to do, and those that have used a slice since then. Each share is in one list at most.
        self._new: deque[Share] = deque()
        self._old: deque[Share] = deque()

    def __bool__(self) -> bool:
        """Whether a share may have input."""
        return bool(self._new or self._old)

    def named(self, name: str) -> Share:
        """Return the share of a principal."""
        share = self._named.get(name)
        if share is None:
            share = self._named[name] = Share(name)
        return share

    def add(self, share: Share, descriptor: int, *, left: bool) -> None:
        """Add a descriptor with input, or update it."""
        ready = share.ready
        ready[descriptor] = left or (descriptor in ready and ready[descriptor])
        if not share.listed:
            share.listed, share.credit = True, SLICE
            self._new.append(share)

    def next(self) -> Share | None:
        """Return the share to be served, which has input and credit; None if no share has input."""
        while queue := self._new or self._old:
            share = queue[0]
            if share.credit > 0 and share.ready:
                return share
            queue.popleft()
            if share.credit <= 0:
                share.credit += SLICE
                self._old.append(share)
            # Not removed at once: otherwise a share with little input at a time would be served before the others for ever.
            elif queue is self._new and self._old:
                self._old.append(share)
            else:
                share.listed = False
        return None

    def charge(self, share: Share, seconds: float) -> None:
        """Deduct the time for which a share was served."""
        share.credit = max(share.credit - seconds, -_MOST_DEBT)
