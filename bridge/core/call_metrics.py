"""Count the requests of one server and their latencies, by method and tool. Pure.

A client chooses the names of methods and tools, so the number of series is limited. Requests beyond the limit are counted
under one label.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from ...validators.jsonrpc import Response
from .effects import CANCELLED, OK, RequestFinished
from .outcomes import FALSE, FALSE_AT_END, IS_ERROR, LARGEST, TOOL_ERROR, outcome_of

# The upper bounds of the latency buckets (seconds). One more bucket has everything above.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# The label of methods and tools that have no series of their own. Names of tools have no parentheses
# (MCP 2025-11-25 server/tools).
OTHER: Final = "(other)"
# The most tools of a server with a series of their own.
MOST_TOOLS: Final = 200
# A tool whose first call has failed may not exist, so such names get at most this many series.
_MOST_DOUBTFUL: Final = 100
# The longest name of a tool in a label (characters).
_LONGEST_NAME: Final = 128
_CALL: Final = "tools/call"
# The methods with a series of their own, besides tools/call (MCP 2025-11-25 and 2026-07-28).
METHODS: Final = frozenset(
    {
        "initialize",
        "ping",
        "tools/list",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "logging/setLevel",
        "server/discover",
        "subscriptions/listen",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "tasks/cancel",
    }
)
# The kind of an error by outcome. Servers choose error codes, so all other codes are one kind.
_KINDS: Final = {
    CANCELLED: "cancelled",
    TOOL_ERROR: "tool_error",
    "error -32700": "parse_error",
    "error -32600": "invalid_request",
    "error -32601": "method_not_found",
    "error -32602": "invalid_params",
    "error -32603": "internal_error",
    "error -32000": "server_error",
    "error -32001": "timeout",
}
_OTHER_ERROR: Final = "other"
KINDS: Final = (*_KINDS.values(), _OTHER_ERROR)


class CallSeries:
    """The requests of one method, or the calls of one tool. `tool` is empty for other methods than tools/call.

    `errors` counts requests by kind (KINDS), including cancelled ones. `buckets` counts all requests by latency: each bucket
    up to its bound in BOUNDS, and one above. `seconds` is the sum of all latencies. `unsettled` has the latencies (seconds) of
    requests without an error that are not in `buckets` and `seconds` yet: `settle` moves them, because one at a time takes
    several times as long.
    """

    __slots__ = ("buckets", "errors", "method", "seconds", "tool", "unsettled")

    def __init__(self, method: str, tool: str) -> None:
        self.method = method
        self.tool = tool
        self.errors: dict[str, int] = {}
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.unsettled: list[float] = []

    def settle(self) -> None:
        """Count the latencies in `unsettled`."""
        found = self.unsettled
        if found:
            self.seconds += sum(found)
            rest = found
            # Most calls are in the first buckets, so this takes less time than a search for each latency, or a sort.
            for bucket, bound in enumerate(BOUNDS):
                above = [seconds for seconds in rest if seconds > bound]
                self.buckets[bucket] += len(rest) - len(above)
                rest = above
                if not rest:
                    break
            self.buckets[-1] += len(rest)
            found.clear()

    @property
    def count(self) -> int:
        """The number of requests that have ended."""
        return sum(self.buckets)

    @property
    def failed(self) -> int:
        """The number of requests that have ended with an error. A cancelled request is none."""
        return sum(number for kind, number in self.errors.items() if kind != CANCELLED)

    def quantile(self, share: float) -> float:
        """Return an estimate of the latency that this share of the requests does not exceed (seconds), 0 without requests.

        The requests of a bucket are assumed to be spread evenly. Above the last bound the estimate is that bound.
        """
        wanted = share * self.count
        below, lower = 0, 0.0
        for number, upper in zip(self.buckets, BOUNDS, strict=False):
            if number and below + number >= wanted:
                return lower + (upper - lower) * max(0.0, wanted - below) / number
            below, lower = below + number, upper
        return BOUNDS[-1] if self.count else 0.0


class CallMetrics:
    """The series of one server. `clock` returns the present time on the clock of `RequestFinished.since` (seconds)."""

    __slots__ = ("_clock", "_methods", "_tools")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By method, at most METHODS and OTHER. Added by `add`, never removed.
        self._methods: dict[str, CallSeries] = {}
        # By the name of the tool, at most MOST_TOOLS and OTHER. Added by `add`, never removed.
        self._tools: dict[str, CallSeries] = {}

    def __iter__(self) -> Iterator[CallSeries]:
        """Return all series, those of tools after those of other methods, each in the order of their first request."""
        self.settle()
        return iter([*self._methods.values(), *self._tools.values()])

    def settle(self) -> None:
        """Count the latencies of all series. Call it about once a second, because they need memory until then."""
        for series in self._methods.values():
            series.settle()
        for series in self._tools.values():
            series.settle()

    def on_response(self, method: str, name: str, since: float, response: Response) -> None:
        """Count a request that has ended with this response. `name` is that of the tool."""
        if method == _CALL:
            series, result = self._tools.get(name), response.result
            # As `outcome_of`, without its calls. In the last case no member with this name, at any depth, is anything but false.
            is_ok = type(result) is bytes and (
                result.endswith(FALSE_AT_END)
                or (len(result) <= LARGEST and result.count(IS_ERROR) == result.count(FALSE))
            )
        else:
            series, is_ok = self._methods.get(method), True
        if is_ok and series is not None and not response.error:
            series.unsettled.append(self._clock() - since)
        else:
            self.add(RequestFinished(b"", method, name, since, outcome_of(method, response)))

    def add(self, request: RequestFinished, _principal: str = "", _session: str = "") -> None:
        """Count a request that has ended: its tool if the method is tools/call, and its latency."""
        method, outcome = request.method, request.outcome
        if method == _CALL:
            series = self._tools.get(request.name) or self._tool(request.name, outcome)
        else:
            series = self._methods.get(method) or self._method(method)
        seconds = self._clock() - request.since
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds
        if outcome != OK:
            kind = _KINDS.get(outcome, _OTHER_ERROR)
            series.errors[kind] = series.errors.get(kind, 0) + 1

    def _tool(self, tool: str, outcome: str) -> CallSeries:
        most = MOST_TOOLS if outcome == OK else _MOST_DOUBTFUL
        if len(self._tools) >= most or len(tool) > _LONGEST_NAME:
            tool = OTHER
        return self._tools.setdefault(tool, CallSeries(_CALL, tool))

    def _method(self, method: str) -> CallSeries:
        if method not in METHODS:
            method = OTHER
        return self._methods.setdefault(method, CallSeries(method, ""))


class Recorder:
    """Where the ends of the requests of one server are recorded.

    `counts` is set if they are counted and nothing else: a response is then counted at once, without an effect.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: CallMetrics | None = None
