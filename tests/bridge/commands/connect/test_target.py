"""Where `connect` finds a server, and what it reports where there is none."""

import socket
import ssl
from functools import partial

import pytest
import trio

from mcpbridged.bridge.commands.connect.target import Target
from mcpbridged.bridge.commands.control_client import Unreachable
from mcpbridged.bridge.config.addresses import BadAddress

pytestmark = pytest.mark.anyio


def test_a_url_names_host_port_and_path():
    target = Target.at("https://host.example/servers/a/ws", "t")
    assert (target.address, target.tls, target.host) == (("host.example", 443), True, "host.example")
    target = Target.at("http://127.0.0.1:8080/servers/a/ws", "")
    assert (target.address, target.tls, target.host) == (("127.0.0.1", 8080), False, "127.0.0.1:8080")
    with pytest.raises(BadAddress):
        Target.at("ftp://host", "")


def test_a_name_is_one_segment_of_the_path_and_a_token_is_not_printed(tmp_path):
    assert Target.of_daemon(tmp_path, "a/b").path == "/servers/a%2Fb/ws"
    assert "hidden" not in repr(Target.at("https://h/ws", "hidden"))


async def test_a_daemon_that_does_not_run_is_reported_with_the_way_to_start_it(tmp_path):
    unix = tmp_path / "socket"
    with pytest.raises(
        Unreachable, match=r"socket: No such file or directory; start it with `mcp-bridge serve`"
    ):
        await Target.of_daemon(unix, "a").open()


async def test_a_port_that_nothing_listens_on_is_reported():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/ws"
        with pytest.raises(Unreachable, match=f"cannot connect to {url}: .*refused"):
            await Target.at(url, "").open()


async def answering(data):
    """Return the error of a TLS connection to a peer that sends these bytes."""

    async def answer(stream):
        await stream.receive_some()
        await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), answer, 0)
        port = listener.socket.getsockname()[1]
        with pytest.raises(Unreachable) as caught:
            await Target.at(f"https://127.0.0.1:{port}/ws", "").open()
        nursery.cancel_scope.cancel()
    return str(caught.value)


async def test_a_peer_without_tls_is_reported_as_such():
    assert (await answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")).endswith(
        "does not use TLS; use an http:// or ws:// URL"
    )


async def test_a_peer_that_closes_in_the_handshake_is_unreachable():
    assert "cannot connect to https://127.0.0.1" in await answering(b"")


def test_an_untrusted_certificate_is_named():
    fault = trio.BrokenResourceError()
    fault.__cause__ = ssl.SSLCertVerificationError(1, "self-signed certificate")
    fault.__cause__.reason = "CERTIFICATE_VERIFY_FAILED"
    text = Target.at("https://h/ws", "")._unreachable(ExceptionGroup("", [fault]))
    assert (
        text == "cannot connect to https://h/ws: its TLS certificate is not trusted: self-signed certificate"
    )
