from mcpbridged.transports.http.refusals import Refusals
from mcpbridged.validators.rejection import Rejection


class Log:
    def __init__(self):
        self.lines = []

    def info(self, event, **fields):
        self.lines.append((event, fields))


def test_the_counts_of_all_lines_add_up_to_the_counter():
    log, now = Log(), [100.0]
    refusals = Refusals(log, lambda: now[0])
    rejections = [Rejection(421, 0, "", reason="host") for _ in "abc"]
    for rejection, peer in zip(rejections, "abc", strict=True):
        refusals.count(rejection, peer)
    refusals.count(Rejection(413, 0, ""), "d")
    refusals.count(Rejection(500, 0, "a fault of ours"), "e")
    now[0] += 0.5
    refusals.tick(0)
    now[0] += 0.5
    refusals.tick(0)
    refusals.note("host", "f")
    refusals.flush()
    refusals.tick(0)
    first, *others = [rejection.correlation_id for rejection in rejections]
    for line in log.lines:
        line[1].pop("correlation_id" if line[1]["peer"] == "d" else "", None)
    assert log.lines == [
        ("refused", {"reason": "host", "count": 1, "peer": "a", "status": 421, "correlation_id": first}),
        ("refused", {"reason": "too_large", "count": 1, "peer": "d", "status": 413}),
        (
            "refused",
            {
                "reason": "host",
                "count": 2,
                "peer": "c",
                "status": 421,
                "correlation_id": others[1],
                "earlier": others[0],
            },
        ),
        ("refused", {"reason": "host", "count": 1, "peer": "f"}),
    ]
    assert refusals.counts == {"host": 4, "too_large": 1}


def test_pipelined_requests_behind_refused_ones_have_a_limit_in_a_second():
    now = [100.0]
    refusals = Refusals(Log(), lambda: now[0])
    assert [refusals.allows_next() for _ in range(101)] == [True] * 100 + [False]
    now[0] += 1
    assert refusals.allows_next()


def test_a_flood_without_a_credential_hides_no_refusal_of_a_principal():
    log = Log()
    refusals = Refusals(log, lambda: 100.0)
    for _ in range(1000):
        refusals.count(Rejection(404, 0, ""), "a")
    refusals.count(Rejection(404, 0, ""), "b", "ci", "github")
    assert [(line["peer"], line.get("principal"), line.get("server")) for _, line in log.lines] == [
        ("a", None, None),
        ("b", "ci", "github"),
    ]


def test_events_are_named_after_what_was_refused():
    log = Log()
    refusals = Refusals(log, lambda: 100.0)
    for status, reason in [
        (401, ""),
        (429, "credential_wrong"),
        (403, "server_denied"),
        (403, "origin"),
        (200, ""),
    ]:
        refusals.count(Rejection(status, 0, "", reason=reason), "a")
    # The runtime has the name of the tool.
    refusals.count(Rejection(200, 0, "", reason="tool_denied"), "a")
    assert [(event, line["reason"]) for event, line in log.lines] == [
        ("authentication_failed", "credential_missing"),
        ("authentication_failed", "credential_wrong"),
        ("policy_denied", "server_denied"),
        ("refused", "origin"),
        ("refused", "rpc_error"),
    ]
    assert refusals.counts["tool_denied"] == 1
