"""A finding of the doctor."""

from typing import Final

import attrs

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"


@attrs.frozen
class Finding:
    """`kind` is OK, WARNING or ERROR; `fix` is what to do about it."""

    kind: str
    text: str
    fix: str = ""
