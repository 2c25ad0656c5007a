"""When the keys of an issuer are requested, and which are kept."""

import json
import os

import attrs
import pytest
import trio
import trio.testing

from mcpbridged.bridge.oauth import key_source
from mcpbridged.bridge.oauth.key_source import PAUSE_SECONDS, KeySource, KeysUnreadable

from ...support import issuer
from ...support.issuer import ISSUER, Issuer

pytestmark = pytest.mark.anyio
THEIRS = Issuer()
SETTINGS = attrs.evolve(issuer.SETTINGS, keys_url=f"{ISSUER}/jwks")


class Log:
    def __init__(self):
        self.events = []

    def info(self, event, **_fields):
        self.events.append(event)

    warning = info


class Source(KeySource):
    """A source whose document is `answer`; None is a failure. `requests` are the times of the requests."""

    def __init__(self, settings=SETTINGS):
        self.answer = json.dumps(THEIRS.jwks("ec"))
        self.requests = []
        self.changes = 0
        self.log = Log()
        super().__init__(settings, self.log, self._count)

    def _count(self):
        self.changes += 1

    async def _fetched(self):
        self.requests.append(trio.current_time())
        await trio.sleep(1)
        if self.answer is None:
            raise KeysUnreadable("it does not answer")
        return self.answer


async def kids(source):
    return [key.kid for key in source.keys]


async def with_source(work, settings=SETTINGS):
    source = Source(settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        await work(source)
        nursery.cancel_scope.cancel()
    return source


async def test_the_keys_are_requested_at_the_start_and_from_time_to_time(autojump_clock):
    async def work(source):
        await trio.sleep(1300)
        assert source.requests == [0, 601, 1202]
        assert await kids(source) == ["ec"]
        assert source.changes == 1

    await with_source(work)


async def test_a_request_of_a_client_waits_for_the_first_keys(autojump_clock):
    async def work(source):
        await trio.testing.wait_all_tasks_blocked()
        assert source.can_refresh
        await source.refreshed()
        assert await kids(source) == ["ec"]
        assert source.requests == [0]

    await with_source(work)


async def test_an_unknown_key_causes_one_request_in_a_pause(autojump_clock):
    async def work(source):
        await trio.sleep(2)
        for _ in range(5):
            assert not source.can_refresh
        await trio.sleep(PAUSE_SECONDS)
        source.answer = json.dumps(THEIRS.jwks())
        assert source.can_refresh
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(source.refreshed)
        assert await kids(source) == ["ec", "rsa"]
        assert len(source.requests) == 2
        assert not source.can_refresh

    await with_source(work)


async def test_after_a_failure_the_pause_doubles_and_the_keys_stay(autojump_clock):
    async def work(source):
        await trio.sleep(2)
        source.answer = None
        await trio.sleep(1000)
        assert await kids(source) == ["ec"]
        pauses = [
            round(after - before - 1)
            for before, after in zip(source.requests[1:], source.requests[2:], strict=False)
        ]
        assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
        # One event for one reason.
        assert source.log.events == ["issuer_keys_changed", "issuer_keys_unreadable"]
        source.answer = json.dumps(THEIRS.jwks("rsa"))
        await trio.sleep(100)
        assert await kids(source) == ["rsa"]

    await with_source(work)


async def test_keys_that_cannot_be_requested_for_a_day_are_dropped(autojump_clock):
    async def work(source):
        await trio.sleep(2)
        source.answer = "no keys"
        await trio.sleep(23 * 3600)
        assert source.keys
        await trio.sleep(2 * 3600)
        assert not source.keys
        assert source.changes == 2

    await with_source(work)


async def test_a_request_of_a_client_waits_for_a_limited_time(autojump_clock):
    class Slow(Source):
        async def _fetched(self):
            await trio.sleep(1000)
            return ""

    source = Slow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        await trio.testing.wait_all_tasks_blocked()
        await source.refreshed()
        assert trio.current_time() == key_source.WAIT_SECONDS
        nursery.cancel_scope.cancel()


async def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    file = tmp_path / "jwks.json"
    settings = attrs.evolve(SETTINGS, keys_url="", keys_file=file)

    async def until(condition):
        with trio.fail_after(20):
            while not condition():
                await trio.sleep(0.02)

    async def work(source):
        await until(lambda: "issuer_keys_unreadable" in source.log.events)
        assert not source.can_refresh
        file.write_text(json.dumps(THEIRS.jwks("ec")))
        await until(lambda: [key.kid for key in source.keys] == ["ec"])
        file.write_text(" " * 100_000)
        await until(lambda: source.log.events.count("issuer_keys_unreadable") == 2)
        assert [key.kid for key in source.keys] == ["ec"]
        file.write_text(json.dumps(THEIRS.jwks("rsa")))
        await until(lambda: [key.kid for key in source.keys] == ["rsa"])

    await with_source(work, settings)


async def test_a_request_of_a_client_waits_for_the_first_reading_of_a_file(tmp_path):
    """A pipe in place of the file delays the reading until something is written."""
    file = tmp_path / "jwks.json"
    os.mkfifo(file)
    settings = attrs.evolve(SETTINGS, keys_url="", keys_file=file)

    async def work(source):
        assert source.can_refresh
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.refreshed)
            await trio.to_thread.run_sync(file.write_text, json.dumps(THEIRS.jwks("ec")))
        assert [key.kid for key in source.keys] == ["ec"]
        assert not source.can_refresh

    await with_source(work, settings)
