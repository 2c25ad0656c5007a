"""What a client chooses of the process that serves it: variables (`env_from_header`) and the directory (`cwd = "client"`). Pure.

The operator names each variable and its header, and nothing else of a request reaches an environment. Values are secrets:
no error text or representation contains one.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from ...transports.options import Directory
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..redaction import SHORTEST_SECRET

# RFC 9110 section 5.5 allows a tab in a field value. An environment variable must not have one.
_VISIBLE: Final = re.compile(r"[ -~]*+\Z")


@attrs.frozen
class ClientEnvironment:
    """The variables of one client, with their values, and its directory. Clients with equal ones may share a process."""

    variables: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    # None where the configuration has the working directory.
    directory: Directory | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must be redacted in logs while a process has them."""
        return tuple(value for _, value in self.variables if len(value) >= SHORTEST_SECRET)


NOTHING: Final = ClientEnvironment()


def environment_from_headers(headers: Mapping[str, str], wanted: Mapping[str, str]) -> ClientEnvironment:
    """Return the variables that the headers set. `wanted` has the name of the header for each variable.

    A missing or empty header sets no variable. Raises Rejection 400 for a value with a control or a non-ASCII character.
    """
    found: list[tuple[str, str]] = []
    for variable, name in wanted.items():
        value = headers.get(name)
        if not value:
            continue
        if not _VISIBLE.match(value):
            raise Rejection(
                400, INVALID_REQUEST, f"the header {name} must hold visible ASCII and spaces only"
            )
        found.append((variable, value))
    return ClientEnvironment(tuple(found))
