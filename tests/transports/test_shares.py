"""The order in which principals with input are served. Times are given, no clock is read."""

from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.transports.shares import SLICE, Share, Shares


def serve(shares, seconds, order, most=1000):
    """Serve shares until none has input. Each function takes this time (seconds)."""
    while most and (share := shares.next()) is not None:
        most -= 1
        spent = 0.0
        while share.ready and spent < share.credit:
            order.append((share.name, share.take()[0]))
            spent += seconds
        shares.charge(share, spent)


def test_a_share_is_found_by_name_as_long_as_it_is_used():
    shares = Shares()
    one = shares.named("a")
    assert shares.named("a") is one
    assert shares.named("b") is not one
    assert not shares


def test_input_of_a_share_is_served_in_order_and_each_descriptor_once():
    shares, order = Shares(), []
    share = shares.named("a")
    for descriptor in (3, 1, 2, 3):
        shares.add(share, descriptor, left=descriptor == 1)
    assert share.ready == {3: False, 1: True, 2: False}
    # That the other side has left is reported once only.
    shares.add(share, 1, left=False)
    assert share.ready[1]
    serve(shares, SLICE / 10, order)
    assert order == [("a", 3), ("a", 1), ("a", 2)]
    assert not shares


def test_a_share_with_little_input_waits_for_one_slice_of_a_flood():
    shares, order = Shares(), []
    for name in ("flood", "other flood"):
        for descriptor in range(1000):
            shares.add(shares.named(name), descriptor, left=False)
    serve(shares, SLICE / 4, order, most=3)
    assert len(order) == 12
    shares.add(shares.named("quiet"), 2000, left=False)
    serve(shares, SLICE / 4, order, most=1)
    assert order[12:] == [("quiet", 2000)]


def test_shares_with_a_backlog_take_turns():
    shares, order = Shares(), []
    for name in "abc":
        for descriptor in range(8):
            shares.add(shares.named(name), descriptor, left=False)
    serve(shares, SLICE / 2, order)
    assert "".join(name for name, _ in order) == "aabbcc" * 4


def test_a_long_function_is_deducted_from_the_next_slices():
    shares, order = Shares(), []
    slow, other = shares.named("slow"), shares.named("other")
    for descriptor in range(3):
        shares.add(slow, descriptor, left=False)
    for descriptor in range(20):
        shares.add(other, descriptor, left=False)
    share = shares.next()
    order.append((share.name, share.take()[0]))
    shares.charge(share, 4.5 * SLICE)
    serve(shares, SLICE, order)
    assert "".join(name[0] for name, _ in order) == "s" + "o" * 4 + "sososo"[:4] + "o" * 14
    assert not shares


def test_what_is_deducted_has_a_limit():
    shares, order = Shares(), []
    shares.add(shares.named("slow"), 0, left=False)
    shares.add(shares.named("slow"), 1, left=False)
    for descriptor in range(100):
        shares.add(shares.named("other"), descriptor, left=False)
    shares.next().take()
    shares.charge(shares.named("slow"), 1000 * SLICE)
    serve(shares, SLICE, order)
    assert 20 <= order.index(("slow", 1)) <= 21


def test_shares_with_one_input_at_a_time_are_not_always_first():
    """Clients that each wait for a response must not keep a client with a backlog from being served."""
    shares, order = Shares(), []
    for descriptor in range(100):
        shares.add(shares.named("flood"), descriptor, left=False)
    serve(shares, SLICE, order, most=1)
    busy = [shares.named(name) for name in "abc"]
    for share in busy:
        shares.add(share, 0, left=False)
    for number in range(60):
        serve(shares, SLICE / 2, order, most=1)
        # Each sends its next request while another one is served.
        shares.add(busy[(number - 1) % 3], 0, left=False)
    assert [name for name, _ in order].count("flood") > 20


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(0, 30)),
        st.tuples(st.just("serve"), st.floats(0.0, 10 * SLICE), st.just(0)),
        st.tuples(st.just("remove"), st.integers(0, 4), st.integers(0, 30)),
    ),
    max_size=200,
)


@given(EVENTS)
def test_every_share_with_input_is_served_in_bounded_time(events):
    """Invariants: no input is lost, and a share waits for a bounded number of slices of each of the others."""
    shares, all_ = Shares(), [Share(name) for name in "abcde"]
    expected = {share.name: set() for share in all_}
    for kind, number, descriptor in events:
        if kind == "add":
            shares.add(all_[number], descriptor, left=False)
            expected[all_[number].name].add(descriptor)
        elif kind == "remove":
            all_[number].ready.pop(descriptor, None)
            expected[all_[number].name].discard(descriptor)
        elif (share := shares.next()) is not None:
            found, _ = share.take()
            expected[share.name].remove(found)
            shares.charge(share, number)
        for share in all_:
            assert set(share.ready) == expected[share.name]
            assert share.listed or not share.ready
    waiting = {share.name for share in all_ if share.ready}
    turns = []
    while (share := shares.next()) is not None:
        share.take()
        shares.charge(share, SLICE)
        turns.append(share.name)
    # A share has at most one slice of a new share before it, and twenty slices of debt.
    for name in waiting:
        assert turns.index(name) <= 4 * 22
    assert sorted(turns) == sorted(name for name, left in expected.items() for _ in left)
    assert not shares
    assert not any(share.listed for share in all_)
