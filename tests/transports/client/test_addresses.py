import pytest

from mcpbridged.transports.client.addresses import Guard
from mcpbridged.transports.client.ports import Unreachable
from mcpbridged.validators.remote_url import parse_remote_url

from ...support.resolver import resolving

pytestmark = pytest.mark.anyio


async def permitted(home, url, **answers):
    with resolving(**answers):
        try:
            return await Guard(parse_remote_url(home)).permitted(parse_remote_url(url))
        except Unreachable as refused:
            return refused.reason


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
        (
            "https://a.example",
            "https://127.0.0.1",
            {"a_example": [["127.0.0.1"]]},
            "is not public or private",
        ),
        ("https://a.example", "https://10.0.0.1", {"a_example": [["127.0.0.1"]]}, ("10.0.0.1",)),
        ("https://a.example", "https://10.0.0.1", {"a_example": [["127.0.0.1", "8.8.8.8"]]}, "is not public"),
        ("https://a.example", "https://10.0.0.1", {"a_example": [[]]}, "is not public"),
        ("https://10.0.0.1:1", "https://127.0.0.1", {}, "is not public or private"),
        ("https://10.0.0.1:1", "https://169.254.169.254", {}, "is not public or private"),
        ("https://a.example", "https://b.example", {"b_example": [[]]}, "cannot be resolved"),
    ],
)
async def test_a_url_that_the_server_has_named_leads_no_nearer_than_the_server(home, url, answers, expected):
    found = await permitted(home, url, **{"a_example": [["8.8.4.4"]], **answers})
    assert (found == expected) if isinstance(expected, tuple) else (expected in found)
