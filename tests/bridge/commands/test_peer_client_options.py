"""Command lines of other bridges for a remote server; tests/cases/test_switching.py runs them."""

import pytest

from mcpbridged.bridge.commands.peer_client_options import connect_arguments, is_client_line

URL = "https://a.example/mcp"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([URL], True),
        (["WSS://a.example"], True),
        (["--transport", "streamablehttp", URL], True),
        (["--sse", URL], True),
        ([f"--streamableHttp={URL}"], True),
        (["--stdio", URL], False),
        (["--stdio=x", "--baseUrl", URL], False),
        (["--cors", URL, "server"], False),
        (["--port", "1", "--", "server", URL], False),
        (["server", "x"], False),
        ([], False),
    ],
)
def test_a_line_with_the_url_of_a_server_is_that_of_a_client(words, expected):
    assert is_client_line(words) is expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([URL], [URL]),
        (["--sse", URL], [URL, "--transport", "sse"]),
        (["--streamableHttp", URL, "--header", "a: b"], ["--header", "a: b", URL, "--transport", "http"]),
        ([URL, "--transport", "http-first"], [URL, "--transport", "auto"]),
        ([URL, "--transport", "websocket"], [URL, "--transport", "websocket"]),
        (["-H", "a", "b", "--headers", "c", "d", URL], [URL, "--header", "a: b", "--header", "c: d"]),
        ([URL, "9696", "--connect-timeout", "5"], [URL, "--wait", "5"]),
        ([URL, "--verify-ssl", "ca.pem"], [URL, "--ca-file", "ca.pem"]),
        ([URL, "--token-file", "t", "--proxy", ""], [URL, "--token-file", "t", "--proxy", ""]),
    ],
)
def test_options_are_those_of_connect(words, expected):
    assert connect_arguments(words) == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([URL, "--oauth2Bearer", "t"], "--token-file FILE"),
        ([URL, "--header", "A:${B}"], "--header-file FILE"),
        ([URL, "--no-verify-ssl"], "--ca-file FILE"),
    ],
)
def test_what_is_refused_names_what_to_write_instead(words, text, capsys):
    with pytest.raises(SystemExit) as caught:
        connect_arguments(words)
    assert caught.value.code == 64
    assert text in capsys.readouterr().err
