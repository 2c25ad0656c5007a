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
BELIEVED: Final = 24 * 60 * 60.0


class EraBook:
    """What is known of one server's command. Times in seconds on any steady clock."""

    def __init__(self, choice: str) -> None:
        self._choice = choice
        self._modern: tuple[bool, float] | None = None
        self._legacy: tuple[bool, float] | None = None

    def for_modern_client(self, now: float) -> str:
        """The era to start a child in for a modern client; nothing where only a probe can tell."""
        if self._choice != "auto":
            return LEGACY if self._choice == LEGACY else MODERN
        speaks = _believed(self._modern, now)
        return "" if speaks is None else MODERN if speaks else LEGACY

    def for_legacy_client(self, now: float) -> str:
        """The era to start a child in for a legacy client; nothing where trying will tell."""
        if self._choice != "auto":
            return MODERN if self._choice == MODERN else LEGACY
        speaks = _believed(self._legacy, now)
        if speaks is None:
            return ""
        return LEGACY if speaks or not _believed(self._modern, now) else MODERN

    def probed(self, now: float, *, modern: bool) -> None:
        """A sibling was asked."""
        self._modern = (modern, now)

    def opened(self, now: float, *, legacy: bool) -> None:
        """A child was sent `initialize`, and took it or not."""
        self._legacy = (legacy, now)

    def known(self, now: float) -> dict[str, bool | None]:
        """For each era whether it is spoken, None where nobody knows."""
        return {MODERN: _believed(self._modern, now), LEGACY: _believed(self._legacy, now)}

    def contradicted(self) -> None:
        """A child does not speak the era that it was started for."""
        self._modern = self._legacy = None


def _believed(fact: tuple[bool, float] | None, now: float) -> bool | None:
    return None if fact is None or now - fact[1] > BELIEVED else fact[0]
