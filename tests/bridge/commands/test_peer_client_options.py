"""Command lines of other bridges for a remote server; tests/cases/test_switching.py runs them."""

import pytest

from mcpbridged.bridge.commands.peer_client_options import connect_arguments, is_client_line
from mcpbridged.bridge.commands.peer_lines import end_of_options, usual_spelling

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
        # A URL among the arguments of a server, or as a value of an option.
        (["uvx", "server", "--proxy-url", URL], False),
        (["--port", "1", "--no-auth", "uvx", "x", "--u", URL], False),
        (["--allow-origin", "http://a", "http://b", "--", "uvx", "x"], False),
        (["--headers", "X-A", URL, "uvx", "y"], False),
        (["-e", "FOO", URL, "uvx", "y"], False),
        (["--cwd", "/tmp", "node", "s.js", URL], False),
        (["node", "x.js", "--sse", URL], False),
        (["--base-url", URL, "uvx", "x"], False),
        (["--resource", URL, URL], True),
        (["--silent", URL, "96"], True),
        (["--streamable-http", URL], True),
        (["--token-file", "f", URL], True),
        (["--verify-ssl", URL], True),
        ([], False),
    ],
)
def test_a_line_with_the_url_of_a_server_is_that_of_a_client(words, expected):
    usual = usual_spelling(words)
    assert is_client_line(usual, end_of_options(usual)) is expected


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
        (["--verify-ssl", "true", URL, "--verify-ssl"], [URL]),
        (["--verify-ssl", URL], [URL]),
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
        (["--verify-ssl", "false", URL], "--ca-file FILE"),
        (["--verify-ssl=0", URL], "--ca-file FILE"),
    ],
)
def test_what_is_refused_names_what_to_write_instead(words, text, capsys):
    with pytest.raises(SystemExit) as caught:
        connect_arguments(words)
    assert caught.value.code == 64
    assert text in capsys.readouterr().err
