"""Each block of code in the documents has a use, and is what its use requires."""

import pytest

from ..support.documents import Block, all_blocks
from . import checks, uses

BLOCKS = all_blocks()


def entries(document):
    return uses.WRITTEN.get(document, [])


def use_of(block: Block, at: dict[str, int]):
    """Return the entry of a block; `at` has the number of the next entry of each document."""
    if (block.document, block.language) in uses.GENERATED:
        return uses.GENERATED[block.document, block.language]
    number = at.get(block.document, 0)
    at[block.document] = number + 1
    known = entries(block.document)
    if number < len(known) and block.text.startswith(known[number][0]):
        return known[number][1]
    return None


def paired(blocks):
    """Return each block with its use, or with None."""
    at: dict[str, int] = {}
    return [(block, use_of(block, at)) for block in blocks]


PAIRS = paired(BLOCKS)


def name_of(block):
    return f"{block.document}:{block.line}"


def test_each_block_has_a_use():
    assert [f"{name_of(block)}: {block.first}" for block, use in PAIRS if use is None] == []


def test_each_use_has_a_block():
    found = {document: sum(block.document == document for block in BLOCKS) for document in uses.WRITTEN}
    generated = {
        document: sum(
            (block.document, block.language) in uses.GENERATED
            for block in BLOCKS
            if block.document == document
        )
        for document in uses.WRITTEN
    }
    wrong = [
        document
        for document, known in uses.WRITTEN.items()
        if found[document] - generated[document] != len(known)
    ]
    assert wrong == []
    assert {(block.document, block.language) for block in BLOCKS} >= set(uses.GENERATED)


def test_each_reason_is_in_use():
    given = {getattr(use, "reason", "") for _, use in PAIRS} - {""}
    assert given == set(uses.REASONS)


@pytest.mark.parametrize(
    ("block", "use"),
    [
        pytest.param(block, use, id=name_of(block))
        for block, use in PAIRS
        if use is not None
        and not isinstance(use, uses.Run)
        and (block.document, block.language) not in uses.GENERATED
    ],
)
def test_a_block_is_what_its_use_requires(block, use, tmp_path):
    assert checks.faults_of(block, use, tmp_path) == []


@pytest.mark.parametrize("key", uses.GENERATED)
def test_the_blocks_of_a_generated_document_have_a_proof(key):
    block = next(block for block in BLOCKS if (block.document, block.language) == key)
    assert checks.proof_faults(block, uses.GENERATED[key]) == []
