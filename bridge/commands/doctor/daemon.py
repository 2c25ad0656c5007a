"""Check the running daemon, and its servers by a request to each."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...config.child_environment import named
from ...config.settings import CONTROL, ServerConfig, Settings
from ..control_client import NoDaemon, Refused, ask, call, result_of
from ..threads import side_by_side
from .finding import ERROR, OK, WARNING, Finding
from .progress import AT_ONCE, Counter

if TYPE_CHECKING:
    # It loads the event loop.
    from ...daemon.certificates import Loaded

# How long a server may take to start and to respond (seconds).
_RESPONSE_SECONDS: Final = 20.0


def check_daemon(
    settings: Settings,
    unix: Path | None,
    certificate: "Loaded | None",
    progress: Callable[[str], None],
) -> Iterator[Finding]:
    if unix is None:
        yield Finding(WARNING, "listen: unix is false, so the daemon cannot be checked")
        return
    try:
        answer = ask(unix, "GET", f"{CONTROL}/status")
    except (NoDaemon, Refused, ConnectionError) as fault:
        yield Finding(WARNING, str(fault), "run systemctl --user start mcp-bridge, or mcp-bridge serve")
        if settings.port and not _is_free(settings.host, settings.port):
            yield Finding(
                ERROR,
                f"another program listens on {settings.host} port {settings.port}",
                "stop it, or choose another port for listen.http",
            )
        return
    yield Finding(OK, f"the daemon is running: pid {answer['pid']}, version {answer['version']}")
    yield from _addresses(answer)
    used = answer.get("certificate")  # not sent by a daemon from before an update
    if used and certificate is not None and used != certificate.fingerprint:
        yield Finding(
            WARNING,
            f"the daemon uses another certificate than the one in {certificate.file}",
            "run mcp-bridge reload",
        )
    if answer.get("cgroup"):  # not said by a daemon from before an update
        yield Finding(OK, f"each server process has its own cgroup in {answer['cgroup']}")
    running = {one["name"]: one for one in answer["servers"]}

    def question(server: ServerConfig) -> list[Finding]:
        if server.name in running:
            one = running[server.name]
            if one["state"] == "failed" and one["fault"] == server.fault:
                # It was found without the daemon.
                return []
            return [*_running(unix, one)]
        what = f"servers.{server.name}: the daemon has not loaded it yet"
        return [Finding(WARNING, what, "run mcp-bridge reload")]

    counted = Counter("tested", len(settings.servers), progress)
    for findings in side_by_side(question, settings.servers, AT_ONCE, counted.one_more):
        yield from findings


def _addresses(answer: dict[str, Any]) -> Iterator[Finding]:
    if "addresses" in answer:  # not sent by a daemon from before an update
        shown = ", ".join(answer["addresses"])
        passed = ", the sockets that were passed to it; listen.http is ignored" if answer["passed"] else ""
        yield Finding(OK, f"the daemon listens on {shown}{passed}")


def _running(unix: Path, one: dict[str, Any]) -> Iterator[Finding]:
    if one.get("withheld"):  # not said by a daemon from before an update
        yield Finding(
            WARNING,
            f"servers.{one['name']}: set in the daemon and not passed to the server: {named(one['withheld'])}",
            'pass those that it needs with pass_env = ["NAME", "@GROUP"]',
        )
    if one["state"] == "failed":
        yield Finding(
            ERROR,
            f"servers.{one['name']}: the daemon cannot start it: {one['fault']}",
            f"fix that, then run mcp-bridge restart {one['name']}",
        )
        return
    if one["state"] == "failing":
        tail = one["stderr"][-1] if one["stderr"] else "stderr is empty"
        yield Finding(
            ERROR,
            f"servers.{one['name']}: restarts repeatedly: {one['last_exit']}: {tail}",
            f"see mcp-bridge logs {one['name']}",
        )
        return
    if one["state"] == "silent":
        yield Finding(
            WARNING,
            f"servers.{one['name']}: a process does not respond; it hangs or is busy",
            f"run mcp-bridge restart {one['name']} to replace it",
        )
    began = time.monotonic()
    try:
        result_of(call(unix, one["name"], "server/discover", {}, patience=_RESPONSE_SECONDS))
    except Refused as fault:
        # The lines after the first are the end of its stderr.
        reason, *lines = map(str.strip, str(fault).split("\n"))
        reason = "; ".join([reason, *(line for line in lines if line not in reason)])
        yield Finding(
            ERROR, f"servers.{one['name']}: no response: {reason}", f"see mcp-bridge logs {one['name']}"
        )
    else:
        yield Finding(OK, f"servers.{one['name']}: responded after {time.monotonic() - began:.1f} s")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(1)
        return sock.connect_ex((host, port)) != 0
