import socket

import pytest
import trio

from mcpbridged.transports.client.addresses import Guard
from mcpbridged.transports.client.ports import Unreachable
from mcpbridged.validators.remote_url import parse_remote_url

pytestmark = pytest.mark.anyio


class Resolver(trio.abc.HostnameResolver):
    """Resolves names to these addresses; the last answer is repeated."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        name = host.decode() if isinstance(host, bytes) else host
        found = self.answers[name]
        addresses = found.pop(0) if len(found) > 1 else found[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in addresses
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def permitted(home, url, **answers):
    trio.socket.set_custom_hostname_resolver(Resolver(**answers))
    try:
        return await Guard(parse_remote_url(home)).permitted(parse_remote_url(url))
    except Unreachable as refused:
        return refused.reason
    finally:
        trio.socket.set_custom_hostname_resolver(None)


@pytest.mark.parametrize(
    ("home", "url", "answers", "expected"),
    [
        ("https://a.example", "https://b.example", {"b_example": [["8.8.8.8"]]}, ("8.8.8.8",)),
        ("https://a.example", "http://b.example", {}, "https"),
        ("https://a.example", "https://b.example", {"b_example": [["8.8.8.8", "::1"]]}, "::1 is not public"),
        ("https://a.example", "https://b.example", {"b_example": [["10.0.0.1"]]}, "10.0.0.1 is not public"),
        ("https://a.example", "https://169.254.169.254", {}, "is not public"),
        ("https://a.example", "https://2130706433", {}, "read as an address"),
        ("https://a.example", "https://a.example/x", {"a_example": [["127.0.0.1"]]}, ("127.0.0.1",)),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", {}, ("127.0.0.1",)),
        ("http://127.0.0.1:1", "http://10.0.0.1", {}, "https"),
        ("http://127.0.0.1:1", "https://10.0.0.1", {}, ("10.0.0.1",)),
        ("https://10.0.0.1:1", "https://10.0.0.2", {}, ("10.0.0.2",)),
        ("https://10.0.0.1:1", "https://127.0.0.1", {}, "is not public or private"),
        ("https://10.0.0.1:1", "https://169.254.169.254", {}, "is not public or private"),
        ("https://a.example", "https://b.example", {"b_example": [[]]}, "cannot be resolved"),
    ],
)
async def test_a_url_that_the_server_has_named_leads_no_nearer_than_the_server(home, url, answers, expected):
    found = await permitted(home, url, **{"a_example": [["8.8.4.4"]], **answers})
    assert (found == expected) if isinstance(expected, tuple) else (expected in found)
