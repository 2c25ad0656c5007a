"""Functions that wait for a condition in another process, and fail after a time limit (seconds)."""

import time

import trio


def wait_until(condition, timeout=20.0, what="the condition"):
    """Wait until `condition` returns a true value, and return it."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not become true within {timeout:g} s"
        time.sleep(0.01)
    return found


async def wait_until_async(condition, timeout=20.0):
    """Wait until the asynchronous `condition` returns a true value, and return it."""
    with trio.fail_after(timeout):
        while not (found := await condition()):
            await trio.sleep(0.02)
    return found


def wait_until_empty(look, timeout=10.0):
    """Wait until `look` returns an empty value. Return the last value after the timeout."""
    end = time.monotonic() + timeout
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.01)
    return found
