from mcpbridged.transports.http.refusals import Refusals
from mcpbridged.validators.rejection import Rejection


class Log:
    def __init__(self):
        self.lines = []

    def info(self, event, **fields):
        self.lines.append((event, *fields.values()))


def test_the_counts_of_all_lines_add_up_to_the_counter():
    log, now = Log(), [100.0]
    refusals = Refusals(log, lambda: now[0])
    for peer in "abc":
        refusals.count(Rejection(421, 0, "", reason="host"), peer)
    refusals.count(Rejection(413, 0, ""), "d")
    refusals.count(Rejection(500, 0, "a fault of ours"), "e")
    now[0] += 0.5
    refusals.tick(0)
    now[0] += 0.5
    refusals.tick(0)
    refusals.note("host", "f")
    refusals.flush()
    refusals.tick(0)
    assert log.lines == [
        ("refused", "host", 1, "a"),
        ("refused", "too_large", 1, "d"),
        ("refused", "host", 2, "c"),
        ("refused", "host", 1, "f"),
    ]
    assert refusals.counts == {"host": 4, "too_large": 1}


def test_pipelined_requests_behind_refused_ones_have_a_limit_in_a_second():
    now = [100.0]
    refusals = Refusals(Log(), lambda: now[0])
    assert [refusals.allows_next() for _ in range(101)] == [True] * 100 + [False]
    now[0] += 1
    assert refusals.allows_next()
