"""Read the configuration and the tokens again while the daemon runs.

A file with a fault changes nothing. At most one reload runs and one waits.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from ..config.helper_programs import Helpers
from ..config.load import plan, resolved
from ..config.settings import Settings
from ..config.tables import BadConfig
from ..log import LineLog
from ..runtime.tasks import STOPPING
from ..runtime.threads import off_loop
from .audit_file import AuditFile, CannotOpen
from .audit_log import open_file
from .certificates import Loaded
from .errors import CannotStart
from .running_config import RunningConfig
from .sd_notify import Notifier
from .state_keys import read_state_keys
from .supervisor import Changes
from .tokens import Tokens

# The pause between two looks at the files of tokens and at the ends of their validity, in seconds.
_TOKEN_SECONDS = 0.5
_EMPTY: Final = (
    "{} is empty, as a program that writes it or a full disk can leave it; the running configuration stays."
    " To remove all servers, write `config_version = 1` into the file and reload, or restart the daemon"
)


@attrs.frozen
class NewConfig:
    """A configuration that a reload has read, its secrets and certificate, and its audit file, which is open."""

    settings: Settings
    tokens: Tokens
    state_keys: tuple[str, ...]
    certificate: Loaded | None
    audit_file: AuditFile | None


@attrs.define(eq=False)
class _Reload:
    """One reload, which may have several requesters, and its result."""

    done: trio.Event = attrs.field(factory=trio.Event)
    changes: Changes | None = None
    fault: str = STOPPING
    # Whether an empty file is meant.
    may_be_empty: bool = False


class Reloader:
    """Reloads of one daemon. `apply` puts what was read into use."""

    def __init__(
        self,
        config: RunningConfig,
        environment: Mapping[str, str],
        log: LineLog,
        notifier: Notifier,
        apply: Callable[[NewConfig], Awaitable[Changes]],
        on_permissions_changed: Callable[[], None],
        has_expired: Callable[[], bool],
    ) -> None:
        self._has_expired = has_expired
        self._config = config
        self._environment = environment
        self._log = log
        self._notifier = notifier
        self._apply = apply
        self._on_permissions_changed = on_permissions_changed
        # Held while servers are changed or restarted.
        self._lock = trio.Lock()
        # The reload that waits for the lock.
        self._next: _Reload | None = None
        self._nursery: trio.Nursery | None = None
        self._is_stopping = False
        # When the next token stops being valid, and when that was last looked at (seconds since the epoch).
        self._next_end = config.tokens.next_end(time.time())
        self._looked_at = time.time()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry out reloads until cancelled, use tokens that were replaced in their files, and end those that expire."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                await trio.sleep(_TOKEN_SECONDS)
                await self._renew_tokens()
                self._end_expired()

    def stop(self) -> None:
        """Refuse reloads and restarts from now on."""
        self._is_stopping = True

    @asynccontextmanager
    async def exclusive(self) -> AsyncGenerator[None]:
        """Run without a reload at the same time. Raises ValueError while the daemon is stopping."""
        async with self._lock:
            self._check_running()
            yield

    def start_reload(self) -> None:
        """Start a reload in a task of its own, unless one waits or the daemon stops. An error is logged."""
        # Reading a secret may take its time, and a signal that stops the daemon must not wait for it.
        if self._next is None and self._nursery is not None and not self._is_stopping:
            self._nursery.start_soon(self._reload)

    async def _reload(self) -> None:
        # The error is in the log.
        with suppress(ValueError):
            await self.reload()

    async def reload(self, *, may_be_empty: bool = False) -> Changes:
        """Read the configuration again and use it. Raises ValueError if it cannot be used; then nothing has changed.

        A request that comes while a reload waits gets the result of that reload. An empty file removes no server or token unless
        it `may_be_empty`, because a program that writes it, or a full disk, can leave it empty.
        """
        reload = self._next
        if reload is None:
            assert self._nursery is not None  # noqa: S101 - `run` is running
            reload = self._next = _Reload()
            self._nursery.start_soon(self._carry_out, reload)
        reload.may_be_empty = reload.may_be_empty or may_be_empty
        await reload.done.wait()
        if reload.changes is None:
            raise ValueError(reload.fault)
        return reload.changes

    async def _carry_out(self, reload: _Reload) -> None:
        try:
            await self._renew_tokens()
            async with self._lock:
                self._next = None
                reload.changes = await self._read_again(may_be_empty=reload.may_be_empty)
        except ValueError as fault:
            reload.fault = str(fault)
            self._log.error("reload_failed", reason=reload.fault)
        finally:
            if self._next is reload:
                self._next = None
            reload.done.set()

    async def _read_again(self, *, may_be_empty: bool) -> Changes:
        settings = self._config.settings
        if settings.file is None:
            raise ValueError("there is no configuration file: the command line named the server")
        self._notifier.reloading()
        try:
            found, tokens, state_keys = await off_loop(
                partial(_read_all, settings.file, self._environment, settings.log_format_given),
                settings.limits.helper_seconds,
            )
            certificate = await trio.to_thread.run_sync(
                self._config.sockets.load_certificate, abandon_on_cancel=True
            )
        except Exception as fault:  # noqa: BLE001 - any fault of a file leaves the running configuration
            if not isinstance(fault, BadConfig | CannotStart):
                self._log.error("internal_error", fault=fault)
            raise self._failed(str(fault)) from None
        if found.is_empty and (settings.servers or settings.tokens) and not may_be_empty:
            raise self._failed(_EMPTY.format(settings.file))
        self._check_running()
        # Last, because a reload that fails must not change the audit file.
        try:
            audit_file = await trio.to_thread.run_sync(open_file, found.audit)
        except CannotOpen as fault:
            raise self._failed(f"audit: file: {fault}") from None
        return await self._apply(NewConfig(found, tokens, state_keys, certificate, audit_file))

    def _failed(self, reason: str) -> ValueError:
        if not self._is_stopping:
            self._notifier.ready(f"reload failed, the running configuration stays: {reason}")
        return ValueError(reason)

    def _check_running(self) -> None:
        if self._is_stopping:
            raise ValueError(STOPPING)

    async def _renew_tokens(self) -> None:
        """Accept the tokens that are in their files now."""
        before, now = self._config.tokens, await trio.to_thread.run_sync(self._read_changed_tokens)
        # A reload may have read them meanwhile.
        if now is None or self._config.tokens is not before:
            return
        for fault in now.faults:
            self._log.error("token_unreadable", reason=fault)
        for name, kept in now.named.items():
            if kept.value != before.named[name].value:
                self._log.info("token_changed", token=name, source=kept.source)
        changed = now.secrets != before.secrets
        self.use_tokens(attrs.evolve(now, faults=()), now.overlap(before))
        if changed:
            self._on_permissions_changed()

    def _read_changed_tokens(self) -> Tokens | None:
        tokens = self._config.tokens
        return tokens.renewed(self._environment, time.time()) if tokens.is_outdated else None

    def _end_expired(self) -> None:
        """Accept no token whose validity has ended since the last look, and close what it has open.

        A clock that was set back, because it was wrong before, makes tokens valid again.
        """
        tokens, now = self._config.tokens, time.time()
        was_set_back, self._looked_at = now < self._looked_at, now
        if was_set_back and tokens.accepted is not None:
            self._next_end = tokens.next_end(now)
            tokens.accepted.replace(tokens.valid_at(now))
        if self._has_expired():
            self._on_permissions_changed()
        if now < self._next_end:
            return
        self._next_end = tokens.next_end(now)
        self._log.info("token_expired")
        if tokens.accepted is not None:
            tokens.accepted.replace(tokens.valid_at(now))
        self._on_permissions_changed()

    def use_tokens(self, tokens: Tokens, former_valid_seconds: float = 0.0) -> None:
        """Accept these tokens and no others from now on, except the former one of the owner for a while."""
        self._log.hide(tokens.secrets)
        if tokens.owner != self._config.tokens.owner:
            valid = {"former_valid_seconds": former_valid_seconds} if former_valid_seconds else {}
            self._log.info("owner_token_changed", source=tokens.source, **valid)
        # The gates hold the set, so the set stays and its content changes.
        accepted = self._config.tokens.accepted
        if accepted is not None and tokens.accepted is not None:
            accepted.replace(tokens.accepted)
            self._config.tokens = attrs.evolve(tokens, accepted=accepted)
            self._next_end = tokens.next_end(time.time())


def _read_all(
    path: Path, environment: Mapping[str, str], log_format: str, helpers: Helpers
) -> tuple[Settings, Tokens, tuple[str, ...]]:
    settings = plan(path, environment, log_format)
    helpers.seconds = settings.limits.helper_seconds
    # The token first: without it nothing of the rest is used.
    tokens = Tokens.read(settings, environment, helpers)
    state_keys = read_state_keys(settings, environment, helpers)
    return resolved(settings, helpers), tokens, state_keys
