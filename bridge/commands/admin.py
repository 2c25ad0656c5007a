"""`mcp-bridge admin`: print a link to the page of the daemon, and open it on request."""

import shutil

from ..config.settings import ADMIN_LINK
from ..core.exit_codes import EX_OK, EX_UNAVAILABLE
from .control_client import request
from .invocation import Invocation
from .output import notice, print_line

_OPENER = "xdg-open"


def admin(invocation: Invocation) -> int:
    """Print a link that opens the page once, within a minute; with `--open` open it in the browser of the desktop."""
    url = request(invocation.socket(), "POST", ADMIN_LINK)["url"]
    print_line(url)
    notice("the link is valid once and for a minute, for a browser of this user on this machine")
    return _open(url) if invocation.options.open else EX_OK


def _open(url: str) -> int:
    """Open a URL with xdg-open(1). The code in it is of no use to other users, whose processes the page refuses."""
    import subprocess  # noqa: PLC0415 - other commands do not need it

    program = shutil.which(_OPENER)
    if program is None:
        notice(f"there is no {_OPENER} on this machine; open the link in a browser")
        return EX_UNAVAILABLE
    try:
        # allowed: wait-without-limit - some openers end with the browser; the user can interrupt the command
        done = subprocess.run(  # noqa: S603 - the URL is that of our daemon
            [program, url], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        )
    except OSError as fault:
        notice(f"{program} cannot be run: {fault.strerror}; open the link in a browser")
        return EX_UNAVAILABLE
    if done.returncode:
        notice(f"{_OPENER} exited with {done.returncode}; open the link in a browser")
        return EX_UNAVAILABLE
    return EX_OK
