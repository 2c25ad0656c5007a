"""`mcp-bridge status` and `mcp-bridge ps`: show the state of the daemon, of its servers and of their processes."""

import json
import sys
import time
from typing import Any, Final

from ..config.child_environment import named
from ..config.settings import CONTROL
from ..core.exit_codes import EX_OK
from ..log import escaped
from .control_client import request
from .invocation import Invocation
from .output import print_line
from .table import Value, table

# Between two tables of `status --watch` (seconds).
_WATCH_SECONDS: Final = 1.0
_COLUMNS: Final = (
    "server",
    "state",
    "era",
    "processes",
    "sessions",
    "in flight",
    "calls",
    "errors",
    "restarts",
    "memory",
)
_CLEAR_SCREEN: Final = "\x1b[2J\x1b[H"


def status(invocation: Invocation) -> int:
    """Print the state of the daemon and its servers, with `--watch` again and again."""
    unix = invocation.socket()
    while True:
        state = request(unix, "GET", f"{CONTROL}/status")
        text = json.dumps(state, indent=2) if invocation.options.json else _page(state)
        if not invocation.options.watch:
            print_line(text)
            return EX_OK
        print_line(f"{_CLEAR_SCREEN}{text}" if sys.stdout.isatty() else text)
        time.sleep(_WATCH_SECONDS)


def ps(invocation: Invocation) -> int:
    """Print the processes of the servers."""
    state = request(invocation.socket(), "GET", f"{CONTROL}/status")
    rows = [
        # A daemon from before an update does not send the directories.
        (pid, server["name"], " ".join(server["command"]), server.get("directories", {}).get(str(pid), ""))
        for server in state["servers"]
        for pid in server["pids"]
    ]
    if invocation.options.json:
        print_line(json.dumps([_process(*row) for row in rows]))
    elif any(directory for *_, directory in rows):
        print_line(table(("pid", "server", "command", "directory"), rows))
    else:
        print_line(table(("pid", "server", "command"), [row[:3] for row in rows]))
    return EX_OK


def _process(pid: int, name: str, _command: str, directory: str) -> dict[str, object]:
    return {"pid": pid, "server": name, **({"directory": directory} if directory else {})}


def addresses_of(state: dict[str, Any]) -> list[str]:
    """Return the addresses for clients: all sockets that were passed to the daemon, or the one that it has bound itself."""
    # A daemon from before an update does not send them.
    return state["addresses"] if state.get("passed") else [state["url"]]


def _page(state: dict[str, Any]) -> str:
    head = (
        f"mcp-bridge {state['version']}, pid {state['pid']}, up {_duration(state['uptime'])}, "
        f"{_size(state['memory'])}, on {', '.join(addresses_of(state))}"
    )
    lines = [escaped(head), table(_COLUMNS, [_row(server) for server in state["servers"]])]
    lines.extend(escaped(f"warning: {reason}") for reason in state.get("warnings", ()))
    if state.get("refusals"):
        counted = ", ".join(f"{kind} {count}" for kind, count in state["refusals"].items())
        lines.append(escaped(f"rejected requests: {counted}"))
    for server in state["servers"]:
        lines.extend(map(escaped, _notes(server)))
    return "\n".join(lines)


def _row(server: dict[str, Any]) -> tuple[Value, ...]:
    return (
        server["name"],
        server["state"],
        server["era"],
        len(server["pids"]) + server.get("connections", 0),
        server["sessions"],
        server["in_flight"],
        server["calls"],
        server["errors"],
        server["restarts"],
        _size(server["memory"]),
    )


def _notes(server: dict[str, Any]) -> list[str]:
    name = server["name"]
    notes = [f"{name}: left out {member}: {why}" for member, why in server.get("left_out", {}).items()]
    # A daemon from before an update does not send the URL.
    last = "the last connection" if server.get("url") else "the last process"
    if server["last_exit"]:
        notes.append(f"{name}: {last} {server['last_exit']}")
        notes.extend(f"  {line}" for line in server["stderr"])
    if server["fault"].startswith(f"{last} ") or server["state"] == "login required":
        notes.append(f"{name}: {server['state']}: {server['fault']}")
    # A daemon from before an update does not send these.
    notes.extend(
        f"{name}: process {pid} runs in {directory}"
        for pid, directory in server.get("directories", {}).items()
    )
    if server.get("withheld"):
        notes.append(f"{name}: set in the daemon and not passed to the server: {named(server['withheld'])}")
    return notes


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
