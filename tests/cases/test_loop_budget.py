"""No message holds the event loop for much longer than one decoding of it takes, in any shape and on any path.

Times are CPU times of the longest step of the loop, compared with one decoding of the same text in this process. A machine
that is slow or busy is so for both.
"""

import importlib.util
import time
from pathlib import Path

import msgspec
import pytest

from mcpbridged.validators.incremental_json import DepthMeter, depth_ok

MIB = 1024 * 1024
SIZE = 4 * MIB - 4096
# One decoding, another decoding by a rule, copies, and parts of the checks.
FACTOR = 9
# Further time of a step (seconds): garbage collection, and tables that are made once.
FREE = 0.03
_BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "stall.py"


def _load():
    spec = importlib.util.spec_from_file_location("benchmark_stall", _BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stall = _load()
SHAPES = stall.shapes(SIZE)
PATHS = (
    "H length",
    "H chunked",
    "W frame",
    "W fragments",
    "P line",
    "S post",
    "allow req",
    "modern req",
    "H answer",
    "W answer",
    "P answer",
    "modern ans",
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    bench = stall.Bench(tmp_path_factory.mktemp("stall"))
    try:
        found = bench.paths()
        # The first call creates tables that are kept.
        bench.measure(found["H length"], stall.shapes(100_000)["nests"])
        yield bench, found
    finally:
        bench.close()


def decoding(shape):
    """Return the time of one decoding of the text (seconds)."""
    began = time.thread_time()
    msgspec.json.decode(shape, type=dict[str, msgspec.Raw])
    return time.thread_time() - began


@pytest.mark.parametrize("shape", ["nests", "quotes", "small", "members", "key"])
@pytest.mark.parametrize("path", PATHS)
def test_r04b_no_message_holds_the_loop_much_longer_than_one_decoding(paths, path, shape):
    bench, found = paths
    longest, _, answered = bench.measure(found[path], SHAPES[shape], pause=0.0)
    # A translation reads so many members one by one that it refuses them.
    assert answered is ((path, shape) != ("modern req", "members"))
    assert longest / 1000 < FACTOR * decoding(SHAPES[shape]) + FREE


def test_r04b_a_body_that_nests_too_deep_is_not_held(paths):
    bench, found = paths
    body = b'{"a":' + b"[" * (8 * MIB)
    _, peak, answered = bench.measure(found["H length"], body)
    assert not answered
    assert peak < 4 * MIB


def test_r04b_a_refusal_of_a_large_body_is_under_its_id_and_the_connection_goes_on(paths):
    _, found = paths
    headers, body = found["H length"](b'{"a":' + b"[" * (2 * MIB))
    assert headers["status"] == "400"
    assert b'"id":1,' in body
    assert b"limits.json_depth" in body
    headers, _ = found["H length"](b"{}")
    assert headers["status"] == "200"


@pytest.mark.parametrize("shape", SHAPES)
def test_r04b_the_depth_of_a_piece_costs_little(shape):
    text, longest, meter = SHAPES[shape], 0.0, DepthMeter(64)
    # The first call creates tables that are kept.
    depth_ok(SHAPES["nests"][:70_000], 64)
    for at in range(0, len(text), 65_536):
        began = time.thread_time()
        assert meter.feed(text[at : at + 65_536])
        longest = max(longest, time.thread_time() - began)
    assert longest < 0.02
