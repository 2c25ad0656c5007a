from mcpbridged.transports.rate_limited_log import RateLimitedLog


class Log:
    def __init__(self):
        self.said = []

    def warning(self, event, **fields):
        self.said.append((event, fields))

    info = error = warning


def test_an_event_is_logged_once_a_second_and_then_with_the_number_suppressed():
    log, now = Log(), [100.0]
    seldom = RateLimitedLog(log, lambda: now[0])
    for peer in range(5):
        seldom.warning("refused", peer=peer)
    seldom.error("another")
    now[0] += 1
    seldom.warning("refused", peer=5)
    now[0] += 1
    seldom.info("refused", peer=6)
    assert log.said == [
        ("refused", {"peer": 0}),
        ("another", {}),
        ("refused", {"peer": 5, "more": 4}),
        ("refused", {"peer": 6}),
    ]
