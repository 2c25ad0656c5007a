"""The targets of the fuzzer for their seeds and stored inputs (`make fuzz` searches for further ones)."""

import pytest

from .catalog import CORPUS, TARGETS, inputs, stored

# The stored inputs of all targets together (bytes).
_LARGEST = 300_000


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_stored_input_breaks_a_promise(target):
    assert len(inputs(target)) >= 4
    for data in inputs(target):
        target.check(data)


def test_the_stored_inputs_are_small_and_belong_to_a_target():
    files = [*CORPUS.iterdir()]
    assert {file.stem for file in files} <= {*TARGETS}
    assert sum(len(stored(file.stem)) for file in files) > 100
    assert sum(file.stat().st_size for file in files) < _LARGEST
