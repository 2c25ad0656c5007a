"""The result of a gate: no finding, findings, or no run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CLEAN: Final = "clean"
FINDINGS: Final = "findings"
NOT_RUN: Final = "NOT RUN"


@dataclass(frozen=True)
class Result:
    """What a gate returns. `version` is empty if the tool could not be found. `failed`: the tool or the gate is broken."""

    state: str
    version: str = ""
    findings: tuple[str, ...] = ()
    reason: str = ""
    failed: bool = False


def checked(findings: Iterable[str], version: str) -> Result:
    """Return the result of a run: clean without findings. `version` is that of the tool."""
    texts = tuple(findings)
    return Result(FINDINGS if texts else CLEAN, version, texts)


def not_run(reason: str, version: str = "", *, failed: bool = False) -> Result:
    """Return the result of a gate whose tool could not do its work. The reason names what is missing."""
    return Result(NOT_RUN, version, reason=reason, failed=failed)
