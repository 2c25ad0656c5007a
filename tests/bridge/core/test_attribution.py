"""To which call a request of a server belongs: each numbered case, and that no question reaches another client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.core.attribution import AFTER_ANSWER, Client, Origin, Origins, Phase, Refusal, nothing

ONE, OTHER, UNKNOWN = Client("one"), Client("other"), Client("same", known=False)
PATIENCE = 600.0


def yes(_method, _params):
    return True


def table(*clients, several=True):
    origins = Origins(PATIENCE, several=several)
    return origins, [
        origins.begin(b"%d" % number, client, None, yes) for number, client in enumerate(clients)
    ]


def assign(origins, task=b"", related=b""):
    return origins.assign("elicitation/create", b"{}", task, related=related)


def reason(origins):
    found = assign(origins)
    assert isinstance(found, Refusal)
    return found.reason


def test_case_1_the_response_stream_names_the_call_among_many_clients():
    origins, calls = table(ONE, OTHER, UNKNOWN, UNKNOWN, ONE)
    for call in calls:
        assert assign(origins, related=call.wire_id) is call
    # A related task that another call has names no other call.
    calls[0].task = b'"t"'
    assert assign(origins, b'"t"', related=b"1") is calls[1]
    # A held call gets it in its next round.
    calls[2].phase = Phase.HELD
    assert assign(origins, related=b"2") is calls[2]


def test_case_1_whatever_the_method_of_the_call_is():
    origins, (_, listing) = table(ONE, OTHER)
    listing.may_ask = False
    assert assign(origins, related=listing.wire_id) is listing


def test_case_1_a_request_of_a_call_that_is_over_goes_to_no_other():
    origins, (first, _, last) = table(ONE, ONE, ONE)
    assert assign(origins, related=b"99").reason == "no_call"
    origins.cancel(first)
    assert assign(origins, related=b"0").reason == "cancelled"
    last.declared = nothing
    found = assign(origins, related=b"2")
    assert (found.reason, found.origin) == ("not_declared", last)
    origins, (first, _) = table(ONE, ONE, several=False)
    origins.answer(first)
    assert assign(origins, related=b"0").reason == "no_call"


def test_case_2_a_task_names_its_call_among_many_clients():
    origins, (first, second, _) = table(ONE, OTHER, UNKNOWN)
    first.task = b'"t"'
    assert assign(origins, b'"t"') is first
    origins.rename(first, b"77")
    assert assign(origins, b'"t"') is first
    assert origins.get(b"77") is first
    assert origins.get(b"0") is None
    assert assign(origins, b'"unknown"').reason == "no_call"
    second.task = b'"t"'  # two clients name the same task: neither is guessed
    assert assign(origins, b'"t"').reason == "ambiguous"


def test_case_3_no_call():
    origins = Origins(PATIENCE)
    origins.begin(b"1", ONE, None, yes, may_ask=False)
    assert reason(origins) == "no_call"


@pytest.mark.parametrize(
    "clients", [(ONE, OTHER), (UNKNOWN, UNKNOWN), (ONE, UNKNOWN), (UNKNOWN, ONE), (ONE, ONE, OTHER)]
)
def test_case_4_several_clients(clients):
    origins, _ = table(*clients)
    assert reason(origins) == "ambiguous"


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.CANCELLED, Phase.ANSWERED])
@pytest.mark.parametrize("which", [0, 1])
def test_case_4_whatever_the_calls_of_the_other_client_are_doing(phase, which):
    origins, calls = table(ONE, OTHER)
    calls[which].phase = phase
    assert reason(origins) == "ambiguous"


def test_case_5_the_newest_running_call_that_declares_it():
    origins, (_, second, third) = table(ONE, ONE, ONE)
    assert assign(origins) is third
    third.declared = nothing
    assert assign(origins) is second
    third.declared, third.phase = yes, Phase.HELD
    assert assign(origins) is second


def test_case_5_one_call_of_an_unknown_client():
    origins, (only,) = table(UNKNOWN)
    assert assign(origins) is only


def test_case_6_the_newest_held_call():
    origins, (first, second) = table(ONE, ONE)
    first.phase = second.phase = Phase.HELD
    assert assign(origins) is second


def test_case_7_only_cancelled_and_answered_calls():
    origins, (first, second) = table(ONE, ONE)
    origins.cancel(first)
    origins.answer(second)
    assert reason(origins) == "cancelled"


def test_case_8_not_declared():
    origins, (only,) = table(ONE)
    only.declared = nothing
    found = assign(origins)
    assert (found.code, found.reason, found.origin) == (-32601, "not_declared", only)


def test_an_answered_call_of_a_process_of_one_client_is_no_candidate():
    origins, (first, second) = table(ONE, ONE, several=False)
    origins.answer(first)
    assert assign(origins) is second
    origins.answer(second)
    assert reason(origins) == "no_call"


def test_i1_a_late_request_of_a_call_never_goes_to_another_client():
    # The call that has caused it has left the table, and another client has begun one since: it is the only candidate.
    origins, _ = table(OTHER)
    found = origins.assign("elicitation/create", b"{}", again_for=ONE)
    assert (found.code, found.reason) == (-32603, "no_call")
    origins, (mine, _) = table(ONE, OTHER)
    assert origins.assign("elicitation/create", b"{}", again_for=ONE) is mine
    origins, _ = table(UNKNOWN)  # the other one may be another program
    assert origins.assign("elicitation/create", b"{}", again_for=UNKNOWN).reason == "no_call"
    origins, (only,) = table(UNKNOWN, several=False)
    assert origins.assign("elicitation/create", b"{}", again_for=UNKNOWN) is only


def test_old_calls_leave_the_table():
    origins, (running, cancelled, answered) = table(ONE, ONE, ONE)
    origins.cancel(cancelled)
    origins.answer(answered)
    origins.tick(10)
    origins.tick(10 + AFTER_ANSWER + 0.1)
    assert origins.get(answered.wire_id) is None
    assert origins.get(cancelled.wire_id) is cancelled
    origins.tick(10 + PATIENCE + 0.1)
    assert origins.get(cancelled.wire_id) is None
    assert origins.get(running.wire_id) is running
    assert origins.clients == {ONE}
    origins.rename(Origin(b"gone", ONE, None, yes, may_ask=True), b"5")
    assert origins.get(b"5") is None


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER, UNKNOWN]), st.sampled_from(Phase), st.booleans())))
def test_i1_no_request_is_assigned_while_another_client_may_have_caused_it(calls):
    origins = Origins(PATIENCE, several=True)
    for number, (client, phase, declared) in enumerate(calls):
        origins.begin(b"%d" % number, client, None, yes if declared else nothing).phase = phase
    found = assign(origins)
    if isinstance(found, Origin):
        assert {client for client, _, _ in calls} == {found.client}
        assert found.client.known or len(calls) == 1
        assert found.phase in (Phase.RUNNING, Phase.HELD)


@given(
    st.lists(st.tuples(st.sampled_from([ONE, OTHER, UNKNOWN]), st.sampled_from(Phase), st.booleans())),
    st.integers(0, 9),
)
def test_i1_a_request_on_a_response_stream_is_assigned_to_that_call_only(calls, related):
    origins = Origins(PATIENCE, several=True)
    for number, (client, phase, declared) in enumerate(calls):
        origins.begin(b"%d" % number, client, None, yes if declared else nothing).phase = phase
    found = assign(origins, related=b"%d" % related)
    if isinstance(found, Origin):
        assert found.wire_id == b"%d" % related
    else:
        assert related >= len(calls) or calls[related][1:] not in ((Phase.RUNNING, True), (Phase.HELD, True))


def test_case_4_a_request_that_no_open_call_has_declared_is_none_that_several_can_have_caused():
    origins = Origins(PATIENCE, several=True)
    answered = origins.begin(b"1", ONE, None, yes)
    origins.answer(answered)
    origins.begin(b"2", OTHER, None, nothing)
    assert reason(origins) == "not_declared"
    origins.begin(b"3", OTHER, None, yes)
    assert reason(origins) == "ambiguous"


def test_of_the_answered_calls_of_a_client_only_the_last_one_is_kept():
    origins = Origins(PATIENCE, several=True)
    for number in range(1000):
        origins.answer(origins.begin(b"%d" % number, ONE, "front", yes, may_ask=number % 2 == 0))
    assert origins.owners == ("front", "front")
    again = origins.get(b"999")
    origins.answer(again)
    assert origins.get(b"999") is again
    origins.tick(1)
    origins.tick(1 + AFTER_ANSWER + 1)
    assert origins.owners == ()
    origins.answer(again)
    assert origins.owners == ()


def test_a_call_that_is_answered_twice_is_removed_once():
    origins, (call,) = table(ONE, several=False)
    origins.answer(call)
    origins.answer(call)
    assert origins.owners == ()
