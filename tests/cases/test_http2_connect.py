"""WebSocket over HTTP/2 (RFC 8441) is not announced, and a CONNECT is refused with a response that ends its stream."""

import h2.events
import h2.settings
import pytest
import trio

from mcpbridged.transports.http.listen import tls_context

from ..support.http2_client import Client
from ..support.serving import TOKEN, listening
from ..support.tls import tls_client_context, write_certificate

pytestmark = pytest.mark.anyio

PROTOCOL = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
# This is much shorter than the time for which the rest of a request is read (seconds).
PROMPT = 2.0


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    return tls_context(*write_certificate(authority, tmp_path_factory.mktemp("tls")))


class Settings(Client):
    """A client that stores the settings of its peer."""

    announced = None

    async def receive(self):
        before = self.h2.remote_settings
        found = await super().receive()
        self.announced = dict(before)
        return found


async def connect(server, authority):
    context = tls_client_context(authority, "h2")
    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", server.port, ssl_context=context, https_compatible=True
    )
    client = Settings(stream, server.port, TOKEN)
    await client.open()
    return client


def extended(client, path="/echo", token="", protocol="websocket"):
    pseudo, rest = client.head("CONNECT", path, token=token)[:4], client.head(token=token)[4:]
    return [*pseudo, (":protocol", protocol), *rest, ("sec-websocket-version", "13")]


def plain(client, token=""):
    return [(":method", "CONNECT"), (":authority", f"127.0.0.1:{client.port}"), *client.head(token=token)[4:]]


async def ask(client, headers):
    """Return the response to a request whose sending side stays open, as that of a tunnel."""
    number = client.h2.get_next_available_stream_id()
    client.h2.send_headers(number, headers)
    await client.flush()
    with trio.fail_after(PROMPT):
        return await client.answer(number)


async def test_w04_extended_connect_is_not_announced(tls, authority):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, authority)
            assert (await client.answer(await client.send_request(client.head())))[0] == 200
            assert not client.announced.get(PROTOCOL)
            await client.stream.transport_stream.aclose()


@pytest.mark.parametrize("path", ["/echo", "/stream", "/nowhere"])
@pytest.mark.parametrize("kind", ["extended", "plain", "another protocol"])
async def test_w04_a_connect_beside_other_requests_is_refused_and_ends(tls, authority, kind, path):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, authority)
            assert (await client.answer(await client.send_request(client.head())))[0] == 200
            headers = {
                "extended": extended(client, path),
                "plain": plain(client),
                "another protocol": extended(client, path, protocol="connect-udp"),
            }[kind]
            for _ in range(2):
                status, found, body, ended = await ask(client, headers)
                assert (status, ended) == (405, True)
                assert found[b"allow"] == b"GET, POST, DELETE, OPTIONS"
                assert b"CONNECT is not allowed" in body
            # The connection and its other requests go on.
            other = await client.send_request(client.head("POST", "/echo"), b"still here")
            assert (await client.answer(other))[::2] == [200, b"still here"]
            await client.stream.transport_stream.aclose()


@pytest.mark.parametrize("kind", [extended, plain])
@pytest.mark.parametrize("token", ["", None, "wrong" * 10], ids=["token", "none", "wrong"])
async def test_w04_a_connect_as_the_first_request_is_refused_and_ends(tls, authority, kind, token):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, authority)
            status, _, body, ended = await ask(client, kind(client, token=token))
            assert (status, ended) == (405, True)
            assert b"CONNECT is not allowed" in body
            await client.stream.transport_stream.aclose()
