"""The last lines of one server."""

import json
import tracemalloc

from mcpbridged.bridge.runtime.log_buffer import Entry, LogBuffer


class Queue:
    """A send queue that records what it gets."""

    def __init__(self):
        self.received = []

    def enqueue(self, text):
        self.received.append(json.loads(text))


def entry(text, pid=7, kind="stderr"):
    return Entry(1.0, kind, pid, text)


def test_the_oldest_entries_are_dropped_at_the_limit():
    buffer = LogBuffer()
    for number in range(20):
        buffer.add(entry(f"{number:<4096}"))
    assert [int(one.text) for one in buffer.entries()] == list(range(4, 20))


def test_short_entries_take_no_more_memory():
    buffer = LogBuffer()
    tracemalloc.start()
    for number in range(20_000):
        buffer.add(Entry(number / 2, "stderr", 7, "x"))
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert memory < 600_000
    assert buffer.entries()[-1].at == 19_999 / 2
    assert buffer.tail(7) == []
    buffer.begin(7)
    buffer.add(entry("y"))
    assert buffer.tail(7) == ["y"]


def test_the_last_lines_are_those_of_one_process_and_one_kind():
    buffer = LogBuffer()
    buffer.begin(7)
    buffer.begin(8)
    for number in range(7):
        buffer.add(entry(f"{number}"))
    buffer.add(entry("of another", pid=8))
    buffer.add(entry("x" * 500, kind="stdout"))
    assert buffer.tail(7) == ["2", "3", "4", "5", "6"]
    assert buffer.tail(7, "stdout") == ["x" * 400]
    assert buffer.tail(8) == ["of another"]
    assert buffer.tail(9) == []


def test_a_process_with_a_pid_of_an_earlier_process_has_lines_of_its_own():
    buffer = LogBuffer()
    buffer.begin(7)
    buffer.add(entry("first"))
    buffer.begin(7)
    assert buffer.tail(7) == []
    buffer.add(entry("second"))
    assert buffer.tail(7) == ["second"]


def test_a_follower_of_new_entries_gets_no_stored_ones():
    buffer, queue = LogBuffer(), Queue()
    buffer.add(entry("before"))
    buffer.follow_new(queue)
    buffer.add(entry("after"))
    assert [one["text"] for one in queue.received] == ["after"]


def test_a_follower_gets_the_stored_entries_and_then_each_new_entry():
    buffer, queue = LogBuffer(), Queue()
    buffer.add(entry("before"))
    buffer.follow(queue)
    assert buffer.is_followed
    buffer.add(entry("after"))
    stored, new = queue.received
    assert [one["text"] for one in stored] == ["before"]
    assert new == {"at": 1.0, "kind": "stderr", "pid": 7, "text": "after", "server": ""}
    buffer.unfollow(queue)
    buffer.add(entry("later"))
    assert len(queue.received) == 2
    assert not buffer.is_followed
