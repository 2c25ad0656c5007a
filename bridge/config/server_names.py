"""Check that the names of servers cannot be confused, and explain a name that no server has.

An aggregate and several clients name a tool `SERVER__TOOL`, some in lower case, and some file systems do not distinguish capitals.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ..core.suggestion import suggestion
from .child_environment import shown

if TYPE_CHECKING:
    from .schema import File

# Between the name of a server and that of its tool.
SEPARATOR: Final = "__"


def find_collision(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first name that can be confused with another one, and the reason; None without one."""
    by_folded: dict[str, str] = {}
    for name in names:
        other = by_folded.setdefault(name.lower(), name)
        if other != name:
            return name, f"its name differs from {other!r} in capitals only; choose another name"
    # A prefix that begins with another one is sorted after it, and so is every prefix between them.
    prefixes = sorted(f"{folded}{SEPARATOR}" for folded in by_folded)
    for short, long in pairwise(prefixes):
        if long.startswith(short):
            name, other = (by_folded[prefix.removesuffix(SEPARATOR)] for prefix in (long, short))
            return name, (
                f"a tool of it would have a name that begins with {other}{SEPARATOR}, "
                f"as those of the server {other!r}; choose another name"
            )
    return None


def is_confusable(name: str, others: Iterable[str]) -> bool:
    """Return whether a name is one of others, or can be confused with one."""
    prefix = f"{name.lower()}{SEPARATOR}"
    taken = (f"{other.lower()}{SEPARATOR}" for other in others)
    return any(other.startswith(prefix) or prefix.startswith(other) for other in taken)


def why_not_served(name: str, file: "File", served: Iterable[str]) -> str:
    """Return the error text for a name that no enabled server has."""
    if name in file.servers:
        return f"servers.{name} is disabled (enabled = false)"
    return f"there is no server {shown(name)}{suggested(name, served)}"


def suggested(name: str, known: Iterable[str]) -> str:
    """Return the end of an error text that lists the known names."""
    names = [*known]
    return f"; there are {', '.join(names) or 'none'}{suggestion(name, names)}"
