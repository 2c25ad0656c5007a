import ssl

import pytest

from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Unreachable

from ...support.scripted_http import scripted_server
from ...support.tls import write_certificate

pytestmark = pytest.mark.anyio


async def answer_all(peer):
    while await peer.request():
        await peer.answer()


@pytest.fixture
def tls(authority, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(authority, tmp_path))
    return context


async def status_of(options):
    async with HttpClient(options) as client, client.request("GET", options.url) as response:
        return response.status


async def test_a_certificate_of_another_authority_is_trusted_if_its_file_is_given(tls, authority, tmp_path):
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    async with scripted_server(answer_all, tls=tls) as server:
        assert await status_of(RemoteOptions(server.url, ca_file=str(file))) == 200
        with pytest.raises(Unreachable, match="its TLS certificate is not trusted") as failed:
            await status_of(RemoteOptions(server.url))
        assert not failed.value.sent
