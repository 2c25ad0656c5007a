"""Which stateless clients are connected, and what they state about themselves."""

import gc
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.runtime.connected_clients import StatelessClients, named
from mcpbridged.transports.client_process import Caller, stream
from mcpbridged.transports.send_queue import ConnectionQueue, SendQueue, transport_of
from mcpbridged.validators.limits import Limits

LIMITS = Limits()


class Upstream:
    """Stands for a server process: only its identity matters."""


def read(info=b'{"name":"a"}'):
    return SimpleNamespace(info=info, version="2026-07-28")


def test_a_client_is_noted_once():
    clients, upstream, caller = StatelessClients(), Upstream(), Caller(name="unknown")
    for now in (1, 2):
        clients.note(upstream, "ann", caller, read(), SendQueue(LIMITS), now)
    clients.note(upstream, "bob", caller, read(), SendQueue(LIMITS), 3)
    assert [(one.key[0], one.since, one.transport) for one in clients.of(upstream)] == [
        ("ann", 1, "http"),
        ("bob", 3, "http"),
    ]
    assert clients.of(Upstream()) == []


def test_a_stream_is_over_when_it_has_ended():
    clients, upstream = StatelessClients(), Upstream()
    ended, dropped, open_ = stream(), stream(), stream()
    for caller in (ended, dropped, open_):
        clients.note(upstream, "ann", caller, read(), ConnectionQueue(LIMITS, "pipe"), 1)
    assert len(clients.of(upstream)) == 3
    ended.end()
    del dropped, caller
    clients.note(upstream, "ann", open_, read(), SendQueue(LIMITS), 1)
    gc.collect()
    assert [one.key[1] for one in clients.of(upstream)] == [open_.name]


def test_a_program_is_over_when_it_has_exited():
    clients, upstream, caller = StatelessClients(), Upstream(), Caller(name="process-1.2")
    caller.process = SimpleNamespace(exited=False)
    clients.note(upstream, "ann", caller, read(), SendQueue(LIMITS), 1)
    assert len(clients.of(upstream)) == 1
    caller.process.exited = True
    assert clients.of(upstream) == []


def test_the_number_and_the_size_of_what_is_kept_are_limited():
    clients, upstream, caller = StatelessClients(), Upstream(), Caller(name="unknown")
    for number in range(300):
        clients.note(upstream, f"p{number}", caller, read(b'"%b"' % (b"x" * 5000)), SendQueue(LIMITS), 1)
    found = clients.of(upstream)
    assert len(found) == 256
    assert found[-1].key == ("p299", "unknown", b"")


@pytest.mark.parametrize(
    ("info", "shown"),
    [
        (b'{"name":"a","version":"1"}', ("a", "1")),
        (b'{"name":5,"version":[]}', ("", "")),
        (b"", ("", "")),
        (b"[", ("", "")),
        (b'{"name":"%b"}' % (b"n" * 1000), ("n" * 200, "")),
    ],
)
def test_the_name_of_a_client_may_be_anything(info, shown):
    assert named(info) == shown


def test_a_transport_is_named_by_its_queue():
    assert transport_of(None) == "http"
    assert transport_of(SendQueue(LIMITS), otherwise="sse") == "sse"
    assert transport_of(ConnectionQueue(LIMITS, "websocket"), otherwise="sse") == "websocket"
