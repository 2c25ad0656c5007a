"""`planted.py FAULT PROGRAM...`: run a Python program of the bridge with a fault in its shared processes, for tests of tests.

Each fault lets a message of a shared server process reach a client to which it does not belong, or not reach one.
"""

import itertools
import runpy
import sys

from mcpbridged.bridge.core.attribution import Origins
from mcpbridged.bridge.core.shared_effects import LogOnly, ToFront
from mcpbridged.bridge.core.shared_log_level import SharedLogLevel
from mcpbridged.bridge.core.shared_upstream import SharedUpstream
from mcpbridged.validators.jsonrpc import Notification, Response

COUNT = itertools.count(1)


def to_all(upstream, message):
    return [ToFront(front, message) for front in upstream._fronts if not front.translated]


def exchanged(upstream, effect):
    """Send every tenth answer to a call of another client, under the id of that call."""
    for wire_id, call in upstream._calls.by_id.items():
        if call.front is not effect.front and call.method == "tools/call" and not next(COUNT) % 10:
            return [effect, ToFront(call.front, Response(wire_id, effect.message.result, b""))]
    return [effect]


def answer(upstream, effect):
    if isinstance(effect, ToFront) and isinstance(effect.message, Response) and not effect.front.translated:
        return exchanged(upstream, effect)
    return [effect]


def notification(method):
    def fault(upstream, effect):
        if isinstance(effect, LogOnly) and method == "notifications/message":
            return to_all(upstream, Notification(method, effect.params))
        if (
            isinstance(effect, ToFront)
            and effect.message.__class__ is Notification
            and effect.message.method == method
        ):
            return to_all(upstream, effect.message)
        return [effect]

    return fault


def lost(upstream, effect):
    if isinstance(effect, ToFront) and getattr(effect.message, "method", "").endswith("list_changed"):
        return [effect] if effect.front is next(iter(upstream._fronts)) else []
    return [effect]


EFFECTS = {
    "answer": answer,
    "progress": notification("notifications/progress"),
    "log line": notification("notifications/message"),
    "update": notification("notifications/resources/updated"),
    "list change": lost,
}
# The faults, and the mistake that a client finds.
FAULTS = {
    "answer": "the answer to another call",
    "progress": "progress of another call",
    "log line": "a log line of another client",
    "update": "without a subscription",
    "list change": "lost",
    "request": "a request for another client",
    "level": "a log line below",
}


def newest_of_all(origins, method, params, task=b"", again_for=None, *, related=b""):
    """Assign a request of the server to the newest call, whoever has made it."""
    running = [one for one in origins._by_id.values() if one.may_ask and one.declared(method, params)]
    return running[-1] if running else ASSIGN(origins, method, params, task, again_for, related=related)


ASSIGN = Origins.assign


def plant(fault):
    if fault in EFFECTS:
        handle = SharedUpstream.on_server_message

        def faulty(upstream, message, related=b""):
            return tuple(
                one
                for effect in handle(upstream, message, related)
                for one in EFFECTS[fault](upstream, effect)
            )

        SharedUpstream.on_server_message = faulty
    elif fault == "request":
        Origins.assign = newest_of_all
    else:
        decide = SharedLogLevel.on_log_message

        def unfiltered(level, message):
            return decide(level, message) or tuple(
                ToFront(front, message) for front in [level._calls.only_front()] if front is not None
            )

        SharedLogLevel.on_log_message = unfiltered


if __name__ == "__main__":
    plant(sys.argv[1])
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
