"""`mcp-bridge login` and `mcp-bridge logout`: obtain and erase the credentials for a remote server."""

from ..core.exit_codes import EX_OK
from .invocation import Invocation
from .login_target import target_of


def login(invocation: Invocation) -> int:
    """Log in at a remote server. Raises BadUsage, BadConfig, BadCredential, Unreachable and ErrorResponse."""
    from .remote_login import log_in  # noqa: PLC0415 - the other commands need no event loop

    log_in(target_of(invocation), invocation)
    return EX_OK


def logout(invocation: Invocation) -> int:
    """Erase the credentials for a remote server. Raises as `login`."""
    from .remote_login import log_out  # noqa: PLC0415 - the other commands need no event loop

    log_out(target_of(invocation), invocation)
    return EX_OK
