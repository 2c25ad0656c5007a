"""Run the daemon from start to exit: tokens, sockets, servers, signals, reloads and the exit status."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

import attrs
import trio

from ...transports.http.gate import WrongCredentials
from ...transports.memory import HeapTrimmer, keep_freed_memory
from ...transports.poller import Poller
from ...transports.process import orphans
from ...transports.process.cgroup import can_hold, delegated
from ...transports.process.open_files import fit_limits, raise_soft_limit
from ...transports.process.spawner import Spawner
from ...transports.ticker import Ticker
from ...validators.limits import Limits
from ...validators.version import VERSION
from ..admin.access import Access, cookie_name
from ..admin.api import AdminApi
from ..config.credentials import PRINCIPAL
from ..config.executable import find_program, why_not_found
from ..config.helper_programs import Helpers
from ..config.settings import ADMIN_LINK, Settings
from ..config.tables import BadConfig, Fault
from ..config.xdg import state_directory
from ..core.exit_codes import EX_CONFIG, EX_OK, EX_SOFTWARE, EX_UNAVAILABLE
from ..core.span_queue import SpanQueue
from ..log import LineLog
from ..runtime.definition_store import DefinitionStore
from ..runtime.era_store import EraStore
from .announcements import announce, summary, warn_of_certificate
from .audit_file import CannotOpen, fault_of
from .audit_log import AuditLog, open_file
from .certificates import Loaded
from .control_api import ControlApi
from .daemon_info import DaemonInfo, daemon_info
from .errors import CannotStart
from .issuer import Issuer
from .listeners import Listeners, is_loopback
from .log_file import close_log_file, log_file_fault, open_log_file, reopen_log_file
from .logins import Logins
from .metrics import Metrics
from .page_state import page_state
from .reloader import NewConfig, Reloader
from .running_config import RunningConfig
from .sd_notify import Notifier
from .sockets import Sockets, certificate_files, load_certificate
from .span_export import SpanExporter, otlp_sender
from .start_progress import progress_width, report_starts
from .state_keys import read_state_keys
from .status import Status, status
from .supervisor import Changes, Supervisor, pin_changes, token_changes
from .token_uses import TokenUses
from .tokens import Tokens
from .use_times import FILE

_UMASK = 0o077
# After the sessions have ended, clients may read what was sent for this long (seconds).
_FLUSH_SECONDS = 0.5
# The first read of the secrets delays the start for at most this long (seconds), and continues in the background.
_SECRETS_SECONDS = 0.5
# The status line of the service manager is at most this old (seconds).
_STATUS_SECONDS = 5.0

# Between two looks at what a stop waits for (seconds).
_WAITING_SECONDS = 0.5

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# SIGUSR1 and SIGUSR2 are ignored, because their default action would end the process.
_SIGNALS = (*_STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)


def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Serve until a signal, and return the exit status. An error at the start is logged."""
    # Files of the bridge are for its user only. Servers get the umask of the shell or the service manager.
    umask = os.umask(_UMASK)
    try:
        return _run(settings, environment, umask)
    finally:
        os.umask(umask)


def check(settings: Settings, environment: Mapping[str, str]) -> Loaded | None:
    """Return the certificate of the listener, if there is one. Raises BadConfig with all errors.

    Reads the files that a start reads besides the configuration.
    """
    faults: list[Fault] = []
    certificate: Loaded | None = None
    try:
        certificate = load_certificate(certificate_files(settings))
    except CannotStart as fault:
        faults.append(Fault(str(fault), ("listen", "tls_cert")))
    try:
        if settings.token_source or any(token.secret for token in settings.tokens):
            Tokens.read(settings, environment)
    except CannotStart as fault:
        faults.append(Fault(str(fault), ("listen", "token")))
    try:
        read_state_keys(settings, environment)
    except CannotStart as fault:
        faults.append(Fault(str(fault), ("listen", "request_state_keys")))
    if settings.audit.file is not None and (reason := fault_of(settings.audit.file)):
        faults.append(Fault(f"audit: file: {reason}", ("audit", "file")))
    if reason := log_file_fault(settings):
        faults.append(Fault(f"log: file: {reason}", ("log", "file")))
    if faults:
        raise BadConfig(faults=faults)
    return certificate


def _run(settings: Settings, environment: Mapping[str, str], umask: int) -> int:
    log = LineLog(settings.log_level, settings.log_format)
    log.take_over()
    log.hide(settings.secrets)
    try:
        _check_command(settings)
        helpers = Helpers(settings.limits.helper_seconds)
        with _ended_by_signal(helpers) as is_ended:
            try:
                tokens = Tokens.read(settings, environment, helpers)
                state_keys = read_state_keys(settings, environment, helpers)
            except CannotStart:
                if is_ended():
                    return EX_OK
                raise
        # The signal may have come while no helper was running.
        if is_ended():
            return EX_OK
        log.hide([*tokens.secrets, *state_keys])
        sockets = Sockets(settings, environment)
        _open_log(log, settings)
        log.audit = audit = _open_audit(log, settings)
    except CannotStart as fault:
        log.always("error", "cannot_start", str(fault), reason=str(fault), code=fault.code)
        return fault.code
    limits, lowered = fit_limits(settings.limits, raise_soft_limit())
    for sentence in lowered:
        log.warning("limit_lowered", reason=sentence)
    spawner = Spawner.start(_cgroup(log), umask, settings.log_format)
    try:
        config = RunningConfig(settings, tokens, sockets)
        trio.run(Daemon(config, environment, log, audit, spawner, limits, state_keys).run)
        log.info("stopped")
    except Exception as fault:  # noqa: BLE001 - the boundary of the process
        log.error("internal_error", fault=fault)
        return EX_SOFTWARE
    finally:
        spawner.close()
        sockets.close()
        audit.close()
        close_log_file(log)
    return EX_OK


def _open_log(log: LineLog, settings: Settings) -> None:
    """Open the file of the log, if there is one. Raises CannotStart."""
    try:
        open_log_file(log, settings)
    except CannotOpen as fault:
        raise CannotStart(EX_CONFIG, f"log: file: {fault}") from None


def _open_audit(log: LineLog, settings: Settings) -> AuditLog:
    """Open the audit file, if there is one. Raises CannotStart."""
    try:
        return AuditLog(log, settings.audit, open_file(settings.audit))
    except CannotOpen as fault:
        raise CannotStart(EX_CONFIG, f"audit: file: {fault}") from None


@contextmanager
def _ended_by_signal(helpers: Helpers) -> Generator[Callable[[], bool]]:
    """Kill the helpers on SIGTERM, and yield a function that returns whether it has come. No event loop runs yet."""
    received: list[int] = []

    def end(number: int, _frame: object) -> None:
        received.append(number)
        helpers.end()

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, former)


def _cgroup(log: LineLog) -> Path | None:
    path = delegated()
    if path is not None and not can_hold(path):
        log.info("cgroup_not_writable", path=path)
        return None
    return path


def _check_command(settings: Settings) -> None:
    # A missing program fails its server only. The wrapper has no other server, so it does not start.
    for config in settings.servers:
        if config.name != settings.root or config.remote is not None:
            continue
        if find_program(config.launch.argv, config.launch.env) is None:
            reason = why_not_found(config.launch.argv[0])
            raise CannotStart(EX_UNAVAILABLE, f"the server cannot be started: {reason}")


class Daemon:
    """The running daemon: its servers, its listeners, its control API and its reloads."""

    def __init__(
        self,
        config: RunningConfig,
        environment: Mapping[str, str],
        log: LineLog,
        audit: AuditLog,
        spawner: Spawner,
        limits: Limits,
        state_keys: tuple[str, ...] = (),
    ) -> None:
        settings = config.settings
        self._config = config
        self._environment = environment
        self._log = log
        self._audit = audit
        self._spawner = spawner
        self._version = VERSION
        self._ticker, self._poller = Ticker(), Poller()
        self._ticker.add(HeapTrimmer(keeps=keep_freed_memory(limits.free_heap_bytes)))
        self._supervisor = Supervisor(
            spawner,
            self._poller,
            log,
            self._version,
            era_store=EraStore(state_directory(environment) / "eras.json"),
            definition_store=DefinitionStore(state_directory(environment) / "definitions"),
            make_authorizer=Logins(environment, _base_of(settings), settings.oauth_helper),
        )
        self._supervisor.use_state_keys(state_keys)
        self._notifier = Notifier(environment)
        # Spans for the collector; None without one.
        self._spans = SpanQueue() if settings.otlp_endpoint else None
        self._issuer = Issuer(self._supervisor.roles, log, self._on_permissions_changed)
        self._reloader = Reloader(
            config,
            environment,
            log,
            self._notifier,
            self._apply,
            self._on_permissions_changed,
            self._issuer.end_expired,
        )
        control = ControlApi(
            self._supervisor,
            self._status,
            self._reloader.reload,
            self._restart,
            limits,
            self._daemon_info,
            self._used_tokens,
        )
        access = _access_to_page(config, limits)
        page = AdminApi(
            access,
            self._supervisor,
            self._page_state,
            self._reloader.reload,
            self._restart,
            self._page_address,
            self._ticker,
            log,
        )
        metrics = Metrics(
            config,
            self._supervisor,
            lambda: self._listeners,
            self._version,
            self._ticker.lag,
            log,
            self._spans,
        )
        self._listeners = Listeners(
            config,
            self._supervisor,
            {**control.table(), ADMIN_LINK: page.answer_link},
            access,
            lambda: {**page.table(), **metrics.table()},
            self._ticker,
            self._poller,
            log,
            limits,
            self._issuer,
        )
        self._token_uses = TokenUses(
            state_directory(environment) / FILE, self._listeners.quota, self._principals
        )
        # That of the key source, while the daemon runs.
        self._nursery: trio.Nursery | None = None
        # A time of Trio's clock.
        self._started = 0.0

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        self._started = trio.current_time()
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._ticker.run)
                self._ticker.add(self._listeners.refusals)
                self._ticker.add(self._audit)
                await nursery.start(self._poller.run)
                await nursery.start(self._supervisor.run)
                if self._spans is not None:
                    send = otlp_sender(self._config.settings.otlp_endpoint, self._version)
                    nursery.start_soon(SpanExporter(self._spans, send, self._log).run)
                self._record_calls(self._config.settings)
                self._supervisor.assign(self._config.settings)
                self._limit_clients(self._config.settings)
                await self._supervisor.apply(self._config.settings.servers)
                # Most secrets are read by then, so that `ready` is true of all servers.
                with trio.move_on_after(_SECRETS_SECONDS):
                    await self._supervisor.resolved()
                self._issuer.use(self._config.settings.access_tokens, nursery)
                self._on_permissions_changed()
                await nursery.start(self._reloader.run)
                nursery.start_soon(self._listeners.run)
                nursery.start_soon(self._report_status)
                nursery.start_soon(self._token_uses.run)
                announce(self._config, self._supervisor, self._log)
                width = partial(progress_width, self._config.settings.log_format, self._environment)
                nursery.start_soon(report_starts, self._supervisor, self._log, width)
                self._notifier.ready(self._summary())
                # The collector need not look again at the objects of the start, which all stay.
                gc.freeze()
                # A collection of this many new objects takes a third of a millisecond, in which no client is served.
                gc.set_threshold(1000, 10, 200)
                async for number in signals:
                    if number == signal.SIGCHLD:
                        orphans.reap()
                    elif number == signal.SIGHUP:
                        nursery.start_soon(self._reopen_files)
                    elif number in _STOP_SIGNALS:
                        break
                await self._stop(nursery, signals)
                nursery.cancel_scope.cancel()
        await self._token_uses.write()
        self._listeners.refusals.flush()
        self._poller.close()

    async def _reopen_files(self) -> None:
        await reopen_log_file(self._log)
        await self._audit.reopen()
        self._reloader.start_reload()

    async def _stop(self, nursery: trio.Nursery, signals: AsyncIterator[int]) -> None:
        waits_for = self._supervisor.waits_for
        self._log.info("stopping", **({"waits_for": waits_for} if waits_for else {}))
        self._reloader.stop()
        self._notifier.stopping(waits_for)
        self._listeners.stop_accepting()
        with trio.CancelScope() as orderly:
            nursery.start_soon(_cancel_on_signal, signals, orderly)
            nursery.start_soon(self._report_waiting, waits_for)
            with trio.move_on_after(self._config.settings.limits.drain_seconds):
                await self._supervisor.drain()
            await self._supervisor.close()
            self._ticker.announce_shutdown()
            await self._listeners.close(_FLUSH_SECONDS)
            await self._supervisor.emptied()

    async def _report_waiting(self, reported: str) -> None:
        """Log what the stop waits for whenever that has changed, until cancelled."""
        while True:
            await trio.sleep(_WAITING_SECONDS)
            waits_for = self._supervisor.waits_for
            if waits_for not in ("", reported):
                reported = waits_for
                self._log.info("stopping", waits_for=waits_for)
                self._notifier.stopping(waits_for)

    def _used_tokens(self) -> Mapping[str, float]:
        return self._token_uses.now()

    def _principals(self) -> set[str]:
        return {PRINCIPAL, *(token.name for token in self._config.settings.tokens)}

    def _on_permissions_changed(self) -> None:
        self._listeners.replace_routes()
        self._supervisor.send_members()

    async def _apply(self, new: NewConfig) -> Changes:
        """Use a configuration that was read again, and return what has changed."""
        config = self._config
        found = new.settings
        stale = tuple(name for name, value in found.fixed_values.items() if value != config.fixed[name])
        if stale:
            self._log.warning("restart_needed", tables=",".join(stale))
        self._log.hide(found.secrets)
        self._audit.use(found.audit, new.audit_file)
        for name, before, after in pin_changes(config.settings.servers, found.servers):
            self._log.info("pin_changed", server=name, before=before, after=after)
        config.sockets.certificate = new.certificate
        self._listeners.use_certificate()
        warn_of_certificate(config, self._log)
        changed_tokens = token_changes(config.settings.tokens, found.tokens)
        config.settings = found
        self._reloader.use_tokens(new.tokens)
        self._log.hide([*new.state_keys])
        self._supervisor.use_state_keys(new.state_keys)
        if self._nursery is not None:
            self._issuer.use(found.access_tokens, self._nursery)
        self._record_calls(found)
        self._supervisor.assign(found)
        self._limit_clients(found)
        changes = attrs.evolve(await self._supervisor.apply(found.servers), stale=stale, **changed_tokens)
        self._on_permissions_changed()
        names = {key: ",".join(value) for key, value in attrs.asdict(changes).items() if key != "warnings"}
        tokens = {
            key.removeprefix("tokens_"): names.pop(key) for key in list(names) if key.startswith("tokens_")
        }
        if any(tokens.values()):
            self._log.info("tokens_changed", **tokens)
        self._log.info("reloaded", **names)
        self._notifier.ready(self._summary())
        return attrs.evolve(changes, warnings=tuple(config.certificate_faults))

    def _limit_clients(self, settings: Settings) -> None:
        """Limit what clients may send, hold and see from now on."""
        self._supervisor.limit_clients(settings)
        self._supervisor.show_output(shown=settings.shows_output)
        self._listeners.quota.most_of = settings.connections_of

    def _record_calls(self, settings: Settings) -> None:
        self._supervisor.record_calls(
            logs=settings.log_calls or settings.audit.logs_calls,
            counts=settings.counts_calls,
            audit=self._audit.on_call,
            spans=self._spans,
        )

    async def _restart(self, name: str) -> None:
        async with self._reloader.exclusive():
            self._supervisor.restart(name)

    async def _report_status(self) -> None:
        # A third of the watchdog's period, so that one sign of life may come late.
        third = self._notifier.watchdog_seconds / 3
        sent = self._summary()
        while True:
            if third:
                self._notifier.alive()
            if self._summary() != sent:
                sent = self._summary()
                self._notifier.status(sent)
            await trio.sleep(min(third or _STATUS_SECONDS, _STATUS_SECONDS))

    def _summary(self) -> str:
        return summary(self._config, self._supervisor)

    def _status(self) -> Status:
        return status(
            self._config,
            self._supervisor,
            self._listeners,
            self._version,
            self._started,
            self._spawner.cgroup,
        )

    def _page_state(self) -> bytes:
        return page_state(self._status(), self._supervisor, self._config, self._listeners.quota)

    def _page_address(self) -> str:
        """Return the URL of the first TCP listener that only this machine can reach, or an empty text."""
        sockets = self._config.sockets.tcp
        return next(
            (
                address
                for sock, address in zip(sockets, self._config.addresses, strict=False)
                if is_loopback(sock.getsockname()[0])
            ),
            "",
        )

    def _daemon_info(self) -> DaemonInfo:
        return daemon_info(self._version, self._config.settings.file, self._spawner.umask, self._environment)


def _access_to_page(config: RunningConfig, limits: Limits) -> Access:
    secure = config.settings.scheme == "https"
    port = config.sockets.tcp[0].getsockname()[1] if config.sockets.tcp else 0
    return Access(
        lambda: config.settings.admin,
        lambda: sha256(config.tokens.owner.encode()).digest(),
        cookie_name(port, secure=secure),
        secure,
        WrongCredentials(limits.wrong_credentials_per_second),
    )


def _base_of(settings: Settings) -> Path:
    return Path() if settings.file is None else settings.file.parent


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        if number in _STOP_SIGNALS:
            scope.cancel()
