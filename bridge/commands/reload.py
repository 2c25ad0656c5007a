"""`mcp-bridge reload` and `mcp-bridge restart`, and what other commands do after they have changed the configuration."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..config import load, tables
from ..config.settings import CONTROL, EMPTY
from ..config.tables import BadConfig
from ..core.exit_codes import EX_FAILED, EX_OK
from .control_client import ErrorResponse, Unreachable, names_of_servers, request
from .invocation import BadUsage, Invocation
from .output import notice, print_line
from .printable import json_text
from .progress import Progress
from .running_daemon import ConfigSource

# A reload runs the helpers of all secrets, one after the other, and a restart may have to wait for it (seconds).
_HELPERS_SECONDS: Final = 600.0


def restart(invocation: Invocation) -> int:
    """Restart the processes of these servers. Raises BadUsage and ErrorResponse."""
    options, unix = invocation.options, invocation.socket()
    if options.all == bool(options.servers):
        raise BadUsage("name the servers to restart, or use --all")
    names = names_of_servers(unix) if options.all else list(dict.fromkeys(options.servers))
    failed: dict[str, str] = {}
    progress = Progress()
    for name in names:
        try:
            with progress.wait(f"waiting for the restart of {name}"):
                request(unix, "POST", f"{CONTROL}/restart?server={quote(name)}", _HELPERS_SECONDS)
        except ErrorResponse as fault:
            failed[name] = str(fault)
            notice(f"{name}: {fault}" if len(names) > 1 else str(fault))
        else:
            if not options.json:
                print_line(f"{name}: restarted; in-flight calls finish in the former process")
    if not options.json:
        _explain_failures(unix, {name for name in names if name not in failed})
    if options.json:
        print_line(json_text({"restarted": [name for name in names if name not in failed], "failed": failed}))
    return EX_FAILED if failed else EX_OK


def _explain_failures(unix: Path, names: Collection[str]) -> None:
    """Write why servers cannot start in spite of their restart."""
    for server in request(unix, "GET", f"{CONTROL}/status")["servers"]:
        if server["name"] in names and server["state"] == "failed":
            notice(f"{server['name']}: cannot be started: {server['fault']}")


def reload(invocation: Invocation) -> int:
    """Let the daemon reload its configuration, and print what has changed. Raises BadConfig."""
    changes = reload_now(invocation)
    if invocation.options.json:
        print_line(json_text(changes))
    else:
        print_changes(changes)
    return EX_OK


def reload_now(invocation: Invocation, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Let the daemon reload its configuration, which `may_be_empty`, and return what has changed. Raises BadConfig."""
    source = invocation.source
    if source.other is not None:
        raise BadConfig(
            f"the daemon uses {source.other}, not {source.file}; run `mcp-bridge reload` without --config to reload that"
        )
    try:
        changes = _requested(invocation, f"?{EMPTY}" if may_be_empty else "")
    except ErrorResponse as fault:
        raise _with_places(source, str(fault)) from None
    return changes


def print_changes(changes: Mapping[str, Any]) -> None:
    """Print what a reload has changed."""
    for kind in ("added", "changed", "removed", "kept"):
        if changes[kind]:
            print_line(f"{kind}: {', '.join(changes[kind])}")
    for kind in ("added", "changed", "revoked"):
        # A daemon from before an update does not send them.
        if names := changes.get(f"tokens_{kind}"):
            print_line(f"tokens {kind}: {', '.join(names)}")
    if changes["stale"]:
        notice(f"what has changed in {', '.join(changes['stale'])} needs a restart of the daemon")
    for reason in changes.get("warnings", ()):
        notice(f"warning: {reason}")


def _with_places(source: ConfigSource, reason: str) -> BadConfig:
    """Return the errors that the daemon has found in its file; with their places where this command finds the same."""
    try:
        load.plan(source.file, source.environment)
    except BadConfig as fault:
        if str(fault) == reason:
            return fault
    return BadConfig(faults=map(tables.Fault, reason.splitlines()))


def reload_if_running(invocation: Invocation) -> None:
    """Let the daemon reload its files, if it runs."""
    try:
        _requested(invocation)
    except Unreachable:
        pass
    except (BadConfig, ErrorResponse) as fault:
        for line in str(fault).splitlines():
            notice(f"the daemon could not reload its configuration: {line}")


def _requested(invocation: Invocation, query: str = "") -> dict[str, Any]:
    target = f"{CONTROL}/reload{query}"
    with Progress().wait("waiting for the daemon, which reads its configuration and all secrets"):
        changes: dict[str, Any] = request(invocation.socket(), "POST", target, _HELPERS_SECONDS)
    return changes


def report_change(source: ConfigSource) -> None:
    """Write which file has changed, and what makes the change take effect."""
    if source.other is None:
        notice(f"{source.file} was changed; run `mcp-bridge reload` to apply it")
    else:
        notice(f"{source.file} was changed; the running daemon uses {source.other}")
