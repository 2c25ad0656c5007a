"""Report the state of the daemon: the messages at the start, and the status line of the service manager."""

import json
import os
import sys
from typing import Final

from ...validators.counted import counted
from ..config.settings import Settings
from ..config.trust import replaceable_socket_places
from ..log import LineLog, escaped
from .running_config import RunningConfig
from .supervisor import Supervisor
from .tokens import Tokens

# A start shows the addresses of so many servers.
_MOST_SERVERS: Final = 32


def summary(config: RunningConfig, supervisor: Supervisor) -> str:
    """Return the status line: the number of servers, the addresses, and the names of the servers with a fault."""
    servers = [*supervisor]
    faulty = {
        "failed": [server.name for server in servers if server.state == "failed"],
        "failing": [server.name for server in servers if server.failing],
        "unapproved": [server.name for server in servers if server.unapproved],
        "silent": [server.name for server in servers if server.silent],
        "login required": [server.name for server in servers if server.login_required],
    }
    return "; ".join(
        [
            f"serving {counted(config.settings.own_servers, 'server')} on {', '.join(config.client_addresses)}",
            *(f"{state}: {', '.join(names)}" for state, names in faulty.items() if names),
            *config.certificate_faults,
        ]
    )


def announce(config: RunningConfig, supervisor: Supervisor, log: LineLog) -> None:
    """Log the warnings of the start, and at last the addresses, of which that for clients is `ready`."""
    settings = config.settings
    path = settings.paths.mcp or settings.paths.sse or settings.paths.ws
    first, *others = (f"{address}{path}" for address in config.client_addresses)
    warn_of_certificate(config, log)
    if os.geteuid() == 0 and not settings.as_root:
        text = "running as root, and so does every server; use an ordinary user, or pass --allow-root"
        _warn(log, "running_as_root", text)
    for server in supervisor:
        if fault := server.config.fault:
            text = f"servers.{server.name}: {escaped(fault)}"
            _warn(log, "server_failed", text, server=server.name, reason=fault)
    for reason in replaceable_socket_places(settings):
        _warn(log, "socket_replaceable", f"listen: unix: {escaped(reason)}", reason=reason)
    if config.tokens.accepted is None and config.sockets.tcp:
        text = "authentication is disabled (--no-auth): any local program can use this server"
        _warn(log, "no_authentication", text)
    elif settings.root:
        text = f"configuration for a client:\n{_client_configuration(settings, config.tokens, first)}"
        log.always("info", "client_configuration", text, url=first, token_file=config.tokens.source)
    if settings.file is not None:
        _announce_servers(config, settings, log)
    for url in others:
        log.always("info", "also_ready", f"also ready on {escaped(url)}", url=url)
    log.always("info", "ready", f"ready on {first}", url=first)


def _announce_servers(config: RunningConfig, settings: Settings, log: LineLog) -> None:
    """Log the configuration file and the address of each server."""
    log.always(
        "info", "configuration", f"configuration: {escaped(str(settings.file))}", file=str(settings.file)
    )
    base = next((one for one in config.client_addresses if not one.startswith("unix:")), "")
    shown = [server for server in settings.servers if server.aggregate is None or server.is_named_aggregate]
    if not shown:
        text = "no server is configured; add one with `mcp-bridge add NAME -- COMMAND ARGS...`"
        log.always("info", "no_servers", text)
    for server in shown[:_MOST_SERVERS] if base else ():
        url = f"{base}{server.paths.mcp}"
        kind = "aggregate" if server.is_named_aggregate else "server"
        log.always("info", "server_address", f"{kind} {server.name}: {url}", server=server.name, url=url)
    if base and len(shown) > _MOST_SERVERS:
        text = f"and {counted(len(shown) - _MOST_SERVERS, 'other server')}: mcp-bridge status"
        log.always("info", "more_servers", text, servers=len(shown))


def warn_of_certificate(config: RunningConfig, log: LineLog) -> None:
    """Log why clients refuse the certificate, an event for each reason."""
    for reason in config.certificate_faults:
        log.warning("certificate_faulty", reason=reason)


def _warn(log: LineLog, event: str, text: str, **fields: object) -> None:
    log.always("warning", event, f"warning: {text}", **(fields or {"reason": text}))


def _client_configuration(settings: Settings, tokens: Tokens, url: str) -> str:
    # A secret does not belong into a journal or a file.
    token = tokens.owner if sys.stderr.isatty() else f"<the content of {tokens.source}>"
    entry = {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {token}"}}
    text = json.dumps({"mcpServers": {settings.root: entry}}, indent=2, ensure_ascii=False)
    return "\n".join("  " + line for line in text.splitlines())
