"""States under a signer."""

import pytest

from mcpbridged.bridge.core.request_state import SharedKeys, StateSigner, binding

SIGNER = StateSigner(b"key")
MINE = binding("me", "tools/call", "t")
ARGUMENTS = b'{"a":1,"b":[1,2]}'


def opened(sealed, bound_to=MINE, arguments=ARGUMENTS, signer=SIGNER):
    return signer.verify(bound_to, lambda: arguments, sealed)


@pytest.mark.parametrize("inner", ["", "x", "ünï ☃", "\ud800", "." * 1000])
def test_a_signed_state_can_be_verified(inner):
    assert opened(SIGNER.sign(MINE, ARGUMENTS, inner)) == inner


def test_arguments_are_compared_as_json_values():
    sealed = SIGNER.sign(MINE, ARGUMENTS, "x")
    assert opened(sealed, arguments=b'{ "b":[1,2], "a":1 }') == "x"
    assert opened(sealed, arguments=b'{"a":1,"b":[2,1]}') is None
    assert opened(sealed, arguments=b"") is None


@pytest.mark.parametrize(("more", "state"), [(0, "x"), (1, None)])
def test_arguments_of_more_than_256_kib_are_compared_byte_for_byte(more, state):
    frame = len(b'{"a":"","b":1}')
    long = b"a" * (256 * 1024 - frame + more)
    sealed = SIGNER.sign(MINE, b'{"a":"%b","b":1}' % long, "x")
    assert opened(sealed, arguments=b'{"b":1,"a":"%b"}' % long) == state


@pytest.mark.parametrize(
    "odd", [b'{"a":"\\ud800"}', b"[" * 100_000 + b"]" * 100_000, b'"' + b"a" * 300_000 + b'"']
)
def test_unreadable_arguments_are_compared_byte_for_byte(odd):
    sealed = SIGNER.sign(MINE, odd, "x")
    assert opened(sealed, arguments=odd) == "x"
    assert opened(sealed, arguments=b" " + odd) is None


@pytest.mark.parametrize(
    "other",
    [
        binding("you", "tools/call", "t"),
        binding("me", "prompts/get", "t"),
        binding("me", "tools/call", "u"),
    ],
)
def test_a_state_is_valid_for_its_own_call_only(other):
    assert opened(SIGNER.sign(MINE, ARGUMENTS, "x"), other) is None


@pytest.mark.parametrize("sealed", ["", "x", "A" * 32, "A" * 33, "A" * 64, "A" * 65, "\ud800" * 80, "ü" * 80])
def test_r04_the_arguments_of_a_forged_state_are_not_read(sealed):
    def arguments():
        raise AssertionError

    assert SIGNER.verify(MINE, arguments, sealed) is None
    real = SIGNER.sign(MINE, ARGUMENTS, "x")
    for at in (0, 31, 32, 63, 64):
        forged = real[:at] + ("A" if real[at] != "A" else "B") + real[at + 1 :]
        assert SIGNER.verify(MINE, arguments, forged) is None


def test_a_derived_signer_verifies_its_own_states_only():
    ours, theirs = SIGNER.derive(b"ours"), SIGNER.derive(b"theirs")
    sealed = ours.sign(MINE, ARGUMENTS, "x")
    assert opened(sealed, signer=SIGNER.derive(b"ours")) == "x"
    assert opened(sealed, signer=theirs) is None
    assert opened(sealed) is None
    assert opened(SIGNER.sign(MINE, ARGUMENTS, "x"), signer=ours) is None


def test_a_state_names_its_process_and_is_verified_for_any_process():
    sealed = SIGNER.for_process("p1").sign(MINE, ARGUMENTS, "a:b")
    assert SIGNER.process_of(MINE, sealed) == "p1"
    assert opened(sealed, signer=SIGNER.for_process("p2")) == "a:b"
    assert SIGNER.process_of(MINE, SIGNER.sign(MINE, ARGUMENTS, "x")) == ""


@pytest.mark.parametrize("spoiled", [0, 40, 64, 70])
def test_a_changed_state_or_one_of_another_call_names_no_process(spoiled):
    sealed = SIGNER.for_process("place").sign(MINE, ARGUMENTS, "inner")
    other = "A" if sealed[spoiled] != "A" else "B"
    assert SIGNER.process_of(MINE, sealed[:spoiled] + other + sealed[spoiled + 1 :]) is None
    assert SIGNER.process_of(binding("you", "tools/call", "t"), sealed) is None
    assert StateSigner(b"another").process_of(MINE, sealed) is None


# ---- keys that several daemons share


def shared_signers(*keys):
    """Return the signers of two daemons with the same keys."""
    return [StateSigner(own, shared=SharedKeys(keys)).derive(b"server") for own in (b"one", b"two")]


def test_daemons_with_the_same_key_verify_the_states_of_each_other():
    here, there = shared_signers(b"shared")
    sealed = here.for_process("p").sign(MINE, ARGUMENTS, "x")
    assert there.process_of(MINE, sealed) == "p"
    assert opened(sealed, signer=there) == "x"
    assert opened(sealed, binding("you", "tools/call", "t"), signer=there) is None
    assert opened(sealed, arguments=b"{}", signer=there) is None


def test_daemons_without_shared_keys_refuse_the_states_of_each_other():
    here, there = shared_signers()
    sealed = here.sign(MINE, ARGUMENTS, "x")
    assert opened(sealed, signer=here) == "x"
    assert opened(sealed, signer=there) is None


def test_a_key_can_be_replaced_in_one_daemon_after_another():
    keys = [SharedKeys((b"old",)), SharedKeys((b"old",))]
    here, there = (StateSigner(b"own", shared=shared).derive(b"server") for shared in keys)
    # Each step is made in one daemon after the other. States of both are valid in both all the time.
    for step in ((b"old", b"new"), (b"new", b"old"), (b"new",)):
        for shared in keys:
            # One that was signed before the last step is given up with its key.
            shared.keys = step
            for signer, other in ((here, there), (there, here)):
                sealed = signer.sign(MINE, ARGUMENTS, "x")
                assert (opened(sealed, signer=other), other.process_of(MINE, sealed)) == ("x", "")
    before = shared_signers(b"old")[0].sign(MINE, ARGUMENTS, "x")
    assert opened(before, signer=here) is None


def test_shared_keys_that_are_removed_are_no_longer_valid():
    shared = SharedKeys((b"shared",))
    signer = StateSigner(b"own", shared=shared)
    sealed = signer.sign(MINE, ARGUMENTS, "x")
    shared.keys = ()
    assert opened(sealed, signer=signer) is None
    assert opened(signer.sign(MINE, ARGUMENTS, "y"), signer=signer) == "y"
