"""Media types."""

import pytest

from mcpbridged.validators.media_types import is_media_type


@pytest.mark.parametrize(
    "text",
    [
        "text/plain",
        "TEXT/Plain",
        "text/plain; charset=utf-8",
        "text/plain;charset=utf-8",
        "text/html;profile=mcp-app",
        "image/svg+xml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        'multipart/mixed; boundary="a b;c\\"d"',
        "text/plain;",
        "application/x-www-form-urlencoded",
        "*/*",
        "a" * 127 + "/b",
    ],
)
def test_a_media_type(text):
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/plain\n",
        " text/plain",
        "text /plain",
        "text/plain/x",
        "text/plain; charset",
        "text/plain; charset=",
        'text/plain; charset="a',
        "text/plain charset=utf-8",
        "text/pl\u200bain",
        "text/plain\x00",
        "t\u00e9xt/plain",
        "png",
        "a" * 128 + "/b",
        "text/plain;" + "a=b;" * 1000,
    ],
)
def test_no_media_type(text):
    assert not is_media_type(text)
