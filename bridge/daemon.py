"""The whole bridge from start to stop: credentials, sockets, the server's sessions, signals, exit codes."""

import gc
import json
import os
import shutil
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version

import trio

from ..transports.gate import Gate
from ..transports.http1 import Quota, Service
from ..transports.listen import CannotListen, Listener, bind_tcp, bind_unix, serve, tls_context
from ..transports.pulse import Pulse
from ..transports.readiness import Readiness
from ..transports.routes import Paths, Routes, endpoints
from ..transports.spawner import Launch, Spawner
from ..validators.bearer import TokenSet
from ..validators.origin import Site
from .credentials import PRINCIPAL, BadCredential, boot_token, read_token
from .log import LineLog
from .server import LocalServer, ServerConfig
from .settings import Settings

EX_OK = 0
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_TEMPFAIL = 75
EX_CONFIG = 78

# The one server of the wrapper has this name in /servers/NAME/... .
WRAPPED = "stdio"
# How long after the end of the sessions the clients may take to read the last of it, in seconds.
_FLUSH = 0.5


class CannotStart(Exception):
    """The bridge cannot do what it was told; the exit code says why (sysexits.h)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Serve until a signal, and answer the exit code. Prints the reason where it cannot start."""
    log = LineLog(settings.log_level, settings.log_format)
    try:
        _check_command(settings)
        token = _token(settings, environment, log)
        listeners = _Sockets(settings)
    except CannotStart as fault:
        sys.stderr.write(f"mcp-bridge: {fault}\n")
        return fault.code
    spawner = Spawner.start()
    try:
        trio.run(_serve, settings, environment, log, token, listeners, spawner)
    finally:
        spawner.close()
        listeners.close()
    return EX_OK


def _check_command(settings: Settings) -> None:
    program = settings.command[0]
    if shutil.which(program, path=settings.environment.get("PATH", os.defpath)) is None:
        raise CannotStart(EX_UNAVAILABLE, f"the server cannot be started: there is no program {program!r}")


def _token(settings: Settings, environment: Mapping[str, str], log: LineLog) -> str:
    if not settings.authenticate:
        return ""
    try:
        if settings.token_file is not None:
            token = read_token(settings.token_file)
        else:
            _, token = boot_token(environment)
    except BadCredential as fault:
        raise CannotStart(EX_CONFIG, str(fault)) from None
    log.hide([token])
    return token


class _Sockets:
    """What we listen on, bound before anything is started."""

    def __init__(self, settings: Settings) -> None:
        self.unix = None
        try:
            self.tls = (
                tls_context(settings.tls_certificate, settings.tls_key)
                if settings.tls_certificate and settings.tls_key
                else None
            )
        except (OSError, ssl.SSLError) as fault:
            raise CannotStart(
                EX_CONFIG, f"the TLS certificate or key cannot be used: {fault.strerror or fault}"
            ) from None
        try:
            self.tcp = bind_tcp(settings.host, settings.port)
            if settings.unix is not None:
                self.unix = bind_unix(settings.unix)
        except CannotListen as fault:
            raise CannotStart(EX_TEMPFAIL if fault.in_use else EX_CONFIG, str(fault)) from None
        self.unix_path = settings.unix

    def close(self) -> None:
        self.tcp.close()
        if self.unix is not None and self.unix_path is not None:
            self.unix.close()
            self.unix_path.unlink(missing_ok=True)


async def _serve(
    settings: Settings,
    environment: Mapping[str, str],
    log: LineLog,
    token: str,
    sockets: _Sockets,
    spawner: Spawner,
) -> None:
    limits = settings.limits
    launch = Launch(argv=settings.command, env=settings.environment)
    pulse, readiness = Pulse(), Readiness()
    config = ServerConfig(WRAPPED, launch, settings.era, settings.share)
    server = LocalServer(config, spawner, readiness, limits, log, version("mcpbridged"))
    table = endpoints(Paths.below(WRAPPED), server, limits, log) | endpoints(
        settings.paths, server, limits, log
    )
    routes = Routes(table, settings.health)
    tokens = TokenSet({token: PRINCIPAL}) if token else None
    quota = Quota(limits)

    def service(gate: Gate) -> Service:
        return Service(limits, gate, routes, pulse, readiness, log, quota)

    port: int = sockets.tcp.getsockname()[1]
    site = Site.for_listener(settings.scheme, settings.host, port, extra_origins=settings.origins)
    health = frozenset(settings.health)
    listeners = [Listener(sockets.tcp, service(Gate(site, tokens, health, settings.origins)), sockets.tls)]
    if sockets.unix is not None:  # the peer's uid is the credential there
        listeners.append(Listener(sockets.unix, service(Gate(Site.for_unix(), None, health))))

    async with trio.open_nursery() as nursery:
        await nursery.start(pulse.run)
        await nursery.start(readiness.run)
        await nursery.start(server.run)
        accepting = trio.CancelScope()
        nursery.start_soon(_accept, accepting, listeners)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            _announce(settings, environment, token, port)
            gc.freeze()  # what the start has made stays; the collector need not look at it again
            gc.set_threshold(10_000, 20, 50)
            await anext(signals)
            log.info("stopping")
            with trio.CancelScope() as orderly:
                nursery.start_soon(_hurry, signals, orderly)
                await server.close()
                await trio.sleep(_FLUSH)
                accepting.cancel()
                await server.emptied()
        nursery.cancel_scope.cancel()
    readiness.close()


async def _accept(scope: trio.CancelScope, listeners: list[Listener]) -> None:
    with scope:
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(serve, listener)


async def _hurry(signals: AsyncIterator[int], orderly: trio.CancelScope) -> None:
    async for _ in signals:
        orderly.cancel()


def _announce(settings: Settings, environment: Mapping[str, str], token: str, port: int) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"{settings.scheme}://{host}:{port}"
    path = settings.paths.mcp or settings.paths.sse or settings.paths.ws
    lines: list[str] = []
    if os.geteuid() == 0 and not settings.as_root:
        lines.append(
            "warning: running as root, and so is every server; use an ordinary user, or say --allow-root"
        )
    if not token:
        lines.append(
            "warning: no credential is asked for (--no-auth): every program on this machine may use this server"
        )
    else:
        lines.append("a client's configuration, ready to paste:")
        lines.extend(_client_configuration(settings, environment, token, url + path))
    lines.append(f"ready on {url}{path}")
    for line in lines:
        sys.stderr.write(f"{line}\n" if line.startswith(" ") else f"mcp-bridge: {line}\n")
    sys.stderr.flush()


def _client_configuration(
    settings: Settings, environment: Mapping[str, str], token: str, url: str
) -> list[str]:
    if sys.stderr.isatty():
        shown = token
    else:  # a journal or a file is no place for a secret
        shown = f"<the content of {settings.token_file or boot_token(environment)[0]}>"
    entry = {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {shown}"}}
    text = json.dumps({"mcpServers": {WRAPPED: entry}}, indent=2, ensure_ascii=False)
    return ["  " + line for line in text.splitlines()]
