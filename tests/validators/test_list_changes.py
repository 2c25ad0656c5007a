"""Which list_changed notifications a server with certain capabilities sends."""

import pytest

from mcpbridged.validators import json_object
from mcpbridged.validators.list_changes import KIND_OF, NOTIFICATION_OF, declared_changes


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (b"{}", ()),
        (b'{"tools":{}}', ()),
        (b'{"tools":{"listChanged":false},"prompts":null}', ()),
        (b'{"tools":{"listChanged":true}}', ("notifications/tools/list_changed",)),
        (
            b'{"resources":{"listChanged":true},"tools":{"listChanged":true},"logging":{"listChanged":true}}',
            ("notifications/tools/list_changed", "notifications/resources/list_changed"),
        ),
    ],
)
def test_only_declared_lists_change(capabilities, expected):
    assert declared_changes(json_object.peek(capabilities)) == expected


def test_each_kind_has_one_notification():
    assert {kind: KIND_OF[method] for kind, method in NOTIFICATION_OF.items()} == {
        kind: kind for kind in NOTIFICATION_OF
    }
