import base64
import socket
import ssl

import pytest
import trio
from cryptography.hazmat.primitives import serialization

from mcpbridged.transports.client.connector import tls_context
from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Unreachable

from ...support.resolver import refused_connections, resolving
from ...support.scripted_http import Peer, ScriptedServer, scripted_server
from ...support.tls import write_certificate

pytestmark = pytest.mark.anyio

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def answer_all(peer):
    while await peer.request():
        await peer.answer()


async def status_of(options):
    async with HttpClient(options) as client, client.request("GET", options.url) as response:
        return response.status


async def failure_of(options, *, sent=False):
    with pytest.raises(Unreachable) as failed:
        await status_of(options)
    assert failed.value.sent is sent
    return failed.value.reason


# ---- TLS


async def test_a_certificate_of_another_authority_is_trusted_if_its_file_is_given(tls, ca_file):
    async with scripted_server(answer_all, tls=tls) as server:
        assert await status_of(RemoteOptions(server.url, ca_file=ca_file)) == 200
        reason = await failure_of(RemoteOptions(server.url))
        assert reason == (
            f"cannot connect to https://127.0.0.1:{server.port}: its TLS certificate is not trusted:"
            " unable to get local issuer certificate"
        )


async def test_the_file_of_an_authority_is_added_to_those_of_the_system(ca_file):
    assert len(tls_context(ca_file, "", "").get_ca_certs()) == len(tls_context("", "", "").get_ca_certs()) + 1


async def test_a_connection_with_tls_is_used_again(tls, ca_file):
    async with scripted_server(answer_all, tls=tls) as server:
        async with HttpClient(RemoteOptions(server.url, ca_file=ca_file)) as client:
            for _ in range(3):
                async with client.request("GET", server.url) as response:
                    assert await response.read(10) == b"ok"
        assert server.connections == 1


async def test_a_certificate_for_another_host_is_refused(authority, ca_file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    async with scripted_server(answer_all, tls=context) as server:
        reason = await failure_of(RemoteOptions(server.url, ca_file=ca_file))
        assert "its TLS certificate is not trusted: IP address mismatch" in reason


async def test_a_server_without_tls_is_named():
    async def respond(peer):
        await peer.stream.receive_some(10)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.ended()

    async with scripted_server(respond) as server:
        reason = await failure_of(RemoteOptions(server.url.replace("http", "https")))
        assert reason.endswith("does not use TLS; use a http:// URL")


def openssl(context):
    """Return the script of a server that sends the alerts of OpenSSL, which trio.SSLStream does not."""

    async def script(peer):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while data := await peer.stream.receive_some(65536):
            incoming.write(data)
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                await peer.send(outgoing.read())
                return
            await peer.send(outgoing.read())

    return script


async def test_a_server_that_requires_tls_is_named():
    async def script(peer):
        await peer.request()
        # The alert protocol_version (RFC 8446 section 6).
        await peer.send(b"\x15\x03\x01\x00\x02\x02\x46")

    async with scripted_server(script) as server:
        reason = await failure_of(RemoteOptions(server.url))
        assert reason.endswith("requires TLS; use an https:// URL")


async def test_a_server_that_closes_during_the_handshake_is_named():
    async def script(peer):
        await peer.stream.receive_some(10)

    async with scripted_server(script) as server:
        reason = await failure_of(RemoteOptions(server.url.replace("http", "https")))
        assert reason.endswith("the connection was closed during the TLS handshake")


async def test_a_handshake_that_does_not_end_fails_in_time():
    async def script(peer):
        await peer.ended()

    async with scripted_server(script) as server:
        with trio.fail_after(5):
            reason = await failure_of(RemoteOptions(server.url.replace("http", "https"), connect_seconds=0.1))
        assert reason.endswith("no connection within 0.1 s")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_is_sent_to_the_server_that_requires_it(
    authority, tls, ca_file, tmp_path, version
):
    folder = tmp_path / "client"
    folder.mkdir()
    certificate, key = write_certificate(authority, folder)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.minimum_version = tls.maximum_version = version
    authority.configure_trust(tls)
    async with scripted_server(answer_all, tls=tls) as server:
        options = RemoteOptions(server.url, ca_file=ca_file, cert_file=str(certificate), key_file=str(key))
        assert await status_of(options) == 200
        one_file = tmp_path / "both.pem"
        one_file.write_bytes(certificate.read_bytes() + key.read_bytes())
        assert await status_of(RemoteOptions(server.url, ca_file=ca_file, cert_file=str(one_file))) == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_requires_a_client_certificate_has_received_nothing(
    authority, tls, ca_file, version
):
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.minimum_version = tls.maximum_version = version
    authority.configure_trust(tls)
    async with scripted_server(openssl(tls)) as server:
        reason = await failure_of(RemoteOptions(server.url.replace("http", "https"), ca_file=ca_file))
        assert "client certificate" in reason


async def test_a_client_certificate_is_not_sent_to_another_origin(authority, tls, ca_file, tmp_path):
    folder = tmp_path / "client"
    folder.mkdir()
    certificate, key = write_certificate(authority, folder)
    tls.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(tls)
    seen = []

    async def script(peer):
        while await peer.request():
            seen.append(peer.stream.getpeercert())
            await peer.answer()

    async with scripted_server(script, tls=tls) as server:
        for home in (server.url, "https://127.0.0.1:1/"):
            options = RemoteOptions(home, ca_file=ca_file, cert_file=str(certificate), key_file=str(key))
            async with HttpClient.for_discovery(options) as client, client.request("GET", server.url):
                pass
    assert [bool(certificate) for certificate in seen] == [True, False]


@pytest.mark.parametrize(
    ("field", "content", "reason"),
    [
        ("ca_file", None, "cannot be read: No such file or directory"),
        ("ca_file", "nonsense", "has no certificates in PEM format"),
        ("cert_file", None, "cannot be read"),
        ("cert_file", "nonsense", "not a certificate and its key in PEM format"),
    ],
)
async def test_a_file_that_is_no_certificate_is_named(tls, tmp_path, field, content, reason):
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    async with scripted_server(answer_all, tls=tls) as server:
        found = await failure_of(RemoteOptions(server.url, **{field: str(file)}))
        assert f"{file}" in found
        assert reason in found


def test_a_key_with_a_password_does_not_wait_for_a_terminal(tmp_path, authority):
    certificate, key = write_certificate(authority, tmp_path)
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ssl.SSLError, match="without a password"):
        tls_context("", str(certificate), str(key))


def test_a_changed_file_is_read_again(ca_file, authority, tmp_path):
    first = tls_context(ca_file, "", "")
    assert tls_context(ca_file, "", "") is first
    other = tmp_path / "new.pem"
    authority.cert_pem.write_to_path(other)
    other.rename(ca_file)
    assert tls_context(ca_file, "", "") is not first


# ---- names


async def test_a_name_without_an_address_is_named():
    with resolving(a_example=[[]]):
        reason = await failure_of(RemoteOptions("http://a.example/"))
    assert (
        reason
        == "cannot connect to http://a.example: the host name cannot be resolved: Name or service not known"
    )


async def test_each_address_of_a_name_is_tried():
    with resolving(a_example=[["192.0.2.1", "2001:db8::1"]]), refused_connections() as tried:
        reason = await failure_of(RemoteOptions("http://a.example:81/"))
    assert sorted(tried) == [("192.0.2.1", 81), ("2001:db8::1", 81)]
    assert reason == "cannot connect to http://a.example:81: Connection refused"


# ---- proxies


def proxy_to(port, *, status=b"200 OK", authorization=b""):
    """Return the script of a proxy that leads each tunnel, and each request, to a port."""

    async def script(peer):
        found = await peer.request()
        if found is None:
            return
        head, body = found
        if authorization and b"Proxy-Authorization: " + authorization not in head:
            await peer.answer(b"", b"407 Proxy Authentication Required")
            return
        if not status.startswith(b"2"):
            await peer.answer(b"", status)
            return
        async with await trio.open_tcp_stream("127.0.0.1", port) as server:
            if head.startswith(b"CONNECT "):
                await peer.send(b"HTTP/1.1 %b\r\nVia: x\r\n\r\n" % status)
            else:
                await server.send_all(head + b"\r\n\r\n" + body)
            async with trio.open_nursery() as nursery:
                for source, sink in ((peer.stream, server), (server, peer.stream)):
                    nursery.start_soon(pump, source, sink, nursery.cancel_scope)

    return script


async def pump(source, sink, scope):
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


async def test_a_request_without_tls_is_sent_to_the_proxy_with_its_whole_url(monkeypatch):
    async with scripted_server(answer_all) as server, scripted_server(proxy_to(server.port)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://us%40er:pass@127.0.0.1:{proxy.port}")
        url = f"http://a.example:{server.port}/mcp?x=1"
        assert await status_of(RemoteOptions(url)) == 200
        lines = proxy.requests[0][0].split(b"\r\n")
        assert lines[0] == f"GET {url} HTTP/1.1".encode()
        assert f"Host: a.example:{server.port}".encode() in lines
        assert b"Proxy-Authorization: Basic " + base64.b64encode(b"us@er:pass") in lines


async def test_a_request_with_tls_goes_through_a_tunnel(tls, ca_file):
    async with scripted_server(answer_all, tls=tls) as server:
        async with scripted_server(proxy_to(server.port, authorization=b"Basic dTpw")) as proxy:
            options = RemoteOptions(server.url, ca_file=ca_file, proxy=f"http://u:p@127.0.0.1:{proxy.port}")
            assert await status_of(options) == 200
            assert proxy.requests[0][0].split(b"\r\n")[:2] == [
                f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode(),
                f"Host: 127.0.0.1:{server.port}".encode(),
            ]
            assert b"Proxy" not in server.requests[0][0]


async def test_a_proxy_may_itself_require_tls(tls, ca_file):
    async with scripted_server(answer_all, tls=tls) as server:
        async with scripted_server(proxy_to(server.port), tls=tls) as proxy:
            options = RemoteOptions(server.url, ca_file=ca_file, proxy=f"https://127.0.0.1:{proxy.port}")
            assert await status_of(options) == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_a_password_is_named(scheme):
    async with scripted_server(proxy_to(1, authorization=b"Basic dTpw")) as proxy:
        options = RemoteOptions(f"{scheme}://a.example/", proxy=f"http://u:wrong@127.0.0.1:{proxy.port}")
        reason = await failure_of(options)
        assert f"proxy http://127.0.0.1:{proxy.port}" in reason
        assert "user name" in reason
        assert "wrong@" not in reason


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy answered CONNECT with 403"),
        (b"HTTP/1.1 503 Down\r\n\r\nbody", "the proxy answered CONNECT with 503"),
        (b"SSH-2.0-x\r\n\r\n", "the proxy answered CONNECT with an invalid response"),
        (b"HTTP/1.1 200 OK\r\n", "the proxy closed the connection"),
        (b"", "the proxy closed the connection"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000, "a response head of more than 16384 bytes"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_named(data, expected):
    async def script(peer):
        await peer.request()
        await peer.send(data)

    async with scripted_server(script) as proxy:
        reason = await failure_of(RemoteOptions("https://a.example/", proxy=f"http://127.0.0.1:{proxy.port}"))
        assert reason.startswith("cannot connect to https://a.example through the proxy")
        assert expected in reason


async def test_a_proxy_that_cannot_be_reached_is_named():
    reason = await failure_of(RemoteOptions("https://a.example/", proxy="http://127.0.0.1:1"))
    assert reason == (
        "cannot connect to https://a.example: the proxy http://127.0.0.1:1 cannot be reached: Connection refused"
    )
    reason = await failure_of(RemoteOptions("https://a.example/", proxy="socks4://127.0.0.1:1"))
    assert "socks4:// proxies are not supported" in reason


def socks_to(port, seen, *, user=b""):
    """Return the script of a SOCKS 5 proxy that leads each tunnel to a port."""

    async def exactly(peer, size):
        data = b""
        while len(data) < size:
            data += await peer.stream.receive_some(size - len(data)) or b"?" * size
        return data

    async def script(peer):
        seen.append(await exactly(peer, 4 if user else 3))
        await peer.send(b"\x05\x02" if user else b"\x05\x00")
        if user:
            seen.append(await peer.stream.receive_some(1000))
            await peer.send(b"\x01\x00")
        seen.append(await peer.stream.receive_some(1000))
        # A proxy may send its response in any pieces.
        for byte in b"\x05\0\0\x01\x7f\0\0\x01\0\x50":
            await peer.send(bytes((byte,)))
        async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
            for source, sink in ((peer.stream, server), (server, peer.stream)):
                nursery.start_soon(pump, source, sink, nursery.cancel_scope)

    return script


@pytest.mark.parametrize("user", [b"", b"us"])
async def test_a_request_goes_through_a_socks_proxy(user, tls, ca_file, monkeypatch):
    seen = []
    pair = "us:pass@" if user else ""
    async with (
        scripted_server(answer_all) as server,
        scripted_server(socks_to(server.port, seen, user=user)) as proxy,
    ):
        monkeypatch.setenv("all_proxy", f"socks5h://{pair}127.0.0.1:{proxy.port}")
        assert await status_of(RemoteOptions("http://a.example/mcp")) == 200
        assert server.requests[0][0].startswith(b"GET /mcp HTTP/1.1\r\nHost: a.example\r\n")
    assert seen[-1] == b"\x05\x01\x00\x03\x09a.example\x00\x50"
    assert seen[1:-1] == ([b"\x01\x02us\x04pass"] if user else [])
    async with (
        scripted_server(answer_all, tls=tls) as server,
        scripted_server(socks_to(server.port, seen)) as proxy,
    ):
        options = RemoteOptions(server.url, ca_file=ca_file, proxy=f"socks5://127.0.0.1:{proxy.port}")
        assert await status_of(options) == 200


@pytest.mark.parametrize(
    ("responses", "reason"),
    [
        ((b"HTTP/1.1 400 Bad",), "the proxy is not a SOCKS 5 proxy"),
        ((b"\x05\xff",), "requires a user name and password"),
        ((b"\x05\x00", b"\x05\x05\0\x01\x7f"), "the proxy opened no connection: connection refused"),
        ((b"\x05\x00", b"\x05\x00\0\x01\x7f"), "the proxy closed the connection"),
        ((b"\x05",), "the proxy closed the connection"),
    ],
)
async def test_a_socks_proxy_that_opens_no_tunnel_is_named(responses, reason):
    async def script(peer):
        await peer.stream.receive_some(3)
        for response in responses:
            await peer.send(response)
            with trio.move_on_after(0.1):
                await peer.stream.receive_some(1000)

    async with scripted_server(script) as proxy:
        found = await failure_of(
            RemoteOptions("https://a.example/", proxy=f"socks5://127.0.0.1:{proxy.port}")
        )
        assert found.startswith(
            f"cannot connect to https://a.example through the proxy socks5://127.0.0.1:{proxy.port}: "
        )
        assert reason in found


async def test_a_document_is_fetched_through_a_proxy_only_if_its_address_is_permitted(monkeypatch):
    async with scripted_server(proxy_to(1)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        with resolving(a_example=[["8.8.8.8"]], b_example=[["127.0.0.1"]], c_example=[[]]):
            async with HttpClient.for_discovery(RemoteOptions("https://a.example/")) as client:
                for host in ("b.example", "169.254.169.254", "2130706433"):
                    with pytest.raises(Unreachable, match="which the server has named, is not used"):
                        async with client.request("GET", f"https://{host}/"):
                            pass
                assert proxy.connections == 0
                # Only the proxy can resolve the names of other networks.
                with pytest.raises(Unreachable):
                    async with client.request("GET", "https://c.example/"):
                        pass
                assert proxy.connections == 1


# ---- cleanup


async def test_a_cancelled_attempt_closes_its_socket():
    ended = trio.Event()

    async def script(peer):
        await peer.ended()
        ended.set()

    async with scripted_server(script) as server:
        with trio.move_on_after(0.1):
            await status_of(RemoteOptions(server.url.replace("http", "https")))
        with trio.fail_after(5):
            await ended.wait()


async def test_the_scripted_server_reads_requests():
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    other = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    async with stream, other:
        await other.send_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\n")

        peer = Peer(stream, ScriptedServer(0))
        assert await peer.request() == (b"POST / HTTP/1.1\r\nContent-Length: 2", b"ab")
        assert await peer.request() == (b"GET / HTTP/1.1", b"")


# ---- peers that are gone


async def test_the_kernel_probes_an_idle_connection():
    async def script(peer):
        await peer.request()
        await peer.answer()
        await peer.ended()

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url, proxy="")) as client:
        async with client.request("GET", server.url) as response:
            await response.read(100)
            (http,) = client._open
            sock = http.connection.stream.socket
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
