"""`mcp-bridge logs` and `mcp-bridge tap`: print the log of a server, and its messages as they pass."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ..config.settings import CONTROL
from ..core.exit_codes import EX_OK
from ..log import escaped
from .control_client import follow, request
from .invocation import Invocation
from .output import print_line


def logs(invocation: Invocation) -> int:
    """Print the stderr and the lifecycle events of a server, with `--follow` also those to come."""
    for entry in _entries(invocation):
        print_line(_line(entry))
    return EX_OK


def tap(invocation: Invocation) -> int:
    """Print the messages of a server as they pass, until the daemon exits or the command is interrupted."""
    for message in follow(invocation.socket(), f"{CONTROL}/tap?server={quote(invocation.options.server)}"):
        arrow = "->" if message["direction"] == "to server" else "<-"
        print_line(escaped(f"{arrow} {message['line']}"))
    return EX_OK


def _entries(invocation: Invocation) -> Iterator[dict[str, Any]]:
    path = f"{CONTROL}/logs?server={quote(invocation.options.server)}"
    if not invocation.options.follow:
        yield from request(invocation.socket(), "GET", path)
        return
    # The first event has the lines so far in a list, each that follows has one line.
    for sent in follow(invocation.socket(), f"{path}&follow=1"):
        yield from sent if isinstance(sent, list) else [sent]


def _line(entry: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["at"]))
    process = f" [{entry['pid']}]" if entry["pid"] else ""
    return escaped(f"{at}{process} {entry['kind']}: {entry['text']}")
