"""The length of the random walks of the tests. `make walks WALK_STEPS=1000000` makes them longer.

The steps of WALK_STEPS are divided among the walks of `SETS` tests. Without it, each test has its own short default. Walks with a
number as a seed always have the same seeds; those of Hypothesis have with CI set (tests/conftest.py).
"""

import os
from typing import Final

SETS: Final = 7
_STEPS: Final = int(os.environ.get("WALK_STEPS", "0"))


def walks(default: int, length: int, steps: int = _STEPS) -> int:
    """Return the number of walks of a test, each of `length` steps."""
    return max(default, steps // SETS // length) if steps else default
