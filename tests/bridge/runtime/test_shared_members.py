"""The members of a shared process, and the delivery of messages to them."""

import pytest

from mcpbridged.bridge.core.attribution import Client, Origin
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.shared_effects import Assigned, CallsLost, FrontOpened, Undeclared
from mcpbridged.bridge.runtime.shared_members import SharedMembers
from mcpbridged.validators.jsonrpc import Notification, Request

MESSAGE = Notification("notifications/x", b"")
REQUEST = Request(b"1", "roots/list", b"")
ORIGIN = Origin(b"2", Client("c"), None, lambda *_: True, may_ask=True)


class Session:
    """A member that records what it receives."""

    def __init__(self, principal, fault=None):
        self.principal = principal
        self.fault = fault
        self.received = []

    def on_shared_message(self, message, about):
        if self.fault is not None:
            raise self.fault
        self.received.append((message, about))

    def calls_lost(self, *lost):
        self.received.append(lost)

    def end(self, reason):
        self.received.append(reason)


class Stateless(Session):
    """Stateless clients that record what they receive."""

    def __init__(self, *principals):
        super().__init__("")
        self.principals = principals
        self.busy = False

    def shared_opened(self, result):
        self.received.append(result)

    def assigned(self, *received):
        self.received.append(("assigned", *received))

    def undeclared(self, *received):
        self.received.append(("undeclared", *received))


@pytest.fixture
def faults():
    return []


@pytest.fixture
def members(faults):
    return SharedMembers(faults.append)


def front(name, **more):
    return Front(Client(name), name, **more)


def test_a_message_is_sent_to_the_member_of_its_front(members):
    one, other = Session("a"), Session("b")
    fronts = front("one"), front("other")
    members.add(fronts[0], one)
    members.add(fronts[1], other)
    members.deliver(fronts[1], MESSAGE, b"7")
    members.fail(CallsLost(fronts[0], (b"1",), "text", {}))
    members.deliver(front("third"), MESSAGE, b"")
    members.fail(CallsLost(front("third"), (), "text", {}))
    assert (one.received, other.received) == ([((b"1",), "text", {})], [(MESSAGE, b"7")])


def test_an_error_of_the_bridge_ends_only_the_member_that_has_caused_it(members, faults):
    fault = ValueError("a fault")
    broken, whole = Session("a", fault), Session("b")
    fronts = front("broken"), front("whole")
    members.add(fronts[0], broken)
    members.add(fronts[1], whole)
    for one in fronts:
        members.deliver(one, MESSAGE, b"")
    assert faults == [fault]
    assert broken.received == ["an internal error"]
    assert whole.received == [(MESSAGE, b"")]


def test_effects_for_stateless_clients_are_carried_out_and_others_dropped(members):
    translated = front("adapter", translated=True)
    stateless = Stateless("a")
    members.add_stateless(translated, stateless)
    for effect in (
        FrontOpened(translated, b"{}"),
        Assigned(translated, REQUEST, ORIGIN),
        Undeclared(translated, REQUEST, ORIGIN),
        FrontOpened(front("third"), b"{}"),
    ):
        members.deliver_to_stateless(effect)
    assert stateless.received == [b"{}", ("assigned", REQUEST, ORIGIN), ("undeclared", REQUEST, ORIGIN)]


def test_sessions_are_busy_and_stateless_clients_when_they_wait(members):
    assert not members.busy
    stateless = Stateless("a")
    members.add_stateless(front("adapter"), stateless)
    assert not members.busy
    stateless.busy = True
    assert members.busy
    stateless.busy = False
    members.add(front("one"), Session("b"))
    assert members.busy


def test_the_principals_of_members_that_have_left_count_until_another_process_starts(members):
    fronts = front("one"), front("other"), front("adapter")
    members.add(fronts[0], Session("a"))
    members.add(fronts[1], Session("b"))
    members.add_stateless(fronts[2], Stateless("c", "d"))
    members.add_stateless(front("other adapter"), Stateless("e"))
    assert members.remove(fronts[0])
    assert not members.remove(fronts[0])
    assert members.remove(fronts[2])
    assert members.principals == {"a", "b", "c", "d", "e"}
    members.on_start()
    assert members.principals == {"b", "e"}
    assert [member.principal for member in members] == ["b", ""]
    members.clear()
    assert not list(members)
    assert members.principals == {"b"}
