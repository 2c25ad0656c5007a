from mcpbridged.transports.counted_events import CountedEvents


class Log:
    def __init__(self):
        self.lines = []

    def info(self, event, **fields):
        self.lines.append((event, fields))


def test_events_of_one_kind_are_written_once_a_second_with_an_exact_count():
    log, now = Log(), [0.0]
    events = CountedEvents(log, lambda: now[0])
    for number in range(40):
        events.add("e", ("e", 1), f"id{number}", reason="r", n=number)
    events.add("e", ("e", 2), reason="other")
    now[0] = 1.0
    events.tick(0)
    assert log.lines == [
        ("e", {"reason": "r", "count": 1, "n": 0, "correlation_id": "id0"}),
        ("e", {"reason": "other", "count": 1}),
        (
            "e",
            {
                "reason": "r",
                "count": 39,
                "n": 39,
                "correlation_id": "id39",
                "earlier": ",".join(f"id{number}" for number in range(24, 39)),
            },
        ),
    ]


def test_a_flush_writes_what_was_suppressed_and_idle_kinds_are_forgotten():
    log, now = Log(), [0.0]
    events = CountedEvents(log, lambda: now[0])
    for _ in range(3):
        events.add("e", "k", reason="r")
    events.flush()
    assert [fields["count"] for _, fields in log.lines] == [1, 2]
    events.flush()
    assert len(log.lines) == 2
    events = CountedEvents(log, lambda: now[0])
    events.tick(0)
    events.add("e", "k", reason="r")
    events.tick(0)
    assert events._kinds
    now[0] = 1.0
    events.tick(0)
    assert not events._kinds
