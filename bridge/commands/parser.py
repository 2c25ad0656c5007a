"""The names of the commands, and a parser whose errors have our exit code and log format."""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NoReturn

from ..core.exit_codes import EX_USAGE

# The first argument, and its help text.
COMMANDS: Final = {
    "serve": "run the daemon with the servers of a configuration file",
    "status": "show the state of the daemon and its servers",
    "ps": "list server processes",
    "sessions": "show who is connected to the servers",
    "logs": "show a server's stderr and lifecycle events",
    "tap": "print the messages of a server as they pass",
    "tools": "list the tools of a server",
    "call": "call a tool of a server",
    "connect": "expose a server of the daemon on stdin and stdout, for clients that can only start a command",
    "restart": "restart a server (its processes start again on the next request)",
    "reload": "reload the configuration",
    "env": "show the environment variables of a server",
    "config": "check, show or import a configuration, or print its JSON Schema",
    "approve": "pin the commands of servers by hash",
    "token": "create, list, revoke or rotate tokens",
    "login": "log in at a remote server, and keep the credentials for the daemon",
    "logout": "erase the credentials for a remote server, and revoke them if possible",
    "client-config": "print the configuration snippet for a client",
    "doctor": "diagnose this machine and the configuration, and suggest fixes",
    "completion": "print the completion script for a shell",
}


class Parser(argparse.ArgumentParser):
    """A parser that exits with 64 for wrong usage, and writes errors in the format of the log: `form` is text or json."""

    form = "text"

    def error(self, message: str) -> NoReturn:
        """Exit with 64."""
        self.fail(EX_USAGE, message, f"Try '{self.prog} --help'.\n")

    def fail(self, code: int, reason: str, hint: str = "") -> NoReturn:
        """Write the reason to stderr and exit with this code."""
        if self.form == "json":
            from ..log import LineLog  # noqa: PLC0415 - only for an error

            LineLog(form=self.form).always("error", "cannot_start", reason, reason=reason, code=code)
            self.exit(code)
        self.exit(code, f"mcp-bridge: {reason}\n{hint}")


def form_of(arguments: Sequence[str]) -> str:
    """Return the log format that these arguments select, even if other arguments are wrong."""
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    form = "text"
    for word, following in pairwise([*given, ""]):
        option, equals, value = word.partition("=")
        if option == "--log-format":
            form = value if equals else following
    return form
