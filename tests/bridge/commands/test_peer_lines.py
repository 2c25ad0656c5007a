"""What other bridges spell otherwise."""

import pytest

from mcpbridged.bridge.commands.peer_lines import end_of_options, misplaced_option, usual_spelling


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--stateless=true", "x"], ["--stateless", "x"]),
        (["--stateless", "true", "--", "x"], ["--stateless", "--", "x"]),
        (["--tunnel=false", "--shell", "false", "x"], ["x"]),
        (["--no-modern", "x", "--stateless=true"], ["--no-modern", "x", "--stateless=true"]),
        (["--debug=1", "x"], ["--debug=1", "x"]),
        (["--base-url", "http://a", "--oauth2-bearer=t"], ["--baseUrl", "http://a", "--oauth2Bearer=t"]),
        (
            ["--stdio", "a --base-url x", "--message-path=/m"],
            ["--stdio", "a --base-url x", "--messagePath=/m"],
        ),
        (["--", "--base-url"], ["--", "--base-url"]),
        (["server", "--base-url"], ["server", "--base-url"]),
        (["--log-level", "info"], ["--log-level", "info"]),
        ([], []),
    ],
)
def test_options_get_the_spelling_of_the_manuals(words, expected):
    assert usual_spelling(words) == expected


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["--port", "1", "x"], 2),
        (["--port=1", "x"], 1),
        (["--no-auth", "true"], 2),
        (["--named-server", "a", "b c", "x"], 3),
        (["--cors", "a", "b", "--port", "1", "x"], 5),
        (["--stdio", "--port", "1"], 3),
        (["-e", "A"], 2),
    ],
)
def test_options_end_before_the_server(words, end):
    assert end_of_options(words) == end


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ([], ""),
        (["server", "--flag", "5"], ""),
        (["server", "--flag", "--port=5", "-e", "A", "B"], "--port"),
        (["--port"], ""),
    ],
)
def test_an_option_after_the_command_is_named(command, option):
    assert misplaced_option(command) == option
