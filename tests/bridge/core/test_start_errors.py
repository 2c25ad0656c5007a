"""The reason of a failed start, in words."""

import pytest

from mcpbridged.bridge.core.start_errors import Output, StartFault


@pytest.mark.parametrize(
    ("fault", "summary"),
    [
        (StartFault("did not answer", hangs=True), "did not answer; it has printed nothing"),
        (
            StartFault("did not answer", Output(("banner",)), hangs=True),
            "did not answer; it printed 'banner'",
        ),
        (StartFault("was killed by signal 9 (SIGKILL)"), "was killed by signal 9 (SIGKILL)"),
        (
            StartFault("exited with code 0", ended=True),
            "exited with code 0; an MCP server must run until its stdin ends: is the command right?",
        ),
        (
            StartFault("exited with code 1", Output((), ("No module named 'x'",)), ended=True),
            "exited with code 1; it printed \"No module named 'x'\"; a file or module that it needs is missing",
        ),
    ],
)
def test_the_summary_has_the_output_and_the_usual_cause(fault, summary):
    assert fault.summary == summary
