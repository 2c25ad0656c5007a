"""Limits of connections: the order of eviction, and the accounts."""

import socket
from contextlib import ExitStack

import pytest

from mcpbridged.transports.http.quota import CHECKING, HANDSHAKE, NO_HEAD, REFUSED, Quota
from mcpbridged.transports.memory import LARGE, large_messages
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

LIMITS = Limits(
    connections=4,
    connections_per_principal=3,
    connections_unauthenticated=3,
    connections_control=1,
    unfinished_bytes=100,
)


@pytest.fixture
def pair():
    """Make the two ends of a connection."""
    with ExitStack() as stack:

        def make():
            ours, theirs = socket.socketpair()
            return stack.enter_context(ours), stack.enter_context(theirs)

        yield make


def is_open(sock):
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True


@pytest.mark.parametrize(
    ("states", "gone"),
    [
        ((NO_HEAD, NO_HEAD, NO_HEAD), 0),
        ((NO_HEAD, HANDSHAKE, REFUSED), 2),
        ((REFUSED, HANDSHAKE, REFUSED), 0),
        ((NO_HEAD, HANDSHAKE, HANDSHAKE), 1),
        ((CHECKING, NO_HEAD, CHECKING), 1),
    ],
)
def test_the_order_of_eviction(pair, states, gone):
    evicted = []
    quota = Quota(LIMITS, lambda state, peer: evicted.append((state, peer)))
    ends = [pair() for _ in states]
    seats = [quota.admit(ours, str(number)) for number, (ours, _) in enumerate(ends)]
    for seat, state in zip(seats, states, strict=True):
        seat.set_state(state)
    quota.admit(pair()[0], "new")
    assert [is_open(theirs) for _, theirs in ends] == [number != gone for number in range(3)]
    assert evicted == [(states[gone], str(gone))]
    assert quota.unauthenticated == 3
    seats[gone].release()
    assert quota.unauthenticated == 3
    with pytest.raises(ConnectionError):
        seats[gone].identify("alice")
    assert quota.connections == 0


def test_where_all_are_being_checked_a_new_connection_is_refused(pair):
    quota = Quota(LIMITS)
    for _ in range(3):
        quota.admit(pair()[0], "").set_state(CHECKING)
    assert not quota.make_room()
    with pytest.raises(Rejection) as caught:
        quota.admit(pair()[0], "")
    assert caught.value.status == 503
    assert "limits.connections_unauthenticated" in caught.value.text


def test_a_connection_with_unread_bytes_is_evicted_last(pair):
    quota = Quota(LIMITS)
    ends = [pair() for _ in range(3)]
    for ours, _ in ends:
        quota.admit(ours, "")
    ends[0][1].send(b"GET / HTTP/1.1\r\n")
    assert quota.make_room()
    assert [is_open(theirs) for _, theirs in ends] == [True, False, True]
    ends[2][1].send(b"GET / HTTP/1.1\r\n")
    assert quota.make_room()
    assert [is_open(theirs) for _, theirs in ends] == [False, False, True]


def test_principals_and_the_control_endpoints_have_accounts_of_their_own(pair):
    quota = Quota(LIMITS)

    def seat():
        return quota.admit(pair()[0], "")

    seats = [seat() for _ in range(3)]
    for one in seats:
        one.identify("alice")
        one.identify("")  # a path that needs no credential
        one.identify("alice")
    late = seat()
    with pytest.raises(Rejection) as caught:
        late.identify("alice")
    assert "limits.connections_per_principal" in caught.value.text
    late.identify("alice", control=True)
    assert (late.principal, quota.connections, quota.unauthenticated) == ("alice", 3, 0)
    assert quota.by_account == {"alice": 3, "(control)": 1, "(unauthenticated)": 0}
    with pytest.raises(Rejection) as caught:
        seat().identify("alice", control=True)
    assert "limits.connections_control" in caught.value.text
    seat().identify("bob")
    with pytest.raises(Rejection) as caught:
        seat().identify("bob")
    assert "limits.connections)" in caught.value.text
    seats[0].release()
    seats[0].release()
    seat().identify("bob")
    late.release()
    assert quota.connections == 4


def test_a_connection_can_change_its_principal(pair):
    quota = Quota(LIMITS)
    seat = quota.admit(pair()[0], "")
    seat.identify("alice")
    seat.identify("bob")
    assert (seat.principal, quota.connections) == ("bob", 1)
    seat.release()
    assert quota.connections == 0


def test_unfinished_bytes_are_counted_by_principal_and_released():
    quota = Quota(LIMITS)
    with (
        quota.receiving("alice") as first,
        quota.receiving("alice") as second,
        quota.receiving("bob") as other,
    ):
        first(60)
        second(40)
        other(100)
        with pytest.raises(Rejection) as caught:
            first(1)
        assert caught.value.status == 429
        assert "limits.unfinished_bytes" in caught.value.text
    with quota.receiving("alice") as again:
        again(100)
    with quota.receiving("alice"):
        pass


def test_the_pieces_of_a_large_body_are_counted():
    quota = Quota(Limits())
    before = large_messages.count
    with quota.receiving("alice") as small, quota.receiving("alice") as large:
        small(LARGE)
        large(LARGE)
        assert large_messages.count == before
        large(1)
        large(1)
        assert large_messages.count == before + 2
