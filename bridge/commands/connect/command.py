"""The command itself, which loads the event loop only where it is run."""

import os

from ...config import tables
from ...config.addresses import BadAddress
from ...config.credentials import read_token
from ...core.exit_codes import EX_OK
from .. import connect_pump
from ..invocation import Invocation
from ..pump.settings import Settings


def connect(invocation: Invocation) -> int:
    """Connect stdin and stdout to a server until one side ends. Raises BadAddress, Unreachable and ErrorResponse."""
    options = invocation.options
    token = read_token(options.token_file) if options.token_file else ""
    by_url = "://" in options.server
    if not by_url:
        if token:
            raise BadAddress("--token-file needs a URL; the Unix socket is authenticated by your user ID")
        path = os.fsencode(invocation.socket())
        connect_pump.execute(Settings(os.fsencode(options.server), path, wait=options.wait))
    from .proxy import run  # noqa: PLC0415 - the other commands need no event loop
    from .target import Target  # noqa: PLC0415 - likewise

    run(Target.at(options.server, token), tables.read_limits(invocation.file, ""), options.wait)
    return EX_OK
