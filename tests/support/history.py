"""Record what clients send and receive, and compare it with the journal of the servers that they call.

The checks are: a message reaches only the client that it belongs to, a call is executed at most once, every request ends
exactly once, a result belongs to its call, and every request ends within a time limit.
"""

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import attrs

_KEY = re.compile(r"key-\w+-\d+-")
# The file to which `History.report` appends a line, for the table of docs/CHAOS.md.
TABLE = "CHAOS_TABLE"


@attrs.define
class Request:
    """A call. Its key is in its arguments, in each message about it, and in the journal of the server that executes it."""

    client: str
    key: str
    # When it was sent, and within which time it must end (seconds).
    began: float
    limit: float
    # The times (seconds) and the messages of its ends.
    ends: list[tuple[float, dict[str, Any]]] = attrs.Factory(list)
    # Whether the client has closed the connection before the end, so that none can come.
    left: bool = False


@attrs.frozen
class Report:
    """The findings by kind, each with its first example, and the number of each outcome and finding."""

    findings: dict[str, str]
    outcomes: Counter[str]
    # The longest time between a request and its end (seconds).
    longest: float

    def __str__(self) -> str:
        found = [f"{kind}: {example}" for kind, example in self.findings.items()]
        return "\n".join([*found, f"{dict(self.outcomes)}, longest {self.longest:.2f} s"])


class History:
    """All requests of all clients of a test, and all messages that came back."""

    def __init__(self, limit: float) -> None:
        """`limit` is the time within which a request must end (seconds), unless it has a limit of its own."""
        self._limit = limit
        # The requests by client and id. Written by `begin`; none is removed.
        self._requests: dict[tuple[str, str], Request] = {}
        self._owners: dict[str, str] = {}
        self._findings: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def begin(self, client: str, identity: object, now: float, limit: float | None = None) -> str:
        """Record a request before it is sent. Return its key."""
        key = f"key-{client}-{len(self._requests)}-"
        at = client, json.dumps(identity)
        assert at not in self._requests, f"{client} has used the id {identity} before"
        self._requests[at] = Request(client, key, now, limit or self._limit)
        self._owners[key] = client
        return key

    def receive(self, client: str, message: dict[str, Any], now: float) -> None:
        """Record a message that a client has received."""
        for key in _KEY.findall(json.dumps(message)):
            if self._owners.get(key) != client:
                self._found("a message at another client", f"{client}: {message}")
        if "method" in message:
            return
        request = self._requests.get((client, json.dumps(message.get("id"))))
        if request is None:
            self._found("a response to no request", f"{client}: {message}")
        else:
            request.ends.append((now, message))

    def leave(self, client: str, identity: object) -> None:
        """Record that a client has given up a request, so that it gets no response."""
        self._requests[client, json.dumps(identity)].left = True

    def _found(self, kind: str, example: object) -> None:
        self._findings.setdefault(kind, str(example)[:500])
        self._counts[kind] += 1

    def check(self, journal: Path) -> Report:
        """Compare the history with the journal, in which each word that is a key is one execution."""
        executed = Counter(_KEY.findall(journal.read_text() if journal.exists() else ""))
        outcomes: Counter[str] = Counter()
        longest = 0.0
        for request in self._requests.values():
            times = executed.pop(request.key, 0)
            outcomes["calls"] += 1
            if times > 1:
                self._found("executed more than once", f"{request.key}: {times} times")
            if request.left and not request.ends:
                outcomes["left"] += 1
            elif not request.ends:
                self._found("no end", request.key)
            else:
                longest = max(longest, request.ends[0][0] - request.began)
                self._check_ends(request, times, outcomes)
        for key in executed:
            self._found("executed without a request", key)
        return Report(dict(self._findings), outcomes + self._counts, longest)

    def _check_ends(self, request: Request, times: int, outcomes: Counter[str]) -> None:
        if len(request.ends) > 1:
            self._found("ended more than once", f"{request.key}: {[one for _, one in request.ends]}")
        at, end = request.ends[0]
        if at - request.began > request.limit:
            self._found("too late", f"{request.key}: {at - request.began:.1f} s of {request.limit:g} s")
        if "result" not in end:
            outcomes["errors"] += 1
            if not end.get("error", {}).get("message"):
                self._found("an error without a reason", f"{request.key}: {end}")
            return
        outcomes["results"] += 1
        if request.key not in json.dumps(end["result"]):
            self._found("a result of another call", f"{request.key}: {end}")
        if not times:
            self._found("a result without an execution", request.key)


def report(fault: str, found: Report, *, may_fail: bool = False) -> None:
    """Add the line of a history to the table. Require that it has no findings, and no errors unless calls may fail."""
    print(f"{fault}: {found}")
    if TABLE in os.environ:
        line = {"fault": fault, **found.outcomes, "longest": round(found.longest, 2)}
        with Path(os.environ[TABLE]).open("a") as table:
            table.write(json.dumps(line) + "\n")
    assert found.findings == {}, str(found)
    assert may_fail or not found.outcomes["errors"], str(found)
