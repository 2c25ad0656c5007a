"""The commands of `mcp-bridge`, and a parser whose errors have the exit code and the form that ours have."""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NoReturn

from ..core.exit_codes import EX_USAGE

# What the first word may be, and what it does.
COMMANDS: Final = {
    "serve": "run the daemon with the servers of a configuration file",
    "status": "show the state of the daemon and its servers",
    "ps": "list server processes",
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
    "client-config": "print the configuration snippet for a client",
    "doctor": "diagnose this machine and the configuration, and suggest fixes",
    "completion": "print the completion script for a shell",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are 64, and are written in the form that the log has."""

    form = "text"

    def error(self, message: str) -> NoReturn:
        """Leave for wrong usage."""
        self.give_up(EX_USAGE, message, f"Try '{self.prog} --help'.\n")

    def give_up(self, code: int, reason: str, hint: str = "") -> NoReturn:
        """Leave with this code, and say why."""
        if self.form == "json":
            from ..log import LineLog  # noqa: PLC0415 - only where something is wrong

            LineLog(form=self.form).always("error", "cannot_start", reason, reason=reason, code=code)
            self.exit(code)
        self.exit(code, f"mcp-bridge: {reason}\n{hint}")


def form_of(arguments: Sequence[str]) -> str:
    """Return the form of the log that these arguments choose, also where others of them are wrong."""
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    form = "text"
    for word, following in pairwise([*given, ""]):
        option, equals, value = word.partition("=")
        if option == "--log-format":
            form = value if equals else following
    return form
