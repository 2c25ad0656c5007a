"""The secrets that tests use, and the search for them in what daemons and commands write.

Whoever makes a secret calls `remember`. The helpers that run daemons and commands call `require_hidden` with their output.
"""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

# Shorter ones are words that occur by chance (characters).
_SHORTEST: Final = 12
# Key: a secret. Value: its forms. Nothing is removed: a later daemon must not show it either.
_KNOWN: dict[str, frozenset[str]] = {}


def remember(secret: str) -> str:
    """Search for this secret in all later output of this process. Returns it."""
    if len(secret) >= _SHORTEST and secret not in _KNOWN:
        _KNOWN[secret] = frozenset(_forms(secret))
    return secret


def _forms(secret: str) -> Iterable[str]:
    """Yield the secret as programs write it: as it is, in URLs, in JSON, and in both alphabets of base64 after 0 to 2 other bytes."""
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    data = secret.encode()
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            digits = encode(bytes(before) + data).decode().rstrip("=")
            # Without digits that also have bits of other data.
            yield digits[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]


def shown(text: str) -> list[str]:
    """Return the forms of known secrets that are in the text."""
    return [form for forms in _KNOWN.values() for form in forms if form in text]


def require_hidden(text: str, place: str) -> None:
    """Raise AssertionError with the line if the text has a known secret."""
    if not shown(text):
        return
    lines = [line for line in text.splitlines() if shown(line)] or [f"over several lines: {shown(text)}"]
    raise AssertionError(f"{place} shows a secret of the tests: {lines[0]}")


def remember_files(folder: Path) -> None:
    """Remember the tokens in the files below a folder of state whose names have the word token."""
    for file in folder.rglob("*token*"):
        if file.is_file():
            for word in file.read_text(errors="replace").split():
                remember(word)
