"""The same work on several threads."""

import threading
import time

import pytest

from mcpbridged.bridge.commands import threads
from mcpbridged.bridge.commands.threads import map_in_threads


def test_results_come_in_order_and_each_is_reported():
    done = []
    assert list(map_in_threads(lambda n: n * n, range(20), 4, lambda: done.append(1))) == [
        n * n for n in range(20)
    ]
    assert len(done) == 20


def test_an_item_is_reported_before_its_result_is_yielded():
    done = []

    def slow():
        time.sleep(0.05)
        done.append(1)

    results = map_in_threads(lambda item: item, range(3), 1, slow)
    for count in (1, 2, 3):
        next(results)
        assert len(done) >= count


@pytest.mark.parametrize(("items", "count"), [(10, 4), (3, 3)])
def test_there_are_no_more_threads_than_the_limit_and_the_items(items, count, monkeypatch):
    started = []

    class Thread(threading.Thread):
        def start(self):
            assert self.daemon
            started.append(1)
            super().start()

    monkeypatch.setattr(threads.threading, "Thread", Thread)
    list(map_in_threads(lambda item: item, range(items), 4, lambda: None))
    assert len(started) == count


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
