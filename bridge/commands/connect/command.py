"""The command itself, which loads the event loop only where it is run."""

from ...config import tables
from ...config.addresses import BadAddress
from ...config.credentials import read_token
from ...core.exit_codes import EX_OK
from ..invocation import Invocation


def connect(invocation: Invocation) -> int:
    """Connect stdin and stdout to a server until one side ends. Raises BadAddress, Unreachable and ErrorResponse."""
    from .proxy import run  # noqa: PLC0415 - the other commands need no event loop
    from .target import Target  # noqa: PLC0415 - likewise

    options = invocation.options
    token = read_token(options.token_file) if options.token_file else ""
    by_url = "://" in options.server
    if by_url:
        target = Target.at(options.server, token)
    elif token:
        raise BadAddress("--token-file needs a URL; the Unix socket is authenticated by your user ID")
    else:
        target = Target.of_daemon(invocation.socket(), options.server)
    run(target, tables.read_limits(invocation.file, "" if by_url else options.server), options.wait)
    return EX_OK
