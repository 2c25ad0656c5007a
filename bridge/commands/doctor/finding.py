"""A finding of the doctor."""

from typing import Final

import attrs

GOOD: Final = "good"
DOUBTFUL: Final = "doubtful"
WRONG: Final = "wrong"


@attrs.frozen
class Finding:
    """`kind` is GOOD, DOUBTFUL or WRONG; `mend` is what to do about it."""

    kind: str
    text: str
    mend: str = ""
