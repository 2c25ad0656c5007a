"""`mcp-bridge serve`: run the servers of a configuration file."""

import os
import sys
from pathlib import Path
from typing import Final

import attrs

from ..config import load, tables
from ..config.credentials import BadCredential
from ..config.tables import BadConfig
from ..core.exit_codes import EX_CONFIG
from ..log import LineLog, escaped
from .init import write_template
from .invocation import Invocation
from .output import notice, notice_of_faults

_AS_ROOT: Final = "serve is not run as root (uid 0), because each server would run as root too; use an ordinary user, or pass --allow-root"


def serve(invocation: Invocation) -> int:
    """Run the daemon until a signal stops it, and return its exit code."""
    from ..daemon.app import run  # noqa: PLC0415 - the other commands need no event loop

    options, file = invocation.options, invocation.file
    if os.geteuid() == 0 and not options.allow_root:
        form = options.log_format or tables.read_log_format(file)
        LineLog(form=form).always("error", "cannot_start", _AS_ROOT, reason=_AS_ROOT, code=EX_CONFIG)
        return EX_CONFIG
    if not file.is_symlink() and not file.exists() and _is_interactive():
        _offer(file)
    form = options.log_format or tables.read_log_format(file)
    log = LineLog(form=form)
    log.take_over()
    try:
        # Absolute, because commands that are run in other directories request it from the daemon.
        settings = load.plan(file.absolute(), invocation.environment, options.log_format or "")
    except (BadConfig, BadCredential) as fault:
        if isinstance(fault, BadConfig) and form == "text":
            notice_of_faults(fault)
        else:
            log.always("error", "cannot_start", escaped(str(fault)), reason=str(fault), code=EX_CONFIG)
        return EX_CONFIG
    return run(attrs.evolve(settings, as_root=options.allow_root), invocation.environment)


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _offer(file: Path) -> None:
    """Ask whether to write a new configuration, and write it. Raises BadConfig."""
    sys.stderr.write(f"{escaped(str(file))}: there is no such file. Write a new configuration? [Y/n] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if answer.endswith("\n") and answer.strip().lower() in ("", "y", "yes"):
        write_template(file)
        notice(f"wrote {file}; add servers with `mcp-bridge add NAME -- COMMAND ARGS...` in another terminal")
