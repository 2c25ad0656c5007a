"""The file of the log (`log.file`): it is opened at the start, and again on SIGHUP after a rotation."""

import trio

from ..config.settings import Settings
from ..log import LineLog
from .audit_file import AuditFile, CannotOpen, fault_of


def log_file_fault(settings: Settings) -> str:
    """Return why the log cannot be written to its file, empty if it can or if there is none. No file is created."""
    file = settings.log_file
    if file is None:
        return ""
    if settings.audit.enabled and file == settings.audit.file:
        return f"{file} is the file of [audit] too"
    return fault_of(file)


def open_log_file(log: LineLog, settings: Settings) -> None:
    """Write the log to its file from now on, if there is one. Raises CannotOpen."""
    if settings.log_file is None:
        return
    if reason := log_file_fault(settings):
        raise CannotOpen(reason)
    log.file = AuditFile(settings.log_file, log.gap_line)


async def reopen_log_file(log: LineLog) -> None:
    """Open the present path again, because the file may have been renamed. An error is logged to the former file."""
    before = log.file
    if not isinstance(before, AuditFile):
        return
    try:
        file = await trio.to_thread.run_sync(AuditFile, before.path, log.gap_line)
    except CannotOpen as fault:
        log.error("log_file_not_reopened", reason=str(fault))
        return
    log.file = file
    file.replace(before)


def close_log_file(log: LineLog) -> None:
    """Write to stderr from now on, after a limited time for the lines that a slow disk has not taken yet."""
    file, log.file = log.file, None
    if isinstance(file, AuditFile):
        file.close()
