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


def test_a_function_that_always_gets_the_messages_is_the_first_and_remains():
    taps, seen, process = Taps(), [], Hashable(1)
    watchers = taps.watch(process, lambda direction, line: seen.append((direction, line)))
    # No command or page follows the messages.
    assert not taps
    for tap in (print, repr):
        taps.add(tap)
    assert len(watchers) == 3
    watchers[0]("to server", b"x")
    for tap in (print, repr):
        taps.remove(tap)
    watchers[0]("to client", b"y")
    assert (len(watchers), seen) == (1, [("to server", b"x"), ("to client", b"y")])
    taps.unwatch(process)
    assert taps.watch(process) == []


def test_a_process_that_has_exited_gets_no_further_tap():
    taps, process = Taps(), Hashable(1)
    watchers = taps.watch(process, lambda _direction, _line: None)
    assert len(watchers) == 1
    taps.unwatch(process)
    taps.unwatch(process)
    taps.add(print)
    assert watchers == []


class Hashable:
    owner = None

    def __init__(self, pid):
        self.pid = pid
