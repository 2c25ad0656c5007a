"""Write the units of the user's service for one program, environment and configuration. Pure: text in, text out."""

from collections.abc import Mapping, Sequence
from typing import Final

SERVICE: Final = "mcp-bridge.service"
SOCKET: Final = "mcp-bridge.socket"
CHECK: Final = "mcp-bridge-check.service"
TIMER: Final = "mcp-bridge-check.timer"
_EXEC: Final = "ExecStart="
_LISTEN: Final = "ListenStream="
# What systemd would expand or remove in a quoted word (systemd.syntax(7), systemd.unit(5)).
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n", "\t": "\\t"})
_HEAD: Final = "# Written by `mcp-bridge service install`, which replaces it; put changes into `systemctl --user edit {name}`.\n"


def service_unit(
    template: str, words: Sequence[str], variables: Mapping[str, str], name: str = SERVICE
) -> str:
    """Return the service unit for a command and the variables that it needs besides those of the user manager."""
    lines: list[str] = []
    for line in template.splitlines():
        if line.startswith(_EXEC):
            # A dollar sign is special in commands only.
            lines.append(_EXEC + " ".join(_quoted(word.replace("$", "$$")) for word in words))
            lines += [f"Environment={_quoted(f'{name}={value}')}" for name, value in variables.items()]
        else:
            lines.append(line)
    return _HEAD.format(name=name.removesuffix(".service")) + "\n".join(lines) + "\n"


def socket_unit(template: str, addresses: Sequence[str]) -> str:
    """Return the socket unit for these addresses: ADDRESS:PORT, or the path of a Unix socket as systemd writes it."""
    lines = template.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith(_LISTEN))
    rest = [line for line in lines if not line.startswith(_LISTEN)]
    rest[first:first] = [_LISTEN + address for address in addresses]
    return _HEAD.format(name=SOCKET) + "\n".join(rest) + "\n"


def timer_unit(template: str) -> str:
    """Return the timer unit of the check."""
    return _HEAD.format(name=TIMER) + template


def _quoted(word: str) -> str:
    escaped = word.translate(_ESCAPES)
    plain = escaped == word and word and not any(letter.isspace() or letter in "';#" for letter in word)
    return word if plain else f'"{escaped}"'


def command_of(unit: str) -> str:
    """Return the command line of a service unit, as it is written there."""
    return next((line.removeprefix(_EXEC) for line in unit.splitlines() if line.startswith(_EXEC)), "")


def addresses_of(unit: str) -> list[str]:
    """Return the addresses of a socket unit."""
    return [line.removeprefix(_LISTEN) for line in unit.splitlines() if line.startswith(_LISTEN)]
