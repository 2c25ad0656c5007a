"""Bridges that the tests of a module share. A bridge that is stopped must exit with 0 and have no error in its log."""

import pytest

from ..support.hostile_bridge import running
from ..support.wire import Broken


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    # The tests send many wrong credentials. The limit on their number has tests of its own (A06).
    with running(tmp_path_factory.mktemp("bridge"), "--limit=wrong_credentials_per_second=1000000") as bridge:
        yield bridge


@pytest.fixture(scope="module")
def short_limits(tmp_path_factory):
    """Yield a bridge whose limits on slow clients are one or two seconds."""
    options = ["head_seconds=1", "body_grace_seconds=1", "write_stall_seconds=2", "heartbeat_seconds=0.5"]
    with running(
        tmp_path_factory.mktemp("short_limits"), *(f"--limit={option}" for option in options)
    ) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def session(bridge):
    return bridge.open_session()


@pytest.fixture
def still_serving(bridge, session):
    """Require that the shared session is still served after the test."""
    yield
    try:
        reply = bridge.exchange(bridge.post(session=session))
    except (OSError, Broken) as fault:
        raise AssertionError(f"no longer serving: {bridge.stderr[-20:]}") from fault
    assert reply.status == 200, reply
    assert reply.json == {"jsonrpc": "2.0", "id": 1, "result": {}}
