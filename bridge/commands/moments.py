"""Read a time from the command line."""

import argparse
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

_AGO: Final = re.compile(r"([0-9]{1,9})([smhdw]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def later(text: str) -> datetime:
    """Return the time in UTC after a period such as 90d, or that which ISO 8601 names. Raises ArgumentTypeError."""
    found = _AGO.fullmatch(text)
    try:
        if found:
            ahead = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
            return (datetime.now(UTC) + ahead).replace(microsecond=0)
        # Without an offset it is local time.
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"must be a period such as 12h or 90d, or a time such as 2027-01-31T10:00, not {json.dumps(text)}"
        ) from None


def moment(text: str) -> float:
    """Return the time that an age such as 10m, or a time in ISO 8601 names (seconds since the epoch). Raises ArgumentTypeError."""
    found = _AGO.fullmatch(text)
    if found:
        return time.time() - int(found[1]) * _UNITS[found[2]]
    try:
        # Without an offset it is local time.
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"must be an age such as 90s, 10m, 2h or 3d, or a time such as 2026-07-28T10:00, not {json.dumps(text)}"
        ) from None
