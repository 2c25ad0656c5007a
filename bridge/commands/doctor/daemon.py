"""Check the running daemon, and its servers by a request to each."""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ....validators.client_directory import encode_path
from ....validators.counted import counted
from ...config.child_environment import named
from ...config.settings import CONTROL, ServerConfig, Settings
from ...core.start_errors import Output, StartFault
from ..control_client import ErrorResponse, Unreachable, call_server, request, result_of
from ..progress import Progress
from ..threads import AT_ONCE, map_in_threads
from .causes import error_line, fix_for, group_of, silent_fix
from .finding import ERROR, OK, WARNING, Finding
from .unused import unused_features, unused_server, unused_tokens

if TYPE_CHECKING:
    # It loads the event loop.
    from ...daemon.certificates import Loaded

# The begin of the error of a request to which no response has come in time.
_NO_RESPONSE: Final = "no response within"
# So many processes of one server are worth an advice.
_SEVERAL: Final = 3
# How long a server may take to start and to respond (seconds).
_RESPONSE_SECONDS: Final = 20.0


def check_daemon(
    settings: Settings, unix: Path | None, certificate: "Loaded | None", progress: Progress
) -> Iterator[Finding]:
    """Yield the findings about the running daemon and its servers; `unix` is its socket, or None if it has none."""
    if unix is None:
        yield Finding(WARNING, "listen: unix is false, so the daemon cannot be checked")
        return
    try:
        state = request(unix, "GET", f"{CONTROL}/status")
    except (Unreachable, ErrorResponse, ConnectionError) as fault:
        yield Finding(
            WARNING,
            str(fault),
            "start it as a service, or in a terminal",
            ("systemctl --user start mcp-bridge", "mcp-bridge serve"),
        )
        if settings.port and not _is_free(settings.host, settings.port):
            yield Finding(
                ERROR,
                f"another program listens on {settings.host} port {settings.port}",
                "stop it, or choose another port for listen.http",
            )
        return
    yield Finding(OK, f"the daemon is running: pid {state['pid']}, version {state['version']}")
    yield from _addresses(state)
    # A daemon from before an update does not send the certificate and the cgroup.
    used = state.get("certificate")
    if used and certificate is not None and used != certificate.fingerprint:
        yield Finding(
            WARNING,
            f"the daemon uses another certificate than the one in {certificate.file}",
            "run mcp-bridge reload",
        )
    if state.get("cgroup"):
        yield Finding(OK, f"each server process has its own cgroup in {state['cgroup']}")
    # A daemon from before an update does not send these.
    if not state.get("identifies_tcp_clients", True):
        yield Finding(
            WARNING,
            "the daemon has a user namespace of its own, so it cannot tell programs apart that connect to its TCP port",
            "connect them with `mcp-bridge connect`, give each a token, or change the unit (CLIENTS in mcp-bridge.toml(5))",
        )
    yield from unused_tokens(state.get("unused_tokens", ()), min(state["uptime"], _age_of(settings.file)))
    running = {server["name"]: server for server in state["servers"]}

    def check_running(server: ServerConfig) -> list[Finding]:
        if server.name in running:
            found = running[server.name]
            if found["state"] == "failed" and found["fault"] == server.fault:
                # `check_server` has reported it.
                return []
            return [*_running(unix, {**found, "where": server.where}, server)]
        text = f"{server.where}: the daemon has not loaded it yet"
        return [Finding(WARNING, text, "run mcp-bridge reload")]

    tally = progress.count("tested", len(settings.servers))
    for findings in map_in_threads(check_running, settings.servers, AT_ONCE, tally.one_more):
        yield from findings


def _age_of(file: Path | None) -> float:
    """Return the time since the last change of a file (seconds), 0 without one."""
    try:
        return 0.0 if file is None else max(0.0, time.time() - file.stat().st_mtime)
    except OSError:
        return 0.0


def _addresses(state: dict[str, Any]) -> Iterator[Finding]:
    if "addresses" in state:
        shown = ", ".join(state["addresses"])
        passed = ", the sockets that were passed to it; listen.http is ignored" if state["passed"] else ""
        yield Finding(OK, f"the daemon listens on {shown}{passed}")


def _running(unix: Path, server: dict[str, Any], config: ServerConfig) -> Iterator[Finding]:
    """Yield the findings about a running server, whose table is `server["where"]`."""
    if server.get("withheld"):
        yield Finding(
            WARNING,
            f"{server['where']}: set in the daemon and not passed to the server: {named(server['withheld'])}",
            f"pass those that it needs: add to [{server['where']}], without those that it does not need",
            (_pass_line(server["withheld"]), "mcp-bridge reload"),
        )
    if server["state"] == "failed":
        yield _failed(server)
        return
    if server["state"] == "failing":
        yield _failing(server)
        return
    if server["state"] == "silent":
        yield Finding(
            WARNING,
            f"{server['where']}: a process does not respond; it hangs or is busy",
            f"run mcp-bridge restart {server['name']} to replace it",
        )
    yield from _pending_definitions(server)
    yield from _memory(server)
    yield from unused_server(server, config, time.time())
    began = time.monotonic()
    directory = _directory_in(config.cwd_allowed)
    headers = {"Mcp-Cwd": encode_path(os.fsencode(directory))} if directory else {}
    try:
        found = result_of(
            call_server(unix, server["name"], "server/discover", {}, headers, _RESPONSE_SECONDS)
        )
    except ErrorResponse as fault:
        yield _no_response(request(unix, "GET", f"{CONTROL}/status"), server, str(fault), directory)
    else:
        yield Finding(OK, f"{server['where']}: responded after {time.monotonic() - began:.1f} s")
        capabilities: Any = found.get("capabilities")
        offered = cast("dict[str, Any]", capabilities) if isinstance(capabilities, dict) else {}
        yield from unused_features(server, config, offered, time.time())


def _pending_definitions(server: dict[str, Any]) -> Iterator[Finding]:
    """Yield the finding about definitions that are not approved."""
    # A daemon from before an update does not send them.
    if pending := server.get("pending_definitions", 0):
        command = f"mcp-bridge approve --definitions {server['name']}"
        yield Finding(
            WARNING,
            f"servers.{server['name']}: {counted(pending, 'definition')} changed or new since the approval",
            "look at the differences, then approve them or remove the server",
            (command,),
        )


def _failed(server: dict[str, Any]) -> Finding:
    """Return the finding about a server that could not be started."""
    name = server["name"]
    text = f"{server['where']}: the daemon cannot start it: {server['fault']}"
    printed = [*server["stderr"], *server.get("stdout", ()), server["fault"]]
    fix = fix_for(name, server["command"], printed, server.get("withheld", ()))
    if fix is None:
        again = f"mcp-bridge restart {name}"
        return Finding(ERROR, text, f"fix that, then run {again}", (again,))
    return Finding(ERROR, text, fix.text, fix.commands)


def _failing(server: dict[str, Any]) -> Finding:
    """Return the finding about a server whose processes exit again and again."""
    name, lines = server["name"], server["stderr"]
    tail = error_line(lines) or "stderr is empty"
    how = f"restarts repeatedly: {server['last_exit']}: {tail}"
    text = f"{server['where']}: {server['last_exit'] if server.get('url') else how}"
    fix = fix_for(name, server["command"], [*lines, *server.get("stdout", ())], server.get("withheld", ()))
    if fix is None:
        return Finding(ERROR, text, f"see mcp-bridge logs {name}")
    return Finding(ERROR, text, fix.text, fix.commands)


def _no_response(state: dict[str, Any], server: dict[str, Any], reason: str, directory: str) -> Finding:
    """Return the finding about a server that has not responded to a request, for this reason."""
    name = server["name"]
    # The state after the request has what the process has printed.
    now = next((one for one in state["servers"] if one["name"] == name), server)
    # The lines after the first are the end of its stderr.
    first, *lines = map(str.strip, reason.split("\n"))
    if first.startswith(_NO_RESPONSE) and not server.get("url"):
        # The start may take longer than this command waits.
        output = Output(tuple(now.get("stdout", ())), tuple(now["stderr"]))
        first = StartFault(first, output, hangs=True).summary
    shown = "; ".join([first, *(line for line in lines if line not in first)])
    command = f"mcp-bridge login {name}"
    if command in shown:
        return Finding(ERROR, f"{server['where']}: no response: {shown}", f"run {command}", (command,))
    hint = f"see mcp-bridge logs {name}"
    if directory:
        # Another directory may have what the server needs.
        text = f"{server['where']}: no response in the directory {directory}: {shown}"
        return Finding(WARNING, text, f"{hint}, or run mcp-bridge doctor in a directory that suits it")
    text = f"{server['where']}: no response: {shown}"
    printed = [*now["stderr"], *now.get("stdout", ()), *lines]
    fix = fix_for(name, now["command"], [*printed, first], now.get("withheld", ()))
    if fix is None and now["command"] and (now["pids"] or "did not" in first or "within" in first):
        fix = silent_fix(name, now["command"], in_http_mode="HTTP mode" in first)
    return Finding(ERROR, text, fix.text, fix.commands) if fix else Finding(ERROR, text, hint)


def _pass_line(names: Iterable[str]) -> str:
    """Return the line of the configuration that passes these variables: by group, if they have one."""
    return f"pass_env = {json.dumps([*dict.fromkeys(map(group_of, names))])}"


def _memory(server: dict[str, Any]) -> Iterator[Finding]:
    """Yield the advice to share the processes of a server that has several."""
    if len(server["pids"]) < _SEVERAL or server["share"] not in ("auto", "session", "client"):
        return
    yield Finding(
        WARNING,
        f"{server['where']}: {counted(len(server['pids']), 'process uses', 'processes use')} {server['memory'] / 2**20:.0f} MiB",
        f"if it keeps no state of a client, one process can serve all clients of a user; add to [{server['where']}]",
        ('share = "principal"', "mcp-bridge reload"),
    )


def _directory_in(allowed: tuple[str, ...]) -> str:
    """Return the directory for a server with `cwd = "client"`: ours, if it is allowed, otherwise the first allowed one."""
    if not allowed:
        return ""
    here = Path.cwd()
    inside = any(here.is_relative_to(Path(one).resolve()) for one in allowed)
    return str(here) if inside else allowed[0]


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(1)
        return sock.connect_ex((host, port)) != 0
