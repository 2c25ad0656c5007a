"""A queue in which clients take turns."""

from mcpbridged.bridge.core.fair_queue import FairQueue


def filled(*items):
    queue = FairQueue()
    for client, item_id in items:
        queue.add(client, item_id, item_id.decode())
    return queue


def drained(queue):
    found = []
    while queue:
        found.append(queue.pop_next()[0])
    return found


def test_clients_take_turns_and_the_items_of_one_stay_in_order():
    queue = filled(("a", b"1"), ("a", b"2"), ("a", b"3"), ("b", b"4"), ("c", b"5"), ("b", b"6"))
    assert drained(queue) == [b"1", b"4", b"5", b"2", b"6", b"3"]
    assert len(queue) == 0


def test_a_client_that_comes_later_waits_for_one_item_of_each_other():
    queue = filled(*(("a", b"%d" % number) for number in range(100)))
    assert queue.pop_next() == (b"0", "0")
    queue.add("b", b"x", "x")
    assert [queue.pop_next()[0] for _ in range(3)] == [b"1", b"x", b"2"]


def test_an_item_can_be_removed_by_its_id():
    queue = filled(("a", b"1"), ("a", b"2"), ("b", b"3"))
    assert queue.pop(b"1") == "1"
    assert queue.pop(b"1") is None
    assert queue.pop(b"3") == "3"
    assert b"2" in queue
    assert b"3" not in queue
    assert (list(queue), list(queue.values()), len(queue)) == ([b"2"], ["2"], 1)
    assert drained(queue) == [b"2"]


def test_a_cleared_queue_is_empty():
    queue = filled(("a", b"1"))
    queue.clear()
    assert not queue
    assert list(queue.values()) == []
