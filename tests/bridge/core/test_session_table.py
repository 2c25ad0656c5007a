"""The table of sessions."""

import attrs
import pytest

from mcpbridged.bridge.core.session_table import SessionTable
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection


@attrs.define(eq=False)
class Member:
    busy: bool = False


def test_a_session_is_found_by_its_principal_only():
    registry = SessionTable(Limits())
    registry.add("id", "ann", member := Member(), 0)
    assert registry.find("id", "ann", 1) is member
    texts = []
    for session_id, principal in (("id", "bob"), ("other", "ann")):
        with pytest.raises(Rejection) as caught:
            registry.find(session_id, principal, 1)
        texts.append((caught.value.status, caught.value.code, caught.value.text))
    assert texts == [(404, -32001, "LegacySession not found")] * 2


def test_the_own_longest_idle_session_makes_room():
    registry = SessionTable(Limits(sessions_per_principal=2))
    old, new = Member(), Member()
    registry.add("old", "ann", old, 0)
    assert registry.make_room("ann") is None
    registry.add("new", "ann", new, 1)
    assert registry.make_room("ann") is old
    registry.find("old", "ann", 2)
    assert registry.make_room("ann") is new
    assert registry.make_room("bob") is None
    assert len(registry) == 2


def test_sessions_at_work_and_those_of_others_are_never_ended():
    registry = SessionTable(Limits(sessions=2, sessions_per_principal=5))
    registry.add("busy", "ann", Member(busy=True), 0)
    registry.add("bobs", "bob", Member(), 0)
    with pytest.raises(Rejection, match="limit of 5") as caught:
        registry.make_room("ann")
    assert caught.value.status == 503
    registry.remove("bobs")
    registry.remove("bobs")
    assert registry.make_room("ann") is None


def test_idle_and_old_sessions_expire():
    registry = SessionTable(Limits(session_idle_seconds=10, session_seconds=100))
    idle, busy = Member(), Member(busy=True)
    registry.add("idle", "ann", idle, 0)
    registry.add("busy", "ann", busy, 0)
    assert list(registry) == [idle, busy]
    assert registry.expired(10) == []
    assert registry.expired(11) == [idle]
    registry.find("idle", "ann", 11)
    assert registry.expired(12) == []
    assert registry.expired(101) == [idle, busy]
