"""Errors of the command line, and the format they are written in."""

import json

import pytest

from mcpbridged.bridge.commands.parser import Parser, form_of


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ([], "text"),
        (["--log-format", "json"], "json"),
        (["--log-format=json"], "json"),
        (["--log-format=json", "--log-format", "text"], "text"),
        (["--", "server", "--log-format=json"], "text"),
        (["--log-format"], ""),
        (["--wrong", "--log-format=json"], "json"),
    ],
)
def test_the_format_is_known_before_the_arguments_are_parsed(arguments, form):
    assert form_of(arguments) == form


def test_wrong_usage_exits_with_64_and_names_the_help(capsys):
    with pytest.raises(SystemExit) as caught:
        Parser(prog="mcp-bridge x").parse_args(["--wrong"])
    assert caught.value.code == 64
    assert capsys.readouterr().err == (
        "mcp-bridge: unrecognized arguments: --wrong\nTry 'mcp-bridge x --help'.\n"
    )


def test_an_error_in_json_is_one_event(capsys):
    parser = Parser()
    parser.form = "json"
    with pytest.raises(SystemExit) as caught:
        parser.fail(78, "no file", "a hint")
    assert caught.value.code == 78
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["reason"], event["code"]) == ("cannot_start", "no file", 78)
