"""A finding of the doctor."""

from typing import Final

import attrs

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"


@attrs.frozen
class Finding:
    """A result of a check. `kind` is OK, WARNING or ERROR; `fix` is a suggestion, or empty."""

    kind: str
    text: str
    fix: str = ""
