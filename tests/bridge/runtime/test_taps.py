"""Taps of the messages of one server."""

from mcpbridged.bridge.runtime.taps import Taps


def test_each_tap_gets_the_messages_of_each_process():
    taps, seen = Taps(), []
    before = taps.watch(Hashable(1))
    assert before == []
    assert not taps

    def one(process, direction, line):
        seen.append(("one", process.pid, direction, line))

    def other(process, direction, line):
        seen.append(("other", process.pid, direction, line))

    taps.add(one)
    after = taps.watch(Hashable(2))
    taps.add(other)
    assert taps
    for watchers in (before, after):
        for watcher in watchers:
            watcher("to server", b"x")
    assert seen == [(name, pid, "to server", b"x") for pid in (1, 2) for name in ("one", "other")]
    taps.remove(one)
    taps.remove(one)
    assert (len(before), len(after)) == (1, 1)
    taps.remove(other)
    assert before == after == []


def test_a_process_that_has_exited_gets_no_further_tap():
    taps, process = Taps(), Hashable(1)
    watchers = taps.watch(process)
    taps.unwatch(process)
    taps.unwatch(process)
    taps.add(print)
    assert watchers == []


class Hashable:
    owner = None

    def __init__(self, pid):
        self.pid = pid
