"""`mcp-bridge approve --definitions`: show what has changed in the definitions of servers, and approve it."""

import sys
from typing import Any
from urllib.parse import quote

from ...validators.counted import counted
from ..config.settings import CONTROL
from ..core.exit_codes import EX_FAILED, EX_OK
from ..core.hidden_characters import visible
from ..log import escaped
from .control_client import request
from .invocation import Invocation
from .output import notice, print_json, print_line


def approve_definitions(invocation: Invocation) -> int:
    """Print the pending definitions of each named server and approve them, and return 1 if some are not approved.

    The user is asked, unless `--yes` is given. Raises Unreachable and ErrorResponse.
    """
    options, unix = invocation.options, invocation.socket()
    code = EX_OK
    printed: list[dict[str, object]] = []
    for name in dict.fromkeys(options.servers):
        found = request(unix, "GET", _path(name))
        changes: list[dict[str, Any]] = found["changes"]
        if not options.json:
            _print(name, changes)
        is_approved = bool(changes) and (options.yes or (not options.json and _is_wanted(name, changes)))
        if is_approved:
            request(unix, "POST", f"{_path(name)}&state={quote(found['state'])}")
            if not options.json:
                print_line(escaped(f"{name}: {counted(len(changes), 'definition')} approved"))
        elif changes:
            code = EX_FAILED
            notice(f"{name}: nothing was approved; --yes approves what is shown")
        printed.append({"server": name, "approved": is_approved, "changes": changes})
    if options.json:
        print_json(printed)
    return code


def _path(server: str) -> str:
    return f"{CONTROL}/definitions?server={quote(server, safe='')}"


def _print(name: str, changes: list[dict[str, Any]]) -> None:
    if not changes:
        print_line(escaped(f"{name}: all definitions are approved"))
    for one in changes:
        kind = "new" if one["is_new"] else "changed"
        print_line(escaped(f"{name}: {kind} {one['kind']} {visible(one['name'])}"))
        for line in one["differences"]:
            print_line(escaped(f"  {line}"))


def _is_wanted(name: str, changes: list[dict[str, Any]]) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"approve {counted(len(changes), 'definition')} of {escaped(name)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
