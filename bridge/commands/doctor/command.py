"""The command itself: print each finding as soon as it is known."""

from ...core.exit_codes import EX_FAILED, EX_OK
from ...log import escaped
from ..invocation import Invocation
from ..output import print_line
from ..progress import Progress
from .examine import examine
from .finding import ERROR


def doctor(invocation: Invocation) -> int:
    """Print the findings, and return 1 if one of them is an error."""
    worst = EX_OK
    with Progress() as progress:
        for finding in examine(invocation.file, invocation.environment, invocation.source, progress):
            progress.clear()
            print_line(escaped(f"{finding.kind:<7} {finding.text}"))
            if finding.fix:
                print_line(escaped(f"{'':<7} {finding.fix}"))
            if finding.kind == ERROR:
                worst = EX_FAILED
    return worst
