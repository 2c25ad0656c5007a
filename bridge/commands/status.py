"""`mcp-bridge status` and `mcp-bridge ps`: show the state of the daemon, of its servers and of their processes."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, NoReturn

from ...validators.counted import counted
from ..config.child_environment import named
from ..config.settings import CONTROL
from ..core.exit_codes import EX_OK
from ..log import escaped
from .control_client import ErrorResponse, Unreachable, request
from .invocation import Invocation
from .output import notice, print_json, print_line, stdout_terminal
from .progress import Progress
from .table import Cell, Column, Value, table
from .terminal import Terminal
from .text_width import normal, wrapped

# Between two tables of `status --watch`, and for a response to it (seconds).
_WATCH_SECONDS: Final = 1.0
_WATCH_TIMEOUT: Final = 5.0
_COLUMNS: Final = (
    Column("server"),
    Column("state", least=14),
    Column("era", leave=3),
    Column("processes", "procs"),
    Column("sessions", "sess", leave=1),
    Column("in flight", "busy"),
    Column("calls"),
    Column("errors", "errs"),
    Column("restarts", "exits", leave=4),
    Column("memory", right=True, leave=2),
)
_PROCESSES: Final = (
    Column("pid"),
    Column("server"),
    Column("command", least=20),
    Column("directory", keep_end=True),
)
# A server in these states does not serve every request.
_BROKEN: Final = {
    "failed": "red",
    "failing": "red",
    "login required": "yellow",
    "unapproved": "yellow",
    "silent": "yellow",
}
_STYLES: Final = {**_BROKEN, "serving": "green", "connected": "green"}
_ERAS: Final = {"legacy and modern": "both", "not known yet": "unknown"}


def status(invocation: Invocation) -> int:
    """Print the state of the daemon and its servers, with `--watch` again and again."""
    unix, options = invocation.socket(), invocation.options
    if options.watch:
        _watch(invocation)
    with Progress().wait(f"waiting for the daemon at {unix}"):
        state = request(unix, "GET", f"{CONTROL}/status")
    if options.json:
        print_json(state)
    else:
        print_line("\n".join(page(state, stdout_terminal(invocation.environment))))
    return EX_OK


def _watch(invocation: Invocation) -> NoReturn:
    terminal = stdout_terminal(invocation.environment)
    ask = partial(request, invocation.socket(), "GET", f"{CONTROL}/status", _WATCH_TIMEOUT)
    if terminal.addressable and not invocation.options.json:
        from .screen import watch  # noqa: PLC0415 - only for --watch

        watch(_WATCH_SECONDS, lambda: _watched_page(ask, stdout_terminal(invocation.environment)))
    while True:
        state = ask()
        print_line(json.dumps(state) if invocation.options.json else "\n".join(page(state, terminal)))
        time.sleep(_WATCH_SECONDS)


def _watched_page(ask: "partial[Any]", terminal: Terminal) -> tuple[list[str], int | None]:
    try:
        state = ask()
    except (Unreachable, ErrorResponse, OSError) as fault:
        # A daemon that is restarted comes back.
        reason = f"{fault or type(fault).__name__}; trying again every second"
        return [terminal.style(line, "yellow") for line in _lines(reason, terminal)], terminal.height
    lines = page(state, terminal)
    if terminal.height is not None and len(lines) > terminal.height:
        # The table changes most, so it must not be below the end of the screen.
        lines = page(state, terminal, table_first=True)
    return lines, terminal.height


def ps(invocation: Invocation) -> int:
    """Print the processes of the servers."""
    unix = invocation.socket()
    with Progress().wait(f"waiting for the daemon at {unix}"):
        state = request(unix, "GET", f"{CONTROL}/status")
    rows = [
        # A daemon from before an update does not send the directories.
        (pid, server["name"], " ".join(server["command"]), server.get("directories", {}).get(str(pid), ""))
        for server in state["servers"]
        for pid in server["pids"]
    ]
    if invocation.options.json:
        print_json([_process(*row) for row in rows])
        return EX_OK
    if not rows:
        notice("no server process runs; a process starts with the first request to its server")
        return EX_OK
    shown = len(_PROCESSES) if any(directory for *_, directory in rows) else len(_PROCESSES) - 1
    terminal = stdout_terminal(invocation.environment)
    print_line(table(_PROCESSES[:shown], [row[:shown] for row in rows], terminal))
    return EX_OK


def _process(pid: int, name: str, _command: str, directory: str) -> dict[str, object]:
    return {"pid": pid, "server": name, **({"directory": directory} if directory else {})}


def addresses_of(state: dict[str, Any]) -> list[str]:
    """Return the addresses for clients: all sockets that were passed to the daemon, or the one that it has bound itself."""
    # A daemon from before an update does not send them.
    return state["addresses"] if state.get("passed") else [state["url"]]


def page(state: dict[str, Any], terminal: Terminal, *, table_first: bool = False) -> list[str]:
    """Return the lines of `status`: the daemon, servers that are broken with the cause and a remedy, the table, and notes.

    With `table_first` the table is before the broken servers.
    """
    head = (
        f"mcp-bridge {state['version']}, pid {state['pid']}, up {duration(state['uptime'])}, "
        f"{size(state['memory'])}, on {', '.join(addresses_of(state))}"
    )
    # Servers keep the order of the configuration otherwise.
    servers = sorted(state["servers"], key=lambda server: server["state"] not in _BROKEN)
    problems = [line for server in servers for line in _problem(server, terminal)]
    none = "no server is configured; add one with `mcp-bridge add NAME -- COMMAND ARGS...`"
    rows = (
        table(_COLUMNS, [_row(server) for server in servers], terminal).split("\n")
        if servers
        else _lines(none, terminal)
    )
    lines = [*_lines(head, terminal), *(rows if table_first else problems)]
    lines.extend(problems if table_first else rows)
    for reason in state.get("warnings", ()):
        lines.extend(_lines(f"warning: {reason}", terminal))
    if state.get("refusals"):
        refused = ", ".join(f"{kind} {count}" for kind, count in state["refusals"].items())
        lines.extend(_lines(f"rejected requests: {refused}", terminal))
    for server in servers:
        for note in _notes(server):
            lines.extend(_lines(note, terminal))
    return lines


def _lines(text: str, terminal: Terminal) -> list[str]:
    indent = text[: len(text) - len(text.lstrip(" "))] + "  "
    return wrapped(terminal.shown(normal(escaped(text))), terminal.width, indent)


def _row(server: dict[str, Any]) -> tuple[Value, ...]:
    return (
        server["name"],
        Cell(server["state"], _STYLES.get(server["state"], "")),
        _era(server["era"]),
        len(server["pids"]) + server.get("connections", 0),
        server["sessions"],
        server["in_flight"],
        server["calls"],
        server["errors"],
        server["restarts"],
        size(server["memory"]),
    )


def _era(text: str) -> str:
    return _ERAS.get(text, text)


def _problem(server: dict[str, Any], terminal: Terminal) -> Iterator[str]:
    """Yield the lines for a server that is broken: its state and the cause, its last output, and what to do."""
    state, name = server["state"], server["name"]
    if state not in _BROKEN:
        return
    cause, advice = _cause(server)
    first, *rest = _lines(f"{name}: {state}: {cause}", terminal)
    yield terminal.style(first, _BROKEN[state])
    yield from rest
    if server["last_exit"]:
        for line in server["stderr"]:
            yield from _lines(f"  {line}", terminal)
    for line in advice:
        yield from _lines(f"  {line}", terminal)


def _cause(server: dict[str, Any]) -> tuple[str, list[str]]:
    """Return why a server is broken, and what to do."""
    name, fault = server["name"], server["fault"]
    match server["state"]:
        case "login required":
            # The cause names the command.
            return fault, []
        case "unapproved":
            return "its command, or a file of it, is not the one that was pinned", [
                f"check what has changed, then run `mcp-bridge approve {name}` and `mcp-bridge reload`"
            ]
        case "silent":
            return "a process has not answered its last ping; it may be busy", [
                f"if it does not recover, run `mcp-bridge restart {name}`"
            ]
        case _ if not fault or fault.startswith(("the last process ", "the last connection ")):
            cause = fault or f"{_last(server)} {server['last_exit']}"
            return cause, [
                *_withheld(server),
                f"see `mcp-bridge logs {name}`",
                f"after a correction run `mcp-bridge restart {name}`",
            ]
        case _:
            return fault, ["correct this, then run `mcp-bridge reload`"]


def _last(server: dict[str, Any]) -> str:
    # A daemon from before an update does not send the URL.
    return "the last connection" if server.get("url") else "the last process"


def _withheld(server: dict[str, Any]) -> list[str]:
    # A daemon from before an update does not send the variables.
    if not server.get("withheld"):
        return []
    return [f"set in the daemon and not passed to the server: {named(server['withheld'])}"]


def _notes(server: dict[str, Any]) -> Iterator[str]:
    """Yield remarks on a server that are no reason for a broken state."""
    name = server["name"]
    for member, why in server.get("left_out", {}).items():
        yield f"{name}: left out {member}: {why}"
    if server["state"] not in _BROKEN:
        # A daemon from before an update does not send the last two. A failure of the past is in the log and in the JSON.
        if server["last_exit"] and not server.get("recovered"):
            at = server.get("last_exit_at", 0)
            past = f" ({duration(max(0, time.time() - at))} ago)" if at else ""
            yield f"{name}: {_last(server)} {server['last_exit']}{past}"
            yield from (f"  {line}" for line in server["stderr"])
        yield from (f"{name}: {text}" for text in _withheld(server))
    # A daemon from before an update does not send the last two.
    if pending := server.get("pending_definitions", 0):
        count = counted(pending, "definition")
        yield f"{name}: {count} not approved: see `mcp-bridge approve --definitions {name}`"
    for pid, directory in server.get("directories", {}).items():
        yield f"{name}: process {pid} runs in {directory}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """Return a number of bytes in MiB."""
    return f"{count / 2**20:.1f} MiB"
