"""Correlation ids in texts: find them, and compare what is left."""

import re
from typing import Any

_ALONE = re.compile(rb',?"data":\{"correlationId":"[0-9a-f]{16}"\}')
_MEMBER = re.compile(rb',?"correlationId":"([0-9a-f]{16})"')
_HEADER = re.compile(rb"x-request-id: ([0-9a-f]{16})\r\n", re.IGNORECASE)


def without_ids(text: bytes) -> bytes:
    """Return the bytes of a message or of a response without its correlation ids."""
    return _HEADER.sub(b"", _MEMBER.sub(b"", _ALONE.sub(b"", text)))


def ids_in(text: bytes) -> list[str]:
    """Return the correlation ids in the errors of a text."""
    return [match.decode() for match in _MEMBER.findall(text)]


def header_ids(text: bytes) -> list[str]:
    """Return the correlation ids in the header fields of a text."""
    return [match.decode() for match in _HEADER.findall(text)]


def constant(error: dict[str, Any]) -> dict[str, Any]:
    """Return an error without its correlation id, and without `data` if that has nothing else."""
    data = {key: value for key, value in error.get("data", {}).items() if key != "correlationId"}
    return {key: value for key, value in error.items() if key != "data"} | ({"data": data} if data else {})
