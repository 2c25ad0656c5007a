"""Ids of requests whose answers change nothing."""

from mcpbridged.bridge.core.abandoned_requests import MOST_ABANDONED, AbandonedRequests


def test_an_id_is_taken_once():
    ids = AbandonedRequests()
    assert ids.add(b"1") == b"1"
    assert ids.take(b"1")
    assert not ids.take(b"1")


def test_the_oldest_id_is_dropped_at_the_limit():
    ids = AbandonedRequests()
    for number in range(MOST_ABANDONED + 1):
        ids.add(b"%d" % number)
    assert not ids.take(b"0")
    assert ids.take(b"1")
    assert ids.take(b"%d" % MOST_ABANDONED)
