"""Spans reach a collector. The collector is an HTTP server that decodes them with opentelemetry-proto."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio
import trio.testing
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mcpbridged.bridge.core.span_queue import Span, SpanQueue
from mcpbridged.bridge.daemon.span_export import SpanExporter, attributes_of

from ...support.daemon_clients import example, stateless_request
from ...support.daemon_process import daemon
from ...support.raw_http import connect
from ...support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector(ThreadingHTTPServer):
    """A collector. `spans` has each span with its resource; `status` is that of the responses."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans = []
        self.paths = []
        self.status = 200

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        if self.server.status == 200:
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = {one.key: one.value.string_value for one in of.resource.attributes}
                self.server.spans += [(span, resource) for scope in of.scope_spans for span in scope.spans]
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


async def call(running, name="echo", **meta):
    body = request("tools/call", tool(name, text="secret-payload"), **meta)
    async with connect(running) as connection:
        await connection.send("POST", "/servers/it/mcp", headers_of(body), json.dumps(body).encode())
        return await connection.answer()


async def test_each_request_is_a_span_with_its_parent_and_without_payload(tmp_path):
    with collector() as server:
        with daemon(tmp_path, {"it": example()}, traces={"otlp_endpoint": server.url}) as running:
            await call(running, traceparent=TRACEPARENT)
            await call(running, traceparent=f"00-{TRACE}-{PARENT}-00")
            await call(running, "missing")
            await stateless_request(running, "it", "tools/list")
            # The rest is sent at the stop.
            assert running.stop() == 0
        assert set(server.paths) == {"/v1/traces"}
        assert len(server.spans) == 3
        by_name = {span.name: (span, resource) for span, resource in server.spans}
        echo, resource = by_name["tools/call echo"]
        assert (resource["service.name"], bool(resource["service.version"])) == ("mcp-bridge", True)
        assert (echo.trace_id.hex(), echo.parent_span_id.hex()) == (TRACE, PARENT)
        assert echo.span_id.hex() not in (PARENT, "0" * 16)
        assert 0 < echo.end_time_unix_nano - echo.start_time_unix_nano < 60e9
        assert {one.key: one.value.string_value for one in echo.attributes} == {
            "mcp.server": "it",
            "mcp.method.name": "tools/call",
            "mcp.outcome": "ok",
            "gen_ai.tool.name": "echo",
        }
        missing, _ = by_name["tools/call missing"]
        assert (missing.parent_span_id, len(missing.trace_id), missing.status.code) == (b"", 16, 2)
        assert by_name["tools/list"][0].status.code == 0
        assert "secret-payload" not in str(server.spans)


async def test_a_collector_that_is_down_costs_spans_and_no_request(tmp_path):
    with collector() as server:
        url = server.url
    with daemon(tmp_path, {"it": example()}, traces={"otlp_endpoint": url}) as running:
        for _ in range(3):
            assert (await call(running)).status == 200
        assert running.stop() == 0


# ---- without a daemon


class Log:
    def __init__(self):
        self.events = []

    def warning(self, event, **fields):
        self.events.append((event, fields))

    def debug(self, event, **_):
        self.events.append((event, {}))


def span(number=0):
    return Span("it", "ping", "", "ok", number, number + 1)


async def run(queue, send, log):
    """Run the exporter until its first round, which is that of the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SpanExporter(queue, send, log).run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_batch_that_fails_is_counted_and_logged_once_in_a_minute():
    queue, log, sent = SpanQueue(), Log(), []

    def send(batch):
        sent.append(len(batch))
        if len(sent) == 1:
            raise OSError("refused")
        return len(sent) == 3

    for number in range(1100):
        queue.add(span(number))
    await run(queue, send, log)
    assert sent == [512, 512, 76]
    assert queue.dropped == 1024
    assert log.events == [("spans_not_sent", {}), ("spans_dropped", {"count": 512})]


async def test_what_waits_at_the_end_is_sent():
    queue, sent = SpanQueue(), []

    def send(batch):
        sent.extend(batch)
        return True

    queue.add(span())
    await run(queue, send, Log())
    assert (len(sent), queue.dropped) == (1, 0)


async def test_a_receiver_that_does_not_respond_delays_no_end():
    queue, release = SpanQueue(), threading.Event()
    queue.add(span())
    try:
        await run(queue, lambda _: release.wait(30), Log())
        assert queue.dropped == 1
    finally:
        release.set()


@pytest.mark.parametrize(
    ("method", "name", "key"),
    [("tools/call", "t", "gen_ai.tool.name"), ("prompts/get", "p", "mcp.name"), ("ping", "", None)],
)
def test_a_name_has_the_attribute_of_its_kind(method, name, key):
    found = attributes_of(Span("it", method, name, "ok", 0, 1))
    assert found == {
        "mcp.server": "it",
        "mcp.method.name": method,
        "mcp.outcome": "ok",
        **({key: name} if key else {}),
    }
