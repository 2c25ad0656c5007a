"""Values of options, and options of other programs."""

import argparse

import pytest

from mcpbridged.bridge.commands import option_types
from mcpbridged.bridge.commands.parser import Parser


@pytest.mark.parametrize(
    ("convert", "good", "value", "bad"),
    [
        (option_types.port, "65535", 65535, ["65536", "-1", "x", "", "٣"]),
        (option_types.milliseconds, "1", 1, ["0", "1.5"]),
        (option_types.size, "1", 1, ["0", "2147483648"]),
        (option_types.path, "/a", "/a", ["a", "/a?b"]),
        (option_types.origin, "http://a", "http://a", ["a", "http://*"]),
        (option_types.host, "a:1", "a:1", ["*", "A"]),
    ],
)
def test_a_value_is_converted_or_refused_with_a_reason(convert, good, value, bad):
    assert convert(good) == value
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            convert(text)


def test_an_empty_file_name_is_refused():
    assert option_types.file("a").name == "a"
    with pytest.raises(argparse.ArgumentTypeError, match="empty"):
        option_types.file("")


def test_options_of_other_programs_are_ignored_or_refused_with_the_reason(capsys):
    parser = Parser(prog="p")
    option_types.add_foreign(parser, {"--old": (1, "it is gone")}, {"--wrong": (0, "use --right")})
    calls = []
    option_types.add_calling(parser, "-x", 2, lambda *call: calls.append(call[2:]), "--extra")
    parser.parse_args(["--old", "value", "-x", "1", "2", "--extra", "3", "4"])
    assert capsys.readouterr().err == "mcp-bridge: --old is ignored: it is gone\n"
    assert calls == [(["1", "2"], "-x"), (["3", "4"], "--extra")]
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--wrong"])
    assert caught.value.code == 64
    assert "--wrong is not supported: use --right" in capsys.readouterr().err
    assert "--old" not in parser.format_help()
