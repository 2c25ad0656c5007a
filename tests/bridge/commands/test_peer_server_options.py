"""Options of other bridges for a server; tests/cases/test_switching.py runs whole command lines."""

import pytest

from mcpbridged.bridge.commands.wrapper_options import options_parser


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--token", "t"], 64, "--token-file FILE"),
        (["--apiKey=t"], 64, "--token-file FILE"),
        (["--shell"], 64, "sh -c 'COMMAND'"),
        (["--cors"], 64, "--cors: not every origin"),
        (["--cors", "http://a", "*"], 64, "--cors: not every origin"),
        (["--allow-origin", "/a/"], 64, "--allow-origin: patterns"),
        (["--cors", "x"], 64, "--cors: an origin must be"),
        (["--requestTimeout", "x"], 64, "--requestTimeout: the time in milliseconds"),
        (["--server", "x"], 64, "sse or stream"),
    ],
)
def test_what_is_refused_names_what_to_write_instead(words, code, text, capsys):
    with pytest.raises(SystemExit) as caught:
        options_parser().parse_args(words)
    assert caught.value.code == code
    assert text in capsys.readouterr().err


def test_what_is_ignored_is_named_and_changes_nothing(capsys):
    plain = vars(options_parser().parse_args([]))
    words = ["--baseUrl", "http://a", "--header", "a: b", "--stateless", "--no-eventStore"]
    assert vars(options_parser().parse_args(words)) | plain == plain
    written = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in written] == [
        "--baseUrl",
        "--header",
        "--stateless",
        "--no-eventStore",
    ]


def test_the_defaults_are_those_of_the_options_of_ours():
    options = options_parser().parse_args([])
    assert (options.host, options.port, options.era, options.cors, options.log_level) == (
        "127.0.0.1",
        8808,
        "auto",
        [],
        "info",
    )
