"""The same work on several threads."""

import threading

import pytest

from mcpbridged.bridge.commands.threads import map_in_threads


def test_results_come_in_order_and_each_is_reported():
    done = []
    assert list(map_in_threads(lambda n: n * n, range(20), 4, lambda: done.append(1))) == [
        n * n for n in range(20)
    ]
    assert len(done) == 20


def test_no_more_items_than_the_limit_are_in_work():
    lock, running, most = threading.Lock(), [0], [0]
    both = threading.Barrier(2)

    def work(_item):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait(5)
        with lock:
            running[0] -= 1

    list(map_in_threads(work, range(10), 2, lambda: None))
    assert most[0] == 2


def test_an_exception_is_raised_in_place_of_its_result():
    def work(item):
        if item == 1:
            raise ValueError(item)
        return item

    results = map_in_threads(work, range(3), 1, lambda: None)
    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        next(results)


def test_no_items_need_no_thread():
    assert list(map_in_threads(lambda item: item, [], 4, lambda: None)) == []
