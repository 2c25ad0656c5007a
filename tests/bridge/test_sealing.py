"""States under a seal."""

import pytest

from mcpbridged.bridge.sealing import Seal, binding

SEAL = Seal(b"key")
MINE = binding("me", "tools/call", "t", b'{"a":1,"b":[1,2]}')


@pytest.mark.parametrize("inner", ["", "x", "ünï ☃", "\ud800", "." * 1000])
def test_what_is_sealed_can_be_opened(inner):
    assert SEAL.open(MINE, SEAL.seal(MINE, inner)) == inner


def test_arguments_are_compared_by_their_meaning():
    assert binding("me", "tools/call", "t", b'{ "b":[1,2], "a":1 }') == MINE
    assert binding("me", "tools/call", "t", b'{"a":1,"b":[2,1]}') != MINE
    odd = b'{"a":"\\ud800"}'
    assert binding("me", "tools/call", "t", odd) == binding("me", "tools/call", "t", odd)


@pytest.mark.parametrize(
    "other",
    [
        binding("you", "tools/call", "t", b'{"a":1,"b":[1,2]}'),
        binding("me", "prompts/get", "t", b'{"a":1,"b":[1,2]}'),
        binding("me", "tools/call", "u", b'{"a":1,"b":[1,2]}'),
        binding("me", "tools/call", "t", b""),
    ],
)
def test_what_is_bound_to_one_thing_is_no_good_for_another(other):
    assert SEAL.open(other, SEAL.seal(MINE, "x")) is None


@pytest.mark.parametrize("sealed", ["", "x", "A" * 32, "A" * 33, "\ud800" * 40, "ü" * 40])
def test_what_was_never_sealed_cannot_be_opened(sealed):
    assert SEAL.open(MINE, sealed) is None


def test_a_seal_within_a_seal_opens_its_own_only():
    ours, theirs = SEAL.within(b"ours"), SEAL.within(b"theirs")
    sealed = ours.seal(MINE, "x")
    assert SEAL.within(b"ours").open(MINE, sealed) == "x"
    assert theirs.open(MINE, sealed) is None
    assert SEAL.open(MINE, sealed) is None
    assert ours.open(MINE, SEAL.seal(MINE, "x")) is None
