"""Write the audit events of the daemon to a file. Without a file they are in the log only.

Each event of the log that `events.catalog` lists is an audit event, whatever the level of the log is. Events of calls are
collected and written at the next tick, because there may be thousands of them in a second. All other events are written at
once.
"""

import time
from collections.abc import Mapping
from time import monotonic
from typing import Final

import trio

from ..config.settings import AuditConfig
from ..core.effects import RequestFinished
from ..events.catalog import AUDIT_ONLY, EVENTS, LONGEST, line, make
from ..events.schema import AuditEventsLost, Call
from ..log import LineLog, iso
from ..runtime.server_log import SHOWN_SESSION, OnCall
from .audit_file import AuditFile, CannotOpen

# Events of calls are written when they have this size (bytes), or at the next tick.
_BATCH: Final = 32 * 1024
# How many methods and names are stored.
_TEXTS: Final = 512
# The time between two log events about lost events (seconds).
_PAUSE: Final = 60.0
# Events that are not made of those of the log.
_OWN: Final = frozenset({"call", "audit_events_lost"})


def open_file(config: AuditConfig) -> AuditFile | None:
    """Open the file of a configuration, if it has one. Nothing is written. Blocks. Raises CannotOpen."""
    return AuditFile(config.file, _gap_line) if config.enabled and config.file is not None else None


def _gap_line(count: int, reason: str) -> bytes:
    return line(AuditEventsLost(ts=iso(time.time()), level="warning", count=count, reason=reason))


class AuditLog:
    """The audit log of one daemon (`LineLog.audit`). `use` replaces its configuration."""

    def __init__(self, log: LineLog, config: AuditConfig, file: AuditFile | None) -> None:
        self._log = log
        self._config = config
        self._file = file
        # Lines of calls that were not written yet, and their number.
        self._calls: list[bytes] = []
        self._size = 0
        # By method or name, what the log makes of it. Cleared at the limit, and when the hidden secrets change.
        self._plain_texts: dict[str, str] = {}
        self._generation = -1
        # How many events were lost since that was logged, when it was logged (seconds), and how many were lost in all.
        self._unlogged = 0
        self._logged_at = -_PAUSE
        self.lost = 0

    def use(self, config: AuditConfig, file: AuditFile | None) -> None:
        """Write to this file from now on, and close the former one without waiting. `file` is that of `open_file`."""
        if config != self._config:
            file_name = "" if config.file is None else str(config.file)
            self._log.info("audit_changed", enabled=config.enabled, file=file_name, calls=config.calls)
        before, self._file = self._file, file
        if before is not None:
            self._flush(before)
            if file is not None:
                file.replace(before)
            else:
                before.close(0)
        self._config = config

    async def reopen(self) -> None:
        """Open the present path again, because the file may have been renamed. An error is logged."""
        config = self._config
        try:
            file = await trio.to_thread.run_sync(open_file, config)
        except CannotOpen as fault:
            self._log.error("audit_file_not_reopened", reason=str(fault))
            return
        if config is self._config:
            self.use(config, file)
        # A reload has opened another one meanwhile.
        elif file is not None:
            file.close(0)

    def close(self) -> None:
        """Write what was collected, and close the file."""
        if self._file is not None:
            self._flush(self._file)
            self._file.close()
            self._file = None

    def __call__(self, level: str, event: str, fields: Mapping[str, object]) -> bool:
        """Write an event of the log to the file, if it is an audit event. Return whether the log has it as well."""
        if not self._config.enabled:
            return event not in AUDIT_ONLY
        file = self._file
        if file is None or event not in EVENTS or event in _OWN:
            return True
        plain = {key: self._log.plain(value, LONGEST) for key, value in fields.items() if key != "fault"}
        self._flush(file)
        self._write(file, line(make(event, iso(time.time()), level, plain)))
        return True

    # ---- calls

    @property
    def on_call(self) -> OnCall | None:
        """What receives each request that has ended; None if the file has no events of calls."""
        return self._call if self._config.calls and self._file is not None else None

    def _call(self, server: str, request: RequestFinished, principal: str, session: str) -> None:
        """Collect the event of a request that has ended."""
        data = line(
            Call(
                ts=iso(time.time()),
                level="info",
                server=server,
                principal=principal or request.principal,
                session=session[:SHOWN_SESSION],
                id=str(self._log.plain(request.id, LONGEST)),
                method=self._plain(request.method),
                name=self._plain(request.name),
                outcome=request.outcome,
                ms=round(1000 * (monotonic() - request.since), 1),
            )
        )
        self._calls.append(data)
        self._size += len(data)
        if self._size >= _BATCH and self._file is not None:
            self._flush(self._file)

    def _plain(self, text: str) -> str:
        """Return what the log makes of a method or a name, which most calls repeat."""
        if self._log.secrets_generation != self._generation or len(self._plain_texts) >= _TEXTS:
            self._generation = self._log.secrets_generation
            self._plain_texts.clear()
        found = self._plain_texts.get(text)
        if found is None:
            found = str(self._log.plain(text, LONGEST))
            if len(text) <= LONGEST:
                self._plain_texts[text] = found
        return found

    def tick(self, now: float) -> None:  # noqa: ARG002 - the clock of the log is not Trio's
        """Write the events that were collected (ticker.Ticking)."""
        if self._file is not None:
            self._flush(self._file)

    # ---- the file

    def _flush(self, file: AuditFile) -> None:
        if self._calls:
            lines = b"".join(self._calls)
            self._calls.clear()
            self._size = 0
            self._write(file, lines)

    def _write(self, file: AuditFile, lines: bytes) -> None:
        lost = file.write(lines)
        if not lost:
            return
        self.lost += lost
        self._unlogged += lost
        now = monotonic()
        if now - self._logged_at >= _PAUSE:
            self._logged_at = now
            self._log.error("audit_events_lost", count=self._unlogged, reason=file.reason)
            self._unlogged = 0
