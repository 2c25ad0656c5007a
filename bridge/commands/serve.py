"""`mcp-bridge serve`: run the servers of a configuration file."""

import attrs

from ..config import load, tables
from ..config.credentials import BadCredential
from ..config.tables import BadConfig
from ..core.exit_codes import EX_CONFIG
from ..log import LineLog, escaped
from .invocation import Invocation
from .output import notice_of_faults


def serve(invocation: Invocation) -> int:
    """Run the daemon until a signal stops it, and return its exit code."""
    from ..daemon.app import run  # noqa: PLC0415 - the other commands need no event loop

    options, file = invocation.options, invocation.file
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
