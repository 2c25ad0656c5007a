"""The clients of a shared process, and the ids that belong to each."""

import time

from mcpbridged.bridge.core.attribution import Client
from mcpbridged.bridge.core.front import Front, FrontIds, find_front


def front(name, *, translated=False):
    return Front(Client(name), name, translated=translated)


def test_the_owner_of_a_call_is_a_front_or_the_adapter_of_a_translated_front():
    plain, translated = front("one"), front("adapter", translated=True)
    fronts = {plain: None, translated: None}
    assert find_front(fronts, plain) is plain
    assert find_front(fronts, "adapter") is translated
    # The owner of a plain front is no adapter.
    assert find_front(fronts, "one") is None


def test_an_id_of_two_fronts_belongs_to_neither():
    one, other = front("one"), front("other")
    ids = FrontIds(2)
    ids.add(b"a", one)
    ids.add(b"a", one)
    assert ids.get(b"a") is one
    ids.add(b"a", other)
    assert ids.get(b"a") is None


def test_the_oldest_id_of_a_front_is_dropped_at_the_limit_of_that_front():
    one, other = front("one"), front("other")
    ids = FrontIds(2)
    ids.add(b"x", other)
    for key in (b"a", b"b", b"c"):
        ids.add(key, one)
    assert [ids.get(key) for key in (b"x", b"a", b"b", b"c")] == [other, None, one, one]
    ids.remove(one)
    assert [ids.get(key) for key in (b"x", b"b", b"c")] == [other, None, None]


def test_an_id_takes_a_short_time_with_many_ids_of_other_fronts():
    """A server can name a hundred URLs in one error response."""
    ids = FrontIds(100)
    for number in range(500):
        other = front(f"{number}")
        for key in range(100):
            ids.add(b"%d of %d" % (key, number), other)
    one = front("one")
    began = time.thread_time()
    for key in range(200):
        ids.add(b"%d" % key, one)
    ids.remove(one)
    assert time.thread_time() - began < 0.02
    assert ids.get(b"150") is None
    assert ids.get(b"99 of 499") is other
