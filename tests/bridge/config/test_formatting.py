"""The formatter changes order and spacing only: values, their order and the comments stay, and a second run changes nothing."""

import tomllib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.config.formatting import CannotFormat, formatted

from ...support.config_file import WHOLE

UNTIDY = """

# About this file.


[tokens.a]
sha256="x"   # hash


# the tool
[ servers . "git" ]   # a header
   command=["npx",'-y'   ,  "x"]
# words
env = {A="1",   B = '2'}


cwd_allowed = [ # first
"~/src",   # mine
    # more

"/srv" ]
limits . body=5
instructions = \"\"\"
  two  lines # no comment
\"\"\"
when = 1979-05-27 07:32:00
[log]
level="info"
# the end
"""
TIDY = """\
# About this file.

[log]
level = "info"

# the tool
[servers."git"]  # a header
command = ["npx", '-y', "x"]
# words
env = { A = "1", B = '2' }

cwd_allowed = [
  # first
  "~/src",  # mine
  # more
  "/srv",
]
limits.body = 5
instructions = \"\"\"
  two  lines # no comment
\"\"\"
when = 1979-05-27 07:32:00

[tokens.a]
sha256 = "x"  # hash

# the end
"""


def test_a_text_gets_its_usual_form():
    assert formatted(UNTIDY) == TIDY
    assert formatted(TIDY) == TIDY


@pytest.mark.parametrize("text", ["", "# only a comment\n", "# one\n\n# two\n", "a = 1\n", WHOLE.lstrip()])
def test_a_tidy_text_stays_valid(text):
    assert tomllib.loads(formatted(text)) == tomllib.loads(text)
    assert formatted(formatted(text)) == formatted(text)


def test_a_comment_without_an_empty_line_stays_at_its_key():
    assert formatted("[log]\nlevel='info'\n#a\n[listen]\nunix=true") == (
        "#a\n[listen]\nunix = true\n\n[log]\nlevel = 'info'\n"
    )


def test_line_ends_of_windows_become_those_of_unix():
    assert formatted("[log] # x\r\nlevel='info'\r\n") == "[log]  # x\nlevel = 'info'\n"


def test_an_invalid_text_is_refused():
    with pytest.raises(CannotFormat):
        formatted("a = [")


FRAGMENTS = ["[servers.a]\n", "[log]\n", "[ tokens . 'b' ]\n", "[[x]]\n", "k1 = 1\n", "k2=[1,2]\n", "k3 = [\n1, # c\n# d\n2 ]\n", "k4 = {a=1,b.c='x'}\n", "# note\n", "\n", "\n\n", "k5.'x y' = \"#\" # z\n", 'k6 = """\n# x\n"""\n', "k7 = 1979-05-27 07:32:00\n", "k8 = [[1],\n[{a = 1}]]\n", "k9 = -0.5\r\n"]  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_the_meaning_and_the_comments_stay_and_a_second_run_changes_nothing(text):
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    new = formatted(text)
    assert tomllib.loads(new) == before
    assert formatted(new) == new
    assert new.count("# note") == text.count("# note")
    assert all(one or other for one, other in pairwise(new.split("\n")))
