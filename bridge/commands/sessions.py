"""`mcp-bridge sessions`: show who is connected to the servers."""

import time
from collections.abc import Mapping
from typing import Any, Final

from ..config.settings import CONTROL
from ..core.exit_codes import EX_OK
from .control_client import request
from .invocation import Invocation
from .output import notice, print_json, print_line, stdout_terminal
from .progress import Progress
from .status import duration
from .table import Column, Value, table

_COLUMNS: Final = (
    Column("server"),
    Column("client", least=10),
    Column("principal", least=9),
    Column("transport", "via", least=9),
    Column("revision", least=10, leave=2),
    Column("session", least=8, leave=3),
    Column("since", least=12, leave=1),
    Column("idle", right=True),
    Column("pid"),
    Column("in flight", "busy"),
)
_DAY: Final = 86400


def sessions(invocation: Invocation) -> int:
    """Print the clients of all servers."""
    unix = invocation.socket()
    with Progress().wait(f"waiting for the daemon at {unix}"):
        found = request(unix, "GET", f"{CONTROL}/sessions")["sessions"]
    if invocation.options.json:
        print_json(found)
    elif found:
        now = time.time()
        terminal = stdout_terminal(invocation.environment)
        print_line(table(_COLUMNS, [_row(one, now) for one in found], terminal))
    else:
        notice("no client is connected")
    return EX_OK


def _row(one: Mapping[str, Any], now: float) -> tuple[Value, ...]:
    return (
        one["server"],
        f"{one['client']} {one['client_version']}".strip() or "not stated",
        one["principal"],
        one["transport"],
        one["revision"],
        one["session"],
        _since(one["since"], now),
        duration(one["idle"]),
        one["pid"],
        one["in_flight"],
    )


def _since(at: float, now: float) -> str:
    """Return a local time, with the date if it is more than a day ago."""
    form = "%H:%M:%S" if now - at < _DAY else "%b %d %H:%M"
    return time.strftime(form, time.localtime(at))
