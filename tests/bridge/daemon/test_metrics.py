"""The metrics of running daemons. The parsers of prometheus_client read the text."""

import hashlib
import http.client
import json
from contextlib import AsyncExitStack, closing
from typing import NamedTuple

import pytest
import trio
from prometheus_client.openmetrics import parser as open_parser
from prometheus_client.parser import text_string_to_metric_families

from mcpbridged.bridge.config.settings import Settings, TokenConfig
from mcpbridged.bridge.core.metric_families import FAMILIES
from mcpbridged.bridge.daemon.metrics import MOST_SCRAPES, Metrics, check_right
from mcpbridged.bridge.log import LineLog
from mcpbridged.transports.ticker import Lag
from mcpbridged.validators.rejection import Rejection

from ...support.daemon_clients import example, open_socket, stateless_request
from ...support.daemon_process import daemon, write_config
from ...support.exchange import FakeExchange, head
from ...support.stateless_requests import tool
from ...support.waiting import wait_until

pytestmark = pytest.mark.anyio
ON = {"enabled": True}
STRANGE = 'no"such\\tool\n'
OPEN = "application/openmetrics-text; version=1.0.0"
DIGEST = hashlib.sha256(b"scrape").hexdigest()


class Response(NamedTuple):
    status: int
    media_type: str
    text: str


def scrape(running, method="GET", path="/metrics", token=None, **headers):
    """Return the response. An empty token is not sent."""
    fields = {} if token == "" else {"Authorization": f"Bearer {token or running.token}"}
    with closing(http.client.HTTPConnection(*running.address, timeout=30)) as connection:
        connection.request(method, path, headers={**fields, **headers})
        answer = connection.getresponse()
        return Response(answer.status, answer.getheader("Content-Type", ""), answer.read().decode())


def values(text, parse=text_string_to_metric_families):
    """Return the value of each sample by its name and the values of its labels."""
    return {(one.name, *one.labels.values()): one.value for family in parse(text) for one in family.samples}


def text_of(running, **more):
    answer = scrape(running, **more)
    assert answer.status == 200, answer
    return answer.text


# ---- the path


async def test_without_the_key_there_is_no_path_and_a_reload_adds_it(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        assert scrape(running).status == 404
        write_config(running.config, {"one": example()}, metrics=ON)
        running.do("reload")
        assert scrape(running).status == 200
        write_config(running.config, {"one": example()}, metrics={"enabled": False}, admin=ON)
        running.do("reload")
        # The page counts requests too, and adds no path of another name.
        assert scrape(running).status == 404


async def test_the_path_is_behind_the_gate(tmp_path):
    tokens = {
        "tokens.editor": {"sha256": hashlib.sha256(b"edit").hexdigest()},
        "tokens.prometheus": {"sha256": DIGEST, "servers": [], "metrics": True},
    }
    with daemon(tmp_path, {"one": example()}, metrics=ON, **tokens) as running:
        assert scrape(running, token="").status == 401
        assert scrape(running, token="wrong").status == 401
        assert scrape(running, Host="evil.example").status == 421
        assert scrape(running, Origin="https://evil.example").status == 403
        assert scrape(running, path="/metrics/").status == 200
        refused = scrape(running, token="edit")
        assert refused.status == 403
        assert "the token of 'editor' has no right to /metrics" in refused.text
        answer = scrape(running, token="scrape")
        assert (answer.status, answer.media_type) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert scrape(running, method="HEAD", token="scrape").status == 200
        assert scrape(running, method="POST", token="scrape").status == 405
        # It is limited to the metrics.
        status, _ = await stateless_request(running, "one", "tools/list", token="scrape")
        assert status == 403
        [listed] = [one for one in json.loads(running.do("token", "list", "--json").stdout) if one["metrics"]]
        assert (listed["token"], listed["servers"]) == ("prometheus", [])
        counted = values(text_of(running))
        assert counted["mcp_bridge_refusals_total", "forbidden"] >= 1
        assert counted["mcp_bridge_refusals_total", "server_denied"] == 1
        assert counted["mcp_bridge_refusals_total", "host"] == 1


# ---- the content


async def test_requests_are_counted_by_server_tool_and_outcome(tmp_path):
    with daemon(
        tmp_path, {"one": example(), "two": example(), "broken": {"command": ["false"]}}, metrics=ON
    ) as running:
        for text in ("a", "b"):
            assert (await stateless_request(running, "one", "tools/call", tool("echo", text=text)))[0] == 200
        async with AsyncExitStack() as stack:
            session = await open_socket(running, "two", stack)
            await session.begin(1, {"name": STRANGE, "arguments": {}})
            await session.answers(1)
        await stateless_request(running, "one", "tools/list")
        await stateless_request(running, "broken", "tools/list")
        # The process of the last attempt may end a moment after the response.
        wait_until(lambda: values(text_of(running))["mcp_bridge_processes", "broken"] == 0)
        plain, strict = text_of(running), text_of(running, Accept=OPEN)
        assert strict.endswith("# EOF\n")
        for text, parse in (
            (plain, text_string_to_metric_families),
            (strict, open_parser.text_string_to_metric_families),
        ):
            found = values(text, parse)
            requests, latency = "mcp_bridge_requests_total", "mcp_bridge_request_duration_seconds"
            assert found[requests, "one", "tools/call", "echo", "ok"] == 2
            assert found[f"{latency}_bucket", "one", "tools/call", "echo", "+Inf"] == 2
            assert found[f"{latency}_count", "one", "tools/call", "echo"] == 2
            assert 0 < found[f"{latency}_sum", "one", "tools/call", "echo"] < 60
            assert found[requests, "one", "tools/list", "", "ok"] == 1
            strange = {
                key: value
                for key, value in found.items()
                if key[:4] == (requests, "two", "tools/call", STRANGE)
            }
            assert sum(strange.values()) == 1
            assert strange[requests, "two", "tools/call", STRANGE, "ok"] == 0
            assert found["mcp_bridge_process_starts_total", "one"] == 1
            assert found["mcp_bridge_processes", "one"] == 1
            assert found["mcp_bridge_sessions", "two"] == 0
            assert found["mcp_bridge_processes_resident_memory_bytes", "one"] > 1e6
            assert found["mcp_bridge_server_state", "one", "serving"] == 1
            assert found["mcp_bridge_processes", "broken"] == 0
            assert found["mcp_bridge_server_state", "broken", "failed"] == 1
            assert found["mcp_bridge_server_ready", "broken"] == 0
            assert found["mcp_bridge_process_exits_total", "broken"] >= 1
            assert found["mcp_bridge_start_failures_total", "broken"] >= 1
            assert found["mcp_bridge_connections", "owner"] == 1
            assert found["process_open_fds",] > 5
            assert found["process_resident_memory_bytes",] > 1e7
            assert (
                sum(found["mcp_bridge_server_state", "one", state] for state in ("idle", "serving", "failed"))
                == 1
            )
        running.do("restart", "one")
        assert values(text_of(running))["mcp_bridge_restarts_total", "one"] == 1


async def test_every_family_is_in_the_text_with_its_labels(tmp_path):
    with daemon(tmp_path, {"one": example()}, metrics=ON) as running:
        await stateless_request(running, "one", "tools/call", tool("echo", text="x"))
        scrape(running, token="wrong")
        found = list(text_string_to_metric_families(text_of(running)))
    # The parser takes `_total` from the names of counters.
    of = {family.name if family.type != "counter" else f"{family.name}_total": family for family in found}
    assert list(of) == [family.name for family in FAMILIES]
    for family in FAMILIES:
        text = of[family.name]
        assert (text.type, text.documentation) == (family.kind, family.meaning)
        for sample in text.samples:
            assert set(sample.labels) - {"le"} == set(family.labels), sample
        assert text.samples or family.meaning.partition("; ")[2].startswith("absent without")


# ---- without a daemon


def test_only_a_token_of_the_configuration_needs_the_right():
    settings = Settings((), tokens=(TokenConfig("a", b""), TokenConfig("b", b"", metrics=True)))
    for principal in ("owner", "local", "b"):
        check_right(principal, settings)
    with pytest.raises(Rejection) as caught:
        check_right("a", settings)
    assert caught.value.status == 403


class World:
    """Everything that the metrics are made of, without servers."""

    class _Certificate:
        until = None

    settings = Settings((), metrics=True)
    certificate = None

    @property
    def quota(self):
        return self

    refusals = quota

    @property
    def by_account(self):
        return {}

    counts = by_account

    def metrics(self):
        return Metrics(self, [], lambda: self, "1.0", Lag(), LineLog())


async def test_scrapes_at_once_are_limited_and_each_gives_way():
    endpoint = World().metrics().table()["/metrics"]
    exchanges = [FakeExchange(head("GET", "/metrics")) for _ in range(MOST_SCRAPES + 1)]
    refused, others = [], []

    async def one(exchange):
        try:
            await endpoint(exchange)
        except Rejection as rejection:
            refused.append(rejection)

    async def other():
        while sum(bool(exchange.answers) for exchange in exchanges) < MOST_SCRAPES:
            others.append(None)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for exchange in exchanges:
            nursery.start_soon(one, exchange)
        nursery.start_soon(other)
    assert [rejection.status for rejection in refused] == [503]
    assert len(others) > 3
    # The place is free again.
    await endpoint(exchanges[0])


async def test_a_scrape_that_fails_frees_its_place():
    metrics = World().metrics()
    endpoint = metrics.table()["/metrics"]
    metrics._lag = None
    for _ in range(MOST_SCRAPES + 1):
        with pytest.raises(AttributeError):
            await endpoint(FakeExchange(head("GET", "/metrics")))
