"""Cache which eras one server speaks (MCP 2026-07-28 basic/versioning and basic/transports/stdio). Pure.

Two facts are found separately: a probe of a disposable process finds whether the server speaks the modern era, the first
`initialize` finds whether it speaks a legacy revision. A fact is dropped when a process contradicts it or when it is older
than its lifetime, because an outdated fact would not be noticed otherwise.

A probe without an answer shows nothing: a server on a busy machine is silent as well, and one of both eras accepts
`initialize`. It is presumed to be legacy for a time, which is no fact and is never stored.
"""

from typing import Final

MODERN: Final = "modern"
LEGACY: Final = "legacy"
CHOICES: Final = ("auto", LEGACY, MODERN, "dual")
# How long a fact is valid by default (seconds).
FACT_SECONDS: Final = 24 * 60 * 60.0
# How long a server is presumed to be legacy after a probe that has shown nothing (seconds).
PRESUMED_SECONDS: Final = 60.0
# The same after a probe as silent legacy servers answer it, so that each new client does not wait for another one (seconds).
LIKELY_SECONDS: Final = 60 * 60.0


class EraCache:
    """The facts about the command of one server. Times are in seconds on any steady clock."""

    def __init__(self, policy: str, lifetime: float = FACT_SECONDS) -> None:
        """Create an empty cache. `policy` is one of `CHOICES`, and facts are valid for `lifetime` (seconds)."""
        self._policy = policy
        self._lifetime = lifetime
        # Whether the facts were stored before the start of the daemon and no process has confirmed them.
        self._restored = False
        # For each era whether the server speaks it, and the time at which that was found.
        self._modern: tuple[bool, float] | None = None
        self._legacy: tuple[bool, float] | None = None
        # Until when the server is presumed to be legacy (seconds), None if it is not.
        self._presumed: float | None = None

    def for_modern_client(self, now: float) -> str:
        """Return the era to start a process in for a modern client, an empty string where a probe is needed."""
        if self._policy != "auto":
            return LEGACY if self._policy == LEGACY else MODERN
        speaks = self._fact(self._modern, now)
        if speaks is None:
            return LEGACY if self._presumed is not None and now <= self._presumed else ""
        return MODERN if speaks else LEGACY

    def for_legacy_client(self, now: float) -> str:
        """Return the era to start a process in for a legacy client, an empty string where `initialize` must be tried."""
        if self._policy != "auto":
            return MODERN if self._policy == MODERN else LEGACY
        speaks = self._fact(self._legacy, now)
        if speaks is None:
            return ""
        return LEGACY if speaks or not self._fact(self._modern, now) else MODERN

    def on_probe(self, now: float, *, modern: bool) -> None:
        """Store the result of a probe."""
        self._modern = (modern, now)
        self._restored = False
        self._presumed = None

    def restore(self, now: float, age: float, *, modern: bool | None, legacy: bool | None) -> None:
        """Take facts that were stored `age` seconds ago."""
        self._modern = None if modern is None else (modern, now - age)
        self._legacy = None if legacy is None else (legacy, now - age)
        self._restored = True

    def set_lifetime(self, seconds: float) -> None:
        """Change how long a fact is valid (seconds)."""
        self._lifetime = seconds

    @property
    def is_restored(self) -> bool:
        """Whether the facts were stored before the start of the daemon."""
        return self._restored

    def presume_legacy(self, now: float, seconds: float = PRESUMED_SECONDS) -> None:
        """Presume for this time (seconds) that the server is a legacy one, because a probe has no answer."""
        self._presumed = now + seconds

    def on_initialize(self, now: float, *, legacy: bool) -> None:
        """Store whether a process has accepted `initialize`."""
        self._legacy = (legacy, now)
        if not legacy:
            self._presumed = None

    def on_start_failed(self) -> None:
        """Drop what was only assumed, because a process has ended before it answered."""
        self._presumed = None
        if self._modern is not None and not self._modern[0] and self._legacy is None:
            self._modern = None

    def facts(self, now: float) -> dict[str, bool | None]:
        """Return for each era whether the server speaks it, None where that is unknown."""
        return {MODERN: self._fact(self._modern, now), LEGACY: self._fact(self._legacy, now)}

    def on_mismatch(self) -> None:
        """Drop all facts, because a process does not speak the era that it was started for."""
        self._modern = self._legacy = self._presumed = None
        self._restored = False

    def _fact(self, fact: tuple[bool, float] | None, now: float) -> bool | None:
        return None if fact is None or now - fact[1] > self._lifetime else fact[0]
