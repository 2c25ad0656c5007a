"""Real servers that answer a probe of their era at once, late, or never."""

import json
import os
import sys
from functools import partial

import pytest
import trio

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.runtime import era_probe
from mcpbridged.bridge.runtime.connector import ProcessConnector
from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.transports.server_io import ChildGone
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio

ANSWER = """
import json, sys
question = json.loads(sys.stdin.readline())
result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
print(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}), flush=True)
sys.stdin.read()
"""


async def speaks_modern(code, limits=None):
    spawner, poller = Spawner.start(), Poller()
    launch = Launch((sys.executable, "-c", code), {"PATH": os.environ["PATH"]})
    verdicts = []
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poller.run)
                config = ServerConfig("one", launch, limits=limits or Limits())
                connect = partial(ProcessConnector(spawner, poller).connect, config)
                verdicts.append(await era_probe.speaks_modern(connect, config.limits))
                nursery.cancel_scope.cancel()
    finally:
        spawner.close()
        poller.close()
    return verdicts[0]


async def test_a_server_that_answers_is_believed():
    assert await speaks_modern(ANSWER)


ODD_ANSWER = rb"""
import sys
sys.stdin.readline()
deep = b'{"a":' * 100 + b'{}' + b'}' * 100
odd = b'{"extensions":' + deep + b'},"instructions":"caf' + bytes([0xE9]) + b' ' + bytes([92]) + b'ud83d"'
answer = b'{"jsonrpc":"2.0","id":"probe","result":{"supportedVersions":["2026-07-28"],"capabilities":' + odd + b'}}'
sys.stdout.buffer.write(answer + bytes([10]))
sys.stdout.flush()
sys.stdin.read()
""".decode()


async def test_t10_an_answer_that_is_deep_and_no_utf8_is_read_like_any_of_a_server():
    assert await speaks_modern(ODD_ANSWER)


async def test_a_server_is_waited_for_until_it_reads(monkeypatch):
    monkeypatch.setattr(era_probe, "PATIENCE", 0.5)
    assert await speaks_modern(f"import time; time.sleep(3)\n{ANSWER}")


async def test_a_server_that_reads_and_is_silent_is_not_waited_for_as_long(monkeypatch):
    monkeypatch.setattr(era_probe, "PATIENCE", 0.5)
    assert not await speaks_modern("import sys; sys.stdin.read()")


async def test_a_server_that_never_reads_has_as_long_as_any_start():
    assert not await speaks_modern("import time; time.sleep(60)", Limits(start_seconds=1))


@pytest.mark.parametrize("code", ["", "print('hello')", "import sys; print(sys.stdin.readline())"])
async def test_an_exit_is_an_answer_too(code):
    assert not await speaks_modern(code)


BOTH = """
import json, sys, time
question, opening = json.loads(sys.stdin.readline()), json.loads(sys.stdin.readline())
def answer(id, **more):
    print(json.dumps({"jsonrpc": "2.0", "id": id, **more}), flush=True)
answer(opening["id"], result={"protocolVersion": "2025-11-25", "capabilities": {}})
time.sleep(%s)
answer(question["id"], %s)
sys.stdin.read()
"""
SUPPORTED = 'result={"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}'


@pytest.mark.parametrize(
    ("pause", "answer", "speaks"),
    [(0, SUPPORTED, True), (0.3, SUPPORTED, True), (0, 'error={"code": -32601, "message": "no"}', False)],
)
async def test_h5_the_answer_to_the_question_counts_although_that_to_initialize_came_first(
    pause, answer, speaks
):
    """A server of both eras that is slow to answer, as any is on a busy machine, is sent both."""
    assert await speaks_modern(BOTH % (pause, answer)) is speaks


def response(**members):
    return jsonrpc.decode(json.dumps({"jsonrpc": "2.0", "id": "probe", **members}).encode(), Limits())


@pytest.mark.parametrize(
    ("code", "process", "remote"),
    [(-32020, False, True), (-32021, False, True), (-32601, False, False), (-32001, False, False)],
)
def test_the_errors_of_the_modern_transport_count_over_http_only(code, process, remote):
    answer = response(error={"code": code, "message": "no"})
    assert era_probe.is_modern(answer) is process
    assert era_probe.is_modern(answer, remote=True) is remote


class Connection:
    """A connection that ends, or stays silent, after it was sent a request."""

    has_unread_input = False

    def __init__(self, end):
        self.ended = False
        self._end = end

    def send(self, line):
        if self._end == "before":
            raise ChildGone
        self.ended = self._end == "after"


@pytest.mark.parametrize("end", ["before", "after", "never"])
@pytest.mark.parametrize(("remote", "expected"), [(True, None), (False, False)])
async def test_no_response_shows_nothing_of_a_remote_server(end, remote, expected, autojump_clock):
    del autojump_clock
    found = await era_probe.confirms(Connection(end), lambda _: None, Limits(), remote=remote)
    assert found is expected
