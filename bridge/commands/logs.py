"""`mcp-bridge logs`: print the log of a server, or of all servers."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..config.settings import CONTROL
from ..core.exit_codes import EX_OK
from ..log import escaped
from .control_client import follow, request, started_at
from .invocation import Invocation
from .output import notice, print_line
from .printable import json_text
from .progress import Progress


def logs(invocation: Invocation) -> int:
    """Print the stderr and the lifecycle events of a server or of all, with `--follow` also those to come."""
    options = invocation.options
    stored, coming = _entries(invocation)
    stored = [entry for entry in stored if options.since is None or entry["at"] >= options.since]
    if options.lines is not None:
        stored = stored[len(stored) - min(options.lines, len(stored)) :]
    for entry in stored:
        _show(entry, invocation)
    if not stored and options.lines != 0:
        notice(_nothing(invocation))
    for entry in coming:
        _show(entry, invocation)
    return EX_OK


def _entries(invocation: Invocation) -> tuple[list[dict[str, Any]], Iterator[dict[str, Any]]]:
    """Return the stored entries, and those to come."""
    path = f"{CONTROL}/logs?{server_query(invocation)}"
    if not invocation.options.follow:
        unix = invocation.socket()
        with Progress().wait(f"waiting for the daemon at {unix}"):
            return request(unix, "GET", path), iter(())
    # The first event has the entries so far in a list, each that follows has one.
    events = follow(invocation.socket(), f"{path}&follow=1")
    none: list[dict[str, Any]] = []
    return next(events, none), events


def _nothing(invocation: Invocation) -> str:
    """Return the notice for a log without entries."""
    options = invocation.options
    whose = f" of {options.server}" if options.server else ""
    began = started_at(invocation.socket())
    if options.since is not None and options.since > began:
        return f"no log lines{whose} since {_time(options.since)}"
    return f"no log lines{whose} since the daemon started at {_time(began)}"


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def server_query(invocation: Invocation) -> str:
    """Return the query that names the server of the command, without one that of all servers."""
    server = invocation.options.server
    return f"server={quote(server)}" if server else ""


def _show(entry: dict[str, Any], invocation: Invocation) -> None:
    if invocation.options.json:
        print_line(json_text(entry, indent=None))
        return
    server = "" if invocation.options.server else f" {entry['server']}"
    process = f" [{entry['pid']}]" if entry["pid"] else ""
    print_line(escaped(f"{_time(entry['at'])}{server}{process} {entry['kind']}: {entry['text']}"))
