"""The commands of `mcp-bridge`, and a parser whose errors have the exit code and the form that ours have."""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NoReturn

from ..core.exit_codes import EX_USAGE

# What the first word may be, and what it does.
COMMANDS: Final = {
    "serve": "run the servers of a configuration file",
    "status": "how the daemon and its servers are",
    "ps": "the processes that run",
    "logs": "what a server has said on stderr, and what happened to it",
    "tap": "watch the messages of a server pass",
    "tools": "list the tools of a server",
    "call": "call a tool of a server",
    "connect": "be a server behind a bridge on our own standard streams, for clients that only start commands",
    "restart": "end the processes of a server; the next call starts them again",
    "reload": "let the daemon read its configuration again",
    "env": "show the environment that a server gets",
    "config": "check, show or import a configuration, or print its JSON Schema",
    "approve": "pin what servers start, so that nothing else is started in its place",
    "token": "make, list, revoke or rotate tokens",
    "client-config": "print what a client must be told, ready to paste",
    "doctor": "say what is wrong with this machine and this configuration",
    "completion": "print the completion for a shell",
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
