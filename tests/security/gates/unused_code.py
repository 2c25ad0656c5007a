"""Functions, classes and names that the program does not use. Tests do not count as a use."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import appended, new_file
from ..result import Result, checked
from ..tools import lines, version

CLASS: Final = "unused code"
TOOL: Final = "vulture"
SPEED: Final = "fast"

_SOURCES: Final = ("bridge", "entry", "transports", "validators", "examples", "setup.py")
# Types with the names of the protocol.
_GENERATED: Final = "*/message_schemas/revision_*.py"
_FINDING: Final = re.compile(r"(\S+?):(\d+): (unused ([a-z]+) '(\w+)'.*)")

# Key: a file. Value: names in it that are used in a way that the tool does not see, and the way. `variable:*` stands for all
# variables of the file.
ALLOWED: Final[dict[str, tuple[str, str]]] = {
    "bridge/commands/change_servers.py": ("enable", "a command, found by its name"),
    "bridge/commands/client_config.py": ("client_config", "a command, found by its name"),
    "bridge/commands/command_options.py": ("usage", "an attribute of argparse"),
    "bridge/commands/completion.py": ("completion", "a command, found by its name"),
    "bridge/commands/doctor/command.py": ("doctor", "a command, found by its name"),
    "bridge/commands/edit_file.py": ("edit_file", "a command, found by its name"),
    "bridge/commands/init.py": ("init", "a command, found by its name"),
    "bridge/commands/input_responder.py": ("Notice __call__", "a protocol, named in a quoted annotation"),
    "bridge/commands/login.py": ("login logout", "commands, found by their names"),
    "bridge/commands/prompts.py": ("prompts", "a command, found by its name"),
    "bridge/commands/rules.py": ("rules_", "a command, found by its name"),
    "bridge/commands/status.py": ("ps", "a command, found by its name"),
    "bridge/config/edit.py": ("TOMLDocument", "a type in quoted annotations"),
    "bridge/config/load.py": ("build_settings", "the whole of what the daemon does in steps, for tests and documents"),
    "bridge/config/schema.py": ("config_version", "a key that is checked where the file is read"),
    "bridge/core/metric_families.py": ("FAMILIES", "the list that tests compare with /metrics and its document"),
    "bridge/core/sandbox_presets.py": ("PRESETS", "the list that tests compare with the rules and the manual"),
    "bridge/core/schema_checks.py": ("WARN", "a value of the configuration: what is neither off nor refuse"),
    "bridge/daemon/page_state.py": ("variable:*", "fields of records that are sent"),
    "bridge/daemon/session_list.py": ("variable:*", "fields of records that are sent"),
    "bridge/daemon/status.py": ("variable:*", "fields of records that are sent"),
    "bridge/daemon/supervisor.py": ("variable:*", "fields of records that are sent"),
    "bridge/events/schema.py": ("class:* variable:*", "events, which bridge/events/catalog.py lists from the module, and their fields"),
    "bridge/log.py": ("__call__ unraisablehook showwarning", "a protocol, and hooks of the interpreter"),
    "bridge/runtime/server_log.py": ("__call__", "protocols"),
    "validators/message_schemas/shapes.py": ("Integer AnyObject", "types of the generated modules"),
    "transports/correlation.py": ("__context__ __traceback__", "attributes of an exception"),
    "transports/http/http2.py": (
        "import:* attribute:* keep_alive_timeout push",
        "types in quotes, and names that Hypercorn reads or calls",
    ),
    "transports/http/service.py": ("Route", "a protocol, named in a quoted annotation"),
    "transports/process/confinement.py": ("Rules", "a type in quoted annotations"),
    "transports/socket_owner.py": ("buflen optname", "parameters of a protocol"),
}  # fmt: skip


def run(root: Path) -> Result:
    """Report unused names, and entries of the list above that have become wrong."""
    words = ["--min-confidence", "60", "--exclude", _GENERATED, *_SOURCES]
    printed = lines(["vulture", *words], root, found=(1, 3))
    return checked(_findings(printed), version("vulture"))


def _findings(printed: list[str]) -> Iterator[str]:
    left = {(path, name) for path, (names, _) in ALLOWED.items() for name in names.split()}
    for line in printed:
        match = _FINDING.match(line)
        if match is None:
            yield line
            continue
        path, number, what, kind, name = match.groups()
        entries = {name, f"{kind}:*"} & set(ALLOWED.get(path, ("", ""))[0].split())
        if not entries:
            yield f"{path}:{number}: {what}"
        left -= {(path, entry) for entry in entries}
    for path, name in sorted(left):
        yield f"{path}: {name} is used or gone, and needs no entry in ALLOWED of tests/security/gates/unused_code.py"


PLANTS: Final = (
    new_file("a function that nothing calls", "bridge/planted_unused.py", '"""Planted."""\n\n\ndef nobody_calls_me():\n    pass\n', "bridge/planted_unused.py", "nobody_calls_me"),
    appended("code after a return", "validators/names.py", "\n\ndef is_planted():\n    return 1\n    print(2)\n\n\nis_planted()\n", "validators/names.py", "unreachable code"),
    appended("an exception in the list that is not needed", "bridge/commands/init.py", "\n\ninit\n", "bridge/commands/init.py: init is used or gone"),
)  # fmt: skip
