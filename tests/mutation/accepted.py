"""Mutants that may survive, each with its reason: accepted.toml. They count as survivors."""

import tomllib
from pathlib import Path
from typing import Final

from .mutant import Key

FILE: Final = Path(__file__).with_name("accepted.toml")
# The first word of a reason.
KINDS: Final = ("equivalent", "performance", "bound", "text", "defence")


def accepted(text: str) -> dict[Key, str]:
    """Return the reason of each mutant. Raises ValueError for an entry without a reason, or one that stands twice."""
    found: dict[Key, str] = {}
    for entry in tomllib.loads(text).get("mutant", []):
        reason = entry.pop("reason", "")
        key = Key(**entry)
        if not reason.startswith(tuple(f"{kind}: " for kind in KINDS)):
            raise ValueError(f"the reason of {key} does not begin with one of: {', '.join(KINDS)}")
        if key in found:
            raise ValueError(f"{key} stands twice")
        found[key] = reason
    return found
