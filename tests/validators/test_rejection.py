"""Rejections, and the headers that they share."""

import pytest

from mcpbridged.validators.rejection import retry_after


@pytest.mark.parametrize(("seconds", "value"), [(1, b"1"), (0.2, b"1"), (30.0, b"30"), (30.1, b"31")])
def test_a_client_may_retry_after_whole_seconds_and_never_too_early(seconds, value):
    assert retry_after(seconds) == ((b"Retry-After", value),)
