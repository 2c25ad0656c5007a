"""Look up the process at the other end of a connection."""

import os
import socket

import pytest

from mcpbridged.transports import socket_owner
from mcpbridged.transports.socket_owner import uid_listening_on, uid_of_unix_peer

LOOPBACKS = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def pair(family, host):
    """A listening socket, a connection to it, and the other end of the connection."""
    listening = socket.create_server((host, 0), family=family)
    client = socket.create_connection(listening.getsockname()[:2], timeout=10)
    return listening, client, listening.accept()[0]


def is_of_another_user(served, client_address=None):
    return socket_owner.is_of_another_user(served, client_address or served.getpeername()[:2])


@pytest.fixture(params=["netlink", "proc"])
def source(request, monkeypatch):
    """Each way to find the uid; without AF_NETLINK the tables of /proc are read."""
    if request.param == "proc":

        def refused(*_):
            raise PermissionError

        monkeypatch.setattr(socket_owner, "_query_kernel", refused)


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize(("family", "host"), LOOPBACKS)
def test_a_peer_of_the_same_user_is_found_also_after_a_half_close(family, host):
    listening, client, served = pair(family, host)
    with listening, client, served:
        assert not is_of_another_user(served)
        client.shutdown(socket.SHUT_WR)
        assert not is_of_another_user(served)


@pytest.mark.usefixtures("source")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket another user's")
@pytest.mark.parametrize(("family", "host"), LOOPBACKS)
def test_a_peer_of_another_user_is_found(family, host):
    listening, client, served = pair(family, host)
    with listening, client, served:
        os.fchown(client.fileno(), 65534, 65534)
        assert is_of_another_user(served)


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("linger", [b"", b"\1\0\0\0\0\0\0\0"])
def test_a_peer_that_has_closed_counts_as_another_user(monkeypatch, linger):
    listening, client, served = pair(*LOOPBACKS[0])
    with listening, served:
        address = client.getsockname()
        if linger:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        assert is_of_another_user(served, address)


def test_a_peer_on_another_machine_is_not_known(monkeypatch):
    listening, client, served = pair(*LOOPBACKS[0])
    with listening, client, served:
        monkeypatch.setattr(socket_owner, "_look_up", lambda *_: None)
        assert not is_of_another_user(served)


@pytest.mark.parametrize(("family", "host"), LOOPBACKS)
def test_the_user_that_listens_on_a_port_is_found(family, host):
    with socket.create_server((host, 0), family=family) as listening:
        port = listening.getsockname()[1]
        assert uid_listening_on(host, port) == os.geteuid()
        assert uid_listening_on("localhost", port) == (os.geteuid() if host == "127.0.0.1" else None)
        assert uid_listening_on("no.address", port) is None
    assert uid_listening_on(host, port) is None


def test_the_peer_of_a_unix_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert uid_of_unix_peer(ours) == os.geteuid()
