"""The fixtures of tests/conftest.py that watch every test."""

import trio


def test_each_test_is_watched():
    """The functions that start Trio are those of the instrument."""
    for function in (trio.run, trio.lowlevel.start_guest_run):
        assert function.__qualname__ == "nothing_left.<locals>.watched.<locals>.start"
