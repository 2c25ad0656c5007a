"""The report of the doctor: problems first, lines to paste, and a summary."""

from mcpbridged.bridge.commands.doctor.command import lines_of, summary_of
from mcpbridged.bridge.commands.doctor.finding import ERROR, OK, WARNING, Finding

FINDINGS = [
    Finding(ERROR, "servers.a: fails", "install it", ("pipx install a",)),
    Finding(WARNING, "b\x1b[1m"),
    Finding(OK, "c"),
]


def test_the_fix_is_below_its_finding_and_the_summary_is_last():
    assert [*lines_of(FINDINGS, None, is_coloured=False)] == [
        "error   servers.a: fails",
        "        install it",
        "            pipx install a",
        r"warning b\x1b[1m",
        "ok      c",
        "1 error, 1 warning, 1 check passed",
    ]


def test_text_is_broken_between_words_and_a_line_to_paste_is_not():
    finding = Finding(
        ERROR, "servers.a: does not start", "install the program a", ("pipx install a-b-c-d-e-f",)
    )
    assert [*lines_of([finding], 24, is_coloured=False)][:-1] == [
        "error   servers.a: does",
        "        not start",
        "        install the",
        "        program a",
        "            pipx install a-b-c-d-e-f",
    ]


def test_only_the_kind_is_coloured():
    assert (
        next(iter(lines_of(FINDINGS[:1], None, is_coloured=True)))
        == "\x1b[31merror  \x1b[0m servers.a: fails"
    )


def test_without_problems_the_summary_says_so():
    assert summary_of(FINDINGS[2:]) == "no problems found: 1 check passed"
