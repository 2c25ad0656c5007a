"""A finding of the doctor."""

from typing import Final

import attrs

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"
# The most important first.
KINDS: Final = (ERROR, WARNING, OK)


@attrs.frozen
class Finding:
    """A result of a check. `kind` is OK, WARNING or ERROR; `fix` is a suggestion, or empty.

    `commands` are lines that can be pasted: commands of a shell, and lines of the configuration.
    """

    kind: str
    text: str
    fix: str = ""
    commands: tuple[str, ...] = ()
