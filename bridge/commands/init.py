"""`mcp-bridge init`: write a configuration file with comments."""

from pathlib import Path

from ..config import edit
from ..config.tables import BadConfig
from ..config.template import TEMPLATE
from ..core.exit_codes import EX_OK
from .invocation import Invocation
from .output import notice, print_line


def init(invocation: Invocation) -> int:
    """Write a new file, and print its path and the next steps. Raises BadConfig if the file exists."""
    write_template(invocation.file)
    print_line(str(invocation.file))
    notice("add a server:       mcp-bridge add NAME -- COMMAND ARGS...")
    notice("or a remote server: mcp-bridge add NAME --url URL")
    notice("start the daemon:   mcp-bridge serve")
    notice("or as a service:    mcp-bridge service install")
    return EX_OK


def write_template(file: Path) -> None:
    """Write a file without servers: mode 0600, in a directory of mode 0700. Raises BadConfig if the file exists."""
    if file.is_symlink() or file.exists():
        raise BadConfig(
            f"{file} exists already; `mcp-bridge edit` opens it, and `mcp-bridge add NAME -- COMMAND` adds a server"
        )
    edit.write_with_backup(file, TEMPLATE)
