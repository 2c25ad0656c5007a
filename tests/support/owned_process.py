"""A process and the log of a server, for tests of what owns a process (process_owner.ProcessOwner)."""

import json

from mcpbridged.bridge.core.call_metrics import Recorder
from mcpbridged.bridge.runtime.server_log import DENIALS
from mcpbridged.transports.send_queue import CLOSED

# The result of `initialize` of a server.
OPENED = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}


class Log:
    """The log of a server (server_log.ServerLog)."""

    records_ends = False
    reads_traces = False
    gate = None

    def __init__(self):
        self.recorder = Recorder()
        self.calls = self.errors = 0
        self.events = []
        # Correlation id, reason, principal and session of each error of the bridge.
        self.failures = []
        # The methods and outcomes of requests that have ended, and the requests with principal and session.
        self.done_calls = []
        self.finished = []

    def debug(self, event, **fields):
        self.events.append((event, fields))

    info = warning = error = debug

    def unmatched(self, sender, raw_id):
        self.events.append(("unmatched", sender, raw_id))

    def denied(self, rejection, principal, method, name="", session=""):
        if rejection.reason in DENIALS:
            self.events.append(("policy_denied", principal, method, name, session))

    def request_failed(self, correlation_id, reason, principal="", session=""):
        self.failures.append((correlation_id, reason, principal, session))

    def finish(self, request, principal="", session=""):
        self.done_calls.append((request.method, request.outcome))
        self.finished.append((request, principal, session))


class Child:
    """A process that records what it receives."""

    def __init__(self, refusal=None):
        self.lines = []
        self.state = "running"
        self.stopped = False
        self.refusal = refusal
        # The request to which the next line belongs (ports.ServerConnection).
        self.related = b""

    def send(self, line):
        if self.refusal is not None:
            raise self.refusal
        self.lines.append(json.loads(line))

    def pause(self):
        self.state = "paused"

    def resume(self):
        self.state = "running"

    def stop(self):
        self.state = "stopped"
        self.stopped = True

    def kill(self):
        self.state = "killed"


def sent(queue):
    """Return the only message of a queue."""
    assert queue.state == CLOSED
    return json.loads(queue.pop_answer())
