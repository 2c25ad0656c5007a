"""The count of servers that are done."""

from mcpbridged.bridge.commands.doctor.progress import Counter


def test_each_server_is_counted_once():
    shown = []
    counter = Counter("checked", 2, shown.append)
    counter.one_more()
    counter.one_more()
    assert shown == ["checked: 1 of 2 servers", "checked: 2 of 2 servers"]
