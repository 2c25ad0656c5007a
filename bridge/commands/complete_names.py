"""The names that a shell completes: of servers, tools, tokens and commands. The completion scripts run `mcp-bridge __complete`.

Nothing is printed where a name is not known in a short time. A name with other characters than these is left out, because a
shell would expand it.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from .completion_scripts import TOKENS, TOOLS, TOPICS, kind_of
from .parser import COMMANDS, command_first

# Characters that mean nothing to bash, zsh and fish.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]{0,127}")
# For the daemon and for a server (seconds).
_TIMEOUT: Final = 3.0


def print_names(words: list[str], environment: Mapping[str, str]) -> int:
    """Print the names that may follow these words of a command line, one on each line."""
    from .output import print_line  # noqa: PLC0415 - after the check of the first word

    for name in names_after(words, environment):
        if _PLAIN.fullmatch(name):
            print_line(name)
    return 0


def names_after(words: list[str], environment: Mapping[str, str]) -> list[str]:
    """Return the names that may follow these words; none if they cannot be determined."""
    given = command_first(words)
    if not given or given[0] not in COMMANDS:
        return []
    kind, file, first = _next(given[0], given[1:])
    if kind == TOPICS:
        return list(COMMANDS)
    try:
        return _names(kind, file, first, environment) if kind else []
    except Exception:  # noqa: BLE001 - a shell shows no error while a user types
        return []


def _next(command: str, words: list[str]) -> tuple[str, str, str]:
    """Return the kind of the next word, the value of --config, and the first word that is no option or value."""
    from .command_options import parser_of  # noqa: PLC0415 - builds the grammar

    actions = parser_of(command)._actions  # noqa: SLF001 - argparse has no public access
    options = {option: action for action in actions for option in action.option_strings}
    places = [action for action in actions if not action.option_strings]
    file, given, open_option = "", list[str](), None
    for word in words:
        name, equals, value = word.partition("=")
        if open_option is not None and not word.startswith("-"):
            file = word if open_option.dest == "config" else file
            # An option with several values stays open.
            open_option = open_option if open_option.nargs == "+" else None
        elif name in options:
            open_option = options[name] if options[name].nargs != 0 and not equals else None
            file = value if equals and options[name].dest == "config" else file
        else:
            given.append(word)
    if open_option is not None:
        return kind_of(command, open_option), file, ""
    action = places[min(len(given), len(places) - 1)] if places else None
    if action is None or (len(given) >= len(places) and action.nargs != "+"):
        return "", file, ""
    return kind_of(command, action), file, given[0] if given else ""


def _names(kind: str, file: str, server: str, environment: Mapping[str, str]) -> list[str]:
    from ..config import tables, xdg  # noqa: PLC0415 - only for names
    from ..config.settings import CONTROL  # noqa: PLC0415 - likewise
    from .control_client import Unreachable, call_server, request, result_of  # noqa: PLC0415 - likewise
    from .invocation import socket_of  # noqa: PLC0415 - likewise

    path = Path(file) if file else xdg.default_path(environment)
    if kind == TOKENS:
        return list(tables.read(path).tokens)
    unix = socket_of(path, environment)
    if kind == TOOLS:
        listed: Iterable[Any] = result_of(call_server(unix, server, "tools/list", {}, patience=_TIMEOUT))[
            "tools"
        ]
        return [tool["name"] for tool in listed]
    try:
        state = request(unix, "GET", f"{CONTROL}/status", _TIMEOUT)
    except Unreachable:
        configured = tables.read(path)
        return [*configured.servers, *configured.aggregates]
    return [one["name"] for one in state["servers"]]
