"""A wall clock that jumps under a running daemon: calls, limits and sessions do not depend on it, and validity follows it."""

import hashlib
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio

from ..support.bridge_process import REPOSITORY
from ..support.credential_client import TRANSPORTS, Target, bearer, ended
from ..support.daemon_process import Daemon, write_config
from ..support.history import report
from ..support.issuer import Issuer, serving
from ..support.recorded_traffic import Traffic, counting
from ..support.waiting import wait_until

HOUR, DAY = 3600, 86400
JUMPS = {"an hour ahead": HOUR, "a day back": -DAY, "a month ahead": 30 * DAY}
TOKEN = f"mcpb_{'x' * 43}"
BASE = "https://mcp.example"


class Clock:
    """The difference of the wall clock of a daemon from that of the machine (seconds)."""

    def __init__(self, folder):
        self._file = folder / "clock"
        self.jump(0)

    @property
    def environment(self):
        path = REPOSITORY / "tests/support/moved_clock"
        return {"PYTHONPATH": str(path), "TEST_CLOCK": str(self._file)}

    def jump(self, seconds):
        draft = self._file.with_name("clock.new")
        draft.write_text(str(seconds))
        draft.replace(self._file)


@contextmanager
def daemon(folder, **tables):
    clock = Clock(folder)
    write_config(folder / "config.toml", {"one": counting(folder / "journal")}, **tables)
    with Daemon(folder, environment=clock.environment) as running:
        yield running, clock


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.anyio
@pytest.mark.parametrize("jump", JUMPS)
async def test_calls_and_their_limits_do_not_depend_on_the_wall_clock(tmp_path, jump):
    audit = tmp_path / "audit.jsonl"
    tables = {
        "audit": {"file": str(audit), "calls": True},
        # Short enough that a jump would end what is in progress.
        "limits": {"call_idle_seconds": 60, "session_idle_seconds": 60, "start_seconds": 30},
    }
    with daemon(tmp_path, **tables) as (running, clock):
        traffic = Traffic(running, tmp_path / "journal", 10)
        async with traffic.flowing("one"), trio.open_nursery() as nursery:
            # In progress during the first jump, and during both.
            for seconds in (0.8, 1.5):
                nursery.start_soon(traffic.post, "one", seconds)
            await trio.sleep(0.4)
            pids = running.status()["servers"][0]["pids"]
            clock.jump(JUMPS[jump])
            await trio.sleep(0.6)
            clock.jump(0)
            await trio.sleep(0.4)
            assert set(running.status()["servers"][0]["pids"]) == set(pids)
        found = traffic.check()
        report(f"the wall clock jumps {jump} and returns", found)
        assert 0 < running.status()["uptime"] < 60
    calls = [one for one in events(audit) if one["event"] == "call"]
    assert all(0 <= one["ms"] < 10_000 for one in calls)
    # The time of an event is that of the wall clock, and the file is in the order of the events.
    expected = datetime.now(UTC) + timedelta(seconds=JUMPS[jump])
    apart = [abs(datetime.fromisoformat(one["ts"]) - expected) < timedelta(minutes=5) for one in calls]
    assert any(apart)
    assert not apart[0]
    assert not apart[-1]


@pytest.mark.anyio
@pytest.mark.parametrize("jump", JUMPS)
async def test_a_rate_is_not_refilled_by_a_jump(tmp_path, jump):
    tables = {"rates": {"principal": "3/hour"}}
    with daemon(tmp_path, **tables) as (running, clock):

        async def status(number):
            traffic = Traffic(running, tmp_path / "journal", 10)
            return (await traffic.post("one", client=f"r{number}")).status

        assert [await status(number) for number in range(2)] == [200, 200]
        clock.jump(JUMPS[jump])
        # What was left is left, and no more.
        assert await status(3) == 200
        assert await status(4) == 429
        clock.jump(0)
        assert await status(5) == 429


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_token_expires_by_the_wall_clock_and_is_valid_again_after_its_correction(tmp_path, transport):
    with daemon(tmp_path) as (running, clock):
        expires = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        text = f'[tokens.ci]\nsha256 = "{digest}"\nexpires = {expires}\n'
        running.config.write_text(running.config.read_text() + text)
        running.reload()
        target = Target(running.address)

        def accepted():
            return target.initialize("one", bearer(TOKEN)).status == 200

        clock.jump(-DAY)
        assert accepted()
        sock, reply = target.open(transport, "one", bearer(TOKEN))
        with sock:
            assert reply.status in (200, 101)
            clock.jump(HOUR)
            assert ended(sock)
        assert not accepted()
        clock.jump(0)
        wait_until(accepted, 5)


def test_an_access_token_follows_the_wall_clock(tmp_path):
    issuer = Issuer()
    with serving(issuer):
        table = {"issuer": issuer.issuer, "resource": BASE, "scopes": {"mcp": {}}}
        with daemon(tmp_path, access_tokens=table) as (running, clock):
            target = Target(running.address)
            for jump, reason in ((2 * HOUR, "expired"), (-DAY, "not_yet_valid")):
                token = issuer.token(BASE)
                clock.jump(jump)
                assert target.initialize("one", bearer(token)).status == 401
                wait_until(lambda reason=reason: any(reason in line for line in running.lines), 5)
                clock.jump(0)
                assert target.initialize("one", bearer(token)).status == 200
