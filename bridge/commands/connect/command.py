"""The command itself, which loads the event loop only where it is run."""

import os
from pathlib import Path
from typing import Final

from ...config import checks, tables
from ...core.exit_codes import EX_OK
from .. import connect_pump
from ..client_headers import BadHeader, check_once, named_headers, read_header, read_header_file
from ..invocation import BadUsage, Invocation
from ..pump.settings import Settings
from .remote_options import URL_OPTIONS, remote_config

# Options that a server of the daemon and a URL have.
_FOR_BOTH: Final = frozenset({"header", "header_file"})


def connect(invocation: Invocation) -> int:
    """Connect stdin and stdout to a server until one side ends.

    Raises BadUsage, BadCredential, Unreachable and ErrorResponse.
    """
    options = invocation.options
    if "://" not in options.server:
        for name in URL_OPTIONS:
            if name not in _FOR_BOTH and getattr(options, name):
                raise BadUsage(
                    f"--{name.replace('_', '-')} needs a URL; the Unix socket is authenticated by your user ID"
                )
        path = os.fsencode(invocation.socket())
        wait = _WAIT_FOR_DAEMON if options.wait is None else options.wait
        sent = named_headers(options.token_name or "", _chosen(options.header, options.header_file))
        connect_pump.execute(Settings(os.fsencode(options.server), path, sent, wait))
    if options.token_name:
        raise BadUsage("--as is for servers of the daemon; a URL needs the token itself (--token-file)")
    limits = tables.read_limits(invocation.file, "")
    config = remote_config(options, limits)
    from .remote_client import run  # noqa: PLC0415 - the other commands need no event loop

    run(config, options.server, _credential_helper(invocation), invocation.environment)
    return EX_OK


def _chosen(lines: list[str] | None, file: Path | None) -> list[tuple[bytes, bytes]]:
    """Return the headers for a server of the daemon. Raises BadUsage and BadCredential."""
    in_file = read_header_file(file) if file else ()
    try:
        headers = [*map(read_header, lines or ()), *in_file]
        check_once(headers)
    except BadHeader as fault:
        raise BadUsage(str(fault)) from None
    return headers


def _credential_helper(invocation: Invocation) -> tuple[str, ...]:
    """Return the program of the configuration that keeps credentials; empty without one. Raises BadConfig."""
    path = invocation.file
    return checks.oauth_helper(tables.read(path)) if path.exists() else ()


# How long a daemon is waited for without --wait (seconds).
_WAIT_FOR_DAEMON = 30.0
