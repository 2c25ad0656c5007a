"""The command itself, which loads the event loop only where it is run."""

import os

from ...config import load, tables
from ...core.exit_codes import EX_OK
from .. import connect_pump
from ..invocation import BadUsage, Invocation
from ..pump.settings import Settings
from .remote_options import URL_OPTIONS, remote_config


def connect(invocation: Invocation) -> int:
    """Connect stdin and stdout to a server until one side ends.

    Raises BadUsage, BadCredential, Unreachable and ErrorResponse.
    """
    options = invocation.options
    if "://" not in options.server:
        for name in URL_OPTIONS:
            if getattr(options, name):
                raise BadUsage(
                    f"--{name.replace('_', '-')} needs a URL; the Unix socket is authenticated by your user ID"
                )
        path = os.fsencode(invocation.socket())
        wait = _WAIT_FOR_DAEMON if options.wait is None else options.wait
        connect_pump.execute(Settings(os.fsencode(options.server), path, wait=wait))
    limits = tables.read_limits(invocation.file, "")
    config = remote_config(options, limits)
    from .remote_client import run  # noqa: PLC0415 - the other commands need no event loop

    run(config, options.server, _credential_helper(invocation), invocation.environment)
    return EX_OK


def _credential_helper(invocation: Invocation) -> tuple[str, ...]:
    """Return the program of the configuration that keeps credentials; empty without one. Raises BadConfig."""
    path = invocation.file
    return load.oauth_helper(tables.read(path)) if path.exists() else ()


# How long a daemon is waited for without --wait (seconds).
_WAIT_FOR_DAEMON = 30.0
