"""A number with its noun."""

import pytest

from mcpbridged.validators.counted import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("server",), "0 servers"),
        (1, ("server",), "1 server"),
        (1.0, ("minute",), "1 minute"),
        (2, ("server",), "2 servers"),
        (1_000_000, ("line",), "1000000 lines"),
        (1, ("process", "processes"), "1 process"),
        (3, ("process", "processes"), "3 processes"),
        (1, ("call in flight", "calls in flight"), "1 call in flight"),
    ],
)
def test_the_noun_is_in_the_singular_after_one_only(number, words, text):
    assert counted(number, *words) == text
