"""What a client brings for the process that serves it: headers of its requests that become variables (env_from_header).

Pure. The operator names each variable and its header; nothing else of a request reaches an environment. Values are
secrets: nothing here shows one.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from ...validators.rejection import INVALID_REQUEST, Rejection
from ..redaction import SHORTEST_SECRET

# The head's grammar lets a tab pass, which is the only control character that it does.
_VISIBLE: Final = re.compile(r"[ -~]*+\Z")


@attrs.frozen
class ClientEnvironment:
    """The variables of one client, with their values. Two that are equal may share a process."""

    variables: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown while a process has it."""
        return tuple(value for _, value in self.variables if len(value) >= SHORTEST_SECRET)


NOTHING: Final = ClientEnvironment()


def environment_from_headers(headers: Mapping[str, str], wanted: Mapping[str, str]) -> ClientEnvironment:
    """What these headers bring of the `wanted` ones, by variable. One that is missing or empty brings nothing.

    Raises Rejection 400 for a value with a control character.
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
