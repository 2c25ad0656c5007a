"""What every test shares: asynchronous tests run under Trio, through anyio's plugin."""

import pytest


@pytest.fixture
def anyio_backend():
    return "trio"
