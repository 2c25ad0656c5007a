"""Keep credentials with a helper program, such as one that uses the keyring of the desktop.

The protocol is that of git credential helpers (gitcredentials(7)): the program is called with `get`, `store` or `erase` as
its last argument, and reads lines of the form name=value from its standard input, up to an empty line. `key` names the entry,
and `secret` is its content in one line. `get` prints a line secret=..., or nothing if it has no such entry.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from ..config.credentials import BadCredential, check_helper
from ..config.helper_programs import HelperFailed, Helpers
from .store import StoreFault

SERVICE: Final = "mcp-bridge"
# The largest output of a helper (bytes).
_LARGEST: Final = 64 * 1024


class HelperBackend:
    """Keeps the entries with a program. `helpers` limits its time."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], helpers: Helpers) -> None:
        self._words = tuple(words)
        self._environment = environment
        self._helpers = helpers

    def read(self, key: str) -> bytes | None:
        """Return an entry, None if there is none. Blocks. Raises StoreFault."""
        for line in self._run("get", key).split(b"\n"):
            name, equals, value = line.partition(b"=")
            if equals and name == b"secret":
                return value.rstrip(b"\r") or None
        return None

    def write(self, key: str, entry: bytes | None) -> None:
        """Replace or remove an entry. Blocks. Raises StoreFault."""
        if entry is None:
            self._run("erase", key)
        else:
            self._run("store", key, b"secret=%b\n" % entry)

    def mark(self) -> object:
        """Return None, because only the program knows about changes."""
        return None

    def _run(self, action: str, key: str, more: bytes = b"") -> bytes:
        sent = f"service={SERVICE}\nkey={key}\n".encode() + more + b"\n"
        try:
            check_helper(self._words, self._environment)
            return self._helpers.run((*self._words, action), self._environment, _LARGEST, sent)
        except (BadCredential, HelperFailed) as fault:
            raise StoreFault(f"{fault} (oauth.helper, action {action})") from None
