"""Which task a result or a message belongs to."""

import json

import pytest

from mcpbridged.bridge.core.tasks import canonical_text, has_ended, related_task, task_in, task_of


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("result", "task"),
    [
        ({"task": {"taskId": "a", "status": "working"}}, b'"a"'),
        ({"task": {"status": "working"}}, b""),
        ({"task": "a"}, b""),
        ({"content": []}, b""),
    ],
)
def test_a_result_has_created_the_task_that_it_names(result, task):
    assert task_of(raw(result)) == task


@pytest.mark.parametrize(("size", "task"), [(64 * 1024, b'"a"'), (64 * 1024 + 1, b"")])
def test_a_large_result_has_created_no_task(size, task):
    result = raw({"task": {"taskId": "a"}, "pad": ""})
    assert task_of(result.replace(b'""', b'"%b"' % (b"x" * (size - len(result))))) == task


def test_a_message_may_name_a_task():
    params = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "a"}}}
    assert related_task(raw(params)) == b'"a"'
    assert related_task(raw({"_meta": {"other": {"taskId": "a"}}})) == b""
    assert task_in(raw({"taskId": "a"})) == b'"a"'
    assert task_in(raw({})) == b""


@pytest.mark.parametrize(
    ("status", "ended"),
    [("completed", True), ("failed", True), ("cancelled", True), ("working", False), (1, False)],
)
def test_a_task_ends_with_some_statuses(status, ended):
    assert has_ended(raw({"status": status})) == ended


def test_an_id_has_one_spelling():
    assert canonical_text(b'"\\u0061"') == canonical_text(b'"a"') == b'"a"'


@pytest.mark.parametrize(("size", "decoded"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_escapes_are_decoded_in_ids_up_to_a_size(size, decoded):
    spelled = b'"\\u0061' + b"x" * (size - 8) + b'"'
    assert len(spelled) == size
    assert (canonical_text(spelled) != spelled) == decoded
