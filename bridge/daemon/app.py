"""The whole bridge from start to stop: credentials, sockets, the servers, signals, reloads, exit codes."""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import attrs
import trio

from ...transports.http.gate import Gate, WrongCredentials
from ...transports.http.listen import CannotListen, Listener, bind_tcp, bind_unix, passed_sockets, serve
from ...transports.http.quota import HANDSHAKE, NO_HEAD, Quota
from ...transports.http.refusals import Refusals
from ...transports.http.routes import Routes, healthz, readyz
from ...transports.http.service import Service
from ...transports.poller import Poller
from ...transports.process.cgroup import can_hold, delegated
from ...transports.process.open_files import fit_limits, raise_soft_limit
from ...transports.process.spawner import Spawner
from ...transports.ticker import Ticker
from ...validators.bearer import TokenSet
from ...validators.limits import Limits
from ...validators.origin import Site
from ..config.addresses import shown_address
from ..config.credentials import (
    BOOT,
    PRINCIPAL,
    BadCredential,
    check_key,
    default_token,
    default_token_directory,
    read_secret,
    read_token,
)
from ..config.executable import found_program, why_not_found
from ..config.helper_programs import Helpers
from ..config.load import plan, resolved
from ..config.settings import READY, Settings
from ..config.tables import BadConfig
from ..config.trust import replaceable_places
from ..config.xdg import runtime_directory, state_directory
from ..core.exit_codes import EX_CONFIG, EX_OK, EX_SOFTWARE, EX_TEMPFAIL, EX_UNAVAILABLE
from ..log import LineLog, escaped
from ..runtime.era_store import EraStore
from ..runtime.threads import off_loop
from .certificates import BadCertificate, Loaded, load
from .control_api import ControlApi
from .sd_notify import Notifier
from .status import Status, status
from .supervisor import Changes, Supervisor, rights_of
from .surroundings import Surroundings, surroundings

_OUR_UMASK = 0o077
# How long after the end of the sessions the clients may take to read the last of it, in seconds.
_FLUSH = 0.5
# The pause between two looks at the file of the default token, in seconds; `token rotate` asks for one at once.
_TOKEN_ROUND = 2.0
# How long the first look for secrets may delay the start, in seconds; it goes on beside it.
_QUICK_SECRETS = 0.5
# How long the service manager may believe what is no longer so, in seconds.
_ROUND = 5.0


_ENDING = (signal.SIGINT, signal.SIGTERM)
# The last two mean nothing to us, and would otherwise be the end.
_SIGNALS = (*_ENDING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def _ended_by_signal(helpers: Helpers) -> Generator[Callable[[], bool]]:
    """Kill the helpers at SIGTERM. Yield whether it has come. The event loop does not run yet."""
    ended: list[int] = []

    def end(number: int, _frame: object) -> None:
        ended.append(number)
        helpers.end()

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield lambda: bool(ended)
    finally:
        signal.signal(signal.SIGTERM, former)


class CannotStart(Exception):
    """The bridge cannot do what it was told; the exit code says why (sysexits.h)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Serve until a signal, and answer the exit code. Prints the reason where it cannot start."""
    # Our own files are for us alone; servers get the umask of the login or of the service manager that has started us.
    umask = os.umask(_OUR_UMASK)
    try:
        return _run(settings, environment, umask)
    finally:
        os.umask(umask)


def _run(settings: Settings, environment: Mapping[str, str], umask: int) -> int:
    log = LineLog(settings.log_level, settings.log_format)
    log.take_over()
    log.hide(settings.secrets)
    try:
        _check_command(settings)
        helpers = Helpers(settings.limits.helper_seconds)
        with _ended_by_signal(helpers) as is_ended:
            try:
                tokens = _Tokens.of(settings, environment, helpers)
            except CannotStart:
                if is_ended():
                    return EX_OK
                raise
        if is_ended():  # also where no helper was there to be killed
            return EX_OK
        log.hide([tokens.owner])
        sockets = _Sockets(settings, environment)
    except CannotStart as fault:
        log.always("error", "cannot_start", str(fault), reason=str(fault), code=fault.code)
        return fault.code
    limits, lowered = fit_limits(settings.limits, raise_soft_limit())
    for sentence in lowered:
        log.warning(sentence)
    spawner = Spawner.start(_cgroup(log), umask, settings.log_format)
    try:
        daemon = _Daemon(settings, environment, log, tokens, sockets, spawner, limits)
        trio.run(daemon.run)
    except Exception as fault:  # noqa: BLE001 - the boundary of the process: what gets here is a fault of ours
        log.error("internal error", fault=fault)
        return EX_SOFTWARE
    finally:
        spawner.close()
        sockets.close()
    return EX_OK


def _cgroup(log: LineLog) -> Path | None:
    path = delegated()
    if path is not None and not can_hold(path):
        log.info("our cgroup was delegated to us and cannot be written, so servers get none", path=path)
        return None
    return path


def _check_command(settings: Settings) -> None:
    # Of many servers one that is not there costs itself only; the wrapper has no other.
    for config in settings.servers:
        if config.name == settings.root and found_program(config.launch.argv, config.launch.env) is None:
            reason = why_not_found(config.launch.argv[0])
            raise CannotStart(EX_UNAVAILABLE, f"the server cannot be started: {reason}")


@attrs.frozen
class _Tokens:
    """The credentials over TCP: the owner's, and where it can be read again; None where nobody is asked.

    `minted` is the file of the default token, if that is the owner's, with its identity when it was read.
    """

    owner: str = attrs.field(repr=False)
    place: str
    known: TokenSet | None
    minted: Path | None = None
    identity: tuple[int, ...] = ()
    # Why the file that has changed cannot be used.
    unreadable: str = ""

    @classmethod
    def of(
        cls, settings: Settings, environment: Mapping[str, str], helpers: Helpers | None = None
    ) -> "_Tokens":
        """Those that the settings name. Raises CannotStart. Blocks, as long as a helper takes."""
        helpers = helpers or Helpers(settings.limits.helper_seconds)
        if not settings.authenticate:
            return cls("", "", None)
        minted: Path | None = None
        identity: tuple[int, ...] = ()
        try:
            if settings.token_source not in ("", BOOT):
                place = settings.token_source.partition(" ")[0]
                base = settings.file.parent if settings.file else Path.cwd()
                owner = read_secret(settings.token_source, environment, base, helpers)
            elif settings.token_file is not None:
                place, owner = str(settings.token_file), read_token(settings.token_file)
            else:
                minted = default_token_directory(settings.token_source, environment) / "token"
                place = str(minted)
                default_token(settings.token_source, environment)
                # Between minting and reading, so that a change in between is found at the next look.
                identity = _identity(minted)
                owner = default_token(settings.token_source, environment)[1]
        except BadCredential as fault:
            where = "listen: token: " if settings.token_source else ""
            raise CannotStart(EX_CONFIG, f"{where}{fault}") from None
        try:
            known = TokenSet(
                {owner: PRINCIPAL},
                {token.sha256: token.name for token in settings.tokens},
                (PRINCIPAL,) if minted else (),
            )
        except ValueError as fault:
            raise CannotStart(EX_CONFIG, f"the token from {place}: {fault}") from None
        return cls(owner, place, known, minted, identity)

    @property
    def identity_now(self) -> tuple[int, ...]:
        """The identity of the file of the default token, empty where there is none."""
        return () if self.minted is None else _identity(self.minted)

    @property
    def changed(self) -> bool:
        """Whether the file of the default token is another one than when it was read."""
        return self.identity_now != self.identity


def _identity(path: Path) -> tuple[int, ...]:
    try:
        found = path.lstat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _tls(certificate: Path | None, key: Path | None) -> Loaded | None:
    """Load the certificate of the listener, if there is one. Blocks. Raises CannotStart."""
    if not (certificate and key):
        return None
    try:
        loaded = load(certificate, key)
        check_key(key)
    except BadCredential as fault:
        raise CannotStart(EX_CONFIG, str(fault)) from None
    except BadCertificate as fault:
        raise CannotStart(
            EX_CONFIG, f"the TLS certificate {certificate} or its key {key} cannot be used: {fault}"
        ) from None
    return loaded


def check(settings: Settings, environment: Mapping[str, str]) -> Loaded | None:
    """Look at the files that a start would refuse besides the configuration itself. Raises BadConfig.

    Returns the certificate of the listener, if there is one.
    """
    try:
        loaded = _tls(settings.tls_certificate, settings.tls_key)
        if settings.token_source:
            _Tokens.of(settings, environment)
    except CannotStart as fault:
        raise BadConfig(str(fault)) from None
    return loaded


class _Sockets:
    """What we listen on, bound or taken over before anything is started."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.tcp: list[socket.socket] = []
        self.unix: list[socket.socket] = []
        self._bound: Path | None = None
        # Whether the service manager has passed sockets.
        self.passed = False
        self._certified = settings.tls_certificate, settings.tls_key
        self.certificate = _tls(*self._certified)
        try:
            self._take_over(environment)
            self._bind(settings, runtime_directory(environment))
        except CannotListen as fault:
            raise CannotStart(EX_TEMPFAIL if fault.in_use else EX_CONFIG, str(fault)) from None

    def certificate_now(self) -> Loaded | None:
        """Load the certificate that is in the file now. Blocks. Raises CannotStart."""
        return _tls(*self._certified)

    def _take_over(self, environment: Mapping[str, str]) -> None:
        for sock in passed_sockets(environment):
            (self.unix if sock.family == socket.AF_UNIX else self.tcp).append(sock)
            self.passed = True

    def _bind(self, settings: Settings, runtime: Path) -> None:
        # Where the service manager has passed sockets, it decides about TCP; the person's commands need a Unix socket.
        if settings.port is not None and not (self.tcp or self.unix):
            self.tcp.append(bind_tcp(settings.host, settings.port))
        if settings.unix is not None and not self.unix:
            if settings.unix.parent == runtime:
                _make(runtime)
            self.unix.append(bind_unix(settings.unix))
            self._bound = settings.unix

    def close(self) -> None:
        """No more of them; the name of a Unix socket that we have made is removed."""
        for sock in (*self.tcp, *self.unix):
            sock.close()
        if self._bound is not None:
            self._bound.unlink(missing_ok=True)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise CannotStart(EX_CONFIG, f"{directory} cannot be made: {fault.strerror}") from None


def _read_all(
    path: Path, environment: Mapping[str, str], log_format: str, helpers: Helpers
) -> tuple[Settings, _Tokens]:
    settings = plan(path, environment, log_format)
    helpers.seconds = settings.limits.helper_seconds
    # The token first: without it nothing of the rest is used.
    tokens = _Tokens.of(settings, environment, helpers)
    return resolved(settings, helpers), tokens


@attrs.define(eq=False)
class _Reload:
    """A reload that is asked for, and its result."""

    over: trio.Event = attrs.field(factory=trio.Event)
    changes: Changes | None = None
    fault: str = "the bridge is stopping"


class _Daemon:
    """Everything that runs."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        log: LineLog,
        tokens: _Tokens,
        sockets: _Sockets,
        spawner: Spawner,
        limits: Limits,
    ) -> None:
        self._settings = settings
        self._begun_with = settings.lasting
        self._environment = environment
        self._log = log
        self._tokens = tokens
        self._sockets = sockets
        self._version = version("mcpbridged")
        self._ticker, self._poller = Ticker(), Poller()
        self._cgroup = spawner.cgroup
        self._supervisor = Supervisor(
            spawner,
            self._poller,
            log,
            self._version,
            tells=settings.log_calls,
            facts=EraStore(state_directory(environment) / "eras.json"),
        )
        self._umask = spawner.umask
        self._control = ControlApi(
            self._supervisor, self._status, self._reload, self._restart, limits, self._surroundings
        )
        self._refusals = Refusals(log)
        self._limits = limits  # of connections; those of a server are its own
        self._quota = Quota(limits, self._evicted)
        health = {
            READY: readyz(self._supervisor.is_ready, self._may_use),
            **dict.fromkeys(settings.health, healthz),
        }
        self._open = frozenset(health)
        self._for_all, self._for_owner = Routes({}, health), Routes({}, health)
        self._notifier = Notifier(environment)
        self._tls_listeners: list[Listener] = []
        self._reloading = trio.Lock()
        self._next_reload: _Reload | None = None  # the reload that waits for the one that runs
        self._nursery: trio.Nursery | None = None
        self._ending = False
        self._deserted = trio.Event()  # nobody is connected, and nobody can be any more
        self._since = 0.0

    async def run(self) -> None:
        """Serve until a signal has asked for the end."""
        self._since = trio.current_time()
        listeners = self._listeners()
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._ticker.run)
                self._ticker.add(self._refusals)
                await nursery.start(self._poller.run)
                await nursery.start(self._supervisor.run)
                self._supervisor.allot(self._settings.tokens)
                await self._supervisor.apply(self._settings.servers)
                # Most secrets are at hand, and then `ready` is true of all servers.
                with trio.move_on_after(_QUICK_SECRETS):
                    await self._supervisor.resolved()
                self._route()
                connections = trio.CancelScope()
                nursery.start_soon(self._listen, connections, listeners)
                nursery.start_soon(self._show_life)
                nursery.start_soon(self._watch_default_token)
                self._announce()
                gc.freeze()  # what the start has made stays; the collector need not look at it again
                gc.set_threshold(10_000, 20, 50)
                async for number in signals:
                    if number == signal.SIGHUP:
                        self._reload_soon(nursery)
                    elif number in _ENDING:
                        break
                await self._stop(nursery, signals, connections, listeners)
                nursery.cancel_scope.cancel()
        self._refusals.flush()
        self._poller.close()

    async def _listen(self, scope: trio.CancelScope, listeners: list[Listener]) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(serve, listener)
        self._deserted.set()

    async def _stop(
        self,
        nursery: trio.Nursery,
        signals: AsyncIterator[int],
        connections: trio.CancelScope,
        listeners: list[Listener],
    ) -> None:
        self._log.info("stopping")
        self._ending = True
        self._notifier.stopping()
        for listener in listeners:
            listener.accepting.cancel()
        with trio.CancelScope() as orderly:
            nursery.start_soon(_hurry, signals, orderly)
            with trio.move_on_after(self._settings.limits.drain_seconds):
                await self._supervisor.drain()
            await self._supervisor.close()
            self._ticker.announce_shutdown()
            with trio.move_on_after(_FLUSH):
                await self._deserted.wait()
            connections.cancel()
            await self._supervisor.emptied()

    # ---- who is listened to

    def _listeners(self) -> list[Listener]:
        settings = self._settings

        def service(gate: Gate, routes: Routes, control: Iterable[str] = ()) -> Service:
            return Service(
                self._limits,
                gate,
                routes,
                self._ticker,
                self._poller,
                self._log,
                self._quota,
                self._refusals,
                control,
            )

        listeners: list[Listener] = []
        for sock in self._sockets.tcp:
            host, port = sock.getsockname()[:2]
            named = host if self._sockets.passed or settings.port != port else settings.host
            site = Site.for_listener(settings.scheme, named, port, settings.hosts, settings.origins)
            gate = Gate(
                site,
                self._tokens.known,
                self._open,
                settings.origins,
                self._client_environment_headers,
                wrong=WrongCredentials(settings.limits.wrong_credentials_per_second),
            )
            certificate = self._sockets.certificate
            tls = None if certificate is None else certificate.context
            listener = Listener(sock, service(gate, self._for_all), tls)
            listeners.append(listener)
            if tls is not None:
                self._tls_listeners.append(listener)
        for sock in self._sockets.unix:
            gate = Gate(Site.for_unix(), None, self._open, delegates=self._supervisor.may_delegate)
            listeners.append(Listener(sock, service(gate, self._for_owner, self._control.paths)))
        return listeners

    def _evicted(self, state: str, peer: str) -> None:
        # A connection that was refused before is counted already.
        if state in (HANDSHAKE, NO_HEAD):
            self._refusals.note("evicted", peer)

    def _may_use(self, principal: str, server: str) -> bool:
        rights = rights_of(self._settings)
        return principal not in rights or server in rights[principal]

    def _client_environment_headers(self) -> set[str]:
        return {name for server in self._settings.servers for name in server.from_headers.values()}

    def _route(self) -> None:
        self._replace_routes()
        self._supervisor.introduce()

    def _replace_routes(self) -> None:
        table, owners = self._supervisor.table(self._settings), self._supervisor.owners(self._settings)
        rights = rights_of(self._settings)
        self._for_all.replace(table, owners, rights)
        self._for_owner.replace({**table, **self._control.table()}, owners, rights)

    # ---- the configuration again

    def _reload_soon(self, nursery: trio.Nursery) -> None:
        # In a task of its own: reading a secret may take its time, and an end must not wait for it. One that waits is enough.
        if self._next_reload is None:
            nursery.start_soon(self._reload_or_say_why)

    async def _reload_or_say_why(self) -> None:
        try:
            await self._reload()
        except ValueError as fault:
            self._log.error("the configuration was not reloaded and what was goes on", reason=str(fault))

    async def _watch_default_token(self) -> None:
        while True:
            await trio.sleep(_TOKEN_ROUND)
            await self._renew_default_token()

    async def _renew_default_token(self) -> None:
        """Accept the default token that is in its file now, and refuse the one that was there before."""
        before, now = self._tokens, await trio.to_thread.run_sync(self._read_default_token)
        # A reload may have read it meanwhile.
        if now is not None and self._tokens is before:
            if now.unreadable:
                self._log.error("default_token_unreadable", reason=now.unreadable)
                self._tokens = attrs.evolve(now, unreadable="")
                return
            self._log.info("default_token_changed", file=now.place)
            self._use(now)
            self._route()

    def _read_default_token(self) -> _Tokens | None:
        tokens = self._tokens
        if not tokens.changed:
            return None
        try:
            return _Tokens.of(self._settings, self._environment)
        except CannotStart as fault:
            return attrs.evolve(tokens, identity=tokens.identity_now, unreadable=str(fault))

    def _use(self, tokens: _Tokens) -> None:
        # The gates hold the set, so it stays and its content changes.
        self._log.hide([tokens.owner])
        known = self._tokens.known
        if known is not None and tokens.known is not None:
            known.become(tokens.known)
            self._tokens = attrs.evolve(tokens, known=known)

    async def _reload(self) -> Changes:
        """Read the configuration again and live by it. Raises ValueError where it cannot be, and nothing has changed.

        Whoever asks while a reload waits for another one gets the result of that.
        """
        reload = self._next_reload
        if reload is None:
            assert self._nursery is not None  # noqa: S101 - `run` is running
            reload = self._next_reload = _Reload()
            self._nursery.start_soon(self._carry_out, reload)
        await reload.over.wait()
        if reload.changes is None:
            raise ValueError(reload.fault)
        return reload.changes

    async def _carry_out(self, reload: "_Reload") -> None:
        try:
            await self._renew_default_token()
            async with self._reloading:
                self._next_reload = None
                reload.changes = await self._read_again()
        except ValueError as fault:
            reload.fault = str(fault)
        finally:
            if self._next_reload is reload:
                self._next_reload = None
            reload.over.set()

    async def _read_again(self) -> Changes:
        if self._settings.file is None:
            raise ValueError("there is no configuration file: the command line named the server")
        self._notifier.reloading()
        try:
            wanted, tokens = await off_loop(
                partial(_read_all, self._settings.file, self._environment, self._settings.log_format_given),
                self._settings.limits.helper_seconds,
            )
            certificate = await trio.to_thread.run_sync(self._sockets.certificate_now, abandon_on_cancel=True)
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with a file, what runs goes on
            if not isinstance(fault, BadConfig | CannotStart):
                self._log.error("internal error", fault=fault)
            if not self._ending:
                self._notifier.ready(f"the configuration was not reloaded: {fault}")
            raise ValueError(str(fault)) from None
        self._check_going_on()
        stale = tuple(name for name, value in wanted.lasting.items() if value != self._begun_with[name])
        if stale:
            self._log.warning("what changed in these tables needs a restart", tables=",".join(stale))
        self._log.hide(wanted.secrets)
        self._use_certificate(certificate)
        self._settings = wanted
        self._use(tokens)
        self._supervisor.allot(wanted.tokens)
        changes = attrs.evolve(await self._supervisor.apply(wanted.servers), stale=stale)
        self._route()
        told = {key: ",".join(value) for key, value in attrs.asdict(changes).items() if key != "warnings"}
        self._log.info("reloaded", **told)
        changes = attrs.evolve(changes, warnings=tuple(self._certificate_faults()))
        self._notifier.ready(self._summary())
        return changes

    def _use_certificate(self, certificate: Loaded | None) -> None:
        """Show this certificate to clients that connect from now on."""
        self._sockets.certificate = certificate
        for listener in self._tls_listeners:
            listener.tls = None if certificate is None else certificate.context
        self._warn_of_certificate()

    def _warn_of_certificate(self) -> None:
        for reason in self._certificate_faults():
            self._log.warning("certificate_faulty", reason=reason)

    def _certificate_faults(self) -> list[str]:
        certificate = self._sockets.certificate
        return [] if certificate is None else certificate.faults()

    async def _restart(self, name: str) -> None:
        async with self._reloading:
            self._check_going_on()
            self._supervisor.restart(name)

    def _check_going_on(self) -> None:
        if self._ending:
            raise ValueError("the bridge is stopping")

    # ---- what we say

    async def _show_life(self) -> None:
        # The pause between two signs is a third of what the manager allows: one may come late.
        third = self._notifier.watchdog_seconds / 3
        told = self._summary()
        while True:
            if third:
                self._notifier.alive()
            if self._summary() != told:
                told = self._summary()
                self._notifier.status(told)
            await trio.sleep(min(third or _ROUND, _ROUND))

    def _summary(self) -> str:
        told = f"serving {self._settings.own_servers} servers on {', '.join(self._where)}"
        for what, names in (
            ("failed", [server.name for server in self._supervisor if server.state == "failed"]),
            ("failing", [server.name for server in self._supervisor if server.failing]),
            ("unapproved", [server.name for server in self._supervisor if server.unapproved]),
            ("silent", [server.name for server in self._supervisor if server.silent]),
        ):
            if names:
                told += f"; {what}: {', '.join(names)}"
        return "; ".join([told, *self._certificate_faults()])

    @property
    def _addresses(self) -> tuple[str, ...]:
        """All addresses that are listened on, TCP before Unix; the host is that of the configuration if we have bound it."""
        settings, sockets = self._settings, self._sockets
        names = [sock.getsockname() for sock in sockets.tcp]
        if not sockets.passed:
            names = [(settings.host, name[1]) for name in names]
        names += [sock.getsockname() for sock in sockets.unix]
        return tuple(shown_address(settings.scheme, name) for name in names)

    @property
    def _where(self) -> tuple[str, ...]:
        """The addresses for clients: all that were passed, or the TCP one, or the Unix socket where there is no other."""
        return self._addresses if self._sockets.passed else self._addresses[:1]

    def _status(self) -> Status:
        names = [sock.getsockname() for sock in self._sockets.unix]
        unix = next((Path(name) for name in names if isinstance(name, str)), None)
        return status(
            self._supervisor,
            self._version,
            self._since,
            self._addresses,
            self._sockets.passed,
            unix,
            self._settings.file,
            self._cgroup,
            self._quota,
            self._refusals,
            self._sockets.certificate,
        )

    def _surroundings(self) -> Surroundings:
        return surroundings(self._version, self._settings.file, self._umask, self._environment)

    def _announce(self) -> None:
        settings = self._settings
        path = settings.paths.mcp or settings.paths.sse or settings.paths.ws
        self._warn_of_certificate()
        url = f"{self._where[0]}{path}"
        if os.geteuid() == 0 and not settings.as_root:
            self._warn(
                "running_as_root",
                "running as root, and so is every server; use an ordinary user, or say --allow-root",
            )
        for server in self._supervisor:
            if server.config.fault:
                self._warn(
                    "server_failed",
                    f"servers.{server.name}: {escaped(server.config.fault)}",
                    server=server.name,
                    reason=server.config.fault,
                )
        for reason in replaceable_places(settings):
            self._warn("socket_replaceable", f"listen: unix: {escaped(reason)}", reason=reason)
        if self._tokens.known is None and self._sockets.tcp:
            self._warn(
                "no_authentication",
                "no credential is asked for (--no-auth): every program on this machine may use this server",
            )
        elif settings.root:
            text = f"a client's configuration, ready to paste:\n{self._client_configuration(url)}"
            self._log.always("info", "client_configuration", text, url=url, token_file=self._tokens.place)
        for address in self._where[1:]:
            also = f"{address}{path}"
            self._log.always("info", "also_ready", f"also ready on {escaped(also)}", url=also)
        self._log.always("info", "ready", f"ready on {url}", url=url)
        self._notifier.ready(self._summary())

    def _warn(self, event: str, text: str, **fields: object) -> None:
        self._log.always("warning", event, f"warning: {text}", **(fields or {"reason": text}))

    def _client_configuration(self, url: str) -> str:
        # A journal or a file is no place for a secret.
        shown = self._tokens.owner if sys.stderr.isatty() else f"<the content of {self._tokens.place}>"
        entry = {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {shown}"}}
        text = json.dumps({"mcpServers": {self._settings.root: entry}}, indent=2, ensure_ascii=False)
        return "\n".join("  " + line for line in text.splitlines())


async def _hurry(signals: AsyncIterator[int], orderly: trio.CancelScope) -> None:
    async for number in signals:
        if number in _ENDING:
            orderly.cancel()
