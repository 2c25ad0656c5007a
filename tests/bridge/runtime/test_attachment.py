"""Stateless clients at a process that legacy sessions share as well."""

import pytest

from mcpbridged.bridge.core.attribution import Client
from mcpbridged.bridge.runtime.attachment import Attachment
from mcpbridged.validators.jsonrpc import Notification, Request
from mcpbridged.validators.rejection import Rejection

NOTE = Notification("notifications/x", b"")
QUESTION = Request(b"q", "roots/list", b"")


class Shared:
    """A shared process that records what it receives."""

    def __init__(self):
        self.events = []

    def join_stateless(self, front, member):
        assert front.translated
        self.front = front
        self.events.append(("join", front.owner, member))

    def leave(self, front):
        assert front is self.front
        self.events.append("leave")

    def send(self, front, message):
        assert front is self.front
        self.events.append(message)

    def unassigned(self, message, client):
        self.events.append((message, client))


def test_messages_reach_the_process_from_the_start_to_the_end_of_its_use():
    shared = Shared()
    attachment = Attachment(lambda member: (shared, f"translator of {member}"))
    for act in (attachment.leave, lambda: attachment.join("clients"), lambda: attachment.send(NOTE)):
        act()
    attachment.reassign(QUESTION, Client("c"))
    assert shared.events == []
    assert attachment.find("clients") == "translator of clients"
    attachment.join("clients")
    attachment.send(NOTE)
    attachment.reassign(QUESTION, Client("c"))
    for _ in range(2):
        attachment.leave()
    attachment.send(NOTE)
    assert shared.events == [
        ("join", "translator of clients", "clients"),
        NOTE,
        (QUESTION, Client("c")),
        "leave",
    ]


def test_without_a_process_the_clients_are_not_attached():
    def find(_member):
        raise Rejection(503, -32000, "no")

    attachment = Attachment(find)
    with pytest.raises(Rejection):
        attachment.find("clients")
    attachment.join("clients")
