"""Send spans to an OpenTelemetry collector over OTLP/HTTP, with the extra `mcpbridged[otlp]`.

The exporter of OpenTelemetry blocks, so it runs in a thread, one batch at a time. No request waits for it.
"""

import logging
import random  # noqa: TID251 - ids of traces are no secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

from ...transports.ports import Log
from ..core.effects import OK
from ..core.span_queue import Span, SpanQueue

# The path of traces below the endpoint (OpenTelemetry Protocol Specification, OTLP/HTTP Request).
PATH: Final = "/v1/traces"
# The time between two batches, for one batch, and for the last batch at a stop (seconds).
_PAUSE: Final = 2.0
_TIMEOUT: Final = 10.0
_LAST: Final = 1.0
# Spans of a batch.
_BATCH: Final = 512
# The time between two lines of the log about dropped spans (seconds).
_LOG_PAUSE: Final = 60.0

# Sends a batch. Returns whether the receiver has accepted it. Blocks.
Send = Callable[[list[Span]], bool]


def otlp_sender(endpoint: str, version: str) -> Send:
    """Return a function that sends spans to this endpoint, such as http://127.0.0.1:4318."""
    # Loaded only with an endpoint, because the imports take a third of a second.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415 - see above
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 - see above

    # Failures are logged here, with the number of spans that they cost.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    logging.getLogger("opentelemetry").propagate = False
    resource = Resource({"service.name": "mcp-bridge", "service.version": version})
    scope = InstrumentationScope("mcp-bridge", version)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + PATH, timeout=_TIMEOUT)

    def send(spans: list[Span]) -> bool:
        made = [_readable(span, resource, scope) for span in spans]
        return exporter.export(made) is SpanExportResult.SUCCESS

    return send


def attributes_of(span: Span) -> dict[str, str]:
    """Return the attributes of a span, with the names of OpenTelemetry's conventions for MCP where there are some."""
    found = {"mcp.server": span.server, "mcp.method.name": span.method, "mcp.outcome": span.outcome}
    if span.name:
        found["gen_ai.tool.name" if span.method == "tools/call" else "mcp.name"] = span.name
    return found


def _readable(span: Span, resource: Any, scope: Any) -> Any:  # noqa: ANN401 - types of the extra
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - see above
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags  # noqa: PLC0415 - see above
    from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415 - see above

    sampled = TraceFlags(TraceFlags.SAMPLED)
    parent = span.parent
    trace = random.getrandbits(128) or 1 if parent is None else int(parent.trace, 16)
    context = SpanContext(trace, random.getrandbits(64) or 1, is_remote=False, trace_flags=sampled)
    return ReadableSpan(
        f"{span.method} {span.name}" if span.method == "tools/call" else span.method,
        context,
        None
        if parent is None
        else SpanContext(trace, int(parent.parent, 16), is_remote=True, trace_flags=sampled),
        resource,
        attributes_of(span),
        kind=SpanKind.SERVER,
        status=Status(StatusCode.UNSET if span.outcome == OK else StatusCode.ERROR),
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=scope,
    )


class SpanExporter:
    """Sends the spans of a queue in batches. Spans of a batch that fails are dropped and counted."""

    def __init__(self, queue: SpanQueue, send: Send, log: Log) -> None:
        self._queue = queue
        self._send = send
        self._log = log
        # The dropped spans that were logged, and when (seconds, Trio's clock).
        self._logged = 0
        self._logged_at = -_LOG_PAUSE

    async def run(self) -> None:
        """Send batches until cancelled, and then those that wait, for at most a second."""
        try:
            while True:
                await trio.sleep(_PAUSE)
                await self._send_all()
        finally:
            with trio.move_on_after(_LAST, shield=True):
                await self._send_all()

    async def _send_all(self) -> None:
        while batch := self._queue.take(_BATCH):
            accepted = False
            try:
                accepted = await trio.to_thread.run_sync(self._sent, batch, abandon_on_cancel=True)
            finally:
                if not accepted:
                    self._queue.dropped += len(batch)
            self._log_dropped()

    def _sent(self, batch: Iterable[Span]) -> bool:
        try:
            return self._send([*batch])
        except Exception as fault:  # noqa: BLE001 - of a foreign library, in its thread
            self._log.debug("spans_not_sent", fault=fault)
            return False

    def _log_dropped(self) -> None:
        new, now = self._queue.dropped - self._logged, trio.current_time()
        if new and now - self._logged_at >= _LOG_PAUSE:
            self._log.warning("spans_dropped", count=new)
            self._logged, self._logged_at = self._queue.dropped, now
