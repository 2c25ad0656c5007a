"""The rules for sources: what breaks them, what does not, and exceptions."""

import pytest

from .gates.source_rules import check


def found(text):
    return [finding.split(": ")[1] for finding in check(text, "a.py")]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("re.compile('a$')", ["dollar-at-the-end"]),
        ("re.compile(rb'a$|b')", ["dollar-at-the-end"]),
        ("re.match(f'{x}$', y)", ["dollar-at-the-end"]),
        ("re.compile('a$', re.MULTILINE)", []),
        (r"re.compile(r'a\$b[$]\Z')", []),
        ("re.sub('a', '$', text)", []),
        ("subprocess.run(x)", ["wait-without-limit"]),
        ("subprocess.check_output(x, timeout=5)", []),
        ("subprocess.Popen(x)", []),
        ("socket.create_connection(x)", ["wait-without-limit"]),
        ("socket.create_connection(x, 5)", []),
        ("trio.CancelScope(shield=True)", ["shield-without-limit"]),
        ("trio.CancelScope(shield=True, deadline=5)", []),
        ("trio.move_on_after(5, shield=True)", []),
        ("try:\n    x()\nexcept trio.Cancelled:\n    y()", ["cancellation-dropped"]),
        ("try:\n    x()\nexcept (OSError, trio.Cancelled):\n    y()", ["cancellation-dropped"]),
        ("try:\n    x()\nexcept BaseException:\n    y()\n    raise", []),
        ("suppress(Exception)", ["suppressed-without-a-name"]),
        ("contextlib.suppress(OSError, ValueError)", []),
        ("os.open(x, os.O_CREAT)", ["file-without-mode"]),
        ("os.open(x, os.O_CREAT, 0o600)", []),
        ("os.open(x, os.O_RDONLY)", []),
        ("self._digest == digest", ["digest-compared-with-equals"] * 2),
        ("machine == 'x86_64'", []),
        ("x = 1  # noqa: S101", ["exemption-without-reason"]),
        ("x = 1  # noqa: S101, S102", ["exemption-without-reason"]),
        ("x = 1  # type: ignore[misc]", ["exemption-without-reason"]),
        ("x = 1  # pragma: no cover", ["exemption-without-reason"]),
        ("x = 1  # noqa: S101 - true here", []),
        ("x = 1  # noqa: S101 - `x` is true here", []),
        ("x = 1  # type: ignore[misc]  # of the library", []),
        ("# True here.\nx = 1  # noqa: S101", []),
        ("x = 1  # noqa: S101\ny = 1  # noqa: S101", ["exemption-without-reason"] * 2),
        ("x = '# noqa: S101'", []),
        ("x = (", ["no Python"]),
    ],
)
def test_a_rule(text, rules):
    assert found(text) == rules


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("# allowed: wait-without-limit - the user ends it\nsubprocess.run(x)", []),
        ("subprocess.run(x)  # allowed: wait-without-limit - the user ends it", []),
        ("# allowed: file-without-mode - another rule\nsubprocess.run(x)", ["wait-without-limit"]),
        ("# allowed: wait-without-limit - \nsubprocess.run(x)", ["wait-without-limit"]),
        ("# allowed: wait-without-limit - too far\n\nsubprocess.run(x)", ["wait-without-limit"]),
    ],
)
def test_an_exception_names_the_rule_and_a_reason(text, rules):
    assert found(text) == rules
