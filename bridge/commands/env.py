"""`mcp-bridge env`: show the environment variables of a server."""

import os

from ..core.exit_codes import EX_OK
from ..log import escaped
from .effective import find_process_server, resolved, variables_of
from .invocation import Invocation
from .output import notice, print_json, print_line
from .running_daemon import not_in_path


def env(invocation: Invocation) -> int:
    """Print the environment variables of the processes of a server, without secrets. Raises BadConfig."""
    source = invocation.source
    if source.daemon is None:
        notice("no daemon is running with this configuration; showing the variables of this shell")
    elif lacking := not_in_path(invocation.environment, source.environment):
        notice(f"the PATH of the daemon lacks {os.pathsep.join(lacking)}, which the PATH of this shell has")
    servers = resolved(source.file, source.environment).servers
    found = variables_of(find_process_server(source.file, servers, invocation.options.server))
    if invocation.options.json:
        print_json(dict(found))
        return EX_OK
    for key, value in found:
        print_line(escaped(f"{key}={value}"))
    return EX_OK
