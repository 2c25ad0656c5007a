"""Which eras one server speaks, as far as we know, and since when (digest 1.6, 2.4).

Pure. Two facts are learned separately: a probe on a disposable sibling says whether it speaks the modern era, and the first
`initialize` whether it speaks a handshake revision. A fact is forgotten when the server contradicts it, or is old: a stale one
would work silently for ever.
"""

from typing import Final

MODERN: Final = "modern"
LEGACY: Final = "legacy"
CHOICES: Final = ("auto", LEGACY, MODERN, "dual")
# How long a fact is believed, in seconds.
FACT_SECONDS: Final = 24 * 60 * 60.0
# For how long after a sibling has exited or was silent the server is taken for a legacy one, in seconds.
PRESUMED_SECONDS: Final = 60.0


class EraCache:
    """What is known of one server's command. Times in seconds on any steady clock."""

    def __init__(self, policy: str, lifetime: float = FACT_SECONDS) -> None:
        """`believed` is for how long a fact is (seconds)."""
        self._policy = policy
        self._lifetime = lifetime
        # Whether the facts are from before the start of the daemon, and no process has confirmed them.
        self._restored = False
        self._modern: tuple[bool, float] | None = None
        self._legacy: tuple[bool, float] | None = None
        # When a sibling gave no answer, until a child has answered `initialize`.
        self._presumed: float | None = None

    def for_modern_client(self, now: float) -> str:
        """The era to start a child in for a modern client; nothing where only a probe can tell."""
        if self._policy != "auto":
            return LEGACY if self._policy == LEGACY else MODERN
        speaks = self._fact(self._modern, now)
        if speaks is None:
            return LEGACY if self._presumed is not None and now - self._presumed <= PRESUMED_SECONDS else ""
        return MODERN if speaks else LEGACY

    def for_legacy_client(self, now: float) -> str:
        """The era to start a child in for a legacy client; nothing where trying will tell."""
        if self._policy != "auto":
            return MODERN if self._policy == MODERN else LEGACY
        speaks = self._fact(self._legacy, now)
        if speaks is None:
            return ""
        return LEGACY if speaks or not self._fact(self._modern, now) else MODERN

    def on_probe(self, now: float, *, modern: bool) -> None:
        """A sibling was asked."""
        self._modern = (modern, now)
        self._restored = False

    def restore(self, now: float, age: float, *, modern: bool | None, legacy: bool | None) -> None:
        """These facts were stored so many seconds ago."""
        self._modern = None if modern is None else (modern, now - age)
        self._legacy = None if legacy is None else (legacy, now - age)
        self._restored = True

    def set_lifetime(self, seconds: float) -> None:
        """Change for how long a fact is valid."""
        self._lifetime = seconds

    @property
    def is_restored(self) -> bool:
        """Whether the facts are from before the start of the daemon."""
        return self._restored

    def on_probe_timeout(self, now: float) -> None:
        """A sibling was asked and gave no answer, as a legacy server may, or one that cannot be started."""
        self._presumed = now

    def on_initialize(self, now: float, *, legacy: bool) -> None:
        """A child was sent `initialize`, and took it or not."""
        self._legacy = (legacy, now)
        if legacy and self._presumed is not None:
            self._modern = (False, now)
        self._presumed = None

    def on_start_failed(self) -> None:
        """A child did not open its session: only what a process has shown by an answer of its own stays known."""
        self._presumed = None
        if self._modern is not None and not self._modern[0] and self._legacy is None:
            self._modern = None

    def facts(self, now: float) -> dict[str, bool | None]:
        """For each era whether it is spoken, None where nobody knows."""
        return {MODERN: self._fact(self._modern, now), LEGACY: self._fact(self._legacy, now)}

    def on_mismatch(self) -> None:
        """A child does not speak the era that it was started for."""
        self._modern = self._legacy = self._presumed = None
        self._restored = False

    def _fact(self, fact: tuple[bool, float] | None, now: float) -> bool | None:
        return None if fact is None or now - fact[1] > self._lifetime else fact[0]
