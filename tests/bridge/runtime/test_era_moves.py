"""Processes that turn out to speak another era, and their requests."""

from types import SimpleNamespace

import pytest

from mcpbridged.bridge.runtime.era_moves import EraMoves
from mcpbridged.validators.rejection import Rejection

pytestmark = pytest.mark.anyio


class Moving(SimpleNamespace):
    """A request that waits for another process."""

    def _replace(self, **changes):
        return Moving(**{**vars(self), **changes})


def moving(name, *, moved=False):
    return Moving(
        name=name, request=name, envelope=None, headers={}, caller=None, moved=moved, principal="owner"
    )


class Upstream:
    """A process that records the calls of its methods, with requests that it has not received."""

    def __init__(self, *requests, speaks_modern=False):
        self.requests = list(requests)
        self.speaks_modern = speaks_modern
        self.client_environment = None
        self.events = []
        self.received = []

    def withdraw(self):
        self.events.append("withdraw")

    def next_moving(self):
        return self.requests[0] if self.requests else None

    def move(self, request, _found):
        self.requests.remove(request)
        self.events.append(("moved", request.name))

    def refuse(self, request, rejection):
        self.requests.remove(request)
        self.events.append(("refused", request.name, str(rejection)))

    def not_opened(self, text, data):
        self.events.append(("not opened", text, data))

    def request(self, request):
        self.received.append((request.name, request.client, request.moved))


class World:
    """The parts that are used, which record the calls of their methods."""

    def __init__(self):
        self.events = []
        self.tasks = []
        self.probe = None
        self.refused = True
        self.recalled = True
        self.found = Upstream()
        self.before_found = lambda: None
        control = SimpleNamespace(end=lambda owner, reason: self.events.append(("end", owner, reason)))
        facts = SimpleNamespace(cache=SimpleNamespace(is_restored=True), mismatched=self.events.append)
        self.facts = facts
        common = SimpleNamespace(
            control=control,
            facts=facts,
            processes=SimpleNamespace(has_refused=lambda _: self.refused),
            log=SimpleNamespace(info=lambda event, **fields: None),
            tasks=SimpleNamespace(start_guarded=lambda owner, work, *more: self.tasks.append((work, more))),
        )
        discovery = SimpleNamespace(probe_beside=lambda _: self.probe)
        monitor = SimpleNamespace(on_start_timeout=lambda _, text: (text, {"reason": "not started"}))
        self.it = EraMoves(common, discovery, monitor, SimpleNamespace(find=self.find))

    async def find(self, *_):
        self.before_found()
        return self.found, "client"

    async def run(self):
        for work, more in self.tasks:
            await work(*more)


@pytest.fixture
def world():
    return World()


async def test_requests_that_were_not_received_move_to_the_process_that_is_found(world):
    upstream = Upstream(moving("a"), moving("b"))
    world.it.move(upstream, "reason")
    assert upstream.events == ["withdraw"]
    assert world.events == [("end", upstream, "reason")]
    await world.run()
    assert upstream.events == ["withdraw", ("moved", "a"), ("moved", "b")]
    assert world.found.received == [("a", "client", True), ("b", "client", True)]


async def test_a_request_is_moved_once(world):
    upstream = Upstream(moving("a", moved=True))
    world.it.move(upstream, "reason")
    await world.run()
    assert upstream.events == ["withdraw", ("refused", "a", "reason")]
    assert not world.found.received


@pytest.mark.parametrize("fails", [True, False])
async def test_a_request_that_was_cancelled_meanwhile_is_neither_moved_nor_refused(world, fails):
    upstream = Upstream(moving("a"))

    def cancel():
        upstream.requests.clear()
        if fails:
            raise Rejection(503, -1, "no process")

    world.before_found = cancel
    world.it.move(upstream, "reason")
    await world.run()
    assert upstream.events == ["withdraw"]
    assert not world.found.received


async def test_a_request_without_a_process_is_refused(world):
    upstream = Upstream(moving("a"))

    def fail():
        raise Rejection(503, -1, "no process")

    world.before_found = fail
    world.it.move(upstream, "reason")
    await world.run()
    assert upstream.events == ["withdraw", ("refused", "a", "no process")]


def test_a_mismatch_beside_a_probe_is_a_result_of_the_probe(world):
    settled = []
    world.probe = SimpleNamespace(refused=None, settled=SimpleNamespace(set=lambda: settled.append(True)))
    upstream = Upstream()
    world.it.on_era_mismatch(upstream, "reason")
    assert world.probe.refused is True
    assert settled == [True]
    assert world.events == [("end", upstream, "reason")]


def test_requests_move_where_the_stored_facts_were_wrong(world):
    upstream = Upstream(moving("a"))
    world.it.on_era_mismatch(upstream, "reason")
    assert world.events == ["reason", ("end", upstream, "reason")]
    assert upstream.events == ["withdraw"]
    assert len(world.tasks) == 1


@pytest.mark.parametrize("cause", ["found in this run", "not refused", "modern"])
def test_a_process_of_another_era_is_ended_otherwise(world, cause):
    upstream = Upstream(moving("a"), speaks_modern=cause == "modern")
    world.refused = cause != "not refused"
    world.facts.cache.is_restored = cause != "found in this run"
    world.it.on_era_mismatch(upstream, "reason")
    assert world.events == ["reason", ("end", upstream, "reason")]
    opened = [] if cause == "modern" else [("not opened", "reason", {"reason": "not started"})]
    assert upstream.events == opened
    assert not world.tasks
