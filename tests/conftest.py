"""What every test shares: asynchronous tests run under Trio, through anyio's plugin.

In CI Hypothesis draws the same examples every time: what a gate counts must not depend on luck.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def anyio_backend():
    return "trio"
