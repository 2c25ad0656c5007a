"""Sockets to listen on, what is accepted there, and what a refused peer receives."""

import os
import socket
import ssl
import stat
import warnings
from pathlib import Path

import pytest
import trio
import trio.testing

from mcpbridged.transports.http import listen
from mcpbridged.transports.http.listen import (
    CannotListen,
    KeyIsEncrypted,
    bind_tcp,
    bind_unix,
    passed_sockets,
    tls_context,
)
from mcpbridged.validators.limits import Limits

from ...support.serving import listening
from ...support.tls import tls_client_context, write_certificate

pytestmark = pytest.mark.anyio


def test_a_free_port_is_bound():
    with bind_tcp("127.0.0.1", 0) as sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


def test_a_port_in_use_is_reported_as_such():
    with bind_tcp("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(
            CannotListen, match=rf"127\.0\.0\.1 port {port}: Address already in use$"
        ) as caught:
            bind_tcp("127.0.0.1", port)
    assert caught.value.in_use


def test_the_user_that_holds_a_port_is_named(monkeypatch):
    monkeypatch.setattr(listen, "uid_listening_on", lambda _host, _port: os.geteuid() + 1)
    with bind_tcp("127.0.0.1", 0) as sock, pytest.raises(CannotListen, match="token rotate"):
        bind_tcp("127.0.0.1", sock.getsockname()[1])


def test_an_unknown_host_is_reported():
    with pytest.raises(CannotListen, match="cannot be resolved") as caught:
        bind_tcp("no host", 0)
    assert not caught.value.in_use


def test_a_unix_socket_is_private_and_replaces_a_stale_one(tmp_path):
    path = tmp_path / "socket"
    umask = os.umask(0)
    try:
        bind_unix(path).close()
        with bind_unix(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with pytest.raises(CannotListen, match="is in use") as caught:
                bind_unix(path)
            assert caught.value.in_use
        assert os.umask(0) == 0
    finally:
        os.umask(umask)


def test_a_unix_socket_replaces_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(CannotListen, match="exists and is not a socket"):
        bind_unix(path)
    assert path.read_text() == "precious"
    with pytest.raises(CannotListen, match="No such file"):
        bind_unix(tmp_path / "missing" / "socket")


def test_a_unix_socket_of_another_user_stays(tmp_path, monkeypatch):
    path = tmp_path / "socket"
    bind_unix(path).close()
    uid = os.geteuid()
    monkeypatch.setattr(listen.os, "geteuid", lambda: uid + 1)
    with pytest.raises(CannotListen, match=f"uid {uid}, not of uid {uid + 1}"):
        bind_unix(path)
    assert path.exists()


def test_the_path_of_a_unix_socket_has_a_limit(tmp_path):
    path = tmp_path / ("x" * 107)
    with pytest.raises(CannotListen, match="at most 107 bytes"):
        bind_unix(path)


async def until_end(stream):
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


async def test_a_connection_over_the_limit_gets_its_reason():
    with trio.fail_after(5):
        async with listening(limits=Limits(connections_unauthenticated=1, head_seconds=60)) as server:
            server.quota._evict = lambda _room: False
            async with await trio.open_tcp_stream("127.0.0.1", server.port):
                async with await trio.open_tcp_stream("127.0.0.1", server.port) as second:
                    data = await until_end(second)
    assert data.startswith(b"HTTP/1.1 503 ")
    assert b"connections_unauthenticated" in data


class Admitting:
    """A listener that only counts refusals."""

    tls = None

    def __init__(self):
        self.service = self.refusals = self
        self.noted = []

    def note(self, kind, _peer):
        self.noted.append(kind)


def test_a_peer_of_another_user_is_dropped_on_a_unix_socket(monkeypatch):
    monkeypatch.setattr(listen, "uid_of_unix_peer", lambda _sock: os.geteuid() + 1)
    listener = Admitting()
    ours, theirs = socket.socketpair()
    with theirs:
        listen._admit(listener, None, ours, "")
        assert theirs.recv(1) == b""
    assert listener.noted == ["uid"]


class Exhausted:
    """A service whose process has no free descriptor. `places` has what each `make_room` returns."""

    def __init__(self, *places):
        self.places = list(places)
        self.quota = self.rate_limited = self
        self.evicted = []

    def make_room(self):
        return self.places.pop(0)

    def error(self, _event, reason, evicted):
        self.evicted.append((reason, evicted))


async def test_a_process_without_descriptors_evicts_a_connection_or_pauses(autojump_clock):
    service = Exhausted(True, False)
    await listen._make_room(service, OSError(24, ""))
    assert trio.current_time() == 0
    await listen._make_room(service, OSError(24, ""))
    assert trio.current_time() == pytest.approx(0.1)
    assert service.evicted == [("Too many open files", True), ("Too many open files", False)]


@pytest.fixture(scope="module")
def contexts(authority, tmp_path_factory):
    certificate, key = write_certificate(authority, tmp_path_factory.mktemp("tls"))
    return tls_context(certificate, key), tls_client_context(authority)


async def test_http_on_a_tls_port_gets_an_error_that_names_https(contexts):
    with trio.fail_after(5):
        async with listening(contexts[0]) as server:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                await stream.send_eof()
                data = await until_end(stream)
            assert data.startswith(b"HTTP/1.1 400 ")
            assert b"use https://" in data


async def test_a_failed_handshake_costs_one_connection(contexts):
    with trio.fail_after(5):
        async with listening(contexts[0]) as server:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(b"\x16\x03\x01\xff\xff garbage")
                await stream.send_eof()
                await until_end(stream)
            raw = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with trio.SSLStream(
                raw, contexts[1], server_hostname="127.0.0.1", https_compatible=True
            ) as tls:
                await tls.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port)
                assert (await tls.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_tls_offers_http_2_first_and_no_old_versions(contexts, authority):
    assert contexts[0].minimum_version is ssl.TLSVersion.TLSv1_2
    client = tls_client_context(authority, "http/1.1", "h2")
    with trio.fail_after(5):
        async with listening(contexts[0]) as server:
            raw = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with trio.SSLStream(raw, client, server_hostname="127.0.0.1", https_compatible=True) as tls:
                await tls.do_handshake()
                assert tls.selected_alpn_protocol() == "h2"


def test_an_encrypted_key_is_reported_instead_of_a_prompt_for_its_passphrase(tmp_path, monkeypatch):
    class Context:
        def __init__(self, _protocol):
            pass

        def load_cert_chain(self, _certificate, _key, passphrase):
            passphrase()

    monkeypatch.setattr(listen.ssl, "SSLContext", Context)
    with pytest.raises(KeyIsEncrypted):
        tls_context(tmp_path / "certificate", tmp_path / "key")


class Passed:
    """Descriptors as systemd passes them, from a number that is free."""

    def __init__(self, monkeypatch, *socks):
        self.socks = socks
        first = socks[0].fileno()
        monkeypatch.setattr(listen, "_FIRST_PASSED", first)
        self.environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(socks))}


def test_sockets_of_systemd_are_taken_only_by_the_process_that_they_are_for(monkeypatch):
    with bind_tcp("127.0.0.1", 0) as sock:
        passed = Passed(monkeypatch, sock)
        [taken] = passed_sockets(passed.environment)
        assert taken.getsockname() == sock.getsockname()
        assert not os.get_inheritable(sock.fileno())
        taken.detach()
        for wrong in ({"LISTEN_PID": "1"}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": "x"}):
            assert passed_sockets({**passed.environment, **wrong}) == []
        assert passed_sockets({}) == []


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), "not a listening stream socket"),
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "not a listening stream socket"),
        (lambda: bind_tcp("0.0.0.0", 0), r"0\.0\.0\.0 is not a loopback address"),
    ],
    ids=["not listening", "datagrams", "all addresses"],
)
def test_another_socket_of_systemd_is_refused(monkeypatch, make, text):
    # The refused socket closes its descriptor.
    descriptor = make().detach()
    monkeypatch.setattr(listen, "_FIRST_PASSED", descriptor)
    with warnings.catch_warnings(), pytest.raises(CannotListen, match=text):
        warnings.simplefilter("ignore", ResourceWarning)
        passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})


def test_a_file_of_systemd_is_refused(monkeypatch, tmp_path):
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(listen, "_FIRST_PASSED", file.fileno())
        with pytest.raises(CannotListen, match="is no socket"):
            passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})


def test_the_owner_of_a_peer_is_looked_up_once(monkeypatch):
    looked = []

    def look(sock, address):
        looked.append(address)
        return True

    class Log:
        warnings = 0

        def warning(self, _event, **_fields):
            Log.warnings += 1

    monkeypatch.setattr(listen, "is_of_another_user", look)
    with socket.socket() as sock:
        origin = listen.PeerOrigin(sock, ("::1", 5, 0, 0), Log())
        assert [origin.is_foreign(), origin.is_foreign()] == [True, True]
    assert looked == [("::1", 5)]
    assert Log.warnings == 2


async def test_the_kernel_holds_little_unread_input_of_a_connection():
    sizes = []

    async def endpoint(exchange):
        sizes.append(exchange._stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        await exchange.answer(200, b"", b"done")

    most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    async with listening(tokens=False) as server:
        server.routes.replace({"/": endpoint})
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
            with trio.fail_after(5):
                assert b" 200 OK" in await stream.receive_some()
    # The kernel doubles the size for its own needs (socket(7)).
    assert sizes == [2 * min(256 * 1024, most)]
