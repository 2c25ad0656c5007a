"""The table of sessions."""

import attrs
import pytest

from mcpbridged.bridge.core.session_table import SessionTable
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection


@attrs.define(eq=False)
class Member:
    busy: bool = False
    received: int = 0


def test_a_session_is_found_by_its_principal_only():
    session_table = SessionTable(Limits())
    session_table.add("id", "ann", member := Member(), 0)
    assert session_table.find("id", "ann", 1) is member
    texts = []
    for session_id, principal in (("id", "bob"), ("other", "ann")):
        with pytest.raises(Rejection) as caught:
            session_table.find(session_id, principal, 1)
        texts.append((caught.value.status, caught.value.code, caught.value.text))
    assert texts == [(404, -32001, "Session not found")] * 2


def test_the_own_session_that_was_idle_for_longest_makes_room():
    session_table = SessionTable(Limits(sessions_per_principal=2))
    old, new = Member(), Member()
    session_table.add("old", "ann", old, 0)
    assert session_table.make_room("ann") is None
    session_table.add("new", "ann", new, 1)
    assert session_table.make_room("ann") is old
    session_table.find("old", "ann", 2)
    assert session_table.make_room("ann") is new
    assert session_table.make_room("bob") is None
    assert len(session_table) == 2


def test_busy_sessions_and_those_of_others_never_end_for_a_new_one():
    session_table = SessionTable(Limits(sessions=2, sessions_per_principal=5))
    session_table.add("busy", "ann", Member(busy=True), 0)
    session_table.add("bobs", "bob", Member(), 0)
    with pytest.raises(Rejection, match="limit of 5") as caught:
        session_table.make_room("ann")
    assert caught.value.status == 503
    session_table.remove("bobs")
    session_table.remove("bobs")
    assert session_table.make_room("ann") is None


def test_idle_and_old_sessions_expire():
    session_table = SessionTable(Limits(session_idle_seconds=10, session_seconds=100))
    idle, busy = Member(), Member(busy=True)
    session_table.add("idle", "ann", idle, 0)
    session_table.add("busy", "ann", busy, 0)
    assert list(session_table) == [idle, busy]
    assert session_table.expired(10) == []
    assert session_table.expired(11) == [idle]
    session_table.find("idle", "ann", 11)
    assert session_table.expired(12) == []
    assert session_table.expired(101) == [idle, busy]


def test_a_session_that_lasts_expires_only_when_it_is_idle():
    session_table = SessionTable(Limits(session_idle_seconds=10, session_seconds=100))
    idle, busy = Member(), Member(busy=True)
    session_table.add("idle", "ann", idle, 0, lasts=True)
    session_table.add("busy", "ann", busy, 0, lasts=True)
    assert session_table.expired(1000) == [idle]


def test_the_time_of_the_last_message_is_noticed_in_each_round():
    session_table = SessionTable(Limits(session_idle_seconds=10))
    session_table.add("id", "ann", member := Member(), 1)
    assert list(session_table.times()) == [(member, 1, 1)]
    member.received = 5
    assert session_table.expired(12) == []
    assert list(session_table.times()) == [(member, 1, 12)]
    session_table.expired(13)
    assert list(session_table.times()) == [(member, 1, 12)]
