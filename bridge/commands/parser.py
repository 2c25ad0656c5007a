"""The names of the commands, and a parser whose errors have our exit code and log format."""

import argparse
import re
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Final, NoReturn

from ..core.exit_codes import EX_USAGE
from ..core.suggestion import suggestion

# The first argument, and its help text.
COMMANDS: Final = {
    "serve": "run the daemon with the servers of a configuration file",
    "init": "write a configuration file with comments",
    "add": "add a server to the configuration",
    "remove": "remove servers from the configuration",
    "enable": "make servers available to clients",
    "disable": "make servers unavailable to clients, and keep their configuration",
    "edit": "edit the configuration, and check it before it is saved",
    "service": "install, uninstall or show the systemd service of your user",
    "status": "show the state of the daemon and its servers",
    "ps": "list server processes",
    "sessions": "show who is connected to the servers",
    "logs": "show the stderr and lifecycle events of a server, or of all servers",
    "tap": "print the messages of a server, or of all servers, as they pass",
    "tools": "list the tools of a server",
    "call": "call a tool of a server",
    "prompts": "list the prompts of a server",
    "prompt": "print the messages of a prompt",
    "resources": "list the resources of a server and its templates",
    "read": "print the contents of a resource",
    "connect": "expose a server of the daemon on stdin and stdout, for clients that can only start a command",
    "restart": "restart servers (their processes start again on the next request)",
    "reload": "reload the configuration",
    "env": "show the environment variables of a server",
    "config": "check, show or import a configuration, or print its JSON Schema",
    "rules": "show the rules for clients, or explain what would happen to a request",
    "approve": "pin the commands of servers by hash, or approve changed definitions",
    "token": "create, list, revoke or rotate tokens",
    "login": "log in at a remote server, and keep the credentials for the daemon",
    "logout": "erase the credentials for a remote server, and revoke them if possible",
    "client-config": "print the configuration snippet for a client",
    "admin": "print a link that opens the page of the daemon in a browser",
    "check": "examine the tools, prompts and resources that servers offer, and report what is wrong or suspicious",
    "doctor": "diagnose this machine and the configuration, and suggest fixes",
    "completion": "print the completion script for a shell",
    "help": "show the help of a command",
    "version": "show the version",
}
# Options that may stand before the command, and whether each takes a value.
_BEFORE: Final = {
    "--config": True,
    "--log-format": True,
    "--json": False,
    "--watch": False,
    "-f": False,
    "--follow": False,
    "--http": False,
    "--allow-root": False,
}
# Texts of argparse: a wrong choice, with the choices.
_CHOICE: Final = re.compile(r"invalid choice: '?(.*?)'? \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser that exits with 64 for wrong usage, and writes errors in the format of the log: `form` is text or json."""

    form = "text"

    def error(self, message: str) -> NoReturn:
        """Exit with 64. A similar choice is suggested in place of a wrong one."""
        choice = _CHOICE.search(message)
        if choice is not None:
            message += suggestion(choice[1], re.findall(r"[\w-]+", choice[2]))
        self._refuse(message)

    def _refuse(self, reason: str) -> NoReturn:
        self.fail(EX_USAGE, reason, f"Try '{self.prog} --help'.\n")

    def unrecognized(self, words: Sequence[str], hint: str = "") -> NoReturn:
        """Exit with 64 for these arguments. An option similar to the first is suggested."""
        known = [
            option
            for action in self._actions
            if action.help != "==SUPPRESS=="
            for option in action.option_strings
        ]
        wrong = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        self._refuse(f"unrecognized arguments: {' '.join(words)}{suggestion(wrong, known)}{hint}")

    def fail(self, code: int, reason: str, hint: str = "") -> NoReturn:
        """Write the reason to stderr and exit with this code."""
        if self.form == "json":
            from ..log import LineLog  # noqa: PLC0415 - only for an error

            LineLog(form=self.form).always("error", "cannot_start", reason, reason=reason, code=code)
            self.exit(code)
        from .output import fitted  # noqa: PLC0415 - only for an error

        first, *others = f"mcp-bridge: {reason}".split("\n")
        self.exit(code, "\n".join([fitted(first), *others, hint]))


def unknown_command(name: str) -> str:
    """Return the error text for a command that does not exist: a similar one, or else all."""
    all_commands = f"; commands: {', '.join(COMMANDS)}; a server is started with --stdio 'CMD ARG...'"
    return f"unknown command {name!r}" + (suggestion(name, COMMANDS) or all_commands)


def command_first(arguments: list[str]) -> list[str]:
    """Return arguments whose first is the command, if only options of commands are before it; else the same arguments."""
    rest = iter(arguments)
    before: list[str] = []
    for word in rest:
        option, equals, _ = word.partition("=")
        if word in COMMANDS:
            return [word, *before, *rest]
        if option not in _BEFORE:
            break
        before.append(word)
        if _BEFORE[option] and not equals:
            before.extend(islice(rest, 1))
    return arguments


def form_of(arguments: Sequence[str]) -> str:
    """Return the log format that these arguments select, even if other arguments are wrong."""
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    form = "text"
    for word, following in pairwise([*given, ""]):
        option, equals, value = word.partition("=")
        if option == "--log-format":
            form = value if equals else following
    return form
