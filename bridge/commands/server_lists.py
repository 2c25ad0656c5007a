"""Read what a server of the daemon offers: its handshake and all pages of its lists, within limits of time, pages and items."""

import time
from pathlib import Path
from typing import Any, Final, cast

from ...validators.rejection import METHOD_NOT_FOUND
from ..core.definitions import KINDS, Definition, Kind, definitions_in
from ..core.server_check import Listed, Offer
from .control_client import ErrorResponse, call_server, result_of

# For all requests to one server, and for one of them (seconds). The first starts the server.
_SECONDS: Final = 120.0
_REQUEST_SECONDS: Final = 60.0
# Of one list.
_MOST_PAGES: Final = 64
_MOST_ITEMS: Final = 4096


def read_offer(unix: Path, server: str) -> Offer:
    """Return what a server offers. Raises Unreachable if the daemon does not answer."""
    end = time.monotonic() + _SECONDS
    try:
        found = _result(unix, server, "server/discover", {}, end)
    except ErrorResponse as fault:
        return Offer(server, fault=" ".join(str(fault).split()))
    capabilities, instructions = found.get("capabilities"), found.get("instructions")
    return Offer(
        server,
        cast("dict[str, Any]", capabilities) if isinstance(capabilities, dict) else {},
        instructions if isinstance(instructions, str) else "",
        [_read_list(unix, server, kind, end) for kind in KINDS],
    )


def _read_list(unix: Path, server: str, kind: Kind, end: float) -> Listed:
    definitions: list[Definition] = []
    seen: set[str] = set()
    params: dict[str, object] = {}
    for _ in range(_MOST_PAGES):
        try:
            result = _result(unix, server, kind.method, params, end)
        except ErrorResponse as fault:
            if fault.code == METHOD_NOT_FOUND:
                return Listed(kind, definitions, absent=True)
            return Listed(kind, definitions, fault=" ".join(str(fault).split()))
        items: Any = result.get(kind.member)
        if not isinstance(items, list):
            return Listed(kind, definitions, fault=f"the result has no list {kind.member}")
        definitions += definitions_in(kind, cast("list[object]", items)[: _MOST_ITEMS - len(definitions)])
        cursor: Any = result.get("nextCursor")
        if not isinstance(cursor, str):
            return Listed(kind, definitions)
        if cursor in seen:
            return Listed(kind, definitions, cut="a cursor is repeated, so the list has no end")
        if len(definitions) >= _MOST_ITEMS:
            return Listed(kind, definitions, cut=f"has more than {_MOST_ITEMS} items")
        seen.add(cursor)
        params = {"cursor": cursor}
    return Listed(kind, definitions, cut=f"has more than {_MOST_PAGES} pages")


def _result(unix: Path, server: str, method: str, params: dict[str, object], end: float) -> dict[str, Any]:
    left = min(end - time.monotonic(), _REQUEST_SECONDS)
    if left <= 0:
        raise ErrorResponse(f"the check has taken {_SECONDS:g} s")
    return result_of(call_server(unix, server, method, params, patience=left))
