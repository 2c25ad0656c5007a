"""The exit codes have the numbers of sysexits.h, which the standard library knows as well."""

import os

from mcpbridged.bridge.core import exit_codes
from mcpbridged.bridge.core.exit_codes import ReportedError


def test_the_codes_are_those_of_sysexits():
    same = ("EX_OK", "EX_USAGE", "EX_UNAVAILABLE", "EX_SOFTWARE", "EX_TEMPFAIL", "EX_CONFIG")
    assert {name: getattr(exit_codes, name) for name in same} == {name: getattr(os, name) for name in same}
    assert exit_codes.EX_INCOMPLETE == os.EX_DATAERR


def test_an_interrupted_command_exits_as_a_shell_reports_it():
    assert exit_codes.EX_INTERRUPTED == 128 + 2


def test_a_reported_error_has_an_exit_code_and_lines():
    assert ReportedError("first\nsecond").lines(with_source=True) == ["first", "second"]
    assert ReportedError.exit_code == exit_codes.EX_FAILED == 1
