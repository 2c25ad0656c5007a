"""A finding of `mcp-bridge check` about a server or one of its definitions."""

from typing import Final

import attrs

ERROR: Final = "error"
WARNING: Final = "warning"


@attrs.frozen
class Finding:
    """A result of a check. `severity` is ERROR or WARNING, `id` is stable, `fix` is what to do.

    `kind` and `name` are those of the definition, `where` is the place in it. A finding about the server has none of them.
    """

    severity: str
    id: str
    kind: str
    name: str
    where: str
    text: str
    fix: str
