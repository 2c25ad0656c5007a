"""The levels of the log, from the most verbose to none."""

from typing import Final, Literal, get_args

Level = Literal["debug", "info", "warning", "error", "none"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
