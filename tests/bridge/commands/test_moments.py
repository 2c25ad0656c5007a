"""Times on the command line."""

import argparse
import time

import pytest

from mcpbridged.bridge.commands.moments import moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259200), ("1w", 604800)]
)
def test_an_age_is_before_now(text, seconds):
    assert moment(text) == pytest.approx(time.time() - seconds, abs=5)


def test_a_time_is_local_unless_it_has_an_offset():
    assert moment("2026-07-28T10:00:00Z") == 1785232800
    assert moment("2026-07-28 10:00") == time.mktime((2026, 7, 28, 10, 0, 0, 0, 0, -1))


@pytest.mark.parametrize("text", ["", "x", "10y", "1.5h", "-1h", "2026-13-01", "١m", "9" * 20 + "h"])
def test_another_text_is_no_time(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be an age such as 90s"):
        moment(text)
